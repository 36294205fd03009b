package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/engine"
)

// The table of suites is the policy activemq: all of it, in the order of its
// preference as far as rows go, and divided by what RFC 9325 says of them.
func TestREADMEPolicies(t *testing.T) {
	named, _ := policy.Builtin("activemq")
	own, standard := engine.NewTLS12(engine.Config{}), engine.NewStandard(engine.Config{})
	lacking := 0
	if len(named.TLS12) != 18 {
		t.Errorf("the policy has %d suites: the README says eighteen", len(named.TLS12))
	}
	weakest := 0
	seen := 0
	heading := map[policy.Standing]string{policy.Recommended: "recommended", policy.ShouldNot: "advised against"}
	for _, row := range readREADME(t).table(t, "Policies", "suites of `activemq`, by preference") {
		standing, why, _ := strings.Cut(row[1], ": ")
		last := -1
		for _, name := range strings.Split(row[0], ", ") {
			suite, err := policy.ParseSuite(name)
			if err != nil {
				t.Error(err)
				continue
			}
			seen++
			at := slices.Index(named.Preference(), suite)
			if at < 0 {
				t.Errorf("%s is not in the policy", name)
			}
			if at < last {
				t.Errorf("%s stands behind a suite that it is preferred to", name)
			}
			last = at
			weakness := 0
			if suite.MAC != policy.AEAD {
				weakness++
			}
			if !suite.ForwardSecret() {
				weakness += 2
			}
			if weakness < weakest {
				t.Errorf("%s stands below weaker suites", name)
			}
			weakest = weakness
			if !own.Serves(suite.ID) {
				t.Errorf("%s is not served by %s", name, own.Name())
			}
			if !standard.Serves(suite.ID) {
				lacking++
			}
			if standing != heading[policy.AssessRFC9325(suite.Name).Standing] ||
				suite.ForwardSecret() == strings.Contains(why, "no forward secrecy") ||
				(suite.KeyExchange == policy.DHE) != strings.Contains(why, "finite field") ||
				(suite.MAC != policy.AEAD) != strings.Contains(why, "CBC") {
				t.Errorf("%s: RFC 9325 does not say %q", name, row[1])
			}
		}
	}
	if seen != len(named.TLS12) {
		t.Errorf("%d suites, the policy has %d", seen, len(named.TLS12))
	}
	if lacking != 8 {
		t.Errorf("crypto/tls lacks %d suites of the policy: the README says eight", lacking)
	}
}

// The catalogue is in the README, all of it and nothing else.
func TestREADMECatalogue(t *testing.T) {
	var names []string
	for _, entry := range policy.Catalogue() {
		names = append(names, entry.Policy.Name)
	}
	if diff := cmp.Diff(names, column(readREADME(t).table(t, "Policy catalogue", "name"), 0)); diff != "" {
		t.Errorf("policies (-built in +README):\n%s", diff)
	}
}
