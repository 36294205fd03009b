package sealtest

import (
	"slices"
	"testing"
)

func TestPlan(t *testing.T) {
	var p Plan
	next := func(operations ...string) (faults []Fault) {
		for _, operation := range operations {
			faults = append(faults, p.Next(operation))
		}
		return faults
	}
	want := func(what string, got []Fault, want ...Fault) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	want("nothing planned", next("a", "b"), None, None)
	p.Fail("a", 2, Denied)
	p.Fail("", 3, Slow)
	want("by operation, and of any", next("b", "a", "a", "a", "b"), None, None, Slow, None, None) // the last planned goes first
	p.Fail("a", 0, Throttled)
	want("until healed", next("a", "b", "a"), Throttled, None, Throttled)
	p.Heal()
	want("healed", next("a"), None)
}
