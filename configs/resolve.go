package configs

import (
	"errors"
	"os"
	"slices"
	"time"

	"github.com/suitegate/suitegate/policy"
	"go.yaml.in/yaml/v4"
)

// resolver checks what no value shows by itself, such as names that refer to
// each other and addresses that collide, and fills in the Config.
type resolver struct {
	*decoder
	cfg *Config

	certificates, policies, upstreams, listeners table

	bound []binding
	nodes []field[nodeAddress]
}

// binding is an address that the gateway listens on.
type binding struct {
	owner   string
	address field[listenAddress]
}

func resolve(d *decoder, doc *document, cfg *Config) {
	r := &resolver{decoder: d, cfg: cfg,
		certificates: newTable("certificate"),
		policies:     newTable("policy", builtins()...),
		upstreams:    newTable("upstream"),
		listeners:    newTable("listener"),
	}
	cfg.Log = Log{
		Format: string(doc.Log.Format.or(DefaultLogFormat)),
		Level:  string(doc.Log.Level.or(DefaultLogLevel)),

		RefusalsPerMinute: int(doc.Log.RefusalsPerMinute.or(DefaultRefusalsPerMinute)),

		ClientAddresses:    string(doc.Log.ClientAddresses.or(DefaultClientAddresses)),
		ServerNames:        bool(doc.Log.ServerNames.or(DefaultLogPeople)),
		Fingerprints:       bool(doc.Log.Fingerprints.or(DefaultLogPeople)),
		ClientCertificates: bool(doc.Log.ClientCertificates.or(DefaultLogPeople)),
	}
	cfg.Hardening = Hardening{
		Landlock:  string(doc.Hardening.Landlock.or(DefaultLandlock)),
		CoreDumps: bool(doc.Hardening.CoreDumps.or(DefaultCoreDumps)),
	}
	cfg.FIPS = string(doc.FIPS.or(DefaultFIPS))
	cfg.DrainTimeout = durationOr(doc.DrainTimeout, DefaultDrainTimeout)
	cfg.ReusePort = bool(doc.Restart.ReusePort.or(DefaultReusePort))
	cfg.Watch = bool(doc.Reload.Watch.or(DefaultWatch))
	r.tickets(doc.Tickets)
	r.prove(doc.Prove)
	cfg.Storage = defaultStorage(os.Geteuid() == 0, os.Getenv)
	r.storage(doc.Storage)
	r.admin(doc.Admin)
	cfg.Audit.File = r.writtenPath(doc.Audit.File)
	for _, c := range doc.Certificates {
		r.certificate(c)
	}
	r.policy(doc.Policies)
	r.upstream(doc.Upstreams)
	for _, l := range doc.Listeners {
		if l.ok {
			r.listener(l.node, &l.value)
		}
	}
	r.checkProtocols()
	r.loops()
	for _, t := range []table{r.certificates, r.policies, r.upstreams} {
		r.unused(t)
	}
}

func (r *resolver) certificate(f field[certificateKeys]) {
	if !f.ok {
		return
	}
	k := f.value
	if k.Name.ok {
		r.define(&r.certificates, string(k.Name.value), k.Name.node)
	}
	c := Certificate{Name: string(k.Name.value), NoStapling: !bool(k.Stapling.or(true)), Pos: r.pos(f.node)}
	if k.Stapling.given() && k.SelfSigned.given() {
		r.errorf(k.Stapling.key, "ocsp_stapling: self_signed certificates have no OCSP responder")
	}
	if k.Files.given() {
		c.Files = r.files(k.Files)
	}
	if k.SelfSigned.given() {
		c.SelfSigned = &SelfSigned{Names: texts(k.SelfSigned.value.Names.value)}
		if !k.SelfSigned.value.Names.given() {
			c.SelfSigned.Names = defaultSelfSignedNames()
		}
	}
	if k.ACME.given() {
		c.ACME = r.acme(k.ACME)
	}
	sources := 0
	for _, given := range []bool{k.Files.given(), k.SelfSigned.given(), k.ACME.given()} {
		if given {
			sources++
		}
	}
	switch {
	case sources == 0:
		r.errorf(f.node, `certificates: missing key "files", "self_signed" or "acme"`)
	case sources > 1:
		r.errorf(f.node, "certificates: files, self_signed and acme exclude each other")
	}
	r.cfg.Certificates = append(r.cfg.Certificates, c)
}

// files checks which files go with which: certificate and key, or pkcs12.
func (r *resolver) files(f field[filesKeys]) *Files {
	k := f.value
	bundle := k.PKCS12.given()
	for _, pair := range []struct {
		key  string
		file field[text]
	}{{"certificate", k.Certificate}, {"key", k.Key}} {
		switch {
		case bundle && pair.file.given():
			r.errorf(pair.file.key, "files: pkcs12 and %s exclude each other", pair.key)
		case !bundle && !pair.file.given() && f.ok:
			r.errorf(f.node, "files: missing key %q", pair.key)
		}
	}
	if k.PasswordFile.given() && k.PasswordEnv.given() {
		r.errorf(k.PasswordEnv.key, "files: password_file and password_env exclude each other")
	}
	return &Files{
		Certificate:  r.path(k.Certificate),
		Key:          r.path(k.Key),
		PKCS12:       r.path(k.PKCS12),
		PasswordFile: r.path(k.PasswordFile),
		PasswordEnv:  string(k.PasswordEnv.value),
	}
}

func (r *resolver) policy(policies names[policyKeys]) {
	r.cfg.Policies = map[string]*policy.Policy{}
	for _, e := range policies {
		r.define(&r.policies, string(e.name), e.key)
		if e.ok && !r.mistakes.full() {
			r.newPolicy(e)
		}
	}
}

// maxNames is how long a policy's lists can be, a few times more than there
// are suites: package policy looks for what each unknown name may have meant.
const maxNames = 100

func (r *resolver) newPolicy(e entry[policyKeys]) {
	read := map[string]field[[]field[text]]{"tls12": e.value.TLS12, "tls13": e.value.TLS13, "groups": e.value.Groups}
	items, names := map[string][]field[text]{}, map[string][]string{}
	for list, f := range read {
		items[list] = valid(f.value)
		if len(items[list]) > maxNames {
			r.errorf(items[list][maxNames].node, "%s: more than %d names", list, maxNames)
			items[list] = items[list][:maxNames]
		}
		names[list] = texts(items[list])
	}
	p, err := policy.New(string(e.name), names["tls12"], names["tls13"], names["groups"])
	if err == nil {
		r.approvedLists(items, p)
		r.cfg.Policies[string(e.name)] = r.cfg.served(p)
		return
	}
	for _, fault := range unjoin(err) {
		var bad *policy.NameError
		switch {
		case errors.As(fault, &bad):
			item := items[bad.List][bad.Index]
			if what := secretName(string(item.value)); what != "" {
				r.errorf(item.node, "%s: want a name, not %s", bad.List, what) // bad.Err would show it
				continue
			}
			r.errorf(item.node, "%s: %v", bad.List, bad.Err)
		case !errors.Is(fault, policy.ErrNoSuites):
			r.errorf(e.key, "%v", fault)
		case !misread(read["tls12"]) && !misread(read["tls13"]):
			r.errorf(e.key, "policy %s: %v", quote(string(e.name)), policy.ErrNoSuites)
		}
	}
}

func (r *resolver) listener(n *yaml.Node, k *listenerKeys) {
	if k.Name.ok {
		r.define(&r.listeners, string(k.Name.value), k.Name.node)
	}
	if k.Address.ok {
		owner := "a listener"
		if k.Name.ok {
			owner = "listener " + quote(string(k.Name.value))
		}
		r.bind(binding{owner, k.Address})
	}
	l := Listener{
		Name:           string(k.Name.value),
		Address:        k.Address.value.String(),
		Protocol:       string(k.Protocol.value),
		ALPN:           texts(k.ALPN),
		SessionTickets: bool(k.SessionTickets.or(DefaultSessionTickets)),
		Pos:            r.pos(n),
	}
	if r.refer(&r.policies, k.Policy) {
		r.approvedPolicy("policy", k.Policy)
		l.Policy = r.cfg.Policy(string(k.Policy.value))
	}
	l.Shadow = r.shadow(k)
	l.Canary = r.canary(k)
	if k.Certificates.given() {
		for _, c := range k.Certificates.value {
			r.refer(&r.certificates, c)
		}
		l.Certificates = texts(k.Certificates.value)
	} else {
		l.Certificates = slices.Clone(r.certificates.names)
		for _, c := range l.Certificates {
			r.certificates.used[c] = true
		}
	}
	r.limits(k, &l)
	r.serverName(k, &l)
	l.ProxyProtocol = r.proxyProtocol(k.ProxyProtocol.value)
	l.ClientCertificates = r.clientCertificates(k.ClientCertificates)
	r.route(n, k, &l)
	r.cfg.Listeners = append(r.cfg.Listeners, l)
}

// shadow are the policies that clients of a listener are judged by besides.
func (r *resolver) shadow(k *listenerKeys) (names []string) {
	for _, f := range k.Shadow.value {
		name := string(f.value)
		switch {
		case !r.refer(&r.policies, f):
		case name == string(k.Policy.value):
			r.errorf(f.node, "shadow: %s is the policy in force", quote(name))
		case len(names) == MaxShadow:
			r.errorf(f.node, "shadow: more than %d policies", MaxShadow)
		default:
			r.approvedPolicy("shadow", f)
			names = append(names, name)
		}
	}
	return names
}

// serverName settles what clients get whose server name no certificate has.
func (r *resolver) serverName(k *listenerKeys, l *Listener) {
	l.ServerName = string(k.ServerName.or(DefaultServerName))
	if !r.refer(&r.certificates, k.DefaultCertificate) {
		return
	}
	l.DefaultCertificate = string(k.DefaultCertificate.value)
	switch {
	case !slices.Contains(l.Certificates, l.DefaultCertificate):
		r.errorf(k.DefaultCertificate.node, "default_certificate: %s is not among the listener's certificates", quote(l.DefaultCertificate))
	case l.ServerName == ServerNameRequired:
		r.warnf(k.DefaultCertificate.key, "default_certificate: with server_name required no client gets it")
	}
}

// route finds where a listener sends its connections.
func (r *resolver) route(n *yaml.Node, k *listenerKeys, l *Listener) {
	if k.Upstream.given() && r.refer(&r.upstreams, k.Upstream) {
		l.Upstream = string(k.Upstream.value)
	}
	branches := branchesOf(l.Protocol)
	if k.Upstreams.given() {
		l.Upstreams = map[string]string{}
		for _, e := range k.Upstreams.value {
			if len(branches) > 0 && !slices.Contains(branches, string(e.name)) {
				r.errorf(e.key, "%s", unknown("protocol", string(e.name), branches))
			}
			if r.refer(&r.upstreams, e.field) {
				l.Upstreams[string(e.name)] = string(e.value)
			}
		}
	}
	one, several := k.Upstream.given(), k.Upstreams.given()
	switch {
	case one && several:
		r.errorf(k.Upstreams.key, "upstream and upstreams exclude each other")
	case !k.Protocol.ok:
	case l.Protocol == "auto" && one:
		r.errorf(k.Upstream.key, "protocol auto takes upstreams, one for each protocol, instead of upstream")
	case len(branches) == 0 && several:
		r.errorf(k.Upstreams.key, "protocol %s takes upstream instead of upstreams", l.Protocol)
	case one || several:
	case l.Protocol == "auto":
		r.errorf(n, `listeners: missing key "upstreams", which protocol auto needs`)
	case len(branches) > 0:
		r.errorf(n, `listeners: missing key "upstream" (or "upstreams", by subprotocol)`)
	default:
		r.errorf(n, `listeners: missing key "upstream"`)
	}
}

// branchesOf lists the keys that upstreams can have on a listener.
func branchesOf(protocol string) []string {
	switch protocol {
	case "auto":
		return []string{"amqp", "mqtt", "stomp", "openwire", "websocket"}
	case "websocket":
		return []string{"mqtt", "stomp"}
	}
	return nil
}

// bind checks an address against those bound before it.
func (r *resolver) bind(b binding) {
	for _, other := range r.bound {
		if b.address.value.overlaps(other.address.value.hostPort) {
			r.errorf(b.address.node, "address: %s collides with %s of %s on line %d",
				b.address.node.Value, other.address.node.Value, other.owner, other.address.node.Line)
			break
		}
	}
	r.bound = append(r.bound, b)
}

// loops finds upstreams that are the gateway itself.
func (r *resolver) loops() {
	for _, n := range r.nodes {
		for _, b := range r.bound {
			if n.value.reaches(b.address.value.hostPort) {
				r.errorf(n.node, "nodes: %s is the address of %s on line %d, not of a broker",
					n.node.Value, b.owner, b.address.node.Line)
				break
			}
		}
	}
}

// table holds the names of the things of one kind.
type table struct {
	kind  string
	names []string // in the file's order
	at    map[string]*yaml.Node
	used  map[string]bool
}

// newTable starts with the names of what is built in.
func newTable(kind string, builtin ...string) table {
	t := table{kind: kind, names: builtin, at: map[string]*yaml.Node{}, used: map[string]bool{}}
	for _, name := range builtin {
		t.at[name] = nil
	}
	return t
}

// define adds a name.
func (r *resolver) define(t *table, name string, at *yaml.Node) {
	switch other, taken := t.at[name]; {
	case !taken:
		t.at[name] = at
		t.names = append(t.names, name)
	case other == nil:
		r.errorf(at, "%s %s is built in; choose another name", t.kind, quote(name))
	default:
		r.errorf(at, "%s %s stands here twice, first on line %d", t.kind, quote(name), other.Line)
	}
}

// refer marks the name in f as used, and reports whether it is one.
func (r *resolver) refer(t *table, f field[text]) bool {
	if !f.ok {
		return false
	}
	name := string(f.value)
	if _, ok := t.at[name]; !ok {
		r.errorf(f.node, "%s", unknown(t.kind, name, t.names))
		return false
	}
	t.used[name] = true
	return true
}

func (r *resolver) unused(t table) {
	for _, name := range t.names {
		if at := t.at[name]; at != nil && !t.used[name] {
			r.warnf(at, "%s %s is not used by any listener", t.kind, quote(name))
		}
	}
}

func durationOr(f field[duration], otherwise time.Duration) time.Duration {
	return time.Duration(f.or(duration(otherwise)))
}

// valid leaves out of a list what was reported when it was read.
func valid[T any](list []field[T]) []field[T] {
	return slices.DeleteFunc(slices.Clone(list), func(f field[T]) bool { return !f.ok })
}

// misread says that a list, or something in it, was reported when it was read.
func misread[T any](list field[[]field[T]]) bool {
	return list.given() && (!list.ok || len(valid(list.value)) < len(list.value))
}

// texts takes the values out of a list.
func texts[T ~string](list []field[T]) []string {
	var out []string
	for _, f := range list {
		out = append(out, string(f.value))
	}
	return out
}

// unjoin takes apart what errors.Join put together.
func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// builtins are the names of the built-in policies.
func builtins() []string {
	var names []string
	for _, p := range policy.Builtins() {
		names = append(names, p.Name)
	}
	return names
}
