// Package clienthello reads a TLS ClientHello off a connection, whole and
// strictly, before anything is decided about it, and gives the bytes back to
// whoever shall answer it.
//
// # Reading
//
// [Read] gathers the message over as many records and TCP segments as it comes
// in. It takes memory for bytes that have arrived, never for a length that was
// announced, and keeps at most twice the limit it was given: the message, and
// as much again for the headers of the records that carry it. (The message is
// copied out for the time of parsing if there are several.) What follows the
// hello in the same segment, a TLS 1.3 client's change_cipher_spec and early
// data for instance, is kept and replayed behind it.
//
// What cannot be TLS is refused at the first byte that shows it, and named if
// the bytes at hand tell what it is: see [NotTLSError]. Every error is a
// [Refusal], which says how to log it, and what to tell the client.
//
// # Parsing
//
// [Parse] is strict: a hello that breaks a rule its sender was bound to is
// refused whole, so that a policy never decides on half a hello, and so that no
// two readers of the same bytes (this package, and the engine that answers) can
// see two different offers. It refuses everything that crypto/tls refuses before
// it negotiates, and where both accept, they read the same; tests and fuzzing
// hold it to that.
//
// Beyond crypto/tls, which either never checks these rules or only once it has
// negotiated a version that needs them, it refuses:
//
//   - a message, header included, of more than the limit; crypto/tls allows
//     four bytes more than 64 KiB;
//   - more bytes on the wire than twice the limit: records of a few bytes each;
//   - a major record version other than 3 (RFC 5246 appendix E.1);
//   - alerts in front of the hello, and other handshake bytes behind it in the
//     same record (RFC 8446 §5.1);
//   - a session ID of more than 32 bytes, an empty list of cipher suites, an
//     empty list of compression methods or one without null (RFC 5246
//     §7.4.1.2);
//   - a host name that has other characters than names and addresses have, or
//     more than 255 bytes, and a second name of a type other than host_name
//     (RFC 6066 §3); IP addresses, which RFC 6066 forbids too, pass, because
//     mosquitto and other MQTT clients send them;
//   - a status_request with an empty or badly framed responder ID (RFC 6066 §8);
//   - contents in encrypt_then_mac (RFC 7366 §2);
//   - ec_point_formats without uncompressed beside an elliptic curve (RFC 8422
//     §5.1.2);
//   - a renegotiation_info that is not empty (RFC 5746 §3.6);
//   - an empty list of PSK modes, binders of less than 32 bytes, and binders
//     that are not as many as the identities (RFC 8446 §4.2.9, §4.2.11);
//   - two key shares for one group, and a key share for a group that
//     supported_groups does not list (RFC 8446 §4.2.8);
//   - an encrypted_client_hello that is empty, has no payload or goes on after
//     it (RFC 9849 §5);
//   - a hello that offers TLS 1.3 with a compression method, with a legacy
//     version of SSL 3.0 or older, with a PSK and no PSK modes, with
//     supported_groups or key_share but not both, or with no PSK and without
//     signature_algorithms or supported_groups (RFC 8446 §4.1.2, §4.2.9, §9.2,
//     appendix D.5).
//
// What the package does not judge is what a policy is for: versions, suites,
// groups and schemes are listed as they came, old, unknown and GREASE ones
// (RFC 8701) included. Extensions that the gateway does not use are taken for
// opaque; only their framing and their being there once is checked.
package clienthello
