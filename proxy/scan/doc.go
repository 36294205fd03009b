// Package scan finds out from outside what a TLS server accepts: which versions,
// which cipher suites of each and in whose order, and what else it says in the
// clear.
//
// It needs no implementation of what it asks for. A hello is made by hand and
// offers suites by their numbers, all that IANA has registered; the server
// names the one it has chosen, that one is left out of the next hello, and so
// on until the server refuses what is left. TLS 1.3 is asked without a key
// share: a HelloRetryRequest names suite and group, and nothing has to be
// calculated. No handshake is finished.
//
// What a server does not say in the clear is not known: in TLS 1.3, everything
// behind its hello. Suites that are bound to more than a hello, a user's name
// for SRP, a key of GOST, may be accepted and look as if they were refused.
package scan
