// Package proxy is the gateway: it accepts TLS clients, lets in those that the
// policy of their listener allows, and hands them to brokers.
//
// A connection has two lives. It is set up by a goroutine of its own, stage by
// stage (see stages); then the relay owns both of its sides until the end,
// where its one log line is written and its counters are set. A refusal at any
// stage has one named reason, which the client is told by an alert or in its
// own protocol, and which is the "reason" of the log line and of the metric.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/admin"
	"github.com/suitegate/suitegate/proxy/audit"
	"github.com/suitegate/suitegate/proxy/limits"
	"github.com/suitegate/suitegate/proxy/metrics"
	"github.com/suitegate/suitegate/proxy/prove"
	"github.com/suitegate/suitegate/proxy/relay"
	"github.com/suitegate/suitegate/proxy/shadow"
)

// ErrClosed is returned by [Server.Apply] after [Server.Shutdown] or
// [Server.Close].
var ErrClosed = errors.New("proxy: the server is closed")

// A Server is a gateway. Its zero value is ready for [Server.Apply]; fields must
// not change after that.
type Server struct {
	// Log gets one line for each connection when it ends, and what happens to
	// listeners. Default: nothing is logged.
	Log *slog.Logger

	// Metrics counts what Log tells. Default: nothing is counted.
	Metrics *metrics.Metrics

	// Version is that of the program, for the metrics and for /status.
	Version string

	// Reload is called for POST /reload on the admin server, and returns what
	// came of Apply. Default: there is no such request.
	Reload func(audit.Operator) (configs.Changes, error)

	// Stop is called for POST /drain on the admin server, and sees to it that
	// Shutdown is called. Default: there is no such request.
	Stop func(audit.Operator)

	// Sockets listen already. A listener takes the one that is its own instead of
	// listening itself; the first configuration has to have a use for each.
	// Default: none.
	Sockets []*Socket

	// Replacing says that another gateway is there still, whose place this one
	// takes: its admin socket is replaced. Default: false.
	Replacing bool

	// SpareProcessor has the Go runtime use one processor more than before, or
	// gives it back: see [limits.Spare]. Default: there is none to be had, and
	// handshakes leave one of GOMAXPROCS free.
	SpareProcessor func(needed bool)

	gate      limits.Gate  // to the processor, for the handshakes of all listeners
	poller    relay.Poller // of the connections of all listeners
	lingering atomic.Int64 // refused connections that wait for their alert to arrive

	built func(*generation) // called in tests with what is to be proved; nil otherwise

	applying sync.Mutex // held, around mu, while a configuration is applied
	proofs   proofs     // that found no difference

	mu        sync.Mutex // held while the configuration changes, and to read what follows
	current   *generation
	loaded    time.Time
	begun     time.Time // when the first configuration was
	failure   loadFailure
	proof     *admin.Proof // of the configuration in force; nil if there is none
	unproved  error        // what it has become that it must not be; see proveAgain
	refused   refusals
	shadow    shadow.Book          // who would break
	listeners map[string]*listener // by key
	leaving   map[*listener]context.CancelFunc
	departed  sync.WaitGroup // goroutines that drain what is in leaving
	admin     adminServer
	audit     audit.Log
	sampling  sampler // of the log lines of refusals
	privacy   atomic.Pointer[privacy]
	issuances certs.Issuances
	http01    challengeServers
	closed    bool

	handedOver bool // another process has the sockets

	stopExpiry context.CancelFunc // of the goroutine that warns of certificates that expire
	stopProof  context.CancelFunc // of the one that proves again what has changed
	stopShadow context.CancelFunc // of the goroutine that writes shadow to the storage

	stopCanaries context.CancelFunc // of the goroutines that wait for their times
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// Apply makes config the configuration that is served: the first call starts
// the gateway, and later ones reload it, whole or not at all.
//
// A listener keeps its connections and its socket for as long as its address is
// in the configuration, whatever else of it changes; new connections get the
// new settings. Connections of a listener that is gone may end on their own for
// as long as the old configuration's drain timeout.
//
// The error holds every mistake at once, each with its position in the file
// where there is one ([configs.Errors]); nothing has changed then.
func (s *Server) Apply(config *configs.Config) error {
	_, err := s.ApplyBy(audit.Operator{Via: audit.ViaStart}, config)
	return err
}

// loadFailure is the newest attempt to load a configuration, if it failed.
type loadFailure struct {
	err error
	at  time.Time
}

func (s *Server) loadedOrNot(err error) {
	now := time.Now()
	s.Metrics.Reloaded(err == nil, now)
	s.failure = loadFailure{}
	if err != nil {
		s.failure = loadFailure{err: err, at: now}
	}
}

// apply does so with s.mu held, but for the time in which nothing has changed yet:
// whoever asks for the state waits for no storage, no key and no proof.
func (s *Server) apply(config *configs.Config) (*prove.Evidence, error) {
	if s.closed {
		return nil, ErrClosed
	}
	previous := s.current
	s.mu.Unlock()
	next, evidence, err := s.prepare(config, previous)
	s.mu.Lock()
	if err != nil {
		return evidence, err
	}
	if s.closed {
		next.discard(previous)
		return evidence, ErrClosed
	}
	return evidence, s.install(next)
}

// prepare makes a generation that has everything but sockets of its own. What it
// shares with the previous one, if there is one, goes on as it is.
func (s *Server) prepare(config *configs.Config, previous *generation) (*generation, *prove.Evidence, error) {
	keyring, err := s.keyring(config, previous)
	if err != nil {
		return nil, nil, err
	}
	next, err := s.build(context.Background(), config, keyring, previous)
	if err != nil {
		previous.dropKeyring(keyring)
		return nil, nil, err
	}
	if s.built != nil {
		s.built(next)
	}
	evidence, err := s.prove(context.Background(), next)
	if err == nil {
		err = s.openTickets(next, previous)
	}
	if err != nil {
		next.discard(previous)
	}
	return next, evidence, err
}

// install makes a generation the current one, or leaves everything as it was.
func (s *Server) install(next *generation) error {
	fresh, err := s.bind(next)
	if err != nil {
		next.discard(s.current)
		return err
	}
	s.swap(next, fresh)
	s.dropSockets()
	return nil
}

// bind opens the sockets that next needs and s doesn't have. It opens all of
// them or none.
func (s *Server) bind(next *generation) (map[string]*listener, error) {
	fresh := make(map[string]*listener)
	open := func(use, name, address string) (net.Listener, error) {
		return s.open(next.config.ReusePort, use, name, address)
	}
	var errs configs.Errors
	for _, r := range next.routes {
		if s.listeners[key(r)] != nil {
			continue
		}
		l, err := s.listen(r, open)
		if errors.Is(err, syscall.EADDRINUSE) {
			l, err = s.listenBeside(r, next, err)
		}
		if err != nil {
			errs = append(errs, configs.Error{Pos: next.config.Position("listeners", r.Name, "address"), Reason: bindReason(err)})
			continue
		}
		fresh[key(r)] = l
	}
	errs = append(errs, s.admin.bind(next.config, open, (s.Replacing || next.config.ReusePort) && s.current == nil)...)
	errs = append(errs, s.http01.bind(next.config, open)...)
	file, mistakes := openAudit(next.config)
	next.audit = file
	errs = append(errs, mistakes...)
	errs = append(errs, s.unusedSockets(next.config)...)
	if len(errs) == 0 {
		return fresh, nil
	}
	for _, l := range fresh {
		_ = l.socket.Close() // errs is why
	}
	s.admin.unbind()
	s.http01.unbind()
	_ = next.audit.Close()
	errs.Sort()
	return nil, errs
}

// swap makes next the current generation. Nothing here can fail.
func (s *Server) swap(next *generation, fresh map[string]*listener) {
	previous := s.current
	s.current, s.loaded, s.proof, s.unproved = next, time.Now(), nil, nil
	s.sampling.setLimit(next.config.Log.RefusalsPerMinute)
	s.privacy.Store(newPrivacy(next.config.Log))
	if previous == nil {
		s.begun = s.loaded
		s.poller.Open()
		s.gate.Spare.Use = s.SpareProcessor
		s.Metrics.Built(s.Version)
		s.Metrics.ServeReady(func() bool { return s.ready() == nil })
		s.Metrics.ServeDegraded(func() bool { return len(s.degraded()) > 0 })
	}
	s.keepPools(previous)
	s.keepTickets(previous)
	s.watchExpiry()
	s.watchProof(previous)
	s.watchShadow(previous)
	s.keepCanaries(previous)
	s.watchClientAuth(previous)

	kept := make(map[string]*listener, len(next.routes))
	for _, r := range next.routes {
		l := fresh[key(r)]
		if l == nil {
			l = s.listeners[key(r)]
			l.route.Store(r)
			l.announce()
		} else {
			l.announce()
			l.start()
		}
		kept[key(r)] = l
	}
	for k, l := range s.listeners {
		if kept[k] == nil {
			s.leave(l, previous.config.DrainTimeout)
		}
	}
	s.listeners = kept
	s.useAudit(next, previous == nil)
	s.watchCanaries(previous)
	s.departed.Go(s.admin.start(s.adminHandler(), s.log()))
	s.http01.start(next, s.log())
	next.store.Start() // now that challenges reach it
	if previous != nil {
		_ = previous.close() // its certificates stay good for the handshakes that have them
		next.dropKeyring(previous.keyring)
	}
}

// leave drains a listener that the configuration no longer has, beside
// everything else.
func (s *Server) leave(l *listener, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	if s.leaving == nil {
		s.leaving = make(map[*listener]context.CancelFunc)
	}
	s.leaving[l] = cancel
	_ = l.socket.Close() // at once, so that the address is free when Apply returns
	s.log().Info("listener leaves", "listener", l.route.Load().Name, "connections", l.active.Load(), "drain_timeout", patience)
	if s.heldElsewhere(l.socket.Addr()) {
		s.log().Warn("the service manager goes on listening for a listener that has left: clients wait there for nobody", "address", l.socket.Addr().String())
	}
	s.departed.Go(func() {
		defer cancel()
		cut := l.drain(ctx)
		s.log().Info("listener left", "listener", l.route.Load().Name, "connections_cut", cut)
		s.mu.Lock()
		delete(s.leaving, l)
		s.mu.Unlock()
	})
}

// key is what makes a listener of the new configuration the same socket as one
// of the old: its address, and its name too where the system picks the port.
func key(r *route) string {
	if _, port, err := net.SplitHostPort(r.Address); err == nil && port == "0" {
		return r.Name + " " + r.Address
	}
	return r.Address
}

// bindReason is a bind error without what the position says already.
func bindReason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return fmt.Sprintf("cannot listen on %s: %v", op.Addr, op.Err)
	}
	return fmt.Sprintf("cannot listen: %v", err)
}

// Address is where the named listener listens, with the port that the system
// picked if the configuration says 0, or nil if there is no such listener.
func (s *Server) Address(listener string) net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners {
		if l.route.Load().Name == listener {
			return l.socket.Addr()
		}
	}
	return nil
}

// AdminAddress is where the admin server listens, or nil.
func (s *Server) AdminAddress() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.admin.address()
}

// Shutdown stops accepting, waits for the connections to end on their own until
// ctx is done, and ends those that are left then. It returns ctx's error if
// there were any.
//
// The admin address answers until the end, with not ready. Record works still
// after it.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	shared := s.current != nil && s.current.config.ReusePort && !s.handedOver
	var draining sync.WaitGroup
	var cut int
	for _, l := range s.listeners {
		draining.Go(func() {
			if shared {
				l.retire(ctx)
			}
			n := l.drain(ctx)
			s.mu.Lock()
			cut += n
			s.mu.Unlock()
		})
	}
	stop := context.AfterFunc(ctx, s.cutLeaving)
	defer stop()
	if s.handedOver || shared { // or who asks would be answered by the one or the other
		s.http01.close()
		s.departed.Go(s.admin.stop())
	}
	if s.current != nil {
		s.current.stopTickets()
		s.stopExpiry()
		s.stopProof()
		s.stopShadow()
		s.stopCanaries()
		s.current.stopWatching()
	}
	s.mu.Unlock()

	draining.Wait()
	s.departed.Wait()
	s.sampling.summarise(s.log())

	s.mu.Lock()
	end := s.admin.stop()
	s.mu.Unlock()
	end() // requests that are being answered may want the lock
	s.mu.Lock()
	defer s.mu.Unlock()
	s.http01.close()
	s.closeSockets()
	if s.current != nil {
		s.current.stopPools()
		s.current.discard(nil) // stops maintenance; what it may have to say changes nothing now
		s.current = nil
	}
	s.poller.Close()
	if cut > 0 {
		return fmt.Errorf("proxy: %d connections had to be ended: %w", cut, ctx.Err())
	}
	return nil
}

// cutLeaving ends the patience with listeners that left before.
func (s *Server) cutLeaving() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cancel := range s.leaving {
		cancel()
	}
}

// Close ends everything at once.
func (s *Server) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Shutdown(ctx) // that connections were ended is what was asked for
	s.audit.Use(nil)
	return nil
}
