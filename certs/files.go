package certs

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/suitegate/suitegate/policy"
)

// fileSource is a certificate that is read from files, and read again when
// they have changed.
type fileSource struct {
	entry  string
	files  Files
	key    policy.KeyType // of every certificate that it ever has
	watch  fileWatch
	logger *slog.Logger

	noStapling bool

	store  *Store
	config *certmagic.Config

	stapler *certmagic.Config // config, with OCSP responses

	// mu is never held while certmagic's cache is asked, which asks back for
	// hash.
	mu    sync.Mutex
	pair  *keyPair // the newest that was good
	hash  string   // of pair, in the cache
	place *cached  // of pair
}

func newFileSource(src Source, fips bool, logger *slog.Logger) (source, []error) {
	files := *src.Files
	files.fips = fips
	watch := newFileWatch(files.paths()...) // before they are read, so that no change is missed
	pair, errs := readFiles(src.Name, files)
	if len(errs) > 0 {
		return nil, errs
	}
	files.warn(pair, logger)
	return &fileSource{entry: src.Name, files: files, noStapling: src.NoStapling, key: pair.key, pair: pair, watch: watch, logger: logger}, nil
}

func (f *fileSource) name() string               { return f.entry }
func (f *fileSource) keyTypes() []policy.KeyType { return []policy.KeyType{f.key} }
func (f *fileSource) writes() bool               { return false }

func (f *fileSource) certificates() []*Certificate {
	f.mu.Lock()
	place := f.place
	f.mu.Unlock()
	return findAll(f.store.cache, []*cached{place})
}

func (f *fileSource) open(ctx context.Context, s *Store) error {
	f.store = s
	template := s.newConfig(f.entry)
	f.config = certmagic.New(s.cache, template)
	template.OCSP, template.Storage = stapling(f.noStapling), stapleStorage{s.storage, slices.ContainsFunc(s.sources, source.writes)}
	f.stapler = certmagic.New(s.cache, template)
	s.manage(f.stapler, func(cert certmagic.Certificate) bool { return f.has(cert.Hash()) })
	if err := f.put(ctx, f.pair); err != nil {
		_, field := f.files.leaf()
		return &SourceError{Source: f.entry, Field: field, Err: err}
	}
	return nil
}

// put makes pair what the source has. Whoever has the one before keeps it;
// chain and key change places together.
func (f *fileSource) put(ctx context.Context, pair *keyPair) error {
	// No tags: certmagic appends to those of a certificate that two sources share.
	hash, err := f.config.CacheUnmanagedTLSCertificate(ctx, pair.Certificate, nil)
	if err != nil {
		return err
	}
	place := &cached{
		source: f.entry,
		key:    f.key,
		lookup: cacheName(pair.Leaf),
		holds:  func(cert certmagic.Certificate) bool { return cert.Hash() == hash },
	}
	f.mu.Lock()
	if f.place != nil {
		place.current = f.place.current // for as long as the new one must not be served
	}
	f.mu.Unlock()
	place.find(f.store.cache)
	f.mu.Lock()
	f.pair, f.hash, f.place = pair, hash, place
	f.mu.Unlock()
	if namesResponder(pair.Leaf) && !f.noStapling {
		f.store.staple(f.store.cache, hash, func() error {
			_, err := f.stapler.CacheUnmanagedTLSCertificate(context.Background(), pair.Certificate, nil)
			f.store.discard(hash) // unless the files have not been replaced meanwhile
			return err
		})
	}
	return nil
}

// has says whether the source needs a certificate of certmagic's cache.
func (f *fileSource) has(hash string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hash == hash
}

// poll implements [poller]: it takes over what has replaced the files.
func (f *fileSource) poll(ctx context.Context, now time.Time) {
	read, final := f.watch.due(now)
	if !read {
		return
	}
	next, errs := readFiles(f.entry, f.files)
	if len(errs) == 0 {
		final = true // what fits together gets no better by waiting
		if err := f.judge(next, now); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		if err := f.replace(ctx, next); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 || !final {
		return
	}
	if reasons := joinReasons(errs); f.watch.refuse(now, reasons) {
		f.logger.Error("certificate files refused, the certificate in force stays", "error", reasons)
		f.store.reloaded(f.entry, false)
	}
}

// judge says what speaks against serving next from now on, although a start
// of the gateway would serve it.
func (f *fileSource) judge(next *keyPair, now time.Time) error {
	path, _ := f.files.leaf()
	switch {
	case next.key != f.key:
		// Policies were bound to the key types, and found to be servable.
		return fmt.Errorf("%s: the key type is %v instead of %v, which takes a reload of the configuration", path, next.key, f.key)
	case f.pair.validAt(now) != nil:
		return nil // it can get no worse
	}
	if err := next.validAt(now); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// replace puts next in the place of the certificate in force.
func (f *fileSource) replace(ctx context.Context, next *keyPair) error {
	previous, hash := f.pair, f.hash
	same := slices.EqualFunc(previous.Certificate.Certificate, next.Certificate.Certificate, bytes.Equal)
	if !same {
		if err := f.put(ctx, next); err != nil {
			return err
		}
		f.store.refresh()
		f.store.discard(hash)
	}
	recovered := f.watch.accept()
	if same && !recovered {
		return nil // touched, or written again as it was
	}
	f.files.warn(next, f.logger)
	names := serverNames(next.Leaf)
	f.logger.Info("certificate replaced", "names", names, "not_after", next.Leaf.NotAfter)
	if lost := without(serverNames(previous.Leaf), names); len(lost) > 0 {
		f.logger.Warn("the new certificate lacks names that the former had", "names", lost)
	}
	f.store.reloaded(f.entry, true)
	return nil
}

// without returns the names that are not among others.
func without(names, others []string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(others, name) })
}

// joinReasons puts the errors of one source on one line.
func joinReasons(errs []error) string {
	reasons := make([]string, len(errs))
	for i, err := range errs {
		var mistake *SourceError
		if errors.As(err, &mistake) {
			err = mistake.Err // it names the file, and the log line the source
		}
		reasons[i] = err.Error()
	}
	return strings.Join(reasons, "; ")
}

// paths are the files to watch.
func (f Files) paths() []string {
	return slices.DeleteFunc([]string{f.Certificate, f.Key, f.PKCS12, f.Password.File}, func(path string) bool { return path == "" })
}

// leaf is the file that the certificate is in, and its key in the
// configuration.
func (f Files) leaf() (path, field string) {
	if f.PKCS12 != "" {
		return f.PKCS12, "files.pkcs12"
	}
	return f.Certificate, "files.certificate"
}

// warn logs what is odd about the files but can be served: an expired
// certificate, too, because a restart must not turn one expired certificate
// into an outage of every listener; clients will say what they think of it.
func (f Files) warn(pair *keyPair, logger *slog.Logger) {
	warnAboutChain(pair.chain, logger)
	if pair.odd != "" {
		logger.Warn(pair.odd, "file", f.Key)
	}
	warnAboutMode("private key", cmp.Or(f.PKCS12, f.Key), logger)
	if f.Password.File != "" {
		warnAboutMode("password", f.Password.File, logger)
	}
}

// readFiles reads a chain and its key, which fit together. The errors are the
// *SourceErrors of all files.
func readFiles(source string, files Files) (*keyPair, []error) {
	p, err := readPassword(source, files.Password)
	defer p.forget()
	switch {
	case files.PKCS12 == "":
		return readPair(source, files, p, err)
	case err != nil:
		return nil, []error{err}
	case files.fips:
		return nil, []error{&SourceError{Source: source, Field: "files.pkcs12", Err: fmt.Errorf("%s: %w", files.PKCS12, errFIPSBundle)}}
	}
	return readBundle(source, files.PKCS12, p)
}

func readBundle(source, path string, p password) (*keyPair, []error) {
	chain, key, err := readPKCS12(path, p)
	kind := policy.NoKey
	if err == nil {
		kind, err = judgeLeaf(path, chain[0])
	}
	if err != nil {
		return nil, []error{p.blame(source, "files.pkcs12", path, err)}
	}
	return newKeyPair(chain, key, kind), nil
}

// readPair is readFiles for two PEM files. passwordErr is why there is no p.
func readPair(source string, files Files, p password, passwordErr error) (*keyPair, []error) {
	chain, certErr := readChain(files.Certificate)
	var kind policy.KeyType
	if certErr == nil {
		kind, certErr = judgeLeaf(files.Certificate, chain[0])
	}
	var key crypto.Signer
	var odd string
	keyErr := passwordErr
	if keyErr == nil {
		if key, odd, keyErr = readKey(files.Key, p, files.fips); keyErr == nil && certErr == nil {
			if keyErr = matchKey(chain, key); keyErr != nil {
				keyErr = fmt.Errorf("%s: %w", files.Key, keyErr)
			}
		}
		keyErr = p.blame(source, "files.key", files.Key, keyErr)
	}
	var errs []error
	if certErr != nil {
		errs = append(errs, &SourceError{Source: source, Field: "files.certificate", Err: certErr})
	}
	if keyErr != nil {
		errs = append(errs, keyErr)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	pair := newKeyPair(chain, key, kind)
	pair.odd = odd
	return pair, nil
}
