package policy

import "slices"

// Difference is what sets one policy apart from another. Names do not count:
// an alias and what it stands for are the same.
type Difference struct {
	Versions ListDifference `json:"versions"`
	TLS13    ListDifference `json:"tls13"`
	TLS12    ListDifference `json:"tls12"` // in the order of preference, not of publication
	Groups   ListDifference `json:"groups"`
}

// ListDifference is what became of a list in order of preference.
type ListDifference struct {
	Removed []string `json:"removed"` // in the order of the first list
	Added   []string `json:"added"`   // in the order of the second
	Moved   []Move   `json:"moved"`   // as few as explain the new order of what both have
}

// Move is an item of two lists whose place among what both have differs.
type Move struct {
	Name string `json:"name"`
	From int    `json:"from"` // its place in the first list, from 1
	To   int    `json:"to"`   // its place in the second
}

// Empty reports whether the two policies are the same to every client.
func (d *Difference) Empty() bool {
	return d.Versions.Empty() && d.TLS13.Empty() && d.TLS12.Empty() && d.Groups.Empty()
}

// Empty reports whether the two lists are the same.
func (d *ListDifference) Empty() bool { return len(d.Removed)+len(d.Added)+len(d.Moved) == 0 }

// Diff compares two policies. No slice of what it returns is nil.
func Diff(before, after *Policy) *Difference {
	return &Difference{
		Versions: diffLists(before.versions(), after.versions(), Version.String),
		TLS13:    diffLists(before.TLS13, after.TLS13, Suite.String),
		TLS12:    diffLists(before.preference(), after.preference(), Suite.String),
		Groups:   diffLists(before.Groups, after.Groups, Group.String),
	}
}

func diffLists[T comparable](before, after []T, name func(T) string) ListDifference {
	d := ListDifference{Removed: []string{}, Added: []string{}, Moved: []Move{}}
	var common []T // in the order of after
	for _, item := range after {
		if slices.Contains(before, item) {
			common = append(common, item)
		} else {
			d.Added = append(d.Added, name(item))
		}
	}
	from := make([]int, len(common))
	for i, item := range common {
		from[i] = slices.Index(before, item)
	}
	for _, item := range before {
		if !slices.Contains(after, item) {
			d.Removed = append(d.Removed, name(item))
		}
	}
	stays := longestRise(from)
	for i, item := range common {
		if !stays[i] {
			d.Moved = append(d.Moved, Move{name(item), from[i] + 1, slices.Index(after, item) + 1})
		}
	}
	return d
}

// longestRise marks the places of a longest subsequence that rises. Everything
// else has to move for the whole to rise. The values must differ.
func longestRise(values []int) []bool {
	marked := make([]bool, len(values))
	if len(values) == 0 {
		return marked
	}
	length := make([]int, len(values))   // of the longest one that ends here
	previous := make([]int, len(values)) // the place before, in it
	best := 0
	for i := range values {
		length[i], previous[i] = 1, -1
		for j := range i {
			if values[j] < values[i] && length[j] >= length[i] {
				length[i], previous[i] = length[j]+1, j
			}
		}
		if length[i] > length[best] {
			best = i
		}
	}
	for i := best; i >= 0; i = previous[i] {
		marked[i] = true
	}
	return marked
}
