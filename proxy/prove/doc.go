// Package prove holds what a listener answers against what its policy says: it
// asks with every version, suite and group, one hello for each, and reads no
// further than to where it is settled who is let in with what. What came of it
// is [Evidence] that can be kept.
package prove
