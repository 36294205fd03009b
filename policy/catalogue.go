package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Entry is a policy that comes with the gateway, under a dated name that never
// changes its meaning, and where it is from.
type Entry struct {
	Policy  *Policy
	Source  Source
	Notes   []string  // what a reader of the source would not expect; may be empty
	LeftOut []LeftOut // what the source lists and no engine serves; may be empty
}

// Source is the document that a policy is taken from.
type Source struct {
	Document string `json:"document"`
	Section  string `json:"section"`
	Date     string `json:"date"` // of that version of the document: YYYY-MM or YYYY-MM-DD
	URL      string `json:"url"`
}

// LeftOut is a suite or a group of a source that its policy lacks.
type LeftOut struct {
	Name string `json:"name"` // IANA's, or the beginning of several, with a "*" behind it
	Why  string `json:"why"`
}

// aliases are short names for dated policies. A later version of the gateway
// can have one stand for a later list of the same publisher.
var aliases = map[string]string{
	"activemq": "activemq-2020-09",
	"rabbitmq": "rabbitmq-2020-11",
}

// listing is a source's list, as the source has it.
type listing struct {
	name   string
	source Source
	notes  []string
	tls12  []string // IANA names, also of suites that are not in the registry
	tls13  []string
	groups []string  // all that the source lists; never empty, so that [DefaultGroups] can change
	gone   []LeftOut // what the source lists besides, too many to name one by one

	// ranked is for a source whose order is a preference. TLS 1.2 suites of the
	// others are served by [weakness], because RFC 9325 §4.1 asks for forward
	// secrecy first; among equals the source's order stays.
	ranked bool
}

// Catalogue returns the built-in policies, aliases apart, sorted by name.
func Catalogue() []Entry {
	var all []Entry
	for i := range listings {
		all = append(all, listings[i].entry())
	}
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(a.Policy.Name, b.Policy.Name) })
	return all
}

// Lookup returns the built-in policy of a dated name or of an alias. Its
// Policy has the dated name.
func Lookup(name string) (Entry, bool) {
	if dated, ok := aliases[name]; ok {
		name = dated
	}
	for i := range listings {
		if listings[i].name == name {
			return listings[i].entry(), true
		}
	}
	return Entry{}, false
}

// AliasOf returns the dated name that an alias stands for.
func AliasOf(alias string) (dated string, ok bool) {
	dated, ok = aliases[alias]
	return dated, ok
}

// Builtin is [Lookup] for those who want the policy alone. It has the name that
// was asked for, so that an alias is an alias in the log and in metrics, too.
func Builtin(name string) (*Policy, bool) {
	e, ok := Lookup(name)
	if !ok {
		return nil, false
	}
	e.Policy.Name = name
	return e.Policy, true
}

// Builtins returns all of them and the aliases, sorted by name.
func Builtins() []*Policy {
	var all []*Policy
	for i := range listings {
		all = append(all, listings[i].entry().Policy)
	}
	for alias := range aliases {
		p, _ := Builtin(alias)
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Policy) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// entry divides a listing into what is served and what is left out.
func (l *listing) entry() Entry {
	e := Entry{Source: l.source, Notes: slices.Clone(l.notes)}
	served := func(names []string, parse func(string) error) []string {
		var kept []string
		for _, name := range names {
			if parse(name) == nil {
				kept = append(kept, name)
				continue
			}
			why := whyNeverServed(name)
			if why == "" {
				why = "no engine implements it"
			}
			e.LeftOut = append(e.LeftOut, LeftOut{name, why})
		}
		return kept
	}
	suite := func(name string) error { _, err := ParseSuite(name); return err }
	group := func(name string) error { _, err := ParseGroup(name); return err }
	p, err := New(l.name, served(l.tls12, suite), served(l.tls13, suite), served(l.groups, group))
	if err != nil {
		panic(fmt.Sprintf("policy: built-in %s: %v", l.name, err)) // the listing is wrong
	}
	e.LeftOut = append(e.LeftOut, l.gone...)
	if !l.ranked {
		p.order = slices.Clone(p.TLS12)
		slices.SortStableFunc(p.order, func(a, b Suite) int { return cmp.Compare(weakness(a), weakness(b)) })
	}
	e.Policy = p
	return e
}

// weakness ranks suites: a lack of forward secrecy weighs more than a lack of
// an AEAD.
func weakness(s Suite) int {
	rank := 0
	if !s.ForwardSecret() {
		rank += 2
	}
	if s.MAC != AEAD {
		rank++
	}
	return rank
}
