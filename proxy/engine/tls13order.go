package engine

import (
	"crypto/tls"
	"slices"
	"sync"
	_ "unsafe" // for linkname
)

// crypto/tls picks a TLS 1.3 suite from one of two lists of its own, the first
// when the client prefers AES-GCM and the second otherwise, and offers no
// setting for either. Both are reachable by linkname, kept so by the standard
// library for those who need it (go.dev/issue/67401).

//go:linkname defaultCipherSuitesTLS13 crypto/tls.defaultCipherSuitesTLS13
var defaultCipherSuitesTLS13 []uint16

//go:linkname defaultCipherSuitesTLS13NoAES crypto/tls.defaultCipherSuitesTLS13NoAES
var defaultCipherSuitesTLS13NoAES []uint16

// standingOrder suits every built-in policy: with it their handshakes never
// take the exclusive path below.
var standingOrder = [...]uint16{
	tls.TLS_AES_256_GCM_SHA384,
	tls.TLS_AES_128_GCM_SHA256,
	tls.TLS_CHACHA20_POLY1305_SHA256,
}

// suiteOrder makes crypto/tls pick the TLS 1.3 suite that was decided, whatever
// the client prefers and whatever other listeners allow.
//
// The lists are process-wide, so they keep one standing order, and a handshake
// whose decision agrees with it shares the lock with all others like it. One
// that doesn't (its policy prefers AES-128, say) has the lock to itself while
// crypto/tls picks: microseconds, without any wait for the network, because the
// ClientHello was read before. The lists are permuted in place and always hold
// all three suites: a TLS client elsewhere in the process, which reads them
// for its own hello, never finds one missing for good or a torn slice.
type suiteOrder struct {
	mu sync.RWMutex
}

// tls13Order guards crypto/tls's lists, of which there is one pair a process.
var tls13Order suiteOrder

// useStandingOrder puts the lists in order, once.
var useStandingOrder = sync.OnceFunc(func() {
	tls13Order.mu.Lock()
	defer tls13Order.mu.Unlock()
	setTLS13Order(standingOrder)
})

// acquire returns once crypto/tls would pick suite out of offered, and keeps it
// so until release is called.
func (o *suiteOrder) acquire(suite uint16, offered []uint16) (release func()) {
	if firstOf(standingOrder[:], offered) == suite {
		o.mu.RLock()
		return o.mu.RUnlock
	}
	o.mu.Lock()
	order := standingOrder
	i := slices.Index(order[:], suite)
	if i < 0 {
		return o.mu.Unlock // not a TLS 1.3 suite that crypto/tls has: it will refuse by itself
	}
	order[0], order[i] = order[i], order[0]
	setTLS13Order(order)
	return func() {
		setTLS13Order(standingOrder)
		o.mu.Unlock()
	}
}

// firstOf returns the first of order that is among offered, or 0.
func firstOf(order, offered []uint16) uint16 {
	for _, suite := range order {
		if slices.Contains(offered, suite) {
			return suite
		}
	}
	return 0
}

func setTLS13Order(order [len(standingOrder)]uint16) {
	copy(defaultCipherSuitesTLS13, order[:])
	copy(defaultCipherSuitesTLS13NoAES, order[:])
}
