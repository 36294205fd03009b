package configs

import (
	"fmt"
	"net/netip"
	"time"

	"go.yaml.in/yaml/v4"
)

// DefaultMaxRefusals is the default of Canary.MaxRefusals.
const DefaultMaxRefusals = 5

// Canary is a policy that is in force for some clients of a listener, to see
// what becomes of them. A client is one of them if it meets all that is set of
// Share, Clients, From and Until; at least one is.
type Canary struct {
	Policy string // name of the policy

	// Share is how many percent of the clients. It goes by the address, of IPv6
	// by the /64, so that a client is always one of them or never. Default: 100.
	Share int

	// Clients are their networks. Default: all.
	Clients []netip.Prefix

	// From and Until are when it begins and ends. Defaults: now, and never.
	From, Until time.Time

	// MaxRefusals is how many percent of the clients may be refused that the
	// listener's policy would let in: with more, of 20 at least, it ends by
	// itself. Default: DefaultMaxRefusals (5).
	MaxRefusals int
}

// moment is a point in time, with or without quotes.
type moment time.Time

const momentWanted = "a time with its zone, such as 2026-12-01T08:00:00Z"

func (*moment) kind() (tag, want string) { return "!!str", momentWanted }

func (m *moment) parse(s string) error {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return fmt.Errorf("want %s, not %s", momentWanted, quote(s))
	}
	*m = moment(t.UTC())
	return nil
}

func (m *moment) decode(d *decoder, key, n *yaml.Node) bool {
	if n.ShortTag() == "!!timestamp" { // what it is without quotes
		text := *n
		text.Tag = "!!str"
		n = &text
	}
	return d.scalar(key, n, m)
}

// canary checks who gets another policy than the listener's.
func (r *resolver) canary(k *listenerKeys) *Canary {
	f := k.Canary
	if !f.given() {
		return nil
	}
	c := f.value
	canary := &Canary{
		Policy: string(c.Policy.value), Share: int(c.Share.or(100)), Clients: networks(c.Clients.value),
		From: time.Time(c.From.value), Until: time.Time(c.Until.value), MaxRefusals: int(c.MaxRefusals.or(DefaultMaxRefusals)),
	}
	if r.refer(&r.policies, c.Policy) {
		r.approvedPolicy("canary", c.Policy)
		if canary.Policy == string(k.Policy.value) {
			r.errorf(c.Policy.node, "canary: %s is the policy in force", quote(canary.Policy))
		}
	}
	switch {
	case !f.ok:
	case !c.Share.given() && !c.Clients.given() && !c.From.given() && !c.Until.given():
		r.errorf(f.node, `canary: for everyone and always; it needs "share", "clients", "from" or "until"`)
	case c.Share.ok && canary.Share == 0:
		r.errorf(c.Share.node, "canary: a share of 0%% is nobody")
	case c.From.ok && c.Until.ok && !canary.From.Before(canary.Until):
		r.errorf(c.Until.node, "canary: until is not after from, which is on line %d", c.From.node.Line)
	}
	return canary
}

// String is who gets the policy, and when, in a few words.
func (c *Canary) String() string {
	text := fmt.Sprintf("%s for %d%% of the clients", c.Policy, c.Share)
	for i, network := range c.Clients {
		text += map[bool]string{true: " in ", false: ", "}[i == 0] + network.String()
	}
	if !c.From.IsZero() {
		text += " from " + c.From.Format(time.RFC3339)
	}
	if !c.Until.IsZero() {
		text += " until " + c.Until.Format(time.RFC3339)
	}
	return text + fmt.Sprintf(", while at most %d%% are refused", c.MaxRefusals)
}
