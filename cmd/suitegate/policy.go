package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/suitegate/suitegate/policy"
)

type policyCommand struct {
	List policyListCommand `cmd:"" help:"List the policies."`
	Show policyShowCommand `cmd:"" help:"Show the cipher suites of a policy."`
}

type policyListCommand struct {
	Config string `placeholder:"FILE" help:"List the policies of this configuration, too."`
}

func (p *policyListCommand) Run(out *console) error {
	known, err := knownPolicies(p.Config)
	if err != nil {
		return err
	}
	rows := [][]string{{"NAME", "TLS 1.3", "TLS 1.2", "FORWARD SECRET", "GROUPS"}}
	for _, pol := range known {
		suites := servedOrder(pol)
		secret := 0
		for _, suite := range suites {
			if suite.ForwardSecret() {
				secret++
			}
		}
		rows = append(rows, []string{
			pol.Name,
			count(len(pol.TLS13), "suite"),
			count(len(pol.TLS12), "suite"),
			fmt.Sprintf("%d of %d", secret, len(suites)),
			joinStringers(pol.Groups, ", "),
		})
	}
	out.table("", rows)
	return nil
}

type policyShowCommand struct {
	Name   string `arg:"" help:"Name of the policy."`
	Config string `placeholder:"FILE" help:"Look among the policies of this configuration, too."`
}

func (p *policyShowCommand) Run(out *console) error {
	pol, err := policyNamed(p.Name, p.Config)
	if err != nil {
		return err
	}
	out.printf("policy %s, in the order of the server's preference\n", pol.Name)
	out.printf("groups %s\n\n", joinStringers(pol.Groups, ", "))
	rows := [][]string{{"VERSION", "ID", "IANA NAME", "OPENSSL NAME", "KEY EXCHANGE", "AUTH", "CIPHER", "MAC", "FORWARD SECRET"}}
	for _, suite := range servedOrder(pol) {
		rows = append(rows, []string{
			versionOf(suite).String(),
			fmt.Sprintf("0x%04X", suite.ID),
			suite.Name,
			suite.OpenSSLName,
			fmt.Sprint(suite.KeyExchange),
			fmt.Sprint(suite.Auth),
			fmt.Sprint(suite.Cipher),
			fmt.Sprint(suite.MAC),
			yesNo(suite.ForwardSecret()),
		})
	}
	out.table("", rows)
	return nil
}

// policyNamed finds one of [knownPolicies].
func policyNamed(name, file string) (*policy.Policy, error) {
	known, err := knownPolicies(file)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, pol := range known {
		if pol.Name == name {
			return pol, nil
		}
		names = append(names, pol.Name)
	}
	return nil, withHint(fmt.Errorf("no policy is named %q", name),
		"there are: "+strings.Join(names, ", "),
		"policies of a configuration of your own: --config FILE")
}

// knownPolicies are the built-in policies, followed by those of the
// configuration file, if one is given, by name.
func knownPolicies(file string) ([]*policy.Policy, error) {
	known := slices.Clone(policy.Builtins())
	if file == "" {
		return known, nil
	}
	cfg, err := loadConfig(file)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Policies)) {
		known = append(known, cfg.Policies[name])
	}
	return known, nil
}

// servedOrder lists all suites of a policy in the order in which a client's
// offer is held against them: TLS 1.3 first, then TLS 1.2 by preference.
func servedOrder(pol *policy.Policy) []policy.Suite {
	return slices.Concat(pol.TLS13, pol.Preference())
}

func versionOf(suite policy.Suite) policy.Version {
	if suite.TLS13() {
		return policy.TLS13
	}
	return policy.TLS12
}

func joinStringers[T fmt.Stringer](list []T, separator string) string {
	var words []string
	for _, item := range list {
		words = append(words, item.String())
	}
	return strings.Join(words, separator)
}
