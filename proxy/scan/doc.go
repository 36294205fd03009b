// Package scan finds out from outside what a TLS server accepts: which versions,
// which cipher suites of each and in whose order, what certificates it has, and
// what else it says.
//
// It needs no implementation of what it asks for. A hello is made by hand and
// offers suites by their numbers, all that IANA has registered; the server
// names the one it has chosen, that one is left out of the next hello, and so
// on until the server refuses what is left. TLS 1.3 is asked without a key
// share: a HelloRetryRequest names suite and group, and nothing has to be
// calculated. A server that takes that for a mistake gets shares.
//
// What a TLS 1.3 server says behind its hello is encrypted (RFC 8446 §2). For that
// alone keys are exchanged, in groups and with suites that the server is known to
// accept, and its flight is read as far as its certificate. No handshake is
// finished, and nothing is verified.
//
// Suites that are bound to more than a hello, a user's name for SRP, a key of
// GOST, may be accepted and look as if they were refused.
package scan
