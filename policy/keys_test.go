package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKeySet(t *testing.T) {
	s := Keys(RSA, ECDSAP256, NoKey, RSA)
	for k, want := range map[KeyType]bool{NoKey: false, RSA: true, ECDSAP256: true, ECDSAP384: false, Ed25519: false} {
		if got := s.Has(k); got != want {
			t.Errorf("%v: %t", k, got)
		}
	}
	if diff := cmp.Diff([]KeyType{ECDSAP256, RSA}, s.Types()); diff != "" {
		t.Error(diff)
	}
	if Keys() != 0 || Keys(NoKey) != 0 || KeySet(0).Types() != nil {
		t.Error("the empty set is not empty")
	}
}

func TestKeySets(t *testing.T) {
	seen := make(map[KeySet]bool)
	for _, s := range KeySets() {
		if s == 0 || seen[s] || Keys(s.Types()...) != s {
			t.Errorf("%08b: %v", s, s.Types())
		}
		seen[s] = true
	}
	if len(seen) != 15 || !seen[Keys(keyPreference[:]...)] {
		t.Errorf("%d sets", len(seen))
	}
}
