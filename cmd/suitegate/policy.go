package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/suitegate/suitegate/policy"
)

type policyCommand struct {
	List    policyListCommand    `cmd:"" help:"List the policies."`
	Show    policyShowCommand    `cmd:"" help:"Show where a policy is from, its cipher suites, and what RFC 9325 says of them."`
	Diff    policyDiffCommand    `cmd:"" help:"Show what sets policy B apart from policy A; exit 1 if anything does."`
	Explain policyExplainCommand `cmd:"" help:"Explain what a client gets under a policy, or why it is refused and what would admit it."`
	Impact  policyImpactCommand  `cmd:"" help:"Ask a running gateway which clients its shadow policies would refuse."`
}

type policyListCommand struct {
	Config string `placeholder:"FILE" help:"List the policies of this configuration, too."`
	JSON   bool   `help:"Print JSON, for programs."`
}

func (p *policyListCommand) Run(out *console) error {
	known, err := knownPolicies(p.Config)
	if err != nil {
		return err
	}
	var all []policyDetails
	for _, pol := range known {
		all = append(all, newPolicyDetails(pol))
	}
	if p.JSON {
		return out.json(all)
	}
	rows := [][]string{{"NAME", "TLS 1.3", "TLS 1.2", "FORWARD SECRET", "FIPS 140-3", "LEFT OUT", "FROM"}}
	for i, pol := range known {
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
			fmt.Sprintf("%d of %d", len(suites)-len(pol.NotFIPS()), len(suites)),
			fmt.Sprint(len(all[i].LeftOut)),
			all[i].from(),
		})
	}
	out.table("", rows)
	return nil
}

type policyShowCommand struct {
	Name   string `arg:"" help:"Name of the policy."`
	Config string `placeholder:"FILE" help:"Look among the policies of this configuration, too."`
	JSON   bool   `help:"Print JSON, for programs."`
}

func (p *policyShowCommand) Run(out *console) error {
	pol, err := policyNamed(p.Name, p.Config)
	if err != nil {
		return err
	}
	details := newPolicyDetails(pol)
	if p.JSON {
		return out.json(details)
	}
	details.print(out)
	return nil
}

// policyNamed finds one of [knownPolicies].
func policyNamed(name, file string) (*policy.Policy, error) {
	known, err := knownPolicies(file)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(known, func(pol *policy.Policy) bool { return pol.Name == name })
	if at < 0 {
		return nil, withHint(fmt.Errorf("no policy is named %q", name),
			"suitegate policy list shows all names",
			"policies of a configuration of your own: --config FILE")
	}
	return known[at], nil
}

// knownPolicies are the built-in policies and their aliases, followed by those
// of the configuration file, if one is given, by name.
func knownPolicies(file string) ([]*policy.Policy, error) {
	known := policy.Builtins()
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
