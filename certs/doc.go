// Package certs keeps the certificates that listeners serve: read from files,
// and again when those change, or issued by a root of its own. It stands on
// certmagic: issuance, renewal, storage and locking are certmagic's, and only the
// choice among the certificates is ours.
//
// The choice has to be: crypto/tls and certmagic both ask
// [crypto/tls.ClientHelloInfo.SupportsCertificate], which refuses an RSA
// certificate when the client offers only cipher suites that crypto/tls does
// not implement. [Store.Select] is told the key type by the policy instead.
//
// # Network
//
// OCSP responses are fetched for certificates that name a responder, and
// certificates from the authorities of ACME sources. Nothing else here opens a
// connection.
//
// # Storage
//
// The storage directory holds, in certmagic's layout, the self-signed root
// (authority/), the leaves it issued (certificates/) and locks (locks/), and
// beside them root.pem, the copy of the root that clients are given to trust.
// Directories are made with mode 0700 and files with 0600. A fleet can have the
// same in Redis instead. Package seal encrypts what of that is secret.
//
// certmagic's locks tolerate a rare failure of mutual exclusion, and so must all
// work that is done under one here: it looks again at what is there once it has
// the lock, and doing it twice does no harm. A lock ends with its holder: at once
// on a file system, within ten seconds in Redis.
package certs
