package configs

import "time"

const (
	// minTicketRotation keeps gateways whose clocks differ a little in step.
	minTicketRotation = 10 * time.Second

	// maxTicketLifetime: RFC 8446 §4.6.1. A key that encrypts for longer would
	// undo forward secrecy for as long (RFC 9325 §3.4: weekly at the least).
	maxTicketLifetime = 7 * 24 * time.Hour

	// maxTicketKeys bounds the keys that a ticket is tried with.
	maxTicketKeys = 50
)

func (r *resolver) tickets(k ticketKeys) {
	t := Tickets{
		Rotation: durationOr(k.Rotation, DefaultTicketRotation),
		Lifetime: durationOr(k.Lifetime, DefaultTicketLifetime),
		Shared:   bool(k.Shared.or(DefaultTicketsShared)),
	}
	r.cfg.Tickets = t
	switch {
	case t.Rotation < minTicketRotation:
		r.errorf(k.Rotation.node, "rotation: %v is too short; want at least %v", t.Rotation, minTicketRotation)
	case t.Rotation > maxTicketLifetime:
		r.errorf(k.Rotation.node, "rotation: %v is too long; want at most 168h, seven days (RFC 9325 section 3.4)", t.Rotation)
	}
	switch {
	case t.Lifetime > maxTicketLifetime:
		r.errorf(k.Lifetime.node, "lifetime: %v is too long; want at most 168h, seven days (RFC 8446 section 4.6.1)", t.Lifetime)
	case t.Lifetime > maxTicketKeys*t.Rotation && t.Rotation >= minTicketRotation:
		at := k.Rotation.node
		if k.Lifetime.given() {
			at = k.Lifetime.node
		}
		r.errorf(at, "tickets: a lifetime of %v is more than %d rotations of %v, with a key for each", t.Lifetime, maxTicketKeys, t.Rotation)
	}
}
