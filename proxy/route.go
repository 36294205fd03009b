package proxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/certs/seal"
	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/audit"
	"github.com/suitegate/suitegate/proxy/clientauth"
	"github.com/suitegate/suitegate/proxy/engine"
	"github.com/suitegate/suitegate/proxy/limits"
	"github.com/suitegate/suitegate/proxy/shadow"
	"github.com/suitegate/suitegate/proxy/upstream"
)

// A route is all that the connections of one listener need to know. It is made
// from the configuration in one piece and never changes: a reload puts another
// in its place, and connections keep the one they began with.
type route struct {
	configs.Listener

	policy   *policy.Policy // bound to the certificates and engines
	unserved []policy.Unserved
	byKeys   map[policy.KeySet]*policy.Policy // bound to those with keys of the set
	keySet   policy.KeySet                    // of all certificates
	keys     map[string][]policy.KeyType      // by certificate
	defaults []string                         // certificates for clients without a server name
	store    *certs.Store
	engines  engine.Dispatcher
	clients  *clientauth.Verifier      // nil if they are asked for no certificate
	pool     *upstream.Pool            // nil if pools decides
	pools    map[string]*upstream.Pool // by protocol, or subprotocol of WebSocket
	canary   *canary                   // nil for none
	shadows  []candidate               // the same listener under its shadow policies

	addresses     limits.Addresses
	clientLimits  limits.ClientLimits
	handshakeRate limits.Rate
}

// generation is everything that one configuration made.
type generation struct {
	config  *configs.Config
	store   *certs.Store
	keyring *seal.Keyring             // of the storage; nil if it is not sealed
	routes  []*route                  // in the order of config.Listeners
	token   []byte                    // of the admin address
	audit   *audit.File               // nil for none
	pools   map[string]*upstream.Pool // by name

	tickets     *certs.TicketKeys // see openTickets
	stopTickets context.CancelFunc

	proved [][sha256.Size]byte // digests of what the newest proof was of, see provedContent

	stopWatching context.CancelFunc // the files about clients
	warned       map[string]bool    // of what about them
}

func (g *generation) close() error { return g.store.Close() }

// discard closes a generation, but for what it shares with the one that goes on;
// nil for none.
func (g *generation) discard(stays *generation) {
	if g.tickets != nil && (stays == nil || g.tickets != stays.tickets) {
		g.tickets.Close()
	}
	_ = g.close() // why it goes is known
	stays.dropKeyring(g.keyring)
}

// build makes a generation of a configuration, without a socket. Its error
// holds every mistake, with its position in the file.
func (s *Server) build(ctx context.Context, config *configs.Config, keyring *seal.Keyring, previous *generation) (*generation, error) {
	if err := fipsInForce(config); err != nil {
		return nil, err
	}
	// Judged before Open, which makes what is missing in the storage: a
	// configuration that is refused leaves nothing there. Open has the same
	// warnings.
	keys, err := certs.Check(certsConfig(config, nil))
	if err != nil {
		return nil, positioned(config, err)
	}
	pools := s.pools(config, previous)
	routes, err := newRoutes(config, keys, pools)
	if err != nil {
		return nil, err
	}
	token, err := adminToken(config)
	if err != nil {
		return nil, err
	}
	opening := certsConfig(config, s.log())
	opening.Issuances = &s.issuances
	opening.Reloaded = s.certificateReplaced
	opening.Ordered = func(certificate string, key policy.KeyType, renewal, ok bool) {
		s.Metrics.CertificateOrdered(certificate, key.String(), renewal, ok)
	}
	opening.StorageFailed, opening.Keyring = s.Metrics.StorageFailed, keyring
	store, err := certs.Open(ctx, opening)
	if err != nil {
		return nil, positioned(config, err)
	}
	if err := selfTest(ctx, store.Certificates()); err != nil {
		_ = store.Close() // err is why
		return nil, err
	}
	for _, r := range routes {
		r.store = store
		if r.canary != nil {
			r.canary.under.store = store
		}
		for i := range r.shadows {
			r.shadows[i].countAs(s.Metrics)
		}
	}
	return &generation{config: config, keyring: keyring, store: store, routes: routes, token: token, pools: pools}, nil
}

// newRoutes makes the routes of all listeners, still without certificates.
func newRoutes(config *configs.Config, keys map[string][]policy.KeyType, pools map[string]*upstream.Pool) ([]*route, error) {
	var routes []*route
	var errs configs.Errors
	for _, l := range config.Listeners {
		clients, err := openClientAuth(l, config.FIPSMode())
		if err != nil {
			errs = append(errs, clientAuthErrors(config, l.Name, err)...)
		}
		r, err := newRoute(l, clients, config.Tickets, keys, pools)
		if err != nil {
			errs = append(errs, configs.Error{Pos: config.Position("listeners", l.Name, "policy"), Reason: err.Error()})
			continue
		}
		if why := r.defaultServesNobody(); why != "" {
			errs = append(errs, configs.Error{Pos: config.Position("listeners", l.Name, "default_certificate"), Reason: why})
			continue
		}
		for _, name := range l.Shadow {
			l.Policy = config.Policy(name)
			under, err := newRoute(l, clients, config.Tickets, keys, pools)
			if err != nil {
				errs = append(errs, configs.Error{Pos: config.Position("listeners", l.Name, "shadow"), Reason: err.Error()})
				continue
			}
			r.shadows = append(r.shadows, candidate{route: under, Candidate: shadow.Candidate{Listener: l.Name, Policy: name}})
		}
		if l.Canary != nil {
			l.Policy = config.Policy(l.Canary.Policy)
			under, err := newRoute(l, clients, config.Tickets, keys, pools)
			if err != nil {
				errs = append(errs, configs.Error{Pos: config.Position("listeners", l.Name, "canary.policy"), Reason: err.Error()})
				continue
			}
			r.canary = r.newCanary(under)
		}
		routes = append(routes, r)
	}
	if len(errs) > 0 {
		errs.Sort()
		return nil, errs
	}
	return routes, nil
}

func newRoute(l configs.Listener, clients *clientauth.Verifier, tickets configs.Tickets, keys map[string][]policy.KeyType, pools map[string]*upstream.Pool) (*route, error) {
	r := &route{Listener: l, clients: clients, keys: keys, pool: pools[l.Upstream], pools: make(map[string]*upstream.Pool)}
	for protocol, name := range l.Upstreams {
		r.pools[protocol] = pools[name]
	}
	r.limit()
	handshakes := engine.Config{
		MinVersion: uint16(lowest(l.Policy)), MaxVersion: uint16(highest(l.Policy)), NextProtos: l.ALPN,
		NoTickets: !l.SessionTickets, TicketLifetime: tickets.Lifetime,
	}
	if clients != nil {
		handshakes.ClientAuth = clients
	}
	r.engines = engine.New(handshakes, identifiers(l.Policy))
	var have []policy.KeyType
	for _, name := range l.Certificates {
		have = append(have, keys[name]...)
	}
	r.policy, r.unserved = l.Policy.Bind(policy.Have{Keys: have, Serves: r.engines.Serves})
	r.byKeys, r.keySet = bindByKeys(l.Policy, r.engines.Serves), policy.Keys(have...)
	r.defaults = l.Certificates
	if l.DefaultCertificate != "" {
		r.defaults = []string{l.DefaultCertificate}
	}

	for _, version := range []struct {
		version     policy.Version
		named, left []policy.Suite
	}{{policy.TLS13, l.Policy.TLS13, r.policy.TLS13}, {policy.TLS12, l.Policy.TLS12, r.policy.TLS12}} {
		if len(version.named) > 0 && len(version.left) == 0 {
			return nil, fmt.Errorf("policy %s: none of its %s suites can be served with certificates %s: %s",
				l.Policy.Name, version.version, strings.Join(l.Certificates, ", "), whyUnserved(r.unserved, version.version))
		}
	}
	return r, nil
}

// whyUnserved lists the distinct reasons, in order of appearance.
func whyUnserved(unserved []policy.Unserved, version policy.Version) string {
	var whys []string
	for _, u := range unserved {
		if u.Suite.TLS13() == (version == policy.TLS13) && !slices.Contains(whys, u.Why) {
			whys = append(whys, u.Why)
		}
	}
	return strings.Join(whys, ", ")
}

// identifiers are the suites of a policy as they stand on the wire.
func identifiers(p *policy.Policy) []uint16 {
	var ids []uint16
	for _, s := range slices.Concat(p.TLS12, p.TLS13) {
		ids = append(ids, s.ID)
	}
	return ids
}

func lowest(p *policy.Policy) policy.Version {
	if len(p.TLS12) > 0 {
		return policy.TLS12
	}
	return policy.TLS13
}

func highest(p *policy.Policy) policy.Version {
	if len(p.TLS13) > 0 {
		return policy.TLS13
	}
	return policy.TLS12
}

func certsConfig(config *configs.Config, logger *slog.Logger) certs.Config {
	sources := make([]certs.Source, len(config.Certificates))
	for i, c := range config.Certificates {
		sources[i].Name, sources[i].NoStapling = c.Name, c.NoStapling
		if c.Files != nil {
			sources[i].Files = &certs.Files{
				Certificate: c.Files.Certificate, Key: c.Files.Key, PKCS12: c.Files.PKCS12,
				Password: certs.Secret{File: c.Files.PasswordFile, Env: c.Files.PasswordEnv},
			}
		}
		if c.SelfSigned != nil {
			sources[i].SelfSigned = &certs.SelfSigned{Names: c.SelfSigned.Names}
		}
		sources[i].ACME = acmeSource(c.ACME)
	}
	return certs.Config{Sources: sources, Storage: config.Storage, Redis: redisConfig(config.Redis), FIPS: config.FIPSMode(), Logger: logger}
}

func redisConfig(r *configs.Redis) *certs.Redis {
	if r == nil {
		return nil
	}
	redis := &certs.Redis{Address: r.Address, Username: r.Username, Password: certs.Secret{File: r.PasswordFile, Env: r.PasswordEnv},
		Database: r.Database, Prefix: r.Prefix}
	if r.TLS != nil {
		redis.TLS, redis.CA, redis.Certificate, redis.Key = true, r.TLS.CA, r.TLS.Certificate, r.TLS.Key
	}
	return redis
}

// positioned turns the errors of certs.Open into those of the file's lines.
func positioned(config *configs.Config, err error) error {
	var errs configs.Errors
	for _, err := range unjoin(err) {
		var source *certs.SourceError
		if !errors.As(err, &source) { // then it is about the storage, or what all share in it
			errs = append(errs, configs.Error{Pos: config.Position("storage", "", ""), Reason: err.Error()})
			continue
		}
		errs = append(errs, configs.Error{Pos: config.Position("certificates", source.Source, source.Field), Reason: source.Err.Error()})
	}
	errs.Sort()
	return errs
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

func join[T fmt.Stringer](values []T) string { return strings.Join(texts(values), ", ") }

func texts[T fmt.Stringer](values []T) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = v.String()
	}
	return all
}
