package proxy

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/metrics"
	"github.com/suitegate/suitegate/proxy/shadow"
	"github.com/suitegate/suitegate/proxy/sniff"
)

// shadowSaved is how often what the shadow policies have shown is saved.
const shadowSaved = 30 * time.Second

// candidate is a shadow policy of a route.
type candidate struct {
	*route // the same listener, if the policy were in force
	shadow.Candidate

	same, refuses, admits prometheus.Counter
}

// broken is a candidate that would refuse what the policy in force lets in.
type broken struct {
	by     shadow.Candidate
	bound  *policy.Policy
	reason policy.Reason
}

// judge asks the shadow policies about a hello. Only who is let in and would not
// be has more work done, later: see noteBroken.
func (c *connection) judge(o *policy.Offer, keys policy.KeySet, admitted bool) {
	book := &c.listener.server.shadow
	for i := range c.route.shadows {
		candidate := &c.route.shadows[i]
		bound := candidate.byKeys[keys]
		reason := bound.Judge(o)
		book.Judged(candidate.Candidate, !admitted && reason == "")
		switch {
		case admitted == (reason == ""):
			candidate.same.Inc()
		case admitted:
			candidate.refuses.Inc()
			c.broken = append(c.broken, broken{candidate.Candidate, bound, reason})
		default:
			candidate.admits.Inc()
		}
	}
}

// noteBroken remembers who would break, now that all is known that set-up tells.
// A client whose handshake fails anyway breaks nothing of anybody's.
func (c *connection) noteBroken() {
	if len(c.broken) == 0 || c.client == nil {
		return
	}
	who := shadow.Client{Network: shadow.Network(c.source.Addr()), ServerName: c.serverName, JA4: c.ja4, Identity: sniff.Identity(c.first)}
	if c.identity != nil {
		who.Subject = c.identity.Subject
	}
	broken, offer, server := c.broken, OfferOf(c.hello), c.listener.server
	c.broken = nil
	note := func(p sniff.Product) {
		if p != (sniff.Product{}) {
			who.Identity = strings.TrimSpace(fmt.Sprintf("%s, %s %s", who.Identity, p.Name, p.Version))
		}
		server.noteBroken(who, broken, offer)
	}
	if c.backend == nil || c.first.Protocol != sniff.AMQP || !strings.HasPrefix(c.first.Variant, "0-9") {
		note(sniff.Product{})
		return
	}
	// It says what it is once the broker has begun.
	c.client = sniff.Overhear(c.client, note)
}

func (s *Server) noteBroken(who shadow.Client, by []broken, offer policy.Offer) {
	for _, b := range by {
		detail := ""
		if _, err := b.bound.Select(offer); err != nil {
			detail = strings.TrimPrefix(err.Error(), "policy: "+string(b.reason)+": ")
		}
		who.Candidate, who.Reason = b.by, string(b.reason)
		s.Metrics.ShadowClients(s.shadow.Broken(who, detail, time.Now()))
	}
}

// countAs gives a candidate its counters.
func (c *candidate) countAs(m *metrics.Metrics) {
	c.same = m.ShadowVerdict(c.Candidate.Listener, c.Candidate.Policy, "same")
	c.refuses = m.ShadowVerdict(c.Candidate.Listener, c.Candidate.Policy, "would_refuse")
	c.admits = m.ShadowVerdict(c.Candidate.Listener, c.Candidate.Policy, "would_admit")
}

// watchShadow has the candidates of the current generation watched, and what they
// show saved in the storage. Nothing is saved where that is no directory.
func (s *Server) watchShadow(previous *generation) {
	file := shadowFile(s.current.config.Storage)
	if previous == nil && file != "" {
		if err := s.shadow.Load(file); err != nil {
			s.log().Error("what shadow policies have shown before cannot be read; they begin anew", "error", err)
		}
	}
	contents := make(map[shadow.Candidate]string)
	for _, r := range s.current.routes {
		for _, c := range r.shadows {
			contents[c.Candidate] = fmt.Sprintf("%x", sha256.Sum256([]byte(r.ticketScope()+c.ticketScope())))
		}
	}
	s.shadow.Watch(contents, s.loaded)
	if previous != nil {
		s.stopShadow()
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stopShadow = cancel
	canaries := slices.ContainsFunc(s.current.routes, func(r *route) bool { return r.canary != nil })
	if file == "" || len(contents) == 0 && !canaries {
		return
	}
	s.departed.Go(func() { s.saveShadow(ctx, file) })
}

func (s *Server) saveShadow(ctx context.Context, file string) {
	ticker := time.NewTicker(shadowSaved)
	defer ticker.Stop()
	for ended := false; !ended; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			ended = true
		}
		if err := s.shadow.Save(file); err != nil {
			s.log().Error("what shadow policies show cannot be saved; trying again", "error", err, "wait", shadowSaved)
		}
	}
}

// shadowFile is where a gateway of this host keeps it: a fleet may share the
// storage.
func shadowFile(storage string) string {
	if storage == "" {
		return ""
	}
	host, _ := os.Hostname() // "" where the machine has none
	return filepath.Join(storage, "impact", filepath.Base("/"+host)+".json")
}
