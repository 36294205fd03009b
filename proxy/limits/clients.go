package limits

import (
	"container/list"
	"net/netip"
	"sync"
)

// ClientLimits are those of each client. 0 is no limit.
type ClientLimits struct {
	Connections   int  // open at once, those in a handshake included
	Handshakes    int  // in flight at once
	HandshakeRate Rate // of new connections, each of which is a handshake
}

// Clients counts what each client has open. The zero value is ready to use.
//
// Its memory is bounded by what is open, and by maxIdle for clients that have
// nothing open and whose rate is remembered: those that are away for longest are
// forgotten first, once their buckets are full again or there are too many. So
// who commands more addresses than that gets past a rate for each, and meets the
// listener's own.
type Clients struct {
	mu      sync.Mutex
	clients map[netip.Addr]*client
	idle    list.List // of *client, those that left first in front
}

// maxIdle is how many clients are remembered that have nothing open: some 20 MB.
const maxIdle = 1 << 16

type client struct {
	key         netip.Addr
	connections int
	handshakes  int
	bucket      Bucket
	idle        *list.Element // in Clients.idle, while nothing is open
}

// clientOf is what counts as one client: an IPv4 address, or the /64 of an IPv6
// address, which is what one customer gets, and has every address in it to
// choose from (RFC 6177, RFC 8981).
func clientOf(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		return netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return addr
}

// A Lease is the place of one connection. The zero value is that of none.
type Lease struct {
	clients     *Clients
	client      *client
	handshaking bool
}

// Admit counts a connection that begins its handshake, if limits allow it. The
// error is a [*Refusal].
func (c *Clients) Admit(addr netip.Addr, limits ClientLimits) (Lease, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
	key := clientOf(addr)
	who := c.clients[key]
	if who == nil {
		who = &client{key: key}
		if c.clients == nil {
			c.clients = make(map[netip.Addr]*client)
		}
		c.clients[key] = who
	}
	defer c.settle(who)
	switch {
	case limits.Connections > 0 && who.connections >= limits.Connections:
		return Lease{}, refuse(reasonConnections, "%v has %d connections, and max_connections_per_client is %d", key, who.connections, limits.Connections)
	case limits.Handshakes > 0 && who.handshakes >= limits.Handshakes:
		return Lease{}, refuse(reasonClientHandshakes, "%v has %d handshakes in flight, and max_handshakes_per_client is %d", key, who.handshakes, limits.Handshakes)
	case !who.bucket.Take(limits.HandshakeRate):
		return Lease{}, refuse(reasonClientRate, "%v comes more often than handshake_rate_per_client allows", key)
	}
	who.connections++
	who.handshakes++
	return Lease{clients: c, client: who, handshaking: true}, nil
}

// HandshakeOver says that the connection is no longer in its handshake.
func (l *Lease) HandshakeOver() {
	if !l.handshaking {
		return
	}
	l.handshaking = false
	l.clients.mu.Lock()
	defer l.clients.mu.Unlock()
	l.client.handshakes--
}

// End says that the connection is closed.
func (l *Lease) End() {
	if l.client == nil {
		return
	}
	l.HandshakeOver()
	l.clients.mu.Lock()
	defer l.clients.mu.Unlock()
	l.client.connections--
	l.clients.settle(l.client)
	l.client = nil
}

// settle puts a client where it belongs: among the idle ones, among the others,
// or away if there is nothing to remember.
func (c *Clients) settle(who *client) {
	switch {
	case who.connections > 0:
		if who.idle != nil {
			c.idle.Remove(who.idle)
			who.idle = nil
		}
	case who.idle != nil:
		c.idle.MoveToBack(who.idle)
	case who.bucket.full():
		delete(c.clients, who.key)
	default:
		who.idle = c.idle.PushBack(who)
	}
}

// forget drops idle clients: two at most for each that comes, so that nobody
// pays for a crowd, and at least one of a crowd that is too large.
func (c *Clients) forget() {
	for range 2 {
		front := c.idle.Front()
		if front == nil {
			return
		}
		who := front.Value.(*client)
		if c.idle.Len() < maxIdle && !who.bucket.full() {
			return
		}
		c.idle.Remove(front)
		delete(c.clients, who.key)
	}
}

// Len is how many clients are known.
func (c *Clients) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.clients)
}
