// Package upstream dials the nodes of a broker.
package upstream

import (
	"cmp"
	"context"
	"net"
	"sync/atomic"
	"time"

	"github.com/suitegate/suitegate/proxy/metrics"
	"github.com/suitegate/suitegate/proxy/proxyheader"
)

// DefaultConnectTimeout is how long one node may take to answer.
const DefaultConnectTimeout = 5 * time.Second

// Backend is one node of a broker.
type Backend struct {
	// Address is "host:port": an IPv4 address, an IPv6 address in brackets, or a
	// DNS name, which is resolved for every connection; of a name's addresses
	// the first that answers is taken (RFC 8305).
	Address string
}

// Pool is a broker with one or more nodes. Its exported fields must not change
// once Dial was called. A Pool must not be copied.
type Pool struct {
	// Name is what the configuration calls the broker; errors name it.
	Name string

	// Backends are the nodes, any of which may take any connection.
	Backends []*Backend

	// ConnectTimeout bounds each attempt to reach a node, from the resolution of
	// its name to the TCP handshake. 0 means DefaultConnectTimeout.
	ConnectTimeout time.Duration

	// ProxyProtocol is the version of the header with which the nodes want every
	// connection to begin. Dial leaves it to the caller, who knows the client;
	// a connection of our own begins with its Own. 0 means none.
	ProxyProtocol proxyheader.Version

	// KeepAlive sets TCP keep-alive. With Enable false (the zero value), it is on
	// nonetheless, as [DefaultKeepAlive] has it. The relay has no idle timeout,
	// so that nothing else would find a node that is gone.
	KeepAlive net.KeepAliveConfig

	// Resolver resolves nodes' names. nil means net.DefaultResolver.
	Resolver *net.Resolver

	// Metrics counts every attempt: "ok", or the reason as of [DialError]. nil
	// counts nothing.
	Metrics *metrics.Metrics

	turn atomic.Uint64 // of the node to begin with, modulo their number
}

// Dial connects to the node whose turn it is, and as long as that fails to the
// others, each once. It returns the connection, with Nagle's algorithm off as
// Go has it by default, and the node that it leads to. If no node can be
// reached, the error is a *[DialError]. Once ctx is done, no further node is
// tried. Dial may be called by several goroutines at once.
func (p *Pool) Dial(ctx context.Context) (*net.TCPConn, *Backend, error) {
	failed := &DialError{Pool: p.Name}
	begin := p.turn.Add(1) - 1
	n := uint64(len(p.Backends))
	for i := range n {
		b := p.Backends[(begin+i)%n]
		conn, err := p.dial(ctx, b)
		if err == nil {
			p.Metrics.Dialed(p.Name, b.Address, "ok")
			return conn, b, nil
		}
		p.Metrics.Dialed(p.Name, b.Address, reason(err))
		failed.Nodes = append(failed.Nodes, NodeError{Backend: b, Err: err})
		if ctx.Err() != nil {
			break
		}
	}
	return nil, nil, failed
}

func (p *Pool) dial(ctx context.Context, b *Backend) (*net.TCPConn, error) {
	d := net.Dialer{
		Timeout:         cmp.Or(p.ConnectTimeout, DefaultConnectTimeout),
		KeepAliveConfig: p.keepAlive(),
		Resolver:        p.Resolver,
	}
	c, err := d.DialContext(ctx, "tcp", b.Address)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil // which is what "tcp" means
}

func (p *Pool) keepAlive() net.KeepAliveConfig {
	if p.KeepAlive.Enable {
		return p.KeepAlive
	}
	return DefaultKeepAlive()
}

// DefaultKeepAlive probes a silent peer after 30 s, then every 10 s, and gives
// it up when three probes in a row were not answered.
func DefaultKeepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}
}
