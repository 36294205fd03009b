// Package load puts load on a TLS gateway, or on any TLS server, and measures
// what it does: handshakes a second, bytes a second, round trips of small
// frames, messages through a broker, and idle connections. It is what "suitegate
// bench" runs.
//
// # What is measured, and from where
//
// A handshake's latency is from its beginning, the TCP connect, to the end of
// the TLS handshake on the client's side. With TLS 1.3 a client is done before
// the server has seen its last message, so where the server has something to
// judge there (a client certificate) or something to do (dial a broker), have a
// byte echoed: [HandshakeOptions].Echo.
//
// In a closed loop each worker begins a handshake when its last one has ended.
// That finds out how many a server does, and is wrong about how long they take
// for clients that do not wait for each other: while the server stalls, the
// workers ask nothing of it ("coordinated omission"). In an open loop
// ([HandshakeOptions].Rate) handshakes are due at fixed times, whatever became of
// the earlier ones, and latency counts from when each was due.
//
// Every suite of TLS 1.2 that the gateway has can be asked for: those that
// crypto/tls lacks are spoken by [tlsconn.Client]. The suite of TLS 1.3 is the
// server's choice; that it is the wanted one is checked.
//
// # Who is measured
//
// A client that is slower than the server measures itself. Every result says how
// much processor time this process took, and LimitedByClient with the reasons
// where the figures are the client's: it used nearly all of the processor time
// that it may, or it began handshakes later than they were due. Where client and
// server share a machine, compare the processor time of the server's process
// (PID) rather than rates.
package load
