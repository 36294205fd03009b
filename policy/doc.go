// Package policy decides which TLS version, cipher suite, group and kind of
// certificate a connection gets, and names the reason when it gets none.
//
// A [Policy] is an ordered list of cipher suites for each TLS version, and of
// key exchange groups. [Policy.Bind] narrows it to what one listener can
// really serve with its certificates and engines, and says what fell away.
// [Policy.Select] then holds a client's [Offer] against it, and
// [Policy.Explain] says how, and what would let in a client that is refused.
//
// The [Catalogue] has the policies that come with the gateway, under names that
// keep their meaning. [AssessRFC9325] is the RFC's word on a suite, and [Diff]
// says what sets two policies apart. Everything here is a pure function of its
// arguments: no clock, no I/O, no net.
package policy
