package configs

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

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
	const longest, candidates = 64, 1000 // bounds the work on absurd files
	if len(name) > longest {
		return ""
	}
	name = strings.ToLower(name)
	// Two changes are two letters that changed places; in three letters that
	// would be a guess.
	best, bestDistance := "", 1+max(len(name)/3, min(2, len(name)/2))
	for _, k := range known[:min(len(known), candidates)] {
		if len(k) > longest {
			continue
		}
		lower := strings.ToLower(k)
		d := levenshtein.ComputeDistance(name, lower)
		if len(name) >= 3 && strings.HasPrefix(lower, name) {
			d = 1 // cut short
		}
		if d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}
