package proxy

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/admin"
	"github.com/suitegate/suitegate/proxy/audit"
	"github.com/suitegate/suitegate/proxy/shadow"
)

// minCanaries is how many clients have to be judged before a canary policy can
// end for their refusals: of fewer a percentage says little.
const minCanaries = 20

// canary is a policy that is in force for some clients of a listener.
type canary struct {
	*configs.Canary
	under   *route // the listener for those clients
	content string // digest of both policies and of whom it is for
	known   bool   // that it has begun is written down already
	*trial
}

func (c *canary) of() shadow.Candidate {
	return shadow.Candidate{Listener: c.under.Name, Policy: c.Policy}
}

// trial is how a canary has fared: a reload that changes nothing of it keeps it.
type trial struct {
	judged, refused atomic.Int64
	returned        atomic.Bool // everyone gets the listener's policy again
}

// newCanary is the route for the clients that get another policy.
func (r *route) newCanary(under *route) *canary {
	c := &canary{Canary: r.Canary, under: under, trial: new(trial)}
	under.shadows = r.shadows
	c.content = fmt.Sprintf("%x", sha256.Sum256([]byte(r.ticketScope()+under.ticketScope()+c.String())))
	return c
}

// takes says whether a client gets the policy now. Nil takes nobody.
func (c *canary) takes(client netip.Addr, now time.Time) bool {
	return c != nil && !c.returned.Load() && c.during(now) && c.has(client)
}

// during says whether now is between From and Until.
func (c *canary) during(now time.Time) bool {
	return !now.Before(c.From) && (c.Until.IsZero() || now.Before(c.Until))
}

// has says whether a client is among those that it is for.
func (c *canary) has(client netip.Addr) bool {
	client = client.Unmap()
	if len(c.Clients) > 0 && !slices.ContainsFunc(c.Clients, func(p netip.Prefix) bool { return p.Contains(client.WithZone("")) }) {
		return false
	}
	if c.Share >= 100 {
		return true
	}
	if client.Is6() {
		if prefix, err := client.WithZone("").Prefix(64); err == nil {
			client = prefix.Addr()
		}
	}
	// Another listener and policy has others, so that nobody is always the one.
	sum := sha256.Sum256(fmt.Appendf(client.AsSlice(), " %s %s", c.under.Name, c.Policy))
	return binary.BigEndian.Uint64(sum[:])%100 < uint64(c.Share)
}

// state is what it does now, in a word.
func (c *canary) state(now time.Time) string {
	switch {
	case c.returned.Load():
		return "returned"
	case now.Before(c.From):
		return "waits"
	case !c.during(now):
		return "over"
	}
	return "on"
}

// chooseRoute gives the client the listener's canary policy, if it is one of those.
func (c *connection) chooseRoute() {
	if canary := c.route.canary; canary.takes(c.source.Addr(), time.Now()) {
		c.canary, c.enforced, c.route = canary, c.route, canary.under
	}
}

// noteCanary counts what the canary policy decided, and ends it if it refuses too
// many whom the listener's policy would let in.
func (c *connection) noteCanary(o *policy.Offer, keys policy.KeySet, admitted bool) {
	canary := c.canary
	if canary == nil || !admitted && c.enforced.byKeys[keys].Judge(o) != "" {
		return // or it is nothing of the canary's
	}
	server := c.listener.server
	server.Metrics.CanaryJudged(c.route.Name, canary.Policy, admitted)
	judged, refused := canary.judged.Add(1), canary.refused.Load()
	if !admitted {
		refused = canary.refused.Add(1)
	}
	if judged >= minCanaries && 100*refused > int64(canary.MaxRefusals)*judged && canary.returned.CompareAndSwap(false, true) {
		server.returnCanary(canary, refused, judged)
	}
}

// returnCanary takes note of the end, so that neither a reload nor a restart
// begins anew.
func (s *Server) returnCanary(c *canary, refused, judged int64) {
	s.shadow.Return(c.of(), c.content)
	s.Metrics.CanaryReturned(c.under.Name, c.Policy)
	s.log().Error("the canary policy refuses too many and is no longer in force", "listener", c.under.Name, "policy", c.Policy,
		"refused", refused, "judged", judged, "max_refusals_percent", c.MaxRefusals)
	s.recordCanary("canary_return", c, slog.Int64("refused", refused), slog.Int64("judged", judged))
}

func (s *Server) recordCanary(action string, c *canary, more ...slog.Attr) {
	s.Record(audit.Entry{Action: action, By: audit.Operator{Via: audit.ViaGateway},
		More: append([]slog.Attr{slog.String("listener", c.under.Name), slog.String("policy", c.Policy), slog.String("canary", c.String())}, more...)})
}

// keepCanaries has the canary policies of the current generation that are the same
// as before go on, before a client meets them.
func (s *Server) keepCanaries(previous *generation) {
	before := make(map[shadow.Candidate]*canary)
	if previous != nil {
		for _, r := range previous.routes {
			if r.canary != nil {
				before[r.canary.of()] = r.canary
			}
		}
	}
	for _, r := range s.current.routes {
		c := r.canary
		if c == nil {
			continue
		}
		if same := before[c.of()]; same != nil && same.content == c.content {
			c.trial, c.known = same.trial, c.during(s.loaded)
		}
		if s.shadow.Returned(c.of(), c.content) {
			c.returned.Store(true)
		}
	}
}

// watchCanaries tells when those begin and end.
func (s *Server) watchCanaries(previous *generation) {
	if previous != nil {
		s.stopCanaries()
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stopCanaries = cancel
	s.Metrics.CanariesReset()
	for _, r := range s.current.routes {
		if r.canary != nil {
			s.departed.Go(func() { s.watchCanary(ctx, r.canary) })
		}
	}
}

// watchCanary writes down when a canary begins and ends.
func (s *Server) watchCanary(ctx context.Context, c *canary) {
	if c.returned.Load() {
		s.Metrics.CanaryReturned(c.under.Name, c.Policy)
		s.log().Warn("the canary policy stays out of force: it has refused too many before", "listener", c.under.Name, "policy", c.Policy)
		return
	}
	if !until(ctx, c.From) {
		return
	}
	over := !c.during(time.Now())
	if !over {
		s.Metrics.CanaryActive(c.under.Name, c.Policy, true)
		if !c.known {
			s.log().Info("canary policy in force", "listener", c.under.Name, "canary", c.String())
			s.recordCanary("canary_begin", c)
		}
		if c.Until.IsZero() || !until(ctx, c.Until) {
			return
		}
	}
	if c.returned.Load() {
		return // and that is told already
	}
	s.Metrics.CanaryActive(c.under.Name, c.Policy, false)
	if !over {
		s.log().Info("canary policy over", "listener", c.under.Name, "policy", c.Policy, "refused", c.refused.Load(), "judged", c.judged.Load())
		s.recordCanary("canary_end", c, slog.Int64("refused", c.refused.Load()), slog.Int64("judged", c.judged.Load()))
	}
}

// until waits for a time, or reports false if ctx ends before.
func until(ctx context.Context, t time.Time) bool {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// canaryStatus is what the admin server shows of it.
func canaryStatus(c *canary, now time.Time) *admin.Canary {
	if c == nil {
		return nil
	}
	return &admin.Canary{Policy: c.Policy, State: c.state(now), For: c.String(), Judged: c.judged.Load(), Refused: c.refused.Load()}
}
