package certs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// refreshInterval is how long a certificate that certmagic has replaced may
// go on being served. certmagic tells nobody when it replaces one, but does
// so weeks before the old one expires.
const refreshInterval = time.Minute

// Store holds the certificates of all sources and keeps them valid. Its
// methods may be called from several goroutines.
type Store struct {
	cache    *certmagic.Cache
	logger   *slog.Logger
	zap      *zap.Logger
	root     string // path, "" without self-signed sources
	slots    []slot // in the order of the sources; not changed after Open
	snapshot atomic.Pointer[snapshot]

	// configs say how to maintain a certificate. certmagic's goroutine reads
	// them; Open adds to them.
	configsMu sync.Mutex
	configs   []managed

	refreshMu sync.Mutex // held while a snapshot is made

	closing sync.Once
	stop    chan struct{}
	stopped chan struct{}
}

// slot is the place for one certificate: what it is for, and how it is found
// in certmagic's cache, where renewals replace it.
type slot struct {
	offer
	lookup string // one of its names
	holds  func(certmagic.Certificate) bool
}

// managed is a certificate that certmagic renews.
type managed struct {
	issuer *leafIssuer
	config *certmagic.Config
}

// Open reads the sources' files, and loads or makes what is self-signed. The
// mistakes in all sources are reported at once, as joined *SourceErrors;
// then, if there are none, those of the storage. The caller must Close the
// store in the end.
//
// Several stores, in one process or in many, may share a storage directory.
// ctx bounds the work of Open, not the life of the store.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	entries, err := readSources(cfg)
	if err != nil {
		return nil, err
	}
	s := &Store{
		logger:  cfg.logger(),
		zap:     newZapLogger(cfg.logger()),
		stop:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	s.snapshot.Store(new(snapshot))
	s.cache = certmagic.NewCache(certmagic.CacheOptions{GetConfigForCert: s.configFor, Logger: s.zap})
	if err := s.load(ctx, cfg, entries); err != nil {
		s.cache.Stop()
		return nil, err
	}
	s.refresh()
	go s.watch()
	return s, nil
}

// Root returns the path of the PEM file of the self-signed root, for clients
// to trust; "" if no source is self-signed.
func (s *Store) Root() string { return s.root }

// Close stops the maintenance of the certificates. A renewal that is under
// way is cancelled and ends in moments, on its own. What Select finds stays as it is, for connections that
// are still being set up. The error is nil; a second Close does nothing.
func (s *Store) Close() error {
	s.closing.Do(func() {
		close(s.stop)
		<-s.stopped
		s.cache.Stop()
	})
	return nil
}

// load fills the cache and the slots.
func (s *Store) load(ctx context.Context, cfg Config, entries []entry) error {
	// Never written to when there is nothing but files.
	storage := &certmagic.FileStorage{Path: cfg.Storage}
	var ca *authority
	if slices.ContainsFunc(entries, func(e entry) bool { return e.pair == nil }) {
		var err error
		if storage, err = prepareStorage(cfg.Storage); err != nil {
			return err
		}
		var created bool
		if ca, created, err = openAuthority(ctx, storage); err != nil {
			return err
		}
		s.root = storage.Filename(RootFile)
		switch {
		case created:
			s.logger.Info("made a self-signed root", "file", s.root, "not_after", ca.cert.NotAfter)
		case time.Until(ca.cert.NotAfter) < rootWarning:
			s.logger.Warn("the self-signed root will expire, and clients will need a new one", "file", s.root, "not_after", ca.cert.NotAfter)
		}
	}
	var errs []error
	for _, e := range entries {
		if e.pair != nil {
			errs = append(errs, s.loadFiles(ctx, storage, e))
			continue
		}
		for _, kind := range leafKinds {
			errs = append(errs, s.loadSelfSigned(ctx, storage, e.name, &leafIssuer{ca: ca, kind: kind, names: e.names}))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) loadFiles(ctx context.Context, storage certmagic.Storage, e entry) error {
	config := s.newConfig(e.name, storage, nil)
	// No tags: certmagic appends to those of a certificate that two sources share.
	hash, err := config.CacheUnmanagedTLSCertificate(ctx, e.pair.Certificate, nil)
	if err != nil {
		return &SourceError{Source: e.name, Field: "files.certificate", Err: err}
	}
	s.slots = append(s.slots, slot{
		offer:  offer{e.name, e.pair.key},
		lookup: cacheName(e.pair.Leaf),
		holds:  func(cert certmagic.Certificate) bool { return cert.Hash() == hash },
	})
	return nil
}

func (s *Store) loadSelfSigned(ctx context.Context, storage certmagic.Storage, source string, issuer *leafIssuer) error {
	s.slots = append(s.slots, slot{
		offer:  offer{source, issuer.kind.key},
		lookup: issuer.names.primary(),
		holds:  issuer.issued,
	})
	if s.managedBy(issuer.IssuerKey()) {
		return nil // another source with the same names
	}
	config := s.newConfig(source, storage, issuer)
	s.configsMu.Lock()
	s.configs = append(s.configs, managed{issuer, config})
	s.configsMu.Unlock()
	if err := issuer.manage(ctx, s.cache, config, s.logger.With("certificate", source)); err != nil {
		return &SourceError{Source: source, Field: "self_signed", Err: err}
	}
	return nil
}

// newConfig returns certmagic's configuration for the certificates of one
// source. issuer is nil for those that certmagic does not renew.
func (s *Store) newConfig(source string, storage certmagic.Storage, issuer *leafIssuer) *certmagic.Config {
	cfg := certmagic.Config{
		Storage: storage,
		Logger:  s.zap.With(zap.String("certificate", source)),
		// Empty rather than nil: certmagic would use ACME.
		Issuers:    []certmagic.Issuer{},
		OCSP:       certmagic.OCSPConfig{DisableStapling: true},
		DisableARI: true,
	}
	if issuer != nil {
		cfg.Issuers = []certmagic.Issuer{issuer}
		cfg.KeySource = certmagic.StandardKeyGenerator{KeyType: issuer.kind.generator}
		cfg.OnEvent = func(_ context.Context, event string, data map[string]any) error {
			switch event {
			case "cert_obtained":
				s.logger.Info("issued a self-signed certificate", "certificate", source,
					"names", issuer.names.all(), "key", string(issuer.kind.generator), "renewal", data["renewal"])
			case "cached_managed_cert":
				s.refresh()
			}
			return nil
		}
	}
	return certmagic.New(s.cache, cfg)
}

// configFor implements [certmagic.ConfigGetter]. certmagic holds a lock of
// the cache meanwhile.
func (s *Store) configFor(cert certmagic.Certificate) (*certmagic.Config, error) {
	s.configsMu.Lock()
	defer s.configsMu.Unlock()
	for _, m := range s.configs {
		if m.issuer.issued(cert) {
			return m.config, nil
		}
	}
	return nil, fmt.Errorf("certs: nothing renews the certificate for %q", cert.Names)
}

func (s *Store) managedBy(issuerKey string) bool {
	s.configsMu.Lock()
	defer s.configsMu.Unlock()
	return slices.ContainsFunc(s.configs, func(m managed) bool { return m.issuer.IssuerKey() == issuerKey })
}

// watch takes over what certmagic has replaced, until Close.
func (s *Store) watch() {
	defer close(s.stopped)
	ticker := time.NewTicker(refreshInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.refresh()
		case <-s.stop:
			return
		}
	}
}

// refresh makes a new snapshot if the cache holds other certificates than
// the current one does. Those that are the same keep their pointers.
func (s *Store) refresh() {
	s.refreshMu.Lock()
	defer s.refreshMu.Unlock()
	old := *s.snapshot.Load()
	next := make(snapshot, len(s.slots))
	changed := false
	for _, sl := range s.slots {
		var before *Certificate
		if ix := old[sl.offer]; ix != nil {
			before = ix.first
		}
		now := s.lookup(sl, before)
		if now == nil {
			continue // still being obtained
		}
		changed = changed || now != before
		next.add(now)
	}
	if changed {
		s.snapshot.Store(&next)
	}
}

// lookup finds the newest certificate for a slot, or returns before if that
// is the one, or if the cache has none.
func (s *Store) lookup(sl slot, before *Certificate) *Certificate {
	var newest *certmagic.Certificate
	for _, cert := range s.cache.AllMatchingCertificates(sl.lookup) {
		if sl.holds(cert) && (newest == nil || cert.Leaf.NotBefore.After(newest.Leaf.NotBefore)) {
			newest = &cert
		}
	}
	if newest == nil {
		return before
	}
	if before != nil && bytes.Equal(before.Leaf.Raw, newest.Leaf.Raw) && bytes.Equal(before.OCSPStaple, newest.OCSPStaple) {
		return before
	}
	return &Certificate{Certificate: &newest.Certificate, Source: sl.source, Key: sl.key}
}
