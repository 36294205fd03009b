package proxy

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/suitegate/suitegate/certs"
)

// ticketScope is what a session ticket must never cross: a ticket may carry a
// session only to a listener that would have negotiated the same. That goes by
// content and not by name, because a reload may change what a name means. The
// certificate is part of each ticket (engine.Choice.Identity).
func (r *route) ticketScope() string {
	p := r.Listener.Policy // and not as far as today's certificates can serve it
	h := sha256.New()
	fmt.Fprintf(h, "%v %v %v %q", p.TLS12, p.TLS13, p.Groups, r.ALPN)
	if r.clients != nil {
		fmt.Fprintf(h, " %x", r.clients.Scope())
	}
	return string(h.Sum(nil))
}

// openTickets gives a generation the ticket keys of the previous one, or others
// if they are to be kept in another way. Those of a fleet are opened anew: they
// are in the storage, whose settings may have changed.
func (s *Server) openTickets(next, previous *generation) error {
	tickets := next.config.Tickets
	schedule := certs.TicketSchedule{Rotation: tickets.Rotation, Lifetime: tickets.Lifetime}
	switch {
	case tickets.Shared:
		var err error
		next.tickets, err = certs.OpenTicketKeys(context.Background(), schedule, certs.Config{
			Storage: next.config.Storage, Redis: redisConfig(next.config.Redis), Keyring: next.keyring,
			StorageFailed: s.Metrics.StorageFailed, Logger: s.log(),
		})
		if err != nil {
			return positioned(next.config, err)
		}
	case previous != nil && previous.config.Tickets == tickets:
		next.tickets, next.stopTickets = previous.tickets, previous.stopTickets
	default:
		next.tickets = certs.NewTicketKeys(schedule)
	}
	return nil
}

// keepTickets puts the ticket keys of the current generation to use, and sees to
// it that they are replaced in time.
func (s *Server) keepTickets(previous *generation) {
	tickets := s.current.tickets
	s.setTickets(tickets, s.loaded)
	if previous != nil {
		if previous.tickets == tickets {
			return
		}
		previous.stopTickets()
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.current.stopTickets = cancel
	s.departed.Go(func() {
		tickets.Keep(ctx, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.setTickets(tickets, time.Now())
		})
	})
}

// setTickets gives every listener its session ticket keys of now, unless they
// are those of a configuration that is gone.
func (s *Server) setTickets(tickets *certs.TicketKeys, now time.Time) {
	if s.current == nil || s.current.tickets != tickets {
		return
	}
	for _, r := range s.current.routes {
		r.engines.SetTicketKeys(tickets.Keys(r.ticketScope(), now))
		if r.canary != nil {
			under := r.canary.under
			under.engines.SetTicketKeys(tickets.Keys(under.ticketScope(), now))
		}
	}
}
