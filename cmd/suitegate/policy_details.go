package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/engine"
)

// policyDetails is a policy as `policy show` prints it.
type policyDetails struct {
	Name    string           `json:"name"`
	AliasOf string           `json:"alias_of,omitempty"`
	Source  *policy.Source   `json:"source,omitempty"` // none for a policy of the configuration
	Notes   []string         `json:"notes"`
	Groups  []string         `json:"groups"` // by preference
	FIPS    fipsDetails      `json:"fips"`
	Suites  []suiteDetails   `json:"suites"` // by preference, TLS 1.3 first
	LeftOut []policy.LeftOut `json:"left_out"`
}

// fipsDetails is what FIPS 140-3 approves of a policy.
type fipsDetails struct {
	Approved bool     `json:"approved"` // all of its suites, so that FIPS mode can serve it
	Groups   []string `json:"groups"`   // that are left then
}

// suiteDetails is a suite of a policy.
type suiteDetails struct {
	Version       string         `json:"version"`
	ID            string         `json:"id"`
	Name          string         `json:"name"`
	OpenSSLName   string         `json:"openssl_name"`
	KeyExchange   string         `json:"key_exchange"`
	Auth          string         `json:"auth"`
	Cipher        string         `json:"cipher"`
	MAC           string         `json:"mac"`
	ForwardSecret bool           `json:"forward_secret"`
	Engine        string         `json:"engine"`
	FIPS          bool           `json:"fips"` // FIPS 140-3 approves it
	RFC9325       rfc9325Details `json:"rfc9325"`
}

type rfc9325Details struct {
	Standing policy.Standing `json:"standing"`
	Section  string          `json:"section,omitempty"`
	Why      string          `json:"why,omitempty"`
}

func newPolicyDetails(pol *policy.Policy) policyDetails {
	d := policyDetails{Name: pol.Name, Notes: []string{}, Groups: []string{}, Suites: []suiteDetails{}, LeftOut: []policy.LeftOut{}}
	d.AliasOf, _ = policy.AliasOf(pol.Name)
	// A policy of the configuration cannot have a built-in name.
	if entry, ok := policy.Lookup(pol.Name); ok {
		d.Source = &entry.Source
		d.Notes = append(d.Notes, entry.Notes...)
		d.LeftOut = append(d.LeftOut, entry.LeftOut...)
	}
	for _, group := range pol.Groups {
		d.Groups = append(d.Groups, group.String())
	}
	d.FIPS = fipsDetails{Approved: len(pol.NotFIPS()) == 0, Groups: []string{}}
	for _, group := range pol.FIPS().Groups {
		d.FIPS.Groups = append(d.FIPS.Groups, group.String())
	}
	served := servedOrder(pol)
	var ids []uint16
	for _, suite := range served {
		ids = append(ids, suite.ID)
	}
	engines := engine.New(engine.Config{}, ids)
	for _, suite := range served {
		d.Suites = append(d.Suites, newSuiteDetails(suite, engines.For(suite.ID)))
	}
	return d
}

func newSuiteDetails(suite policy.Suite, by engine.Engine) suiteDetails {
	name := "none"
	if by != nil {
		name = by.Name()
	}
	return suiteDetails{
		Version:       versionOf(suite).String(),
		ID:            fmt.Sprintf("0x%04X", suite.ID),
		Name:          suite.Name,
		OpenSSLName:   suite.OpenSSLName,
		KeyExchange:   suite.KeyExchange.String(),
		Auth:          suite.Auth.String(),
		Cipher:        suite.Cipher.String(),
		MAC:           suite.MAC.String(),
		ForwardSecret: suite.ForwardSecret(),
		Engine:        name,
		FIPS:          suite.FIPS(),
		RFC9325:       rfc9325Details(policy.AssessRFC9325(suite.Name)),
	}
}

// from says in a few words where the policy is from.
func (d *policyDetails) from() string {
	switch {
	case d.AliasOf != "":
		return "alias of " + d.AliasOf
	case d.Source != nil:
		return d.Source.Document + ", " + d.Source.Date
	}
	return "configuration"
}

func (d *policyDetails) print(out *console) {
	title := "policy " + d.Name
	if d.AliasOf != "" {
		title += ", which stands for " + d.AliasOf
	}
	out.printf("%s, in the order of the server's preference\n", title)
	if d.Source != nil {
		out.printf("source %s, %s\n", d.Source.Document, d.Source.Date)
		out.printf("section %s\n", d.Source.Section)
		out.printf("url %s\n", d.Source.URL)
	}
	for _, note := range d.Notes {
		out.printf("note %s\n", note)
	}
	out.printf("groups %s\n", strings.Join(d.Groups, ", "))
	out.printf("groups that FIPS 140-3 approves %s\n\n", cmp.Or(strings.Join(d.FIPS.Groups, ", "), "none"))
	rows := [][]string{{"VERSION", "ID", "IANA NAME", "OPENSSL NAME", "KEY EXCHANGE", "AUTH", "CIPHER", "MAC", "FORWARD SECRET", "ENGINE", "FIPS 140-3", "RFC 9325"}}
	for _, s := range d.Suites {
		rows = append(rows, []string{
			s.Version, s.ID, s.Name, s.OpenSSLName, s.KeyExchange, s.Auth, s.Cipher, s.MAC, yesNo(s.ForwardSecret), s.Engine, map[bool]string{true: "approved", false: "no"}[s.FIPS],
			policy.Assessment(s.RFC9325).String(),
		})
	}
	out.table("", rows)
	if len(d.LeftOut) == 0 {
		return
	}
	out.printf("\nnot served, though the source lists it:\n")
	rows = [][]string{{"NAME", "WHY"}}
	for _, l := range d.LeftOut {
		rows = append(rows, []string{l.Name, l.Why})
	}
	out.table("", rows)
}
