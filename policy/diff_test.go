package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiff(t *testing.T) {
	list := func(removed, added []string, moved ...Move) ListDifference {
		d := ListDifference{Removed: []string{}, Added: []string{}, Moved: []Move{}}
		d.Removed, d.Added = append(d.Removed, removed...), append(d.Added, added...)
		d.Moved = append(d.Moved, moved...)
		return d
	}
	same := list(nil, nil)
	base := mustNew(t, []string{"ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256", "AES128-SHA"},
		[]string{"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"}, []string{"X25519", "P-256"})
	tests := []struct {
		name  string
		after *Policy
		want  Difference
	}{
		{"itself", base, Difference{same, same, same, same}},
		{
			"added and removed",
			mustNew(t, []string{"ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"},
				[]string{"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"}, []string{"P-256"}),
			Difference{same, same,
				list([]string{"TLS_RSA_WITH_AES_128_CBC_SHA"}, []string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}),
				list([]string{"X25519"}, nil)},
		},
		{
			"one suite moved, whatever came in between",
			mustNew(t, []string{"AES128-SHA", "AES256-SHA", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"},
				[]string{"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"}, []string{"X25519", "P-256"}),
			Difference{same, same,
				list(nil, []string{"TLS_RSA_WITH_AES_256_CBC_SHA"}, Move{"TLS_RSA_WITH_AES_128_CBC_SHA", 3, 1}),
				same},
		},
		{
			"a version gone, groups turned round",
			mustNew(t, nil, []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"}, []string{"P-256", "X25519"}),
			Difference{
				list([]string{"TLSv1.2"}, nil),
				list(nil, nil, Move{"TLS_AES_256_GCM_SHA384", 1, 2}),
				list([]string{"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA"}, nil),
				list(nil, nil, Move{"X25519", 1, 2}),
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := Diff(base, test.after)
			if diff := cmp.Diff(&test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Empty() != (test.after == base) {
				t.Errorf("Empty() = %t", got.Empty())
			}
		})
	}
}

// The order of preference counts, not that of publication; and not the name.
func TestDiffOfAliasAndOrder(t *testing.T) {
	alias, dated := mustBuiltin(t, "activemq"), mustBuiltin(t, "activemq-2020-09")
	if d := Diff(alias, dated); !d.Empty() {
		t.Errorf("an alias differs from what it stands for: %+v", d)
	}
	written := &Policy{TLS12: dated.TLS12, TLS13: dated.TLS13, Groups: dated.Groups}
	if d := Diff(dated, written); len(d.TLS12.Moved) == 0 {
		t.Error("the published order is not the preference, and nothing has moved")
	}
}

// What is said to have moved explains the new order, and less would not.
func TestLongestRise(t *testing.T) {
	for _, test := range []struct {
		values []int
		want   int
	}{
		{nil, 0}, {[]int{7}, 1}, {[]int{0, 1, 2}, 3}, {[]int{2, 1, 0}, 1}, {[]int{3, 0, 1, 2}, 3}, {[]int{1, 0, 3, 2, 5, 4}, 3},
	} {
		last, count := -1, 0
		for i, marked := range longestRise(test.values) {
			if !marked {
				continue
			}
			if test.values[i] <= last {
				t.Errorf("%v: what is marked does not rise", test.values)
			}
			last = test.values[i]
			count++
		}
		if count != test.want {
			t.Errorf("%v: %d marked, want %d", test.values, count, test.want)
		}
	}
}
