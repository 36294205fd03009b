package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/engine"
	"github.com/suitegate/suitegate/proxy/relay"
)

const alertNoApplicationProtocol = 120 // RFC 7301 §3.2

// reasonChallenge is how a connection ends that answered a challenge.
const reasonChallenge = "acme_challenge"

// errChallenged ends the stages of a connection that answered a challenge.
var errChallenged = errors.New("proxy: a tls-alpn-01 challenge was answered")

// challenge answers an authority that validates a name by tls-alpn-01: it offers
// the one protocol acme-tls/1 (RFC 8737 §3), gets the certificate that only who
// ordered it can make, and is left. The listener's policy does not stand in the
// way, since nothing is ever relayed: an authority is free to have TLS 1.2 or
// 1.3 with whatever crypto/tls has, too.
func (c *connection) challenge() error {
	if !slices.Equal(c.hello.ALPN, []string{certs.ACMETLS}) || !c.route.store.SolvesTLSALPN() {
		return nil
	}
	certificate, err := c.route.store.Challenge(c.socket, c.hello.ServerName)
	if err != nil {
		return &refusal{reason: "no_acme_challenge", alert: alertNoApplicationProtocol, err: fmt.Errorf("proxy: %q: %w", c.hello.ServerName, err)}
	}
	conn := tls.Server(c.hello.Replay(c.socket), &tls.Config{
		MinVersion:             tls.VersionTLS12, // RFC 8737 §3 names it as the least
		Certificates:           []tls.Certificate{*certificate},
		NextProtos:             []string{certs.ACMETLS},
		SessionTicketsDisabled: true,
	})
	if err := conn.HandshakeContext(context.Background()); err != nil { // the deadline on the socket bounds this
		return &refusal{reason: "acme_challenge_failed", err: engine.NewHandshakeError(err)}
	}
	c.client, c.alpn = conn, certs.ACMETLS
	return errChallenged
}

// leave ends a connection that needs nothing more.
func (c *connection) leave() {
	c.tell(nil)
	c.linger()
	c.close()
	c.end(relay.Stats{Reason: reasonChallenge}, nil)
}

// pending is why there is no certificate for a name that is to have one.
func pending(serverName string) error {
	return &refusal{reason: "certificate_pending", alert: alertInternalError,
		err: fmt.Errorf("proxy: the certificate for server name %q has not been obtained yet", serverName)}
}

// demand has a certificate obtained for the client's server name, where that is
// configured and there is none. The client waits, and nobody else; in time
// before its deadline it is refused, and a later one gets the certificate.
func (c *connection) demand() error {
	name := c.hello.ServerName
	if name == "" || !c.route.store.Demands(c.route.Certificates, name) {
		return nil
	}
	if _, named := c.route.store.Match(c.route.Certificates, name); named {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.listener.running, c.route.HandshakeTimeout*3/4)
	defer cancel()
	err := c.route.store.Demand(ctx, c.route.Certificates, name)
	if err == nil || errors.Is(err, certs.ErrNotDemanded) {
		return nil // a refused name is as unknown as any other
	}
	return &refusal{reason: "certificate_pending", alert: alertInternalError, err: fmt.Errorf("proxy: server name %q: %w", name, err)}
}

// heldBack is why a certificate that must be stapled is not served without: a
// client that knows of the extension would refuse it, and one that does not
// would take it even where it has been revoked.
func heldBack(serverName string) error {
	return &refusal{reason: "staple_missing", alert: alertInternalError,
		err: fmt.Errorf("proxy: the certificate for server name %q needs a stapled OCSP response, and there is none", serverName)}
}

func acmeSource(a *configs.ACME) *certs.ACME {
	if a == nil {
		return nil
	}
	source := &certs.ACME{
		Names: a.Names, Email: a.Email, Directory: a.Directory, Root: a.Root, Profile: a.Profile, PreferredChain: a.PreferredChain,
		KeyTypes: a.KeyTypes, MustStaple: a.MustStaple, Challenges: a.Challenges, CheckInterval: a.CheckInterval,
	}
	if o := a.OnDemand; o != nil {
		source.OnDemand = &certs.OnDemand{Allow: o.Allow, Ask: o.Ask}
	}
	if d := a.DNS; d != nil {
		source.DNS = &certs.DNS{Resolvers: d.Resolvers, PropagationTimeout: d.PropagationTimeout}
		if p := d.RFC2136; p != nil {
			source.DNS.RFC2136 = &certs.RFC2136{Server: p.Server, KeyName: p.KeyName, KeyAlgorithm: p.KeyAlgorithm,
				Key: certs.Secret{File: p.KeyFile, Env: p.KeyEnv}}
		}
	}
	if e := a.ExternalAccount; e != nil {
		source.ExternalAccount = &certs.ExternalAccount{KeyID: e.KeyID, MACKey: certs.Secret{File: e.MACKeyFile, Env: e.MACKeyEnv}}
	}
	return source
}

// challengeServers answer http-01 challenges, and nothing else, through reloads.
type challengeServers struct {
	servers map[string]*http.Server // by address
	sockets map[string]net.Listener // of servers
	next    map[string]net.Listener // bound for the configuration that is being applied
	handler atomic.Pointer[certs.Store]
}

// bind binds the addresses of a configuration that have no server yet. Its
// errors have the position of what they are about.
func (s *challengeServers) bind(config *configs.Config, open opener) configs.Errors {
	var errs configs.Errors
	s.next = make(map[string]net.Listener)
	for _, c := range config.Certificates {
		if c.ACME == nil || c.ACME.HTTPAddress == "" || s.next[c.ACME.HTTPAddress] != nil || s.servers[c.ACME.HTTPAddress] != nil {
			continue
		}
		socket, err := open(http01Use(c.ACME.HTTPAddress), "http-01", c.ACME.HTTPAddress)
		if err != nil {
			errs = append(errs, configs.Error{Pos: config.Position("certificates", c.Name, "acme.http_address"), Reason: bindReason(err)})
			continue
		}
		s.next[c.ACME.HTTPAddress] = socket
	}
	return errs
}

// unbind takes back what bind did.
func (s *challengeServers) unbind() {
	for _, socket := range s.next {
		_ = socket.Close()
	}
	s.next = nil
}

// start serves the challenges of a generation on the addresses of the last bind,
// and leaves those that its configuration does not have.
func (s *challengeServers) start(g *generation, log *slog.Logger) {
	s.handler.Store(g.store)
	wanted := make(map[string]bool)
	for _, c := range g.config.Certificates {
		if c.ACME != nil {
			wanted[c.ACME.HTTPAddress] = true
		}
	}
	for address, server := range s.servers {
		if !wanted[address] {
			_ = server.Close()
			delete(s.servers, address)
			delete(s.sockets, address)
		}
	}
	for address, socket := range s.next {
		server := &http.Server{
			Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handler.Load().ServeHTTP(w, r) }),
			ReadHeaderTimeout: 5 * time.Second,
			WriteTimeout:      10 * time.Second,
			IdleTimeout:       10 * time.Second,
			MaxHeaderBytes:    8 << 10,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what strangers send
		}
		if s.servers == nil {
			s.servers, s.sockets = make(map[string]*http.Server), make(map[string]net.Listener)
		}
		s.servers[address], s.sockets[address] = server, socket
		log.Info("answering http-01 challenges", "address", socket.Addr().String())
		go func() { _ = server.Serve(socket) }() // ends with close; accept errors are retried inside
	}
	s.next = nil
}

// close ends all servers.
func (s *challengeServers) close() {
	for _, server := range s.servers {
		_ = server.Close()
	}
	s.servers, s.sockets = nil, nil
}
