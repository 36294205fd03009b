package certs

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/caddyserver/certmagic"

	"github.com/suitegate/suitegate/policy"
)

// Offer is what a source has to offer, as far as can be said without the
// storage.
type Offer struct {
	Source string
	Names  []string // server names, in lower case: DNS names, perhaps with a wildcard, and IP addresses
	Keys   []policy.KeyType

	// Leaf is the certificate of a source of files, and nil for others: what
	// is wrong with theirs is put right when the store is opened.
	Leaf *x509.Certificate

	// OnDemand is for which more names an ACME source obtains certificates when
	// clients ask for them; nil for none.
	OnDemand *OnDemand
}

// Inspect judges the sources as [Check] does, and says more about them, in
// their order.
func Inspect(cfg Config) ([]Offer, error) {
	sources, err := readSources(cfg)
	offers := make([]Offer, len(sources))
	for i, src := range sources {
		offers[i] = Offer{Source: src.name(), Names: src.names(), Keys: src.keyTypes()}
		switch src := src.(type) {
		case *fileSource:
			offers[i].Leaf = src.pair.Leaf
		case *acmeSource:
			offers[i].OnDemand = src.settings.OnDemand
		}
	}
	if err != nil {
		return offers, err
	}
	storage, err := newStorage(cfg) // reads what the settings of a shared one point to
	if err != nil {
		return offers, err
	}
	storage.close()
	return offers, nil
}

// Stored is a certificate that a store would serve.
type Stored struct {
	Source string
	Kind   string // of the source, by its key in the configuration: "files", "self_signed", "acme"
	Names  []string
	Key    policy.KeyType
	Leaf   *x509.Certificate // nil if it is still to be issued
}

// List returns the certificates of all sources, in their order, as they are in
// files and in the storage now. It makes, changes and locks nothing.
func List(ctx context.Context, cfg Config) ([]Stored, error) {
	sources, err := readSources(cfg)
	if err != nil {
		return nil, err
	}
	storage, err := newStorage(cfg)
	if err != nil {
		return nil, err
	}
	defer storage.close()
	var all []Stored
	for _, src := range sources {
		stored, err := src.stored(ctx, storage)
		if err != nil {
			return nil, &SourceError{Source: src.name(), Field: src.kind(), Err: err}
		}
		for _, s := range stored {
			s.Source, s.Kind = src.name(), src.kind()
			all = append(all, s)
		}
	}
	return all, nil
}

// ErrNoRoot is the error of [ExportRoot] for a storage in which no self-signed
// source has been opened yet.
var ErrNoRoot = errors.New("there is no self-signed root yet")

// ExportRoot returns the self-signed root in the storage of cfg, as PEM. It
// makes and changes nothing, and looks at nothing else of cfg.
func ExportRoot(ctx context.Context, cfg Config) ([]byte, error) {
	storage, err := newStorage(cfg)
	if err != nil {
		return nil, err
	}
	defer storage.close()
	ca, err := storedRoot(ctx, storage)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("certs: %s: %w", storage.place(""), ErrNoRoot)
	}
	if err != nil {
		return nil, fmt.Errorf("certs: self-signed root: %w", err)
	}
	return ca.pem(), nil
}

// storedRoot reads the root without its key. Its error is fs.ErrNotExist if
// there is none.
func storedRoot(ctx context.Context, storage certmagic.Storage) (*authority, error) {
	cert, err := loadCertificate(ctx, storage, rootCertKey)
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert}, nil
}

// loadCertificate reads the first certificate of a chain in the storage.
func loadCertificate(ctx context.Context, storage certmagic.Storage, key string) (*x509.Certificate, error) {
	data, err := storage.Load(ctx, key)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s: not PEM", filepath.FromSlash(key))
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.FromSlash(key), err)
	}
	return cert, nil
}

// The sources of files need no storage.

func (f *fileSource) kind() string    { return "files" }
func (f *fileSource) names() []string { return serverNames(f.pair.Leaf) }

func (f *fileSource) stored(context.Context, certmagic.Storage) ([]Stored, error) {
	return []Stored{{Names: f.names(), Key: f.pair.key, Leaf: f.pair.Leaf}}, nil
}

func (s *selfSigned) kind() string { return "self_signed" }

// stored finds the certificates where certmagic keeps them.
func (s *selfSigned) stored(ctx context.Context, storage certmagic.Storage) ([]Stored, error) {
	ca, err := storedRoot(ctx, storage)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []Stored
	for _, kind := range leafKinds {
		entry := Stored{Names: s.identity.all(), Key: kind.key}
		if ca != nil {
			issuer := &leafIssuer{ca: ca, kind: kind, names: s.identity}
			entry.Leaf, err = loadCertificate(ctx, storage, certmagic.StorageKeys.SiteCert(issuer.IssuerKey(), s.identity.primary()))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
		all = append(all, entry)
	}
	return all, nil
}

// Certificates returns what the store serves now, in the order of the sources.
func (s *Store) Certificates() []Certificate {
	s.refreshMu.Lock()
	defer s.refreshMu.Unlock()
	all := make([]Certificate, len(s.shown))
	for i, cert := range s.shown {
		all[i] = *cert
	}
	return all
}

// ServerNames are the names that a certificate is found by, in lower case: DNS
// names, perhaps with a wildcard, and IP addresses; the common name is one
// where there is no other.
func (c Certificate) ServerNames() []string { return serverNames(c.Leaf) }
