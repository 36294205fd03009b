package certs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// OnDemand lets an ACME source obtain certificates for names that clients ask
// for and the configuration does not have. Who can make others obtain
// certificates can exhaust what an authority grants, so at least one of the two
// has to say yes to a name, and both if both are set.
type OnDemand struct {
	Allow []string // names, perhaps with a wildcard, which stands for one label

	// Ask is a URL that is asked with the name as the parameter "domain"; the
	// status 200 is a yes.
	Ask string
}

const (
	// demandsPerMinute bounds the orders that clients can cause.
	demandsPerMinute = 10

	// maxDemanded bounds the names that are remembered, with those refused.
	maxDemanded = 10_000

	// demandRefusal is how long a name that was refused, or could not be had,
	// is not tried again.
	demandRefusal = time.Minute

	// demandTimeout is how long an order for a client may take. The client
	// itself does not wait for as long; the next one gets it.
	demandTimeout = 2 * time.Minute

	askTimeout = 5 * time.Second
)

// Errors of [Store.Demand].
var (
	ErrNotDemanded = errors.New("certs: no certificate is obtained on demand for this name")
	errDemandRate  = errors.New("certs: too many certificates are obtained on demand")
)

// demands are the names that clients asked a source for.
type demands struct {
	mu     sync.Mutex
	names  map[string]*demand
	orders []time.Time // begun in the last minute
	work   sync.WaitGroup
}

// demand is one name.
type demand struct {
	done      chan struct{} // closed when the rest is settled
	err       error
	until     time.Time // an error holds; zero while there is none
	issuances []*issuance
}

// Demands says whether one of the named sources may obtain a certificate for
// serverName on demand, as far as that can be said without asking anybody.
func (s *Store) Demands(sources []string, serverName string) bool {
	return s.demanded(sources, serverName) != nil
}

func (s *Store) demanded(sources []string, serverName string) *acmeSource {
	for _, src := range s.acme {
		if src.settings.OnDemand != nil && slices.Contains(sources, src.entry) && src.settings.OnDemand.allows(serverName) {
			return src
		}
	}
	return nil
}

// Demand has a certificate obtained for serverName, and waits until there is
// one or ctx is done: the order goes on. The error wraps ErrNotDemanded if the
// name is refused.
func (s *Store) Demand(ctx context.Context, sources []string, serverName string) error {
	src := s.demanded(sources, serverName)
	if src == nil {
		return ErrNotDemanded
	}
	name, _ := lookup(serverName)
	d, err := src.demands.get(name, nil, func(d *demand) { src.fulfil(s, name, d) })
	if err != nil {
		return err
	}
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return fmt.Errorf("certs: the certificate is being obtained: %w", ctx.Err())
	}
}

// allows says whether a name is one that certificates can be for, and among
// those allowed.
func (o *OnDemand) allows(serverName string) bool {
	name, parent := lookup(serverName)
	host, err := parseHost(name)
	if _, notIP := netip.ParseAddr(name); err != nil || notIP == nil || host != name || strings.HasPrefix(host, "*") {
		return false
	}
	return len(o.Allow) == 0 || slices.ContainsFunc(o.Allow, func(pattern string) bool {
		suffix, wildcard := strings.CutPrefix(strings.ToLower(pattern), "*")
		return wildcard && parent == suffix || suffix == name
	})
}

// ask asks the URL.
func (o *OnDemand) ask(ctx context.Context, name string) error {
	if o.Ask == "" {
		return nil
	}
	u, err := url.Parse(o.Ask)
	if err != nil {
		return err
	}
	query := u.Query()
	query.Set("domain", name)
	u.RawQuery = query.Encode()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	client := &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotDemanded, err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s answers %s", ErrNotDemanded, u.Host, response.Status)
	}
	return nil
}

// get returns the demand for a name. If it is new it gets the issuances that
// are there already, and begin is called on a goroutine of its own.
func (ds *demands) get(name string, issuances []*issuance, begin func(*demand)) (*demand, error) {
	now := time.Now()
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d := ds.names[name]
	if d != nil && !d.until.IsZero() && now.After(d.until) {
		d = nil
	}
	if d != nil {
		return d, nil
	}
	if len(ds.names) >= maxDemanded {
		for name, d := range ds.names {
			if !d.until.IsZero() && now.After(d.until) {
				delete(ds.names, name)
			}
		}
		if len(ds.names) >= maxDemanded {
			return nil, errDemandRate
		}
	}
	if ds.names == nil {
		ds.names = make(map[string]*demand)
	}
	d = &demand{done: make(chan struct{}), issuances: issuances}
	ds.names[name] = d
	ds.work.Go(func() { begin(d) })
	return d, nil
}

// order takes note of an order, unless there were too many.
func (ds *demands) order(now time.Time) error {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.orders = slices.DeleteFunc(ds.orders, func(t time.Time) bool { return now.Sub(t) > time.Minute })
	if len(ds.orders) >= demandsPerMinute {
		return errDemandRate
	}
	ds.orders = append(ds.orders, now)
	return nil
}

// settle ends a demand.
func (ds *demands) settle(d *demand, err error) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d.err = err; err != nil {
		d.until = time.Now().Add(demandRefusal)
		d.issuances = nil
	}
	close(d.done)
}

// all are the issuances that clients caused.
func (ds *demands) all() (all []*issuance) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for _, d := range ds.names {
		all = append(all, d.issuances...)
	}
	return all
}

// fulfil obtains what a client asked for, or takes it from the storage.
func (s *acmeSource) fulfil(store *Store, name string, d *demand) {
	logger := store.logger.With("certificate", s.entry, "name", name)
	if err := s.settings.OnDemand.ask(s.ctx, name); err != nil {
		s.demands.settle(d, err)
		logger.Info("no certificate on demand", "error", err)
		return
	}
	issuances, err := s.acquire(s.ctx, store, name)
	if err == nil && slices.ContainsFunc(issuances, func(i *issuance) bool { return i.certificate() == nil }) {
		if err = s.demands.order(time.Now()); err == nil {
			logger.Info("obtaining a certificate on demand")
		}
	}
	s.finish(store, name, d, issuances, err)
}

// acquire gets the issuances for a name; some, and an error, or all of them.
func (s *acmeSource) acquire(ctx context.Context, store *Store, name string) (all []*issuance, err error) {
	for _, kind := range s.kinds {
		i, err := store.issuances.acquire(ctx, store, s, kind, name)
		if err != nil {
			return all, err
		}
		all = append(all, i)
	}
	return all, nil
}

// finish waits for issuances, unless err says that there is no point, and
// settles the demand.
func (s *acmeSource) finish(store *Store, name string, d *demand, issuances []*issuance, err error) {
	if err == nil {
		s.demands.mu.Lock()
		d.issuances = issuances // where challenges find them
		s.demands.mu.Unlock()
		err = s.await(issuances)
	}
	if err == nil {
		store.refresh() // first, so that who waits finds the certificate
	}
	s.demands.settle(d, err)
	if err == nil {
		return
	}
	for _, i := range issuances {
		store.issuances.release(i, store)
	}
	if s.ctx.Err() == nil {
		store.logger.Warn("no certificate on demand", "certificate", s.entry, "name", name, "error", err)
	}
}

// await starts issuances and waits until each has a certificate.
func (s *acmeSource) await(issuances []*issuance) error {
	ctx, cancel := context.WithTimeout(s.ctx, demandTimeout)
	defer cancel()
	for _, i := range issuances {
		i.start()
		done := make(chan struct{})
		go func() {
			defer close(done)
			i.work.Wait()
		}()
		select {
		case <-done:
		case <-ctx.Done():
		}
		if i.certificate() == nil {
			return errors.New("certs: the order has failed, or takes too long")
		}
	}
	return nil
}

// adopt takes over what clients of an earlier store caused.
func (s *acmeSource) adopt(ctx context.Context, store *Store) error {
	if s.settings.OnDemand == nil {
		return nil
	}
	for _, name := range store.issuances.namesOf(store, s) {
		if slices.Contains(s.identity.inOrder(), name) || !s.settings.OnDemand.allows(name) {
			continue
		}
		issuances, err := s.acquire(ctx, store, name)
		if err != nil {
			return err
		}
		if _, err := s.demands.get(name, issuances, func(d *demand) { s.finish(store, name, d, issuances, nil) }); err != nil {
			return err
		}
	}
	return nil
}
