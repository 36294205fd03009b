package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/suitegate/suitegate/certs/seal"
	"github.com/suitegate/suitegate/policy"
)

// Source is one entry of the configuration's `certificates`. Exactly one of
// Files, SelfSigned and ACME is set.
type Source struct {
	Name       string // unique among the sources
	Files      *Files
	SelfSigned *SelfSigned
	ACME       *ACME

	// NoStapling does without the OCSP responses that are fetched and stapled
	// where a certificate names a responder.
	NoStapling bool
}

// Files are the paths of a certificate and its key: two PEM files, one PEM
// file that holds both, or a PKCS #12 bundle. RSA and ECDSA for the same names
// are two sources.
//
// While the store is open the files are watched, and what replaces them is
// served within seconds: when chain and key fit together, the key is of the
// type that it was, and the certificate is valid or the one before was not
// either. Otherwise the one before stays.
type Files struct {
	Certificate string // the leaf first, then its chain
	Key         string // PKCS #8, PKCS #1 or SEC 1; encrypted as PKCS #8 with PBES2, or as RFC 1423 has it

	// PKCS12 is a bundle of one key and its chain, instead of the two above.
	PKCS12 string

	// Password opens an encrypted key, or the bundle. It is read again
	// whenever they are. Default: there is none.
	Password Secret

	fips bool // of Config
}

// SelfSigned asks for certificates from the store's own root: one with an
// RSA key of 2048 bits and one with an ECDSA key on P-256, each valid for 90
// days and renewed when 30 of them are left.
//
// Each holds all the names, unlike what certmagic does for public names: a
// client that connects to an IP address sends no server name (RFC 6066
// section 3), so the one certificate it then gets has to fit.
type SelfSigned struct {
	Names []string // DNS names and IP addresses; default localhost, 127.0.0.1 and ::1
}

// Config configures a Store.
type Config struct {
	Sources []Source

	// Storage is the directory for what the store makes. It is made, with
	// mode 0700, when it is missing; one that others may write to is refused,
	// since whoever replaces the root's key is believed by every client.
	// Only needed, and only touched, when a source is self-signed or ACME.
	Storage string

	// Issuances are what ACME sources have in common with those of other
	// stores. Default: nothing.
	Issuances *Issuances

	// Redis, where it is set, is used instead of the directory.
	Redis *Redis

	// FIPS refuses keys, and files of keys, that take more than FIPS 140-3 approves.
	FIPS bool

	// Keyring seals what is secret in the storage. It is closed by whoever has
	// made it, after the stores that have it. Default: nothing is sealed, and a
	// storage that is, is refused.
	Keyring *seal.Keyring

	// StorageFailed, where it is set, is told of each operation of the storage
	// that fails, with the cause (StorageFull, …).
	StorageFailed func(operation, cause string)

	Logger *slog.Logger // default: no logging

	// Reloaded is told of every replacement of a source's files: whether it is
	// served, or was refused and the certificate in force stays. Why, the log
	// says. It must not block. Default: nobody is told.
	Reloaded func(source string, ok bool)

	// Ordered is told of every try of an ACME source to obtain a certificate,
	// or to renew one that goes on being served meanwhile. It must not block.
	// Default: nobody is told.
	Ordered func(source string, key policy.KeyType, renewal, ok bool)
}

// Certificate is what Select found. It is never changed: a renewal puts
// another in its place.
type Certificate struct {
	*tls.Certificate
	Source string // the name of the configuration's entry
	Key    policy.KeyType

	identity string // see Identity
}

// SourceError is a mistake in one entry of the configuration, or in what it
// points to.
type SourceError struct {
	Source string // the entry's name
	Field  string // its key below the entry, such as "files.key"; "" for the entry itself
	Err    error
}

func (e *SourceError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("certs: certificate %q: %v", e.Source, e.Err)
	}
	return fmt.Sprintf("certs: certificate %q: %s: %v", e.Source, e.Field, e.Err)
}

func (e *SourceError) Unwrap() error { return e.Err }

// Check judges the sources as Open does, but stays away from the storage:
// it makes, locks and leaves nothing. It returns the key types that each
// source has to offer, by its name, and the joined *SourceErrors. What Open
// warns of in files, it warns of too: a caller of both gives it no logger.
func Check(cfg Config) (map[string][]policy.KeyType, error) {
	offers, err := Inspect(cfg)
	keys := make(map[string][]policy.KeyType, len(offers))
	for _, offer := range offers {
		keys[offer.Source] = offer.Keys
	}
	return keys, err
}

// source is one source that has been read and judged, and provides the
// certificates of a Store once it is open.
type source interface {
	name() string

	// kind is its key in the configuration, such as "files".
	kind() string

	// names are the server names that its certificates have, or are to have,
	// together: in lower case, wildcards as "*.example.com".
	names() []string

	// keyTypes are those that it has to offer, whether or not it has a
	// certificate with each yet.
	keyTypes() []policy.KeyType

	// stored returns its certificates, those that are still to be issued
	// without their leaf, as they are without a Store. It reads the storage,
	// and makes, changes and locks nothing.
	stored(ctx context.Context, storage certmagic.Storage) ([]Stored, error)

	// writes says whether it needs the storage to write to.
	writes() bool

	// open loads or obtains its certificates. Whatever they depend on, such as
	// the authority, s has opened before. The error is a *SourceError.
	open(ctx context.Context, s *Store) error

	// certificates are what it has now, the first of each key type being what
	// clients without a server name get. They are the same pointers until one
	// changes. The source calls [Store.refresh] when one has; besides, it is
	// asked every refreshInterval. Calls do not overlap.
	certificates() []*Certificate
}

// poller is a source that looks every pollInterval for what is new.
type poller interface {
	source
	poll(ctx context.Context, now time.Time)
}

// readSources reads and judges all sources, and returns the good ones and all
// the mistakes of the others, in one flat join.
func readSources(cfg Config) ([]source, error) {
	var sources []source
	var errs []error
	seen := make(map[string]bool)
	for _, src := range cfg.Sources {
		if seen[src.Name] {
			errs = append(errs, &SourceError{Source: src.Name, Field: "name", Err: errors.New("another certificate has this name")})
			continue
		}
		seen[src.Name] = true
		read, mistakes := readSource(src, cfg.FIPS, cfg.logger().With("certificate", src.Name))
		if len(mistakes) > 0 {
			errs = append(errs, mistakes...)
			continue
		}
		sources = append(sources, read)
	}
	return sources, errors.Join(errs...)
}

func readSource(src Source, fips bool, logger *slog.Logger) (source, []error) {
	given := 0
	for _, is := range []bool{src.Files != nil, src.SelfSigned != nil, src.ACME != nil} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return nil, []error{&SourceError{Source: src.Name, Err: fmt.Errorf("has %d of files, self_signed and acme: one of them is needed", given)}}
	case src.Files != nil:
		return newFileSource(src, fips, logger)
	case src.SelfSigned != nil:
		return newSelfSigned(src.Name, *src.SelfSigned)
	}
	return newACME(src, fips)
}

func (cfg Config) logger() *slog.Logger {
	if cfg.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return cfg.Logger
}
