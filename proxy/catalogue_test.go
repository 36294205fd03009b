package proxy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/scan"
)

// Every built-in policy is served as it is published: a scan of a listener with
// an RSA and an ECDSA certificate finds its suites, order and groups, and
// nothing else.
func TestCatalogueIsServed(t *testing.T) {
	var listeners strings.Builder
	for _, p := range policy.Builtins() {
		fmt.Fprintf(&listeners, "  - {name: %s, address: \"127.0.0.1:0\", protocol: tcp, policy: %[1]s, upstream: broker}\n", p.Name)
	}
	g := start(t, "upstreams: {broker: {nodes: [\"127.0.0.1:1\"]}}\nlisteners:\n"+listeners.String())
	for _, p := range policy.Builtins() {
		report, err := scan.Scan(t.Context(), g.Address(p.Name).String(), scan.Options{ServerName: "localhost"})
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
			continue
		}
		if c := report.Compare(p); c.Differs() {
			t.Errorf("%s: (-missing +extra) %s, order %v", p.Name, cmp.Diff(c.Missing, c.Extra), c.Order)
		}
	}
}
