package main

import (
	"errors"
	"fmt"

	"github.com/suitegate/suitegate/policy"
)

type policyDiffCommand struct {
	A      string `arg:"" help:"Name of the policy to compare with."`
	B      string `arg:"" help:"Name of the other one."`
	Config string `placeholder:"FILE" help:"Look among the policies of this configuration, too."`
	JSON   bool   `help:"Print JSON, for programs."`
}

// errDifferent ends a command with exit code 1 that has said why on stdout.
var errDifferent = errors.New("there are differences")

// Run exits as diff(1) does: 0 for no difference, 1 for some, 2 for trouble.
func (p *policyDiffCommand) Run(out *console) error {
	before, err := policyNamed(p.A, p.Config)
	if err != nil {
		return trouble(err)
	}
	after, err := policyNamed(p.B, p.Config)
	if err != nil {
		return trouble(err)
	}
	difference := policy.Diff(before, after)
	if p.JSON {
		err := out.json(struct {
			A    string `json:"a"`
			B    string `json:"b"`
			Same bool   `json:"same"`
			*policy.Difference
		}{p.A, p.B, difference.Empty(), difference})
		if err != nil {
			return trouble(err)
		}
	} else {
		printDifference(out, p.A, p.B, difference)
	}
	if !difference.Empty() {
		return errDifferent
	}
	return nil
}

// trouble gives an error exit code 2, and leaves it its hints.
func trouble(err error) error {
	wrapped := &hintedError{error: err, code: exitUsage}
	var hinted *hintedError
	if errors.As(err, &hinted) {
		wrapped.hints = hinted.hints
	}
	return wrapped
}

func printDifference(out *console, a, b string, d *policy.Difference) {
	if d.Empty() {
		out.printf("%s and %s are the same\n", a, b)
		return
	}
	out.printf("from %s to %s\n\n", a, b)
	rows := [][]string{{"WHAT", "CHANGE", "NAME", "RFC 9325"}}
	add := func(what string, list policy.ListDifference, assess func(string) string) {
		for _, name := range list.Removed {
			rows = append(rows, []string{what, "removed", name, assess(name)})
		}
		for _, name := range list.Added {
			rows = append(rows, []string{what, "added", name, assess(name)})
		}
		for _, m := range list.Moved {
			rows = append(rows, []string{what, fmt.Sprintf("moved from %d to %d", m.From, m.To), m.Name, assess(m.Name)})
		}
	}
	no := func(string) string { return "" }
	standing := func(name string) string { return policy.AssessRFC9325(name).String() }
	add("version", d.Versions, no)
	add("TLS 1.3 suite", d.TLS13, standing)
	add("TLS 1.2 suite", d.TLS12, standing)
	add("group", d.Groups, no)
	out.table("", rows)
}
