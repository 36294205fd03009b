package main

import (
	"fmt"
	"maps"
	"net"
	"slices"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy"
)

type checkCommand struct {
	Config string `required:"" placeholder:"FILE" help:"Configuration file."`
}

func (c *checkCommand) Run(out *console) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	listeners, found, err := proxy.Check(cfg, out.warningLogger())
	if err != nil {
		return err
	}
	if cfg.FIPSMode() {
		out.printf("FIPS 140-3 mode: TLS 1.2 is for clients with extended master secret alone (RFC 7627)\n\n")
	}
	for _, listener := range listeners {
		printEffective(out, listener)
	}
	printUpstreams(out, cfg)
	cfg.Warnings = append(cfg.Warnings, found...)
	cfg.Warnings.Sort()
	for _, warning := range warnings(cfg, listeners) {
		out.warnf("%s", warning)
	}
	out.printf("%s: %s, no mistakes\n", cfg.File, count(len(cfg.Listeners), "listener"))
	return nil
}

// printEffective prints what one listener really accepts, in the order of its
// preference.
func printEffective(out *console, l proxy.Effective) {
	out.printf("listener %s on %s: %s, policy %s\n", l.Listener, l.Address, l.Protocol, l.Policy.Name)
	for _, certificate := range l.Certificates {
		out.printf("  certificate %s\n", certificate)
	}
	if l.Clients != configs.ClientCertificatesOff {
		out.printf("  client certificates %s\n", l.Clients)
	}
	out.printf("  groups %s\n\n", joinStringers(l.Policy.Groups, ", "))
	rows := [][]string{{"VERSION", "IANA NAME", "OPENSSL NAME", "FORWARD SECRET", "CERTIFICATE"}}
	for _, suite := range servedOrder(l.Policy) {
		rows = append(rows, []string{
			versionOf(suite).String(),
			suite.Name,
			suite.OpenSSLName,
			yesNo(suite.ForwardSecret()),
			fmt.Sprint(suite.Auth),
		})
	}
	out.table("  ", rows)
	out.printf("\n")
	if l.Canary != nil {
		out.printf("  canary policy %s\n\n", l.Canary)
	}
	printUnserved(out, "in the policy, but not served here", l.Unserved)
	for _, p := range l.Partly {
		printUnserved(out, fmt.Sprintf("not served to %s, for whom there are %s keys alone", p.Who(), joinStringers(p.Keys, ", ")), p.Unserved)
	}
}

// printUpstreams prints how clients are spread over the nodes of each broker.
func printUpstreams(out *console, cfg *configs.Config) {
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		u := cfg.Upstreams[name]
		out.printf("upstream %s: %s, %v\n", name, u.Balance, u.HealthCheck)
		out.printf("  nodes %s\n\n", joinStringers(u.Nodes, ", "))
	}
}

// printUnserved prints suites that are not served, and why, unless there are
// none.
func printUnserved(out *console, heading string, list []policy.Unserved) {
	if len(list) == 0 {
		return
	}
	out.printf("  %s:\n", heading)
	rows := [][]string{{"IANA NAME", "OPENSSL NAME", "WHY"}}
	for _, unserved := range list {
		rows = append(rows, []string{unserved.Suite.Name, unserved.Suite.OpenSSLName, unserved.Why})
	}
	out.table("  ", rows)
	out.printf("\n")
}

// warnings are what is valid, and worth a second thought.
func warnings(cfg *configs.Config, listeners []proxy.Effective) []string {
	var list []string
	for _, warning := range cfg.Warnings {
		list = append(list, warning.Error())
	}
	if address := cfg.Admin.Address; address != "" && !isLoopback(address) {
		list = append(list, fmt.Sprintf("admin.address %s is not loopback, and whoever reaches it reads all that it says", address))
		if cfg.Admin.TokenFile != "" || cfg.Admin.TokenEnv != "" {
			list = append(list, fmt.Sprintf("admin.address %s has no TLS: the token goes to it in plaintext", address))
		}
	}
	for _, l := range listeners {
		suites := servedOrder(l.Policy)
		if n := countSuites(suites, func(s policy.Suite) bool { return !s.ForwardSecret() }); n > 0 {
			list = append(list, fmt.Sprintf("listener %s: %d of %s without forward secrecy (RFC 9325 section 4.1)",
				l.Listener, n, count(len(suites), "suite")))
		}
		if n := countSuites(suites, func(s policy.Suite) bool { return s.MAC != policy.AEAD }); n > 0 {
			list = append(list, fmt.Sprintf("listener %s: %d of %s in CBC mode (RFC 9325 section 4.2)",
				l.Listener, n, count(len(suites), "suite")))
		}
		if len(l.Unserved) > 0 {
			list = append(list, fmt.Sprintf("listener %s: %s of policy %s not served",
				l.Listener, count(len(l.Unserved), "suite"), l.Policy.Name))
		}
	}
	return append(list, plaintextWarnings(cfg)...)
}

// plaintextWarnings names the nodes to which traffic leaves this host
// unencrypted.
func plaintextWarnings(cfg *configs.Config) []string {
	var list []string
	for name, upstream := range cfg.Upstreams {
		for _, node := range upstream.Nodes {
			if !isLoopback(node.Address) {
				list = append(list, fmt.Sprintf("upstream %s: traffic to %s leaves this host in plaintext", name, node.Address))
			}
		}
	}
	slices.Sort(list)
	return list
}

func countSuites(suites []policy.Suite, is func(policy.Suite) bool) int {
	n := 0
	for _, suite := range suites {
		if is(suite) {
			n++
		}
	}
	return n
}

// isLoopback says whether host:port stays on this host, without asking a
// resolver.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
