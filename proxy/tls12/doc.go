// Package tls12 is a TLS 1.2 server (RFC 5246) for cipher suites that old
// clients have and crypto/tls does not, or has without countermeasures:
//
//	DHE_RSA    with AES-128-GCM and AES-256-GCM
//	DHE_RSA    with AES-128-CBC and AES-256-CBC, HMAC-SHA1 and HMAC-SHA256
//	ECDHE_RSA  with AES-128-CBC and HMAC-SHA256, AES-256-CBC and HMAC-SHA384
//	RSA        with AES-128-CBC and AES-256-CBC, HMAC-SHA256
//
// Its API has the shape of crypto/tls's, and its names where they mean the
// same. It speaks no other version. [Client] is the other side, for measuring
// servers and for tests: nothing below is said of it.
//
// # Why these suites are off unless they are named
//
// RFC 9325 advises against RSA key exchange, which has no forward secrecy, and
// against DHE, for the fragility of its constructions (§4.1); it recommends
// none of the suites above (§4.2). They are here for devices that will not be
// updated, behind a policy that names them. Whoever has none of these does
// better without.
//
// # Known attacks
//
// Bleichenbacher (1998), ROBOT (2017), and their successors ask a server
// whether an RSA ciphertext is well padded. Here nothing tells: a premaster
// secret that is wrong in padding, length or version is replaced by a random
// one in constant time, and the handshake ends where any wrong secret ends it,
// at the client's Finished (RFC 5246 §7.4.7.1).
//
// Vaudenay's padding oracle (2002) and Lucky 13 (2013): bad padding and bad MAC
// are one alert, in a time that depends on the record's length alone. How that
// is done, what was measured and what remains stands at cbcPaddedOpener. With
// encrypt-then-MAC (RFC 7366), which is used whenever a client offers it, no
// padding is looked at before the MAC was good. POODLE against TLS (2014) needs
// padding bytes that nobody checks: every one is checked.
//
// BEAST (2011) needs a predictable IV: each record has a random one of its own.
//
// Raccoon (2020) measures how many leading zeros were stripped from a DH
// secret, many times over against one key: here every handshake has a fresh
// one, which is forgotten behind ClientKeyExchange. (With one key all the same,
// BenchmarkTimingDHE found |t| 2.0 in 100,000 measurements.) Logjam (2015) breaks
// groups of 512 and 1024 bits: the groups are RFC 7919's, from 2048 bits up,
// and no other can be configured. Public values outside of 1 < Y < p−1 are
// refused, and the primes are safe, so there are no small subgroups to be
// confined to.
//
// Triple handshake (2014): the extended master secret (RFC 7627) binds a session
// to its handshake, is used whenever a client offers it, and a session that has
// it is never resumed without. Renegotiation, which the attack and its
// predecessor (2009) need, is refused; renegotiation_info (RFC 5746) is answered.
//
// SLOTH (2016) needs signatures over MD5 or SHA-1 transcripts: there is no MD5,
// and SHA-1 is used for ServerKeyExchange only where [Config.SHA1Signatures]
// allows it, and never accepted in CertificateVerify.
//
// Downgrades: FALLBACK_SCSV is heeded (RFC 7507), and the random carries the
// marker of RFC 8446 §4.1.3 where the listener speaks TLS 1.3. CRIME (2012): there
// is no compression. Sweet32 (2016): there are no 64-bit blocks.
//
// # What was not done
//
// RSA key exchange has no forward secrecy, whatever the implementation does.
// Session tickets put off the forward secrecy of the others until the ticket
// key is gone ([TicketKeys]). Where the processor has no AES instructions,
// crypto/aes looks up tables, and other tenants of the machine's caches may
// learn from that. crypto/rsa and bigmod are constant-time by construction, not
// by measurement of ours. Nothing hides the length of what is sent: padding is
// the least that there can be.
package tls12
