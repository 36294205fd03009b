package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy"
	"github.com/suitegate/suitegate/proxy/shadow"
)

// TestPolicyImpact asks a gateway that an old and a new client have been to.
func TestPolicyImpact(t *testing.T) {
	text := fmt.Sprintf(`
admin: {address: "127.0.0.1:0"}
storage: %q
certificates: [{name: default, self_signed: {}}]
upstreams: {broker: {nodes: [%q]}}
listeners: [{name: amqps, address: "127.0.0.1:0", protocol: amqp, policy: activemq, shadow: [rfc9325-2022-11], upstream: broker}]
`, t.TempDir(), listenEcho(t))
	cfg, err := configs.Parse(filepath.Join(t.TempDir(), "gateway.yml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var server proxy.Server
	if err := server.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	admin := "--admin=" + server.AdminAddress().String()

	if got := impactOf(t, admin); !strings.Contains(got, "nobody who has connected would break") {
		t.Errorf("before any client: %s", got)
	}
	for _, client := range []*tls.Config{
		{ServerName: "sensors.example", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}},
		{ServerName: "localhost"},
	} {
		client.InsecureSkipVerify = true // who it is does not matter here
		conn, err := tls.Dial("tcp", server.Address("amqps").String(), client)
		if err != nil {
			t.Fatal(err)
		}
		sayAndHear(t, conn, "AMQP\x00\x00\x09\x01")
		conn.Close()
	}
	got := impactOf(t, admin)
	for _, varies := range [][2]string{
		{`\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)? UTC`, "TIME"}, {`t12[di]\w+`, "JA4"},
	} {
		got = regexp.MustCompile(varies[0]).ReplaceAllString(got, varies[1])
	}
	const golden = "testdata/impact.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", golden, diff)
	}

	var impact shadow.Impact
	if err := json.Unmarshal([]byte(impactOf(t, admin, "--json")), &impact); err != nil || len(impact.Clients) != 1 || impact.Tallies[0].Judged != 2 {
		t.Errorf("%+v, %v", impact, err)
	}
	var out, errs strings.Builder
	if code := run([]string{"policy", "impact", admin, "--policy=rabbitmq"}, &out, &errs); code != exitFailed ||
		!strings.Contains(errs.String(), "no listener of the gateway has such a shadow policy") || !strings.Contains(errs.String(), "listeners[].shadow") {
		t.Errorf("exit code %d, %s%s", code, out.String(), errs.String())
	}
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	errs.Reset()
	if code := run([]string{"policy", "impact", "--admin=" + nobody.Addr().String()}, &out, &errs); code != exitFailed ||
		!strings.Contains(errs.String(), "connection refused") || !strings.Contains(errs.String(), "--admin") {
		t.Errorf("nobody there: exit code %d, %s", code, errs.String())
	}
}

// impactOf is what policy impact prints.
func impactOf(t *testing.T, arguments ...string) string {
	t.Helper()
	var out, errs strings.Builder
	if code := run(append([]string{"policy", "impact"}, arguments...), &out, &errs); code != exitOK || errs.Len() > 0 {
		t.Fatalf("exit code %d, %s", code, errs.String())
	}
	return out.String()
}
