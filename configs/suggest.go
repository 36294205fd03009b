package configs

import "strings"

// unknown says that there is no such name, and which one may have been meant:
// `unknown upstream "rabit"; did you mean "rabbit"?`.
func unknown(kind, name string, known []string) string {
	msg := "unknown " + kind + " " + quote(name)
	if near := closest(name, known); near != "" {
		return msg + "; did you mean " + quote(near) + "?"
	}
	switch {
	case len(known) == 0:
		return msg + ": there are none"
	case len(known) <= 12:
		return msg + "; known: " + strings.Join(known, ", ")
	}
	return msg
}

// closest returns the known name that is most like name, or "" if none is
// like it at all.
func closest(name string, known []string) string {
	const longest, most = 64, 1000 // bounds the work on absurd files
	if len(name) > longest {
		return ""
	}
	name = strings.ToLower(name)
	best, bestDistance := "", 1+max(1, len(name)/3)
	for _, k := range known[:min(len(known), most)] {
		if len(k) > longest {
			continue
		}
		lower := strings.ToLower(k)
		d := distance(name, lower)
		if len(name) >= 3 && strings.HasPrefix(lower, name) {
			d = 1 // cut short
		}
		if d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour to turn a into b (optimal string alignment).
func distance(a, b string) int {
	prev2 := make([]int, len(b)+1)
	prev := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[len(b)]
}
