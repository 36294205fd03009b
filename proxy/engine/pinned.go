package engine

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
)

// pinned caches an engine's configurations of type T, each of which can
// negotiate one pair of suite and group, and resume sessions of one identity,
// and nothing else. Making one for every connection costs more than all else
// that a gateway adds to a handshake.
type pinned[T any] struct {
	mu      sync.RWMutex
	configs map[pin]*T
}

type pin struct {
	suite    uint16
	group    tls.CurveID
	identity string
}

// maxPinned is how many configurations are kept: a policy has dozens of pairs
// at most, but certificates that are issued on demand have any number of
// identities.
const maxPinned = 4096

// get returns the configuration for a choice, made by create the first time.
func (p *pinned[T]) get(choice Choice, create func() *T) *T {
	key := pin{choice.Suite, choice.Group, choice.Identity}
	p.mu.RLock()
	config := p.configs[key]
	p.mu.RUnlock()
	if config != nil {
		return config
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if config := p.configs[key]; config != nil {
		return config
	}
	if p.configs == nil || len(p.configs) >= maxPinned {
		p.configs = make(map[pin]*T)
	}
	config = create()
	p.configs[key] = config
	return config
}

// pinnedConn lies below an engine and carries the choice to its callbacks.
type pinnedConn struct {
	net.Conn
	choice  Choice
	release func() // of the suiteOrder; nil when it isn't held
	exact   exactAlert
	watch   *alertWatch // while a TLS 1.3 handshake goes on
}

func (c *pinnedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.watch != nil {
		c.watch.see(b[:n])
	}
	return n, err
}

// forget lets go of what only the handshake needed.
func (c *pinnedConn) forget() {
	c.exact.forget()
	c.choice.Offered = nil
}

// suitePicked gives the suiteOrder back. Everything happens on the goroutine
// of the handshake, so release needs no lock.
func (c *pinnedConn) suitePicked() {
	if c.release != nil {
		c.release()
		c.release = nil
	}
}

// Write is the first thing that crypto/tls does after it has picked a suite and
// before it waits for the client (ServerHello, HelloRetryRequest or an alert).
func (c *pinnedConn) Write(b []byte) (int, error) {
	c.suitePicked()
	if c.exact.alert != 0 {
		b = c.exact.replace(b, c.choice.Version, c.choice.Suite) // of the same length
	}
	return c.Conn.Write(b)
}

// decidedCertificate is a GetCertificate of both engines. The certificate was
// chosen with the suite, and crypto/tls is not asked for its opinion: its own
// check (ClientHelloInfo.SupportsCertificate) turns an RSA certificate down for
// clients that offer only suites crypto/tls lacks.
func decidedCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	below, ok := hello.Conn.(*pinnedConn)
	if !ok || below.choice.Certificate == nil {
		return nil, errors.New("engine: no certificate was decided")
	}
	below.suitePicked()
	return below.choice.Certificate, nil
}
