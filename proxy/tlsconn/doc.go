// Package tlsconn is a TLS server for versions 1.2 (RFC 5246) and 1.3 (RFC 8446),
// with every cipher suite that a policy of the gateway can name: 24 of TLS 1.2,
// from ECDHE with AES-GCM down to RSA key exchange with CBC, and three of TLS 1.3.
//
// A [Conn] speaks the one version of its [Config], with the suites, groups and
// certificates there. Between versions nothing is negotiated: who uses the package
// has read the ClientHello before. Its API has the shape of crypto/tls's, and its
// names where they mean the same. [Client] is the other side of TLS 1.2, for
// measuring servers and for tests: nothing below is said of it.
//
// # Why it exists beside crypto/tls
//
// crypto/tls lacks DHE, AES-256-CBC with SHA-256 and SHA-384, and encrypt-then-MAC
// (RFC 7366); CBC with SHA-256 it has without countermeasures to Lucky 13. It takes the
// suites of TLS 1.3 from one list for the whole process, says bad_certificate whatever
// is wrong with a client's certificate, refuses a client that sends early data with
// another server's ticket, names no lifetime in tickets of TLS 1.2, which Java then
// throws away, and keeps the buffer of its longest record for as long as a connection
// lasts. What is left to it is FIPS 140-3 mode, where no code but the module's may do
// cryptography: this package ends every handshake there ([ErrFIPS]).
//
// The algorithms are those of Go's crypto and golang.org/x/crypto, with X25519 of
// cloudflare/circl where that is assembler, and DHE on filippo.io/bigmod. The code of
// this package is the protocol, and what is constant-time about CBC, DHE and RSA key
// exchange.
//
// # Which suites are off unless they are named
//
// RFC 9325 advises against RSA key exchange, which has no forward secrecy, and
// against DHE, for the fragility of its constructions (§4.1), and against CBC unless
// with encrypt-then-MAC (§4.2). These suites are here for devices that will not be
// updated, behind a policy that names them. Whoever has none of these does better
// without.
//
// # Known attacks on TLS 1.2
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
// encrypt-then-MAC, which is used whenever a client offers it, no padding is looked
// at before the MAC was good. POODLE against TLS (2014) needs padding bytes that
// nobody checks: every one is checked.
//
// BEAST (2011) needs a predictable IV: each record has a random one of its own.
//
// Nonces of AES-GCM that repeat (2016) give the key away: the explicit part is the
// sequence number, which does not wrap.
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
// CRIME (2012): there is no compression. Sweet32 (2016): there are no 64-bit blocks.
//
// # Known attacks on TLS 1.3, and on both
//
// Downgrades: a ServerHello of TLS 1.2 from a listener that speaks TLS 1.3 carries
// the marker of RFC 8446 §4.1.3 in its random, and FALLBACK_SCSV is heeded (RFC
// 7507). In TLS 1.3 the transcript has both hellos, and a second one after
// HelloRetryRequest has to be the first again, with one share of the group that was
// asked for (§4.1.2).
//
// Replay: early data is not accepted, whatever ticket it comes with; it is dropped,
// 64 KiB of it, and never shown (§4.2.10). Our tickets allow none.
//
// Resumption: a ticket is taken only with psk_dhe_ke, so that each session has a key
// exchange of its own (§4.2.9), and only after its binder was compared, in constant
// time (§4.2.11.2). A binder that is wrong ends the handshake. Five tickets of a
// client are looked at. In both versions a ticket opens under its [TicketKeys] and
// its [Config.SessionContext] alone, which the gateway makes different for each
// policy, client authentication and identity of the certificate; the server name has
// to be the same, and the age of the full handshake below [Config.TicketLifetime],
// whatever happened since: a resumed session does not live longer. A ticket brings
// the client's certificates along, and [Config.VerifySession] judges them anew. One
// of TLS 1.2 is none of TLS 1.3.
//
// Public keys of low order, points off the curve and encapsulation keys that are not
// reduced are refused (§7.4.2, RFC 8422 §5.11, FIPS 203 §7.2). Each handshake has fresh
// keys.
//
// Records: the padding of TLS 1.3 is taken off after the tag was good (§5.4), and
// ours is none. Where keys change, the message before has to end its record (§5.1),
// so that nothing is put under the wrong protection. What has to be protected is
// refused where it is not, but for an alert until the handshake has ended: OpenSSL
// says in the clear that it does not trust our certificate. What a network can do with
// that is end the handshake, as it can anyhow.
//
// Limits of keys (§5.5): after 2^24 records in our direction of TLS 1.3 a KeyUpdate
// changes the key. The client's is its own to look after; we follow each of its
// updates, and owe one answer at most, which is sent before the next data.
//
// Floods: more than 16 records in a row that bring nothing (warnings, empty ones,
// KeyUpdate, ChangeCipherSpec for middleboxes) end a connection. A handshake message
// has at most 64 KiB, and all of a client's messages together four times that; nothing
// is allocated by a length from the wire before it was held against these.
//
// Middleboxes: session_id is echoed and ChangeCipherSpec sent where the client asks
// for it by a session_id, and its own is ignored in a handshake (§5, appendix D.4).
//
// Selfie (2019) and other attacks on keys that both sides share need external
// pre-shared keys: there are none. Client certificates after the handshake are not
// asked for.
//
// # What was not done
//
// RSA key exchange has no forward secrecy, whatever the implementation does.
// Session tickets of TLS 1.2 put off the forward secrecy of the others until the
// ticket key is gone ([TicketKeys]); in TLS 1.3 they do so for no payload.
//
// A ticket can be used several times, and whoever sees that can link the connections
// (RFC 8446 appendix C.4): a client gets one new ticket with each handshake of TLS 1.3,
// and should use each once. There is no Encrypted Client Hello.
//
// Where the processor has no AES instructions, crypto/aes looks up tables, and other
// tenants of the machine's caches may learn from that. crypto/rsa, crypto/ecdh,
// crypto/mlkem, bigmod and circl's X25519 are constant-time by construction, not by
// measurement of ours. Keys are dropped, and not wiped: Go moves and copies.
//
// Keys of TLS 1.2 cannot be changed within a connection: there is no KeyUpdate, and
// the limit of AES-GCM is not held (2^24.5 records of full size, some 360 GiB).
// Nothing hides the length of what is sent: padding is the least that there can be.
package tlsconn
