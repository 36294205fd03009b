package certs

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/suitegate/suitegate/policy"
)

const (
	// maxPEM is how much of a file is read, in bytes: a chain of a hundred
	// large certificates fits.
	maxPEM = 1 << 20

	// minRSABits: RFC 9325 section 4.5. OpenSSL at its default security
	// level 2, Java and browsers refuse shorter keys, so that serving one
	// would only move the error to every client.
	minRSABits = 2048
)

// keyPair is a certificate chain with its key.
type keyPair struct {
	tls.Certificate
	key policy.KeyType
}

// fileSource is a certificate that is read from files.
type fileSource struct {
	entry string
	pair  *keyPair

	cache *certmagic.Cache
	place cached
}

func newFileSource(name string, files Files, logger *slog.Logger) (source, []error) {
	pair, errs := readFiles(name, files, logger)
	if len(errs) > 0 {
		return nil, errs
	}
	return &fileSource{entry: name, pair: pair}, nil
}

func (f *fileSource) name() string                 { return f.entry }
func (f *fileSource) keyTypes() []policy.KeyType   { return []policy.KeyType{f.pair.key} }
func (f *fileSource) writes() bool                 { return false }
func (f *fileSource) certificates() []*Certificate { return findAll(f.cache, []*cached{&f.place}) }

func (f *fileSource) open(ctx context.Context, s *Store) error {
	config := certmagic.New(s.cache, s.newConfig(f.entry))
	// No tags: certmagic appends to those of a certificate that two sources share.
	hash, err := config.CacheUnmanagedTLSCertificate(ctx, f.pair.Certificate, nil)
	if err != nil {
		return &SourceError{Source: f.entry, Field: "files.certificate", Err: err}
	}
	f.cache = s.cache
	f.place = cached{
		source: f.entry,
		key:    f.pair.key,
		lookup: cacheName(f.pair.Leaf),
		holds:  func(cert certmagic.Certificate) bool { return cert.Hash() == hash },
	}
	return nil
}

// readFiles reads a chain and its key. The errors are the *SourceErrors of
// both files. What is odd but can be served is logged: an expired
// certificate, too, because a restart must not turn one expired certificate
// into an outage of every listener; clients will say what they think of it.
func readFiles(source string, files Files, logger *slog.Logger) (*keyPair, []error) {
	chain, certErr := readChain(files.Certificate)
	var kind policy.KeyType
	if certErr == nil {
		kind, certErr = judgeLeaf(chain[0])
		if certErr != nil {
			certErr = fmt.Errorf("%s: %w", files.Certificate, certErr)
		}
	}
	key, keyErr := readKey(files.Key)
	if certErr == nil && keyErr == nil {
		if err := matchKey(chain, key); err != nil {
			keyErr = fmt.Errorf("%s: %w", files.Key, err)
		}
	}
	var errs []error
	if certErr != nil {
		errs = append(errs, &SourceError{Source: source, Field: "files.certificate", Err: certErr})
	}
	if keyErr != nil {
		errs = append(errs, &SourceError{Source: source, Field: "files.key", Err: keyErr})
	}
	if len(errs) > 0 {
		return nil, errs
	}

	warnAboutChain(chain, logger)
	warnAboutMode(files.Key, logger)
	pair := &keyPair{key: kind}
	pair.PrivateKey = key
	pair.Leaf = chain[0]
	for _, c := range chain {
		pair.Certificate.Certificate = append(pair.Certificate.Certificate, c.Raw)
	}
	return pair, nil
}

// readPEM returns the PEM blocks of a file, at least one.
func readPEM(path string) ([]*pem.Block, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxPEM {
		return nil, fmt.Errorf("%s: longer than %d bytes", path, maxPEM)
	}
	var blocks []*pem.Block
	for rest := data; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		blocks = append(blocks, block)
	}
	switch {
	case len(blocks) > 0:
		return blocks, nil
	case len(data) == 0:
		return nil, fmt.Errorf("%s: empty", path)
	case data[0] == 0x30: // SEQUENCE, as DER certificates and PKCS #12 begin
		return nil, fmt.Errorf("%s: not PEM but binary (DER or PKCS #12?)", path)
	}
	return nil, fmt.Errorf("%s: not PEM", path)
}

// blockTypes lists what a file holds instead of what was looked for.
func blockTypes(blocks []*pem.Block) string {
	var types []string
	for _, b := range blocks {
		if t := fmt.Sprintf("%q", b.Type); !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	return strings.Join(types, ", ")
}

func readChain(path string) ([]*x509.Certificate, error) {
	blocks, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for _, b := range blocks {
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", path, len(chain)+1, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s: no certificate in it, only %s", path, blockTypes(blocks))
	}
	return chain, nil
}

// judgeLeaf returns the key type of a certificate that can be served.
func judgeLeaf(leaf *x509.Certificate) (policy.KeyType, error) {
	if cacheName(leaf) == "" {
		return policy.NoKey, errors.New("the certificate has no name, neither alternative nor common")
	}
	kind := keyTypeOf(leaf.PublicKey)
	if kind == policy.NoKey {
		return policy.NoKey, fmt.Errorf("%s key is not supported (RSA, ECDSA P-256, ECDSA P-384 and Ed25519 are)", describeKey(leaf.PublicKey))
	}
	if pub, ok := leaf.PublicKey.(*rsa.PublicKey); ok && pub.N.BitLen() < minRSABits {
		return policy.NoKey, fmt.Errorf("the RSA key has %d bits, and clients refuse less than %d", pub.N.BitLen(), minRSABits)
	}
	return kind, nil
}

// keyTypeOf is the type of a public key, NoKey for those that no policy knows.
func keyTypeOf(pub crypto.PublicKey) policy.KeyType {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return policy.RSA
	case ed25519.PublicKey:
		return policy.Ed25519
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
			return policy.ECDSAP256
		case elliptic.P384():
			return policy.ECDSAP384
		}
	}
	return policy.NoKey
}

// describeKey says what a public key is, for errors.
func describeKey(pub crypto.PublicKey) string {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", pub.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + pub.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	case nil: // crypto/x509 does not know the algorithm
		return "this type of"
	}
	return strings.TrimPrefix(strings.TrimSuffix(fmt.Sprintf("%T", pub), ".PublicKey"), "*")
}

// fingerprint is the beginning of the SHA-256 of a public key, as
// `openssl pkey -pubout -outform der | sha256sum` prints it.
func fingerprint(pub crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "unknown"
	}
	sum := sha256.Sum256(der)
	return fmt.Sprintf("%x", sum[:8])
}

// readKey reads the first private key of a file. Its errors never wrap those
// of the parsers, so that no byte of a key can reach a log.
func readKey(path string) (crypto.Signer, error) {
	blocks, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	for _, b := range blocks {
		if b.Type != "PRIVATE KEY" && !strings.HasSuffix(b.Type, " PRIVATE KEY") {
			continue
		}
		// RFC 7468 section 11, and RFC 1421 section 4.6.1.1 for the older kind.
		if b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, fmt.Errorf("%s: the key is encrypted, which is not supported yet: decrypt it with openssl pkey -in %s -out FILE", path, path)
		}
		key, err := parseKey(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return key, nil
	}
	return nil, fmt.Errorf("%s: no private key in it, only %s", path, blockTypes(blocks))
}

// parseKey tries the three encodings whatever the label says: files with a
// wrong one are common, and crypto/tls takes them too.
func parseKey(b *pem.Block) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS1PrivateKey(b.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS8PrivateKey(b.Bytes); err == nil {
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
		return nil, errors.New("the key cannot sign")
	}
	if key, err := x509.ParseECPrivateKey(b.Bytes); err == nil {
		return key, nil
	}
	switch b.Type {
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
		return nil, fmt.Errorf("malformed key, or a type of key that is not supported, in %q", b.Type)
	}
	return nil, fmt.Errorf("%q is not supported (PKCS #8, PKCS #1 and SEC 1 are)", b.Type)
}

// matchKey reports a key that is not the leaf's.
func matchKey(chain []*x509.Certificate, key crypto.Signer) error {
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if ok && pub.Equal(chain[0].PublicKey) {
		return nil
	}
	for i, c := range chain[1:] {
		if ok && pub.Equal(c.PublicKey) {
			return fmt.Errorf("the key is that of certificate %d in the chain: the server's certificate must come first", i+2)
		}
	}
	return fmt.Errorf("the key does not match the certificate: it is %s %s, the certificate's is %s %s",
		describeKey(key.Public()), fingerprint(key.Public()), describeKey(chain[0].PublicKey), fingerprint(chain[0].PublicKey))
}

// warnAboutChain logs what some clients will stumble over. That a
// certificate has expired, or is about to, certmagic says itself.
func warnAboutChain(chain []*x509.Certificate, logger *slog.Logger) {
	leaf := chain[0]
	if time.Now().Before(leaf.NotBefore) {
		logger.Warn("certificate is not valid yet", "not_before", leaf.NotBefore)
	}
	usages := leaf.ExtKeyUsage
	if len(usages)+len(leaf.UnknownExtKeyUsage) > 0 &&
		!slices.Contains(usages, x509.ExtKeyUsageServerAuth) && !slices.Contains(usages, x509.ExtKeyUsageAny) {
		logger.Warn("certificate is not meant for servers: its extended key usage lacks serverAuth")
	}
	for i, c := range chain[1:] {
		if !bytes.Equal(chain[i].RawIssuer, c.RawSubject) {
			logger.Warn("certificate chain is out of order", "position", i+1, "issuer", chain[i].Issuer.String(), "next", c.Subject.String())
			return
		}
	}
}

// warnAboutMode logs that a key can be read by everyone on the machine. The
// group may: on Debian keys are shared with services that way.
func warnAboutMode(path string, logger *slog.Logger) {
	if runtime.GOOS == "windows" {
		return // its mode bits say nothing about who may read
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o007 != 0 {
		logger.Warn("private key is accessible to every user of this machine", "file", path, "mode", info.Mode().Perm().String())
	}
}
