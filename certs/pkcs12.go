package certs

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	pkcs12 "software.sslmate.com/src/go-pkcs12"
)

// readPKCS12 reads a bundle (RFC 7292) of one key and its chain, as
// `openssl pkcs12 -export` and Java's keytool write them. The chain starts
// with the certificate of the key, whatever the order in the file.
func readPKCS12(path string, p password) ([]*x509.Certificate, crypto.Signer, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, nil, err
	}
	if block, _ := pem.Decode(data); block != nil {
		return nil, nil, fmt.Errorf("%s: not PKCS #12 but PEM", path)
	}
	if bytes.HasPrefix(data, []byte{0xFE, 0xED, 0xFE, 0xED}) {
		return nil, nil, fmt.Errorf("%s: not PKCS #12 but a Java keystore of the older kind: convert it with keytool -importkeystore -deststoretype PKCS12", path)
	}
	private, first, others, err := pkcs12.DecodeChain(data, string(p.text))
	var unsupported pkcs12.NotImplementedError
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		if !p.given() {
			return nil, nil, fmt.Errorf("%s: the bundle has a password, and the configuration has neither password_file nor password_env", path)
		}
		return nil, nil, errWrongPassword
	case errors.As(err, &unsupported):
		return nil, nil, fmt.Errorf("%s: %w", path, unsupported)
	case err != nil: // not shown: see readKey
		return nil, nil, fmt.Errorf("%s: malformed, or not PKCS #12 with one key and its certificates", path)
	}
	key, ok := private.(crypto.Signer)
	if !ok {
		return nil, nil, fmt.Errorf("%s: the key cannot sign", path)
	}
	chain := chainOf(key, append([]*x509.Certificate{first}, others...))
	if chain == nil {
		return nil, nil, fmt.Errorf("%s: none of its certificates is that of its key", path)
	}
	return chain, key, nil
}

// chainOf returns the certificate of a key and the issuers above it, as far
// as they are among certs; nil without the first. Keystores hold others too,
// and some twice.
func chainOf(key crypto.Signer, certs []*x509.Certificate) []*x509.Certificate {
	var chain []*x509.Certificate
	pub, _ := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	isNext := func(c *x509.Certificate) bool {
		if len(chain) == 0 {
			return pub != nil && pub.Equal(c.PublicKey)
		}
		child := chain[len(chain)-1]
		return bytes.Equal(child.RawIssuer, c.RawSubject) && !slices.ContainsFunc(chain, c.Equal) &&
			(len(child.AuthorityKeyId) == 0 || len(c.SubjectKeyId) == 0 || bytes.Equal(child.AuthorityKeyId, c.SubjectKeyId))
	}
	for {
		next := slices.IndexFunc(certs, isNext)
		if next < 0 {
			return chain
		}
		chain = append(chain, certs[next])
	}
}
