package certs

import (
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

	"github.com/suitegate/suitegate/policy"
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
	storage  *storage // checked if a source writes to it
	config   Config
	ca       *authority    // nil without self-signed sources
	sources  []source      // in the order of the configuration; not changed after Open
	acme     []*acmeSource // those of sources that are ACME
	snapshot atomic.Pointer[snapshot]

	issuances    *Issuances    // of ACME sources
	refreshEvery time.Duration // how long a replaced certificate may go on being served

	// managed say how to maintain a certificate. certmagic's goroutine reads
	// them; Open adds to them.
	managedMu sync.Mutex
	managed   []managed

	refreshMu sync.Mutex     // held while a snapshot is made
	opened    bool           // until then the sources are not to be asked
	shown     []*Certificate // by the snapshot, or held back
	holding   []*Certificate // those of shown that are held back

	held    atomic.Pointer[snapshot] // of holding; nil for none
	staples sync.WaitGroup           // OCSP responses that are being fetched

	reloaded func(source string, ok bool) // tells Config.Reloaded
	ordered  func(source string, key policy.KeyType, renewal, ok bool)

	closing sync.Once
	stop    context.CancelFunc // of watch
	stopped chan struct{}
}

// managed is how certmagic looks after some certificates.
type managed struct {
	holds  func(certmagic.Certificate) bool
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
	sources, err := readSources(cfg)
	if err != nil {
		return nil, err
	}
	storage, err := newStorage(cfg)
	if err != nil {
		return nil, err
	}
	s := &Store{
		sources: sources,
		logger:  cfg.logger(),
		storage: storage,
		config:  cfg,
		zap:     newZapLogger(cfg.logger()),
		stopped: make(chan struct{}),

		issuances:    cfg.Issuances,
		refreshEvery: refreshInterval,
	}
	if s.issuances == nil {
		s.issuances = new(Issuances)
	}
	for _, src := range sources {
		if a, ok := src.(*acmeSource); ok {
			s.acme = append(s.acme, a)
			s.refreshEvery = min(s.refreshEvery, a.settings.CheckInterval)
		}
	}
	if s.reloaded = cfg.Reloaded; s.reloaded == nil {
		s.reloaded = func(string, bool) {}
	}
	if s.ordered = cfg.Ordered; s.ordered == nil {
		s.ordered = func(string, policy.KeyType, bool, bool) {}
	}
	s.snapshot.Store(new(snapshot))
	withSHA1Names(func() { // and so has the goroutine that this starts
		s.cache = certmagic.NewCache(certmagic.CacheOptions{GetConfigForCert: s.configFor, Logger: s.zap})
	})
	if err := s.load(ctx); err != nil {
		s.closeSources()
		patiently(closePatience, s.cache.Stop)
		s.storage.close()
		return nil, err
	}
	patiently(staplePatience, s.staples.Wait)
	s.refreshMu.Lock()
	s.opened = true
	s.refreshMu.Unlock()
	s.refresh()
	ctx, s.stop = context.WithCancel(context.Background())
	go s.watch(ctx)
	return s, nil
}

// Root says where the self-signed root is, in PEM for clients to trust: the path
// of a file, or a key of the shared storage; "" if no source is self-signed.
func (s *Store) Root() string {
	if s.ca == nil {
		return ""
	}
	return s.storage.place(RootFile)
}

// Close stops the maintenance of the certificates. A renewal that is under
// way is cancelled and ends in moments, on its own. What Select finds stays as it is, for connections that
// are still being set up. The error is nil; a second Close does nothing.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.stop()
		<-s.stopped
		s.closeSources()
		patiently(closePatience, func() {
			s.staples.Wait()
			s.cache.Stop()
		})
		s.storage.close()
	})
	return nil
}

// Start begins to obtain, in the background, what ACME sources have not yet,
// and to renew what is due. The challenges have to be answered from now on:
// see [Store.Challenge] and [Store.ServeHTTP].
func (s *Store) Start() {
	for _, src := range s.acme {
		src.start()
	}
}

// Pending says whether one of the named sources is still to obtain a
// certificate for serverName; for any name, if that is empty.
func (s *Store) Pending(sources []string, serverName string) bool {
	return slices.ContainsFunc(s.acme, func(src *acmeSource) bool {
		return slices.Contains(sources, src.entry) && (serverName == "" || src.expects(serverName))
	})
}

// closeSources gives back what ACME sources share with other stores.
func (s *Store) closeSources() {
	for _, src := range s.acme {
		src.close(s)
	}
}

// load opens all sources.
func (s *Store) load(ctx context.Context) error {
	var errs []error
	if slices.ContainsFunc(s.sources, source.writes) {
		if err := s.storage.check(ctx); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(s.sources, func(src source) bool { _, ok := src.(*selfSigned); return ok }) {
		if err := s.openAuthority(ctx); err != nil {
			return err
		}
	}
	for _, src := range s.sources {
		errs = append(errs, src.open(ctx, s))
	}
	return errors.Join(errs...)
}

// openAuthority loads or makes the root of self-signed sources.
func (s *Store) openAuthority(ctx context.Context) error {
	ca, created, err := openAuthority(ctx, s.storage)
	if err != nil {
		return err
	}
	s.ca = ca
	switch {
	case created:
		s.logger.Info("made a self-signed root", "file", s.Root(), "not_after", ca.cert.NotAfter)
	case time.Until(ca.cert.NotAfter) < rootWarning:
		s.logger.Warn("the self-signed root will expire, and clients will need a new one", "file", s.Root(), "not_after", ca.cert.NotAfter)
	}
	return nil
}

// newConfig returns certmagic's configuration for the certificates of one
// source, without an issuer: certmagic does not renew them. OCSP stapling and
// ARI are off.
func (s *Store) newConfig(source string) certmagic.Config {
	return certmagic.Config{
		Storage: s.storage,
		Logger:  s.zap.With(zap.String("certificate", source)),
		// Empty rather than nil: certmagic would use ACME.
		Issuers:    []certmagic.Issuer{},
		OCSP:       certmagic.OCSPConfig{DisableStapling: true},
		DisableARI: true,
	}
}

// manage has certmagic look after the certificates that holds knows by config:
// renew them, if it has an issuer.
func (s *Store) manage(config *certmagic.Config, holds func(certmagic.Certificate) bool) {
	s.managedMu.Lock()
	defer s.managedMu.Unlock()
	s.managed = append(s.managed, managed{holds, config})
}

// configFor implements [certmagic.ConfigGetter]. certmagic holds a lock of
// the cache meanwhile.
func (s *Store) configFor(cert certmagic.Certificate) (*certmagic.Config, error) {
	s.managedMu.Lock()
	defer s.managedMu.Unlock()
	for _, m := range s.managed {
		if m.holds(cert) {
			return m.config, nil
		}
	}
	return nil, fmt.Errorf("certs: nothing looks after the certificate for %q", cert.Names)
}

// watch takes over what certmagic has replaced, and what the sources find,
// until ctx is done.
func (s *Store) watch(ctx context.Context) {
	defer close(s.stopped)
	refreshes := time.NewTicker(s.refreshEvery)
	defer refreshes.Stop()
	var polls <-chan time.Time
	pollers := s.pollers()
	if len(pollers) > 0 { // or an idle process would wake for nothing
		ticker := time.NewTicker(pollInterval)
		defer ticker.Stop()
		polls = ticker.C
	}
	for {
		select {
		case <-refreshes.C:
			s.refresh()
		case <-polls:
			for _, p := range pollers {
				p.poll(ctx, time.Now())
			}
		case <-ctx.Done():
			return
		}
	}
}

func (s *Store) pollers() (all []poller) {
	for _, src := range s.sources {
		if p, ok := src.(poller); ok {
			all = append(all, p)
		}
	}
	return all
}

// discard removes a certificate from certmagic's cache that a source of files
// no longer needs, unless another one does.
func (s *Store) discard(hash string) {
	if !slices.ContainsFunc(s.sources, func(src source) bool { f, ok := src.(*fileSource); return ok && f.has(hash) }) {
		s.cache.Remove([]string{hash})
	}
}

// refresh makes a new snapshot if the sources have other certificates than
// those that the current one shows.
func (s *Store) refresh() {
	s.refreshMu.Lock()
	defer s.refreshMu.Unlock()
	if !s.opened {
		return
	}
	var certificates []*Certificate
	for _, src := range s.sources {
		certificates = append(certificates, src.certificates()...)
	}
	if slices.Equal(certificates, s.shown) {
		return
	}
	next := make(snapshot)
	var held []*Certificate
	for _, cert := range certificates {
		if cert.Unstapled() {
			held = append(held, cert)
			continue
		}
		next.add(cert)
	}
	s.hold(held)
	s.shown = certificates
	s.snapshot.Store(&next)
}
