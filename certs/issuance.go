package certs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/suitegate/suitegate/policy"
)

// Issuances are the certificates that authorities issue by ACME, and the
// orders under way. They outlive a [Store] if the next one is opened before
// it is closed, and has the same Issuances: so a reload breaks off no order
// whose challenge is open, and begins none anew. The zero value is ready.
type Issuances struct {
	mu    sync.Mutex
	lines map[string]*line // by key
	stop  doorstop         // as long as there are lines
}

// A line is what the issuances of one source with one kind of key share. Of
// certmagic's configurations each has one, since certmagic keeps one
// certificate for a name.
type line struct {
	key       string
	storage   *storage
	source    string
	kind      acmeKind
	config    *certmagic.Config
	loader    *certmagic.Config // like config, for what is stored: asks no OCSP responder
	solver    *certmagic.Config // like config, for challenges: silent, since anyone can try
	issuer    *certmagic.ACMEIssuer
	cache     *certmagic.Cache
	logger    *slog.Logger
	ordered   func(source string, key policy.KeyType, renewal, ok bool)
	orders    *orders
	issuances map[string]*issuance // by name
}

// An issuance obtains the certificate for one name with one kind of key, and
// keeps it valid.
type issuance struct {
	*line
	name string

	begin  sync.Once
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex
	place  cached
	stores map[*Store]bool // that have it
}

// acquire returns the issuance for a name. The first caller's makes it.
func (p *Issuances) acquire(ctx context.Context, s *Store, src *acmeSource, kind acmeKind, name string) (*issuance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, err := p.lineFor(ctx, s, src, kind)
	if err != nil {
		return nil, err
	}
	i := l.issuances[name]
	if i == nil {
		i = &issuance{line: l, name: name, stores: make(map[*Store]bool)}
		i.place = cached{source: l.source, key: kind.key, lookup: name, holds: func(cert certmagic.Certificate) bool { return hasName(cert.Leaf, name) }}
		i.ctx, i.cancel = context.WithCancel(context.Background())
		i.load(ctx, s, src.settings.noStapling)
		l.issuances[name] = i
	}
	i.mu.Lock()
	i.stores[s] = true
	i.mu.Unlock()
	return i, nil
}

// release ends an issuance that no store has any more.
func (p *Issuances) release(i *issuance, s *Store) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i.mu.Lock()
	delete(i.stores, s)
	left := len(i.stores)
	i.mu.Unlock()
	if left > 0 {
		return
	}
	i.cancel()
	delete(i.issuances, i.name)
	i.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: i.name}})
	last := len(i.issuances) == 0
	if last {
		delete(p.lines, i.key)
	}
	patiently(closePatience, func() {
		i.work.Wait()
		if last {
			i.cache.Stop()
			i.storage.close()
		}
	})
	if len(p.lines) == 0 {
		p.stop.remove()
	}
}

// closePatience is how long Close waits for requests under way.
const closePatience = 2 * time.Second

// patiently waits for an end that a request under way may delay, but no longer.
func patiently(patience time.Duration, end func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		end()
	}()
	select {
	case <-ended:
	case <-time.After(patience):
	}
}

// lineKey is what a line is found by. A line ends with the keyring that it has.
func lineKey(s *Store, src *acmeSource, kind acmeKind) string {
	return strings.Join([]string{src.entry, string(kind.generator), s.storage.place(""), fmt.Sprintf("%p", s.config.Keyring), src.settings.key()}, "\n")
}

// namesOf are the names for which there are issuances of a source.
func (p *Issuances) namesOf(s *Store, src *acmeSource) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := make(map[string]bool)
	for _, kind := range src.kinds {
		if l := p.lines[lineKey(s, src, kind)]; l != nil {
			for name := range l.issuances {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// lineFor returns the line of a source and a kind of key.
func (p *Issuances) lineFor(ctx context.Context, s *Store, src *acmeSource, kind acmeKind) (*line, error) {
	key := lineKey(s, src, kind)
	if l := p.lines[key]; l != nil {
		return l, nil
	}
	// The store's own storage ends with the store.
	storage, err := newStorage(s.config)
	if err != nil {
		return nil, err
	}
	if err := storage.check(ctx); err != nil {
		storage.close()
		return nil, err
	}
	if p.lines == nil {
		p.lines = make(map[string]*line)
	}
	if len(p.lines) == 0 {
		if err := p.stop.place(); err != nil {
			storage.close()
			return nil, err
		}
	}
	l := &line{key: key, storage: storage, source: src.entry, kind: kind, logger: s.logger, ordered: s.ordered, issuances: make(map[string]*issuance)}
	l.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return l.config, nil },
		RenewCheckInterval: src.settings.CheckInterval,
		Logger:             s.zap,
	})
	l.orders = &orders{storage: storage, logger: s.logger, open: make(map[string]bool)}
	template := l.template(s, &src.settings)
	template.OnEvent = l.event
	l.config = certmagic.New(l.cache, template)
	l.issuer = certmagic.NewACMEIssuer(l.config, src.settings.issuerTemplate(p.stop, template.Logger))
	l.config.Issuers = []certmagic.Issuer{l.issuer}
	template.Issuers, template.OnEvent = l.config.Issuers, nil
	template.OCSP.DisableStapling = true
	l.loader = certmagic.New(l.cache, template)
	template.Logger = zap.NewNop()
	l.solver = certmagic.New(l.cache, template)
	p.lines[key] = l
	return l, nil
}

// template is the configuration of a line without its issuer.
func (l *line) template(s *Store, settings *acmeSettings) certmagic.Config {
	template := s.newConfig(l.source)
	template.Logger = template.Logger.With(zap.String("key", l.kind.key.String()))
	// With other settings, certmagic finds nothing there and asks for a new one.
	template.Storage = siteStorage{l.storage, settings.variant(l.kind), l.orders}
	template.KeySource = certmagic.StandardKeyGenerator{KeyType: l.kind.generator}
	template.MustStaple = settings.MustStaple
	template.DisableARI = false
	template.OCSP = stapling(settings.noStapling)
	return template
}

// event takes note of what certmagic does, and has orders for one name wait for
// each other. That one has failed, and why, certmagic logs itself.
func (l *line) event(ctx context.Context, event string, data map[string]any) error {
	renewal, _ := data["renewal"].(bool)
	name, _ := data["identifier"].(string)
	switch event {
	case "cert_obtaining":
		return l.orders.begin(ctx, name)
	case "cert_obtained":
		l.orders.end(ctx, name)
		l.ordered(l.source, l.kind.key, renewal, true)
		l.logger.Info("obtained a certificate", "certificate", l.source, "name", name, "key", l.kind.key.String(), "renewal", renewal)
	case "cert_failed":
		l.orders.end(ctx, name)
		l.ordered(l.source, l.kind.key, renewal, false)
	}
	return nil
}

// load takes the certificate from the storage, if it is there. What is wrong
// with it will be seen to by run.
func (i *issuance) load(ctx context.Context, s *Store, noStapling bool) {
	cert, err := i.loader.CacheManagedCertificate(ctx, i.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		i.logger.Warn("stored certificate is unusable", "certificate", i.source, "name", i.name, "key", i.kind.key.String(), "error", err)
	case namesResponder(cert.Leaf) && !noStapling:
		i.certificate() // before it leaves the cache for a moment
		s.staple(i.cache, cert.Hash(), func() error {
			_, err := i.config.CacheManagedCertificate(i.ctx, i.name)
			return err
		})
	}
}

// certificate is the newest, or nil.
func (i *issuance) certificate() *Certificate {
	i.mu.Lock()
	defer i.mu.Unlock()
	cert := i.place.find(i.cache)
	if cert != nil {
		cert.identify() // once, before several stores have it
	}
	return cert
}

// start begins the work on a certificate, once.
func (i *issuance) start() {
	i.begin.Do(func() { i.work.Go(i.run) })
}

// run obtains the certificate if there is none, and renews it if that is due.
// From then on certmagic looks after it.
func (i *issuance) run() {
	if i.certificate() != nil {
		if err := i.cache.RenewManagedCertificates(i.ctx); err != nil {
			i.fail(err)
		}
		return
	}
	_, err := i.config.CacheManagedCertificate(i.ctx, i.name) // another process may have been faster
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist):
		err = i.obtain(i.config.ObtainCertAsync(i.ctx, i.name))
	default: // files that are damaged, or do not fit together
		err = i.obtain(i.config.RenewCertAsync(i.ctx, i.name, true))
	}
	if err != nil {
		i.fail(err)
		return
	}
	i.changed()
}

// obtain loads what err says has been obtained.
func (i *issuance) obtain(err error) error {
	if err == nil {
		_, err = i.config.CacheManagedCertificate(i.ctx, i.name)
	}
	return err
}

// fail logs the end of all tries, which come over a month.
func (i *issuance) fail(err error) {
	if i.ctx.Err() == nil {
		i.logger.Error("gave up obtaining a certificate", "certificate", i.source, "name", i.name, "key", i.kind.key.String(), "error", err)
	}
}

// changed tells the stores that there is a certificate.
func (i *issuance) changed() {
	i.mu.Lock()
	stores := slices.Collect(maps.Keys(i.stores))
	i.mu.Unlock()
	for _, s := range stores {
		s.refresh()
	}
}

// background replaces the context that a ClientHello made by hand does not have.
func background(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}
