package policy

// KeySet is a set of kinds of keys. Its zero value is empty.
type KeySet uint8

// Keys returns the set of some kinds. NoKey is in none.
func Keys(kinds ...KeyType) KeySet {
	var s KeySet
	for _, k := range kinds {
		if k != NoKey {
			s |= 1 << (k - 1)
		}
	}
	return s
}

// KeySets returns every set that is not empty.
func KeySets() []KeySet {
	var sets []KeySet
	for s := KeySet(1); s < 1<<len(keyPreference); s++ {
		sets = append(sets, s)
	}
	return sets
}

// Has reports whether a kind is in the set.
func (s KeySet) Has(k KeyType) bool { return s&Keys(k) != 0 }

// Types are the kinds in the set, in the order in which keys are tried where
// the suite leaves the choice.
func (s KeySet) Types() []KeyType {
	var types []KeyType
	for _, k := range keyPreference {
		if s.Has(k) {
			types = append(types, k)
		}
	}
	return types
}
