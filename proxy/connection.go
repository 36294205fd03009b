package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/clientauth"
	"github.com/suitegate/suitegate/proxy/clienthello"
	"github.com/suitegate/suitegate/proxy/engine"
	"github.com/suitegate/suitegate/proxy/limits"
	"github.com/suitegate/suitegate/proxy/metrics"
	"github.com/suitegate/suitegate/proxy/proxyheader"
	"github.com/suitegate/suitegate/proxy/relay"
	"github.com/suitegate/suitegate/proxy/sniff"
	"github.com/suitegate/suitegate/proxy/upstream"
)

// A connection is one client's way through the gateway, and all that its log
// line will say.
type connection struct {
	listener    *listener
	route       *route
	canary      *canary // whose route that is; nil for none
	enforced    *route  // the listener's own then
	socket      net.Conn
	source      netip.AddrPort // who the client is
	destination netip.AddrPort // what it connected to
	proxiedBy   netip.AddrPort // the proxy that said both; zero for none
	start       time.Time
	admitted    bool        // counts in listener.active
	aborted     atomic.Bool // by the gateway's own end

	lease  limits.Lease   // among the connections of its client
	flight *limits.Flight // among the handshakes of the listener
	turn   *limits.Turn   // among all handshakes, at the processor

	hello       *clienthello.Hello
	serverName  string // what the hello says
	alpnOffered string
	ja4         string // fingerprint of the hello
	decision    policy.Decision
	broken      []broken // who of the shadow policies would refuse what was decided
	certificate certs.Certificate
	engine      engine.Engine
	client      sniff.Conn // the TLS connection, once the handshake is done
	alpn        string     // what was negotiated
	resumed     bool
	identity    *clientauth.Identity // of the client, if it has shown a certificate
	first       sniff.Result
	greeted     int64 // bytes of first that the broker got
	pool        *upstream.Pool
	node        *upstream.Backend
	backend     *net.TCPConn
	relayed     bool  // the relay has both sides
	alert       uint8 // that the gateway itself sent; 0 for none
}

func newConnection(l *listener, r *route, socket net.Conn) *connection {
	return &connection{listener: l, route: r, socket: socket, start: time.Now(), turn: l.server.gate.Turn(),
		source: proxyheader.AddrPort(socket.RemoteAddr()), destination: proxyheader.AddrPort(socket.LocalAddr())}
}

// stages are the way of a connection, in order. Each is one call into a package
// that knows nothing of its neighbours; an error ends the way, with a reason
// that has a name.
var stages = [...]func(*connection) error{
	(*connection).admit,
	(*connection).readProxyHeader,
	(*connection).admitClient,
	(*connection).readHello,
	(*connection).challenge,
	(*connection).decide,
	(*connection).handshake,
	(*connection).recognise,
	(*connection).dial,
	(*connection).greet,
}

// serve takes a connection through its stages, and hands it to the relay.
func (c *connection) serve() {
	defer c.survive()
	c.listener.server.Metrics.Accepted(c.route.Name)
	for _, stage := range stages {
		switch err := stage(c); err {
		case nil:
		case errChallenged:
			c.leave()
			return
		default:
			c.refuse(err)
			return
		}
	}
	c.noteBroken()
	client, backend := c.client, c.backend
	c.forget()
	options := relay.Options{Limits: c.route.relayLimits(c.start)}
	options.FromClient, options.FromBackend = c.listener.server.Metrics.Carried(c.route.Name)
	c.listener.relay.Hand(client, backend, options, c.end)
}

// forget lets go of what only set-up needed: a connection may stay for weeks,
// and a hundred thousand of them at once.
func (c *connection) forget() {
	c.hello, c.first.Prefix, c.broken = nil, nil, nil
	c.client, c.backend = nil, nil
	c.relayed = true
}

// survive keeps a panic to the connection that it happened in.
func (c *connection) survive() {
	v := recover()
	if v == nil {
		return
	}
	c.close()
	c.listener.server.Metrics.Panicked()
	c.end(relay.Stats{}, &refusal{reason: "panic", err: fmt.Errorf("proxy: panic: %v\n%s", v, debug.Stack())})
}

func (c *connection) readHello() (err error) {
	if c.hello, err = clienthello.Read(c.socket, clienthello.MaxSize); err != nil {
		return c.nameHelloTimeout(err)
	}
	c.serverName, c.alpnOffered = c.hello.ServerName, shortened(strings.Join(c.hello.ALPN, ","))
	c.ja4 = c.hello.JA4()
	return c.socket.SetDeadline(c.handshakeDeadline())
}

// decide settles what the connection gets, and with which certificate. What can
// be decided depends on the keys of the certificates that have the server name.
func (c *connection) decide() error {
	if err := c.demand(); err != nil {
		return err
	}
	c.chooseRoute()
	offer := OfferOf(c.hello)
	from, bound, err := c.route.candidatesFor(c.route.store, &offer)
	if err != nil {
		return err
	}
	c.decision, err = bound.Select(offer)
	c.judge(&offer, from.keys, err == nil)
	c.noteCanary(&offer, from.keys, err == nil)
	if err != nil {
		var refused *policy.Refusal
		if errors.As(err, &refused) {
			c.decision.Version = refused.Version // as far as it got
		}
		return c.route.narrowed(from, err)
	}
	c.certificate, err = c.route.store.Select(from.sources, c.hello.ServerName, c.decision.Key)
	return err
}

// OfferOf is what policy needs to know of a hello.
func OfferOf(h *clienthello.Hello) policy.Offer {
	return policy.Offer{
		Versions:      as[policy.Version](h.SupportedVersions),
		LegacyVersion: policy.Version(h.LegacyVersion),
		Suites:        h.CipherSuites,
		Groups:        as[policy.Group](h.Groups),
		KeyShares:     as[policy.Group](h.KeyShares),
		PointFormats:  h.PointFormats,
		Signatures:    as[policy.SignatureScheme](h.SignatureSchemes),
		ServerName:    h.ServerName,

		ExtendedMasterSecret: h.ExtendedMasterSecret,
	}
}

func (c *connection) handshake() error {
	growStack(0)
	if err := c.turn.Begin(c.handshakeDeadline()); err != nil {
		return err
	}
	defer c.turn.End()
	choice := engine.Choice{
		Version: uint16(c.decision.Version), Suite: c.decision.Suite.ID, Group: tls.CurveID(c.decision.Group),
		Certificate: c.certificate.Certificate, Identity: c.certificate.Identity(),
	}
	c.engine = c.route.engines.For(choice.Suite)
	conn := c.engine.Server(c.hello.Replay(c.turn.Conn(c.socket)), choice)
	// The deadline on the socket bounds this. A context that can end would cost
	// every handshake a goroutine.
	if err := conn.HandshakeContext(context.Background()); err != nil {
		return engine.NewHandshakeError(err)
	}
	if !c.handshakeOver() {
		return c.flight.Err()
	}
	engine.Rebase(conn, c.socket) // the hello was replayed, and the turn is over
	state := conn.ConnectionState()
	if err := engine.Verify(state, choice); err != nil {
		return err
	}
	c.client, c.alpn, c.resumed = conn, state.NegotiatedProtocol, state.DidResume
	if len(state.PeerCertificates) > 0 {
		c.identity = clientauth.IdentityOf(state.PeerCertificates[0])
	}
	c.listener.server.Metrics.HandshakeDone(metrics.Handshake{
		Listener: c.route.Name, Version: c.decision.Version.String(), Suite: c.decision.Suite.Name, Group: c.groupName(),
		Engine: c.engine.Name(), Ticket: c.hello.SessionTicketData || c.hello.PreSharedKey, Resumed: c.resumed,
	}, time.Since(c.start))
	return c.socket.SetDeadline(time.Now().Add(c.route.FirstBytesTimeout))
}

// recognise learns the protocol from the client's first bytes, where the
// listener's protocol is one whose client speaks first.
func (c *connection) recognise() (err error) {
	switch c.route.Protocol {
	case "tcp": // opaque: there is nothing to recognise
	case "openwire":
		// Both sides speak at once, so the broker is not kept waiting for the
		// client: the first bytes are watched on their way.
		c.first.Protocol = sniff.OpenWire
		c.client = sniff.Guard(c.client, sniff.OpenWire)
	case "auto":
		c.first, err = sniff.Read(c.client, sniff.Any)
	default:
		c.first, err = sniff.Read(c.client, sniff.Protocol(c.route.Protocol))
	}
	return err
}

// dial connects to a node of the upstream that the protocol goes to.
func (c *connection) dial() (err error) {
	if c.pool = c.route.poolFor(c.first); c.pool == nil {
		return &refusal{reason: "no_upstream", err: fmt.Errorf("proxy: the listener has no upstream for %s", c.protocolName()),
			answer: sniff.Unavailable(c.first)}
	}
	if err := c.socket.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if c.backend, c.node, err = c.pool.Dial(c.listener.running, c.source.Addr()); err != nil {
		return &refusal{reason: reasonOf(err), err: err, answer: sniff.Unavailable(c.first)}
	}
	return nil
}

// greet says who the client is, where the broker is told, and passes on what
// recognise has read: in one piece, and less than a socket buffer.
func (c *connection) greet() error {
	header, err := c.proxyHeader()
	if err != nil {
		return err
	}
	greeting := append(header, c.first.Prefix...)
	if len(greeting) == 0 {
		return nil
	}
	if _, err := c.backend.Write(greeting); err != nil {
		return &refusal{reason: "backend_closed", err: fmt.Errorf("proxy: %s closed before the first byte: %w", c.node.Address, err),
			answer: sniff.Unavailable(c.first)}
	}
	c.greeted = int64(len(c.first.Prefix))
	if fromClient, _ := c.listener.server.Metrics.Carried(c.route.Name); fromClient != nil {
		fromClient.Add(float64(c.greeted))
	}
	return nil
}

// poolFor is the upstream for a protocol: the listener's own, or by protocol
// with auto, or by subprotocol with websocket.
func (r *route) poolFor(first sniff.Result) *upstream.Pool {
	switch {
	case r.pool != nil:
		return r.pool
	case r.Protocol == string(sniff.WebSocket):
		return r.pools[first.Subprotocol()]
	default:
		return r.pools[string(first.Protocol)]
	}
}

// abort ends a connection that is being set up, because the gateway ends.
func (c *connection) abort() {
	c.aborted.Store(true)
	c.turn.Cancel(errAborted)
	_ = c.socket.Close() // whatever it was waiting for now fails
}

// close closes both sides without a word.
func (c *connection) close() {
	_ = c.socket.Close()
	if c.backend != nil {
		_ = c.backend.Close()
	}
}

// as gives a slice of uint16 the name of another package's type.
func as[T ~uint16](values []uint16) []T {
	if values == nil {
		return nil
	}
	typed := make([]T, len(values))
	for i, v := range values {
		typed[i] = T(v)
	}
	return typed
}
