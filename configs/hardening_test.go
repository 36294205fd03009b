package configs

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every path that the file names is told, with its place, and with the
// directory that is written to because of it.
func TestPaths(t *testing.T) {
	cfg := mustParse(t, `admin: {address: ":9090", token_file: token}
audit: {file: /var/log/suitegate/audit.log}
storage: state
certificates:
  - {name: a, files: {certificate: a.crt, key: /keys/a.key}}
  - {name: b, files: {pkcs12: b.p12, password_file: b.pass}}
  - name: c
    acme:
      names: [a.example]
      email: a@example.com
      root: root.pem
      challenges: [dns-01]
      external_account: {key_id: a, mac_key_file: mac}
      dns: {rfc2136: {server: "ns.example:53", key_name: a, key_file: tsig}}
upstreams: {u: {nodes: ["127.0.0.1:1"]}}
listeners:
  - name: l
    address: ":2"
    protocol: tcp
    policy: rabbitmq
    upstream: u
    client_certificates: {mode: require, ca: ca.pem, crl: [crls, one.crl]}
`)
	var got []string
	for _, p := range cfg.Paths() {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%d:%d %s %s", p.Pos.Line, p.Pos.Column, p.Name, p.Dir)))
	}
	want := []string{
		"0:0 dir/suitegate.yml",
		"2:15 /var/log/suitegate/audit.log /var/log/suitegate", "1:39 dir/token",
		"5:36 dir/a.crt", "5:48 /keys/a.key", "6:31 dir/b.p12", "6:53 dir/b.pass",
		"11:13 dir/root.pem", "14:71 dir/tsig", "13:51 dir/mac",
		"22:46 dir/ca.pem", "22:60 dir/crls", "22:66 dir/one.crl",
		"3:10 dir/state dir/state",
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}
