package configs

import (
	"fmt"
	"slices"
	"time"

	"go.yaml.in/yaml/v4"
)

// What holds for the keys of an upstream that are left out.
const (
	DefaultConnectTimeout  = 5 * time.Second
	DefaultBalance         = "round_robin"
	DefaultWeight          = 1
	DefaultResolveInterval = 30 * time.Second
	DefaultRequired        = false

	DefaultHealthInterval = 2 * time.Second
	DefaultHealthTimeout  = 2 * time.Second
	DefaultHealthRise     = 2
	DefaultHealthFall     = 3

	// With balance priority.
	DefaultPriorityInterval = time.Second
	DefaultPriorityTimeout  = time.Second
	DefaultPriorityRise     = 1
	DefaultPriorityFall     = 2
)

const (
	balancePriority = "priority"
	checkNone       = "none"
	checkTCP        = "tcp"

	maxWeight = 256
)

// Upstream is a broker.
type Upstream struct {
	Nodes []Node // at least one

	// Balance is how clients are spread over the nodes: round_robin,
	// least_connections, source_hash or priority. Default: DefaultBalance
	// (round_robin).
	Balance string

	// ConnectTimeout is for each node tried. Default: DefaultConnectTimeout (5 s).
	ConnectTimeout time.Duration

	// DialTimeout is for all nodes tried for one client together. Default: twice
	// ConnectTimeout.
	DialTimeout time.Duration

	// SlowStart is how long a node that has come up gets less than its share.
	// Default: 0, not at all.
	SlowStart time.Duration

	// ResolveInterval is how often the nodes' names are resolved. Default:
	// DefaultResolveInterval (30 s).
	ResolveInterval time.Duration

	// HealthCheck is nil where there is none. Default: none, but with Balance
	// priority a connection each second.
	HealthCheck *HealthCheck

	// ProxyProtocol is the version of the PROXY protocol, 1 or 2, by which the
	// nodes are told who the client is. Default: 0, they are not.
	ProxyProtocol int

	// Required makes the gateway not ready while no node is up. Default:
	// DefaultRequired (false).
	Required bool
}

// Node is one node of a broker.
type Node struct {
	Address string // host:port
	Weight  int    // its share beside the others, 1 to 256. Default: DefaultWeight (1)
}

// String is the node in words: "a:5672" or "a:5672 (weight 3)".
func (n Node) String() string {
	if n.Weight == DefaultWeight {
		return n.Address
	}
	return fmt.Sprintf("%s (weight %d)", n.Address, n.Weight)
}

// HealthCheck says how the nodes of an upstream are checked.
type HealthCheck struct {
	// Protocol is amqp, mqtt, stomp, openwire or tcp. Default: what the
	// listeners speak that use the upstream, if it is one of those and the same
	// for all, or else tcp.
	Protocol string

	Interval time.Duration // Default: DefaultHealthInterval (2 s)
	Timeout  time.Duration // Default: DefaultHealthTimeout (2 s)
	Rise     int           // checks that succeed until a node is up. Default: DefaultHealthRise (2)
	Fall     int           // checks that fail until it is down. Default: DefaultHealthFall (3)
}

type balance string

func (*balance) kind() (tag, want string) {
	return "!!str", "round_robin, least_connections, source_hash or priority"
}
func (b *balance) parse(s string) error {
	return choose(b, "value", s, "round_robin", "least_connections", "source_hash", balancePriority)
}

type checkProtocol string

func (*checkProtocol) kind() (tag, want string) {
	return "!!str", "amqp, mqtt, stomp, openwire, tcp or none"
}
func (p *checkProtocol) parse(s string) error {
	return choose(p, "protocol", s, "amqp", "mqtt", "stomp", "openwire", checkTCP, checkNone)
}

func (r *resolver) upstream(upstreams names[upstreamKeys]) {
	r.cfg.Upstreams = map[string]Upstream{}
	for _, e := range upstreams {
		r.define(&r.upstreams, string(e.name), e.key)
		u := Upstream{
			Nodes:           r.upstreamNodes(e.value.Nodes),
			Balance:         string(e.value.Balance.or(DefaultBalance)),
			ConnectTimeout:  durationOr(e.value.ConnectTimeout, DefaultConnectTimeout),
			SlowStart:       durationOr(e.value.SlowStart, 0),
			ResolveInterval: durationOr(e.value.ResolveInterval, DefaultResolveInterval),
			HealthCheck:     r.healthCheck(e.value),
			ProxyProtocol:   int(e.value.ProxyProtocol.value),
			Required:        bool(e.value.Required.or(DefaultRequired)),
		}
		u.DialTimeout = durationOr(e.value.DialTimeout, 2*u.ConnectTimeout)
		if e.value.DialTimeout.ok && u.DialTimeout < u.ConnectTimeout {
			r.errorf(e.value.DialTimeout.node, "dial_timeout: %v is less than connect_timeout, %v", u.DialTimeout, u.ConnectTimeout)
		}
		if u.Balance == balancePriority && e.value.SlowStart.ok {
			r.warnf(e.value.SlowStart.key, "slow_start: with balance priority the first node that is up gets everyone at once")
		}
		r.cfg.Upstreams[string(e.name)] = u
	}
}

func (r *resolver) upstreamNodes(list []either[nodeKeys]) (nodes []Node) {
	first := map[string]*yaml.Node{}
	for _, item := range list {
		address, weight := item.value.Address, item.value.Weight
		if short := item.text; short.ok {
			address.key, address.node = short.key, short.node
			err := address.value.parse(string(short.value))
			if address.ok = err == nil; !address.ok {
				r.errorf(short.node, "nodes: %v", err)
			}
		}
		if weight.ok && (weight.value < 1 || weight.value > maxWeight) {
			r.errorf(weight.node, "weight: want a whole number from 1 to %d, not %d", maxWeight, weight.value)
		}
		if !address.ok {
			continue
		}
		name := address.value.String()
		if other := first[name]; other != nil {
			r.errorf(address.node, "nodes: %s is listed twice, first on line %d", quote(name), other.Line)
			continue
		}
		first[name] = address.node
		r.nodes = append(r.nodes, address)
		nodes = append(nodes, Node{Address: name, Weight: int(weight.or(DefaultWeight))})
	}
	return nodes
}

// healthCheck is the check of an upstream, still without a protocol where the
// listeners say which.
func (r *resolver) healthCheck(k upstreamKeys) *HealthCheck {
	priority, keys := string(k.Balance.value) == balancePriority, k.HealthCheck.value
	if !k.HealthCheck.given() && !priority || keys.Protocol.value == checkNone {
		return nil
	}
	check := HealthCheck{Interval: DefaultHealthInterval, Timeout: DefaultHealthTimeout, Rise: DefaultHealthRise, Fall: DefaultHealthFall}
	if priority {
		check = HealthCheck{Interval: DefaultPriorityInterval, Timeout: DefaultPriorityTimeout,
			Rise: DefaultPriorityRise, Fall: DefaultPriorityFall}
	}
	if !k.HealthCheck.given() {
		check.Protocol = checkTCP
	}
	check.Protocol = string(keys.Protocol.or(checkProtocol(check.Protocol)))
	check.Interval = durationOr(keys.Interval, check.Interval)
	check.Timeout = durationOr(keys.Timeout, check.Timeout)
	check.Rise, check.Fall = r.atLeastOne("rise", keys.Rise, check.Rise), r.atLeastOne("fall", keys.Fall, check.Fall)
	const shortest = 100 * time.Millisecond
	if keys.Interval.ok && check.Interval < shortest {
		r.errorf(keys.Interval.node, "interval: %v is less than %v", check.Interval, shortest)
	}
	return &check
}

func (r *resolver) atLeastOne(key string, f field[count], otherwise int) int {
	if f.ok && f.value == 0 {
		r.errorf(f.node, "%s: want a whole number from 1", key)
	}
	return int(f.or(count(otherwise)))
}

// checkProtocols settles what health checks speak that do not say it: what the
// upstream's clients do.
func (r *resolver) checkProtocols() {
	spoken := map[string][]string{}
	for _, l := range r.cfg.Listeners {
		spoken[l.Upstream] = append(spoken[l.Upstream], l.Protocol)
		for protocol, upstream := range l.Upstreams {
			if l.Protocol == "websocket" {
				protocol = l.Protocol // which is not what its subprotocol is without it
			}
			spoken[upstream] = append(spoken[upstream], protocol)
		}
	}
	for name, u := range r.cfg.Upstreams {
		if u.HealthCheck == nil || u.HealthCheck.Protocol != "" {
			continue
		}
		slices.Sort(spoken[name])
		protocols := slices.Compact(spoken[name])
		u.HealthCheck.Protocol = checkTCP
		if len(protocols) == 1 && slices.Contains([]string{"amqp", "mqtt", "stomp", "openwire"}, protocols[0]) {
			u.HealthCheck.Protocol = protocols[0]
		}
	}
}

// String is the check in words: "amqp every 2s".
func (h *HealthCheck) String() string {
	if h == nil {
		return "no health checks"
	}
	return fmt.Sprintf("health check %s every %v", h.Protocol, h.Interval)
}
