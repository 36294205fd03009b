// Package upstream knows the nodes of brokers: which there are, which of them
// are fit for a client, and whose turn it is.
//
// A [Pool] is one broker with one or more nodes. It outlives configurations:
// [Pool.Configure] changes its settings in place, and a node that stays keeps
// its health, its connections and whether it drains. A node is a [Backend]:
// an address. A DNS name stands for as many nodes as it has addresses.
//
// A node is out when health checks say so (see [Checker]), and for a short time
// when a connection to it fails, whether there are checks or not. Nodes that are
// out get clients only when all others have been tried. A node that drains gets
// none at all.
package upstream

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/suitegate/suitegate/proxy/metrics"
	"github.com/suitegate/suitegate/proxy/proxyheader"
)

// What holds for settings that are zero.
const (
	DefaultConnectTimeout  = 5 * time.Second  // of one node
	DefaultResolveInterval = 30 * time.Second // of names
)

// A Node is one that the configuration names.
type Node struct {
	// Address is "host:port": an IPv4 address, an IPv6 address in brackets,
	// "localhost", or a DNS name. Each address of a name, IPv4 or IPv6, is a
	// [Backend]; localhost is one with all of its addresses.
	Address string

	// Weight is its share beside the others. Default: 1.
	Weight int
}

// Settings are what a configuration says of a broker.
type Settings struct {
	// Nodes are the nodes, any of which may take any connection. Of those with
	// one address the first counts.
	Nodes []Node

	// Balance is how clients are spread over them. Default: RoundRobin.
	Balance Balance

	// ConnectTimeout bounds each attempt to reach a node, and the resolution of
	// a name. Default: DefaultConnectTimeout (5 s).
	ConnectTimeout time.Duration

	// DialTimeout bounds all attempts for one client together. Default: twice
	// ConnectTimeout.
	DialTimeout time.Duration

	// SlowStart is how long a node that has come up gets less than its weight:
	// from a tenth of it to all. The nodes that are there at the beginning have
	// come up long ago. Default: 0, all of it at once.
	SlowStart time.Duration

	// ResolveInterval is how often names are resolved. When that fails, the
	// addresses stay. Default: DefaultResolveInterval (30 s).
	ResolveInterval time.Duration

	// Check says how nodes are checked. Default: not at all.
	Check Checker

	// ProxyProtocol is the version of the header with which the nodes want every
	// connection to begin. Dial leaves it to the caller, who knows the client;
	// a check begins with its Own. Default: 0, none.
	ProxyProtocol proxyheader.Version

	// KeepAlive sets TCP keep-alive. With Enable false, it is on nonetheless, as
	// [DefaultKeepAlive] has it. The relay has no idle timeout by default, so that
	// nothing else would find a node that is gone.
	KeepAlive net.KeepAliveConfig
}

func (s *Settings) connectTimeout() time.Duration {
	return cmp.Or(s.ConnectTimeout, DefaultConnectTimeout)
}

func (s *Settings) dialTimeout() time.Duration { return cmp.Or(s.DialTimeout, 2*s.connectTimeout()) }

// Pool is a broker with one or more nodes. The zero value has none, see
// [Pool.Configure]; exported fields must not change after that. A Pool must not
// be copied. Its methods may be called by several goroutines at once.
//
// Until [Pool.Start] a pool has no goroutines: it checks nothing, names are
// resolved when they are needed, and nodes that are out come back when a
// connection to them succeeds.
type Pool struct {
	// Name is what the configuration calls the broker; errors name it.
	Name string

	// Log gets a line when a node goes down or comes up. Default: nothing is
	// logged.
	Log *slog.Logger

	// Resolver resolves nodes' names. nil means net.DefaultResolver.
	Resolver *net.Resolver

	// Metrics counts attempts, checks, ejections and resolutions. nil counts
	// nothing.
	Metrics *metrics.Metrics

	mu       sync.Mutex
	settings Settings
	sources  []*source       // of backends, in the order of settings.Nodes
	backends []*Backend      // in the order of sources
	draining map[string]bool // nodes, as the configuration or as addresses
	began    bool            // backends that are new from now on come up

	lookups singleflight.Group // by host

	// What tests have instead of a network.
	dial   func(ctx context.Context, address string) (net.Conn, error)
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

	running context.Context // nil unless started
	stop    context.CancelFunc
	tasks   sync.WaitGroup // goroutines
}

func (p *Pool) log() *slog.Logger {
	if p.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return p.Log
}

// Configure changes the pool's settings. Nodes that stay keep their state, and
// connections that are there go on.
func (p *Pool) Configure(settings Settings) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settings = settings
	p.settings.Nodes = slices.Clone(settings.Nodes)
	p.resource()
	p.rebuild(time.Now())
	for _, b := range p.backends {
		b.reconsider(&p.settings, time.Now())
	}
}

// ProxyProtocol is that of the settings.
func (p *Pool) ProxyProtocol() proxyheader.Version {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settings.ProxyProtocol
}

// Start resolves names and watches nodes until [Pool.Stop].
func (p *Pool) Start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running != nil {
		return
	}
	p.running, p.stop = context.WithCancel(context.Background())
	p.began = true
	for _, s := range p.sources {
		s.stop = nil // of an earlier start
		p.startSource(s)
	}
	for _, b := range p.backends {
		p.startBackend(b)
	}
}

// Stop ends what Start began, and waits for it. Connections that the pool made
// are not touched, and it goes on to make them.
func (p *Pool) Stop() {
	p.mu.Lock()
	if p.stop != nil {
		p.stop()
	}
	p.running, p.stop = nil, nil
	p.mu.Unlock()
	p.tasks.Wait()
}

// Dial connects a client, of whom SourceHash wants the address, to the node
// whose turn it is. As long as that fails it goes on to the others, each once:
// first to those that are up, then to those that are out, in the order of the
// configuration. It returns the connection, with Nagle's algorithm off as Go has
// it by default, and the node that it leads to, which counts it until
// [Backend.Release]. If no node can be reached, the error is a *[DialError].
// Once ctx is done or DialTimeout is over, no further node is tried.
func (p *Pool) Dial(ctx context.Context, client netip.Addr) (*net.TCPConn, *Backend, error) {
	p.mu.Lock()
	settings := p.settings
	p.mu.Unlock()
	deadline := time.Now().Add(settings.dialTimeout())
	failed := &DialError{Pool: p.Name}
	var tried []*Backend
	for resolved := false; len(tried) == 0 || ctx.Err() == nil && time.Now().Before(deadline); {
		b := p.take(client, tried)
		if b == nil && !resolved {
			failed.Nodes = append(failed.Nodes, p.resolveMissing(ctx, deadline)...)
			resolved = true
			continue
		}
		if b == nil {
			break
		}
		tried = append(tried, b)
		began := time.Now()
		until := began.Add(settings.connectTimeout())
		if deadline.Before(until) {
			until = deadline
		}
		conn, err := p.open(ctx, b, &settings, until)
		if err == nil {
			p.Metrics.Dialed(p.Name, b.Address, "ok")
			p.reached(b)
			return conn.(*net.TCPConn), b, nil // which is what "tcp" means
		}
		b.Release()
		p.Metrics.Dialed(p.Name, b.Address, reason(err))
		failed.Nodes = append(failed.Nodes, NodeError{Node: b.Address, Err: err})
		if ctx.Err() == nil && blames(err, time.Since(began) >= settings.connectTimeout()) {
			p.eject(b, err)
		}
	}
	failed.drained = len(failed.Nodes) == 0 && p.drains()
	return nil, nil, failed
}

// blames says whether a failed attempt is the node's fault. It is not when this
// machine lacks something, and not when there was less than the connect timeout
// left for it.
func blames(err error, patient bool) bool {
	switch reason(err) {
	case reasonResources, reasonCanceled, reasonDNS:
		return false
	case reasonTimeout:
		return patient
	}
	return true
}

// open is how every connection to a node begins, a client's or a check's.
func (p *Pool) open(ctx context.Context, b *Backend, settings *Settings, until time.Time) (net.Conn, error) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	if p.dial != nil {
		return p.dial(ctx, b.Address)
	}
	d := net.Dialer{KeepAliveConfig: settings.keepAlive(), Resolver: p.Resolver}
	return d.DialContext(ctx, "tcp", b.Address)
}

func (s *Settings) keepAlive() net.KeepAliveConfig {
	if s.KeepAlive.Enable {
		return s.KeepAlive
	}
	return DefaultKeepAlive()
}

// DefaultKeepAlive probes a silent peer after 30 s, then every 10 s, and gives
// it up when three probes in a row were not answered.
func DefaultKeepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}
}
