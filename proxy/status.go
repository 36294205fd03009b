package proxy

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/admin"
	"github.com/suitegate/suitegate/proxy/metrics"
)

// status is what the admin server shows of s. Counts are read from the metrics,
// which are their home.
func (s *Server) status() admin.Status {
	now := time.Now()
	totals := s.Metrics.Totals()
	status := admin.Status{
		Version: s.Version, GoVersion: runtime.Version(), FIPS: FIPSStatus(), State: "ready",
		Handshakes: handshakeStatus(totals), Refusals: s.refusalStatus(totals), Certificates: s.certificateStatus(now),
		Shadow: s.shadow.Tallies(),
	}
	status.Host, _ = os.Hostname() // "" where the machine has none
	if err := s.ready(); err != nil {
		status.State = err.Error()
	}
	status.Degraded = slices.Concat([]string{}, s.degraded())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return status
	}
	status.StartedAt, status.UptimeSeconds = s.begun.UTC(), int64(now.Sub(s.begun).Seconds())
	status.ConfigFile, status.LoadedAt = s.current.config.File, s.loaded.UTC()
	status.Proof = s.proof
	if s.failure.err != nil {
		status.ReloadFailure = &admin.ReloadFailure{At: s.failure.at.UTC(), Error: mistakes(s.failure.err)}
	}
	for _, r := range s.current.routes {
		l := s.listeners[key(r)]
		status.Listeners = append(status.Listeners, listenerStatus(l, r, s.closed, totals))
	}
	leaving := slices.SortedFunc(maps.Keys(s.leaving), func(a, b *listener) int {
		return cmp.Compare(a.route.Load().Name, b.route.Load().Name)
	})
	for _, l := range leaving {
		status.Listeners = append(status.Listeners, listenerStatus(l, l.route.Load(), true, totals))
	}
	status.Awaited = []string{}
	for _, c := range s.current.config.Certificates {
		if s.current.store.Pending([]string{c.Name}, "") {
			status.Awaited = append(status.Awaited, c.Name)
		}
	}
	status.Policies, status.Upstreams = policyStatus(s.current.routes), s.current.upstreams()
	return status
}

// mistakes is an error with a line for each mistake of a configuration.
func mistakes(err error) string {
	var list configs.Errors
	if !errors.As(err, &list) {
		return err.Error()
	}
	var lines []string
	for _, mistake := range list {
		lines = append(lines, mistake.Error())
	}
	return strings.Join(lines, "\n")
}

func listenerStatus(l *listener, r *route, draining bool, totals metrics.Totals) admin.Listener {
	e := r.effective()
	status := admin.Listener{
		Name: e.Listener, State: "open", Address: l.socket.Addr().String(), Protocol: e.Protocol, Policy: e.Policy.Name,
		TLS13: texts(e.Policy.TLS13), TLS12: texts(e.Policy.Preference()), Groups: texts(e.Policy.Groups),
		Certificates: e.Certificates, Clients: e.Clients,
		Upstreams: r.Upstreams, Limits: limitStatus(r.Listener),
		ConnectionsActive: int(l.active.Load()), ConnectionsTotal: totals.Accepted[r.Name],
		BytesFromClient: totals.FromClient[r.Name], BytesFromBackend: totals.FromBackend[r.Name],
	}
	status.Canary = canaryStatus(r.canary, time.Now())
	if draining {
		status.State = "draining"
	}
	if r.Upstream != "" {
		status.Upstreams = map[string]string{"": r.Upstream}
	}
	for _, u := range e.Unserved {
		status.Unserved = append(status.Unserved, admin.Unserved{Suite: u.Suite.Name, Why: u.Why})
	}
	return status
}

// limitStatus are the limits of a listener that are set.
func limitStatus(l configs.Listener) map[string]string {
	limits := make(map[string]string)
	number := func(key string, n int) {
		if n > 0 {
			limits[key] = strconv.Itoa(n)
		}
	}
	duration := func(key string, d time.Duration) {
		if d > 0 {
			limits[key] = d.String()
		}
	}
	rate := func(key string, r configs.Rate) {
		if r.Count > 0 {
			limits[key] = fmt.Sprintf("%d/%s", r.Count, map[time.Duration]string{time.Second: "s", time.Minute: "m", time.Hour: "h"}[r.Per])
		}
	}
	networks := func(key string, list []netip.Prefix) {
		if len(list) > 0 {
			limits[key] = join(list)
		}
	}
	networks("allow", l.Allow)
	networks("deny", l.Deny)
	number("max_connections", l.MaxConnections)
	number("max_connections_per_client", l.MaxConnectionsPerClient)
	number("max_handshakes", l.MaxHandshakes)
	number("max_handshakes_per_client", l.MaxHandshakesPerClient)
	rate("handshake_rate", l.HandshakeRate)
	rate("handshake_rate_per_client", l.HandshakeRatePerClient)
	duration("hello_timeout", l.HelloTimeout)
	duration("handshake_timeout", l.HandshakeTimeout)
	duration("first_bytes_timeout", l.FirstBytesTimeout)
	duration("idle_timeout", l.IdleTimeout)
	duration("max_connection_age", l.MaxAge)
	return limits
}

// policyStatus are the policies of the routes, as they are written.
func policyStatus(routes []*route) []admin.Policy {
	users := make(map[*policy.Policy][]string)
	var used []*policy.Policy
	for _, r := range routes {
		p := r.Listener.Policy
		at := slices.IndexFunc(used, func(q *policy.Policy) bool { return q.Name == p.Name })
		if at < 0 {
			used = append(used, p)
			at = len(used) - 1
		}
		users[used[at]] = append(users[used[at]], r.Name)
	}
	slices.SortFunc(used, func(a, b *policy.Policy) int { return cmp.Compare(a.Name, b.Name) })
	all := []admin.Policy{}
	for _, p := range used {
		all = append(all, admin.Policy{Name: p.Name, TLS13: texts(p.TLS13), TLS12: texts(p.Preference()), Groups: texts(p.Groups), Listeners: users[p]})
	}
	return all
}

func handshakeStatus(totals metrics.Totals) []admin.Handshakes {
	all := []admin.Handshakes{}
	for _, h := range totals.Handshakes {
		all = append(all, admin.Handshakes{
			Listener: h.Listener, Version: h.Version, Suite: h.Suite, Group: h.Group, Engine: h.Engine, Resumed: h.Resumed, Count: h.Count,
		})
	}
	slices.SortFunc(all, func(a, b admin.Handshakes) int {
		return cmp.Or(cmp.Compare(a.Listener, b.Listener), -cmp.Compare(a.Version, b.Version), cmp.Compare(a.Suite, b.Suite),
			cmp.Compare(a.Group, b.Group), cmp.Compare(a.Engine, b.Engine), cmp.Compare(strconv.FormatBool(a.Resumed), strconv.FormatBool(b.Resumed)))
	})
	return all
}

func (s *Server) refusalStatus(totals metrics.Totals) []admin.Refusals {
	all := []admin.Refusals{}
	for _, r := range totals.Refusals {
		last := s.refused.of(refusalKind{r.Listener, r.Reason})
		all = append(all, admin.Refusals{
			Listener: r.Listener, Reason: r.Reason, Count: r.Count, LastAt: last.at.UTC(), Client: last.client, Error: last.error,
		})
	}
	slices.SortFunc(all, func(a, b admin.Refusals) int {
		return cmp.Or(b.LastAt.Compare(a.LastAt), cmp.Compare(a.Listener, b.Listener), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}

func (s *Server) certificateStatus(now time.Time) []admin.Certificate {
	all := []admin.Certificate{}
	for _, cert := range s.served() {
		state := "valid"
		switch step := expiryStep(cert.Leaf, cert.renewed, now); {
		case now.Before(cert.Leaf.NotBefore):
			state = "not_yet_valid"
		case step == expired:
			state = "expired"
		case step > 0:
			state = "expires_soon"
		}
		all = append(all, admin.Certificate{
			Name: cert.Source, State: state, Key: cert.Key.String(), Names: cert.ServerNames(),
			Issuer: cert.Leaf.Issuer.String(), Serial: fmt.Sprintf("%x", cert.Leaf.SerialNumber),
			NotBefore: cert.Leaf.NotBefore.UTC(), NotAfter: cert.Leaf.NotAfter.UTC(),
			SHA256: fmt.Sprintf("%x", sha256.Sum256(cert.Leaf.Raw)),
		})
	}
	return all
}
