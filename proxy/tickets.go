package proxy

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/configs"
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

// keepTickets gives the current generation the ticket keys of the one before,
// or new ones if they are to be kept in another way, and sees to it that they
// are replaced in time.
func (s *Server) keepTickets(previous *generation) {
	current := s.current
	if previous != nil && previous.config.Tickets == current.config.Tickets {
		current.tickets, current.stopTickets = previous.tickets, previous.stopTickets
		s.setTickets(current.tickets, s.loaded)
		return
	}
	if previous != nil {
		previous.stopTickets()
	}
	tickets := certs.NewTicketKeys(ticketSchedule(current.config.Tickets))
	ctx, cancel := context.WithCancel(context.Background())
	current.tickets, current.stopTickets = tickets, cancel
	s.setTickets(tickets, s.loaded)
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
	}
}

func ticketSchedule(t configs.Tickets) certs.TicketSchedule {
	return certs.TicketSchedule{Rotation: t.Rotation, Lifetime: t.Lifetime}
}
