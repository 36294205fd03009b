package main

import (
	"go/ast"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestREADMESealing: every cause for which sealing fails has a row.
func TestREADMESealing(t *testing.T) {
	var want []string
	for _, file := range []string{"key.go", "errors.go"} {
		ast.Inspect(parseFile(t, "../../certs/seal/"+file), func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
				if cause, ok := stringLiteral(spec.Values[0]); ok {
					want = append(want, cause)
				}
			}
			return true
		})
	}
	var got []string
	for _, row := range readREADME(t).table(t, "Sealed storage", "cause") {
		got = append(got, quoted(row[0])...)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 15 {
		t.Errorf("causes (-code +README):\n%s", diff)
	}
}
