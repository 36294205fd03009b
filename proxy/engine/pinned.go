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

// decidedConn lies below an engine, and carries to its callbacks what was decided.
type decidedConn struct {
	net.Conn
	certificate *tls.Certificate
}

func (c *decidedConn) decided() *tls.Certificate { return c.certificate }

// decidedCertificate is the GetCertificate of all engines. The certificate was
// chosen with the suite, and crypto/tls is not asked for its opinion.
func decidedCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if below, ok := hello.Conn.(interface{ decided() *tls.Certificate }); ok {
		if certificate := below.decided(); certificate != nil {
			return certificate, nil
		}
	}
	return nil, errors.New("engine: no certificate was decided")
}
