package certs

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/caddyserver/certmagic"
)

const (
	// The root signs with RSA, PKCS #1 and SHA-256, because a client has to
	// verify that signature whatever key the leaf has: old Java without
	// elliptic curves and sensors with an RSA-only TLS library can, and so
	// can everybody else, while the reverse does not hold. 3072 bits are as
	// strong as the P-256 leaves and last as long as the root does (NIST SP
	// 800-57 part 1, table 2).
	rootBits = 3072

	// rootLifetime is long since every client has to be told of a new root.
	rootLifetime = 10 * 365 * 24 * time.Hour

	// rootWarning is how long before its end the log speaks of it.
	rootWarning = 365 * 24 * time.Hour

	// backdating forgives clients whose clocks are slow.
	backdating = time.Hour

	rootCertKey = "authority/root.crt" // in certmagic's storage
	rootKeyKey  = "authority/root.key"
	rootLock    = "authority"

	// RootFile is the name, in the storage directory, of the PEM file with
	// the self-signed root for clients to trust.
	RootFile = "root.pem"
)

// authority is the root that signs what self-signed sources serve.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// openAuthority loads the root from the storage, or makes it there once, and
// keeps its copy for clients up to date.
func openAuthority(ctx context.Context, storage *storage) (ca *authority, created bool, err error) {
	ca, err = loadAuthority(ctx, storage)
	if errors.Is(err, fs.ErrNotExist) {
		ca, created, err = createAuthority(ctx, storage)
	}
	if err != nil {
		return nil, false, fmt.Errorf("certs: self-signed root: %w", err)
	}
	copied, err := storage.Load(ctx, RootFile)
	if pem := ca.pem(); err != nil || string(copied) != string(pem) {
		if err := storage.Store(ctx, RootFile, pem); err != nil {
			return nil, false, fmt.Errorf("certs: self-signed root: %w", err)
		}
	}
	return ca, created, nil
}

// loadAuthority reads the root; the error is fs.ErrNotExist only when there
// is no certificate. A key alone is what an interrupted createAuthority
// leaves, and nobody has trusted it yet.
func loadAuthority(ctx context.Context, storage *storage) (*authority, error) {
	certPEM, err := storage.Load(ctx, rootCertKey)
	if err != nil {
		return nil, err
	}
	const remedy = "restore it, or delete the directory to have a new root made, which clients must be given then"
	keyPEM, err := storage.Load(ctx, rootKeyKey)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: the key is missing: %s", storage.place(rootKeyKey), remedy)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return nil, fmt.Errorf("%s: not PEM: %s", storage.place(rootCertKey), remedy)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", storage.place(rootCertKey), err, remedy)
	}
	key, err := certmagic.PEMDecodePrivateKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: not a key: %s", storage.place(rootKeyKey), remedy)
	}
	if matchKey([]*x509.Certificate{cert}, key) != nil {
		return nil, fmt.Errorf("%s: not the key of root.crt: %s", storage.place(rootKeyKey), remedy)
	}
	if time.Now().After(cert.NotAfter) {
		return nil, fmt.Errorf("%s: expired on %s: delete the directory to have a new root made, and give it to clients",
			storage.place(rootCertKey), cert.NotAfter.UTC().Format(time.DateOnly))
	}
	return &authority{cert, key}, nil
}

// createAuthority makes a root, unless another process was faster.
func createAuthority(ctx context.Context, storage *storage) (ca *authority, created bool, err error) {
	if err := storage.Lock(ctx, rootLock); err != nil {
		return nil, false, err
	}
	defer func() {
		if unlockErr := storage.Unlock(ctx, rootLock); err == nil && unlockErr != nil {
			err = unlockErr
		}
	}()
	if ca, err := loadAuthority(ctx, storage); !errors.Is(err, fs.ErrNotExist) {
		return ca, false, err
	}
	ca, err = newAuthority()
	if err != nil {
		return nil, false, err
	}
	keyPEM, err := certmagic.PEMEncodePrivateKey(ca.key)
	if err != nil {
		return nil, false, err
	}
	// The key first: loadAuthority takes the certificate for the proof that
	// both are there.
	if err := storage.Store(ctx, rootKeyKey, keyPEM); err != nil {
		return nil, false, err
	}
	if err := storage.Store(ctx, rootCertKey, ca.pem()); err != nil {
		return nil, false, err
	}
	return ca, true, nil
}

func newAuthority() (*authority, error) {
	key, err := rsa.GenerateKey(rand.Reader, rootBits)
	if err != nil {
		return nil, err
	}
	id, err := keyID(key.Public())
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		// The name tells the roots of several gateways apart in a trust store.
		Subject:               pkix.Name{Organization: []string{"suitegate"}, CommonName: fmt.Sprintf("suitegate self-signed root %x", id[:4])},
		NotBefore:             now.Add(-backdating),
		NotAfter:              now.Add(rootLifetime),
		SignatureAlgorithm:    x509.SHA256WithRSA,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // it signs leaves and no other authority
		SubjectKeyId:          id,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert, key}, nil
}

func (ca *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
}

// keyID is a subject key identifier (RFC 7093 section 2, method 4 cut to the
// 160 bits that older software expects).
func keyID(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	return sum[:20], nil
}
