package proxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/admin"
	"github.com/suitegate/suitegate/proxy/audit"
	"github.com/suitegate/suitegate/proxy/prove"
	"github.com/suitegate/suitegate/proxy/scan"
)

// prove asks every listener of a generation, before anything of it is in force,
// what its policy says that clients get. The hellos take the way of every
// client's through readHello, decide and handshake, over connections within the
// process: they pass no limit, and nothing counts or logs them.
//
// The error has the position of each policy that is not what its listener does,
// where that is to be an error.
func (s *Server) prove(ctx context.Context, next *generation) (*prove.Evidence, error) {
	mode := next.config.Prove.Mode
	if mode == configs.ProveOff {
		return nil, nil
	}
	var answering sync.WaitGroup
	defer answering.Wait()
	offers := storedOffers(next.store.Certificates())
	var proved [][sha256.Size]byte
	s.Metrics.ProofsReset()
	e := newEvidence(next.config, s.Version, prove.InProcess)
	begun := time.Now()
	for _, r := range next.served() {
		kinds, missing := r.kindsNow(offers)
		if missing != "" {
			s.log().Warn("not proved", "listener", r.Name, "why", missing)
		}
		dial := func(ctx context.Context) (net.Conn, error) {
			client, server := net.Pipe()
			answering.Go(func() { s.answerOwn(ctx, r, patient{server}) })
			return client, nil
		}
		content := r.provedContent(kinds)
		proved = append(proved, content)
		l, known := s.proofs.find(content)
		if !known {
			var err error
			if l, err = r.prove(ctx, kinds, dial, prove.Options{}); err != nil {
				return nil, err
			}
			s.Metrics.Proved(r.Name, l.Offers(), len(l.Differences()))
			s.proofs.keep(content, l)
		} else {
			s.Metrics.Proved(r.Name, 0, 0)
		}
		l.Name, l.Address, l.Policy.Name = r.Name, r.Address, r.Listener.Policy.Name
		if missing != "" {
			l.NotProved = append(l.NotProved, missing)
		}
		e.Listeners = append(e.Listeners, l)
	}
	next.proved = proved
	s.Metrics.ProofTook(time.Since(begun))
	if err := e.Seal(); err != nil {
		return nil, err
	}
	if errs := differences(next.config, e); len(errs) > 0 {
		if mode == configs.ProveEnforce {
			return e, errs
		}
		for _, err := range errs {
			s.log().Warn(err.Reason, "position", err.Pos.String())
		}
	}
	return e, nil
}

// patient is a connection without deadlines: who asks has one, and goes. A timer
// that nobody stops would keep each pipe in memory until it is due.
type patient struct{ net.Conn }

func (patient) SetDeadline(time.Time) error      { return nil }
func (patient) SetReadDeadline(time.Time) error  { return nil }
func (patient) SetWriteDeadline(time.Time) error { return nil }

// provedContent is the digest of everything that answers to hellos come from.
func (r *route) provedContent(kinds []clientKind) [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%q %v %s %t", r.ticketScope(), r.Listener.Policy.Preference(), r.ServerName, r.SessionTickets)
	for _, kind := range kinds {
		fmt.Fprintf(h, " %q %d %t", kind.serverName, kind.keys, kind.alert != nil)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// served are the routes of all listeners, and those of their canary policies.
func (g *generation) served() (all []*route) {
	for _, r := range g.routes {
		all = append(all, r)
		if r.canary != nil {
			all = append(all, r.canary.under)
		}
	}
	return all
}

// answerOwn is connection.serve for a connection of the gateway's own, as far as
// the handshake, which its client never ends.
func (s *Server) answerOwn(ctx context.Context, r *route, socket net.Conn) {
	defer func() {
		if recover() != nil { // it ends the connection, which is a wrong answer
			s.Metrics.Panicked()
		}
		_ = socket.Close()
	}()
	own := *r // without the patience for slow clients, or the lack of it
	own.shadows, own.canary = nil, nil
	own.HelloTimeout, own.HandshakeTimeout = time.Minute, time.Minute
	c := newConnection(&listener{server: s, running: ctx}, &own, socket)
	for _, stage := range []func(*connection) error{(*connection).readHello, (*connection).decide, (*connection).handshake} {
		if err := stage(c); err != nil {
			c.tell(err)
			return
		}
	}
}

// clientKind are clients that a listener treats alike: those of a server name,
// which stands for all with the same types of key.
type clientKind struct {
	serverName string
	keys       policy.KeySet
	alert      func(policy.Offer) uint8 // that refuses them for their name; nil if they are not
}

// strangeName is one that no certificate has (RFC 6761 §6.4).
const strangeName = "suitegate-prove.invalid"

// clientKinds are all of them, and why some are left out. held are the keys of
// the certificates for clients without a server name.
func (r *route) clientKinds(names []nameKeys, held func() policy.KeySet) (kinds []clientKind, missing string) {
	switch keys := held(); {
	case r.ServerName == configs.ServerNameRequired:
		kinds = append(kinds, clientKind{alert: func(o policy.Offer) uint8 {
			if len(o.Versions) > 0 { // see refuseName
				return alertMissingExtension
			}
			return alertUnrecognizedName
		}})
	case keys == 0:
		missing = "clients without a server name: there is no certificate for them yet"
	default:
		kinds = append(kinds, clientKind{keys: keys})
	}
	seen := make(map[policy.KeySet]bool)
	for _, n := range names {
		if _, err := netip.ParseAddr(n.name); err == nil || seen[n.keys] {
			continue // an address is no server name (RFC 6066 §3)
		}
		seen[n.keys] = true
		kinds = append(kinds, clientKind{serverName: n.example(), keys: n.keys})
	}
	if r.ServerName != configs.ServerNameAny {
		kinds = append(kinds, clientKind{serverName: strangeName, alert: func(policy.Offer) uint8 { return alertUnrecognizedName }})
	}
	return kinds, missing
}

// example is the name, or one that falls under the wildcard.
func (n nameKeys) example() string { return strings.Replace(n.name, "*", "suitegate-prove", 1) }

// kindsNow are the kinds of client of what the store has at this moment.
func (r *route) kindsNow(offers map[string]certs.Offer) (kinds []clientKind, missing string) {
	return r.clientKinds(r.heldNames(namesOf(r.Certificates, offers)), r.heldKeys)
}

// heldNames are those of the names that clients can ask for now, with the keys
// that they get: a certificate may wait for an OCSP response that it must have.
func (r *route) heldNames(names []nameKeys) (held []nameKeys) {
	for _, n := range names {
		if keys, named := r.store.Match(r.Certificates, n.example()); named {
			held = append(held, nameKeys{n.name, keys})
		}
	}
	return held
}

// heldKeys are the types of key of the certificates that clients without a
// server name can get now.
func (r *route) heldKeys() policy.KeySet {
	keys, _ := r.store.Match(r.defaults, "")
	return keys
}

// prove asks the listener as each kind of client.
func (r *route) prove(ctx context.Context, kinds []clientKind, dial func(context.Context) (net.Conn, error), options prove.Options) (prove.Listener, error) {
	p := r.Listener.Policy
	l := prove.Listener{Name: r.Name, Address: r.Address, ProvedAt: time.Now().UTC(), Policy: prove.Policy{
		Name: p.Name, TLS13: texts(p.TLS13), TLS12: texts(p.Preference()), Groups: texts(p.Groups)}}
	for _, kind := range kinds {
		target := prove.Target{ServerName: kind.serverName, Dial: dial}
		if kind.alert != nil {
			target.Expect = func(o policy.Offer) scan.Answer { return scan.Answer{Alert: kind.alert(o)} }
		} else {
			bound, _ := p.Bind(policy.Have{Keys: kind.keys.Types(), Serves: r.engines.Serves})
			target.Expect = prove.Expect(bound)
		}
		cells, err := prove.Run(ctx, target, options)
		if err != nil {
			return l, err
		}
		l.Clients = append(l.Clients, prove.Clients{ServerName: kind.serverName, Keys: texts(kind.keys.Types()), Cells: cells})
	}
	return l, nil
}

func storedOffers(stored []certs.Certificate) map[string]certs.Offer {
	offers := make(map[string]certs.Offer)
	for _, c := range stored {
		addOffer(offers, c.Source, c.Key, c.ServerNames())
	}
	return offers
}

func addOffer(offers map[string]certs.Offer, source string, key policy.KeyType, names []string) {
	o := offers[source]
	o.Source, o.Keys, o.Names = source, append(o.Keys, key), append(o.Names, names...)
	offers[source] = o
}

func newEvidence(config *configs.Config, version, way string) *prove.Evidence {
	return &prove.Evidence{Suitegate: version, Go: runtime.Version(), Time: time.Now().UTC(), Way: way,
		Config: config.File, ConfigSHA256: config.SHA256()}
}

// differences are the policies that are not what their listeners do, each with
// its position.
func differences(config *configs.Config, e *prove.Evidence) (errs configs.Errors) {
	for _, l := range e.Listeners {
		if wrong := l.Differences(); len(wrong) > 0 {
			errs = append(errs, configs.Error{Pos: config.Position("listeners", l.Name, "policy"), Reason: fmt.Sprintf(
				"policy %s: the listener answers %d of %d offers in another way than the policy says: %s", l.Policy.Name, len(wrong), l.Offers(), wrong[0])})
		}
	}
	errs.Sort()
	return errs
}

// errNotProved is the error of an entry about differences, which are in the log.
var errNotProved = errors.New("a listener does not answer as its policy says; the log says which")

// proved writes down what came of a proof, and keeps its evidence if that is of
// the configuration in force.
func (s *Server) proved(by audit.Operator, config *configs.Config, e *prove.Evidence, refused bool) {
	if e == nil {
		return
	}
	if !refused {
		s.mu.Lock()
		s.proof = &admin.Proof{At: e.Time, Offers: e.Offers, Differences: e.Differences, SHA256: e.SHA256}
		s.mu.Unlock()
	}
	more := []slog.Attr{slog.Int("offers", e.Offers), slog.Int("differences", e.Differences), slog.String("sha256", e.SHA256)}
	entry := audit.Entry{Action: "prove", By: by}
	if e.Differences > 0 {
		entry.Err = errNotProved
	}
	if path := config.Prove.Evidence; path != "" && !refused {
		more = append(more, slog.String("evidence", path))
		if err := e.Write(path); err != nil {
			s.log().Error("the evidence is not kept", "evidence", path, "error", err)
			entry.Err = errors.Join(entry.Err, err)
		}
	}
	entry.More = more
	s.log().LogAttrs(context.Background(), slog.LevelInfo, "proved", more...)
	s.Record(entry)
}
