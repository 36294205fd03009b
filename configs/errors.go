package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pos is where something stands in a file.
type Pos struct {
	File   string
	Line   int // from 1; 0 for the file as a whole
	Column int // from 1, in characters
}

// String is file:line:col.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Error is one mistake in a file.
type Error struct {
	Pos    Pos
	Reason string
}

// Error is "file:line:col: reason".
func (e Error) Error() string { return e.Pos.String() + ": " + e.Reason }

// Errors are all mistakes of a file.
type Errors []Error

// Error is every mistake on a line of its own.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives errors.As and errors.Is the single mistakes.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}

// Sort sorts by position, and keeps the order of mistakes at the same place.
func (e Errors) Sort() {
	slices.SortStableFunc(e, func(a, b Error) int {
		return cmp.Or(
			cmp.Compare(a.Pos.File, b.Pos.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
}

// maxErrors is how many mistakes are listed: more than anyone reads, and few
// enough that a file full of them costs little.
const maxErrors = 200

// collector gathers mistakes, each once: one inside an anchored value is found
// again at every alias.
type collector struct {
	errs Errors
	seen map[Error]bool
}

// full says that looking for more is of no use.
func (c *collector) full() bool { return len(c.errs) > maxErrors }

func (c *collector) add(pos Pos, format string, args ...any) {
	err := Error{pos, fmt.Sprintf(format, args...)}
	if c.full() || c.seen[err] {
		return
	}
	if len(c.errs) == maxErrors {
		err.Reason = fmt.Sprintf("more than %d mistakes; from here on they are not all listed", maxErrors)
	}
	if c.seen == nil {
		c.seen = map[Error]bool{}
	}
	c.seen[err] = true
	c.errs = append(c.errs, err)
}

// quote quotes what a person typed, cut to a readable length, and before what
// may be a private key. What looks like another secret is not shown.
func quote(s string) string {
	const limit = 64 // characters
	if instead, ok := hidden(s); ok {
		return instead
	}
	if at := strings.Index(s, pemBegin); at >= 0 {
		return quote(s[:at] + "(PEM)")
	}
	n := 0
	for i := range s {
		if n++; n > limit {
			return fmt.Sprintf("%q…", s[:i])
		}
	}
	return fmt.Sprintf("%q", s)
}
