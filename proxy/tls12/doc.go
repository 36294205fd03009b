// Package tls12 is a TLS 1.2 server (RFC 5246) for the cipher suites that
// crypto/tls does not have, or has without countermeasures: DHE_RSA with
// AES-GCM and AES-CBC, ECDHE_RSA and RSA with AES-CBC and SHA-256 or SHA-384.
//
// Its API has the shape of crypto/tls's, and its names where they mean the
// same.
package tls12
