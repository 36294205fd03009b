package upstream

import (
	"errors"
	"slices"
	"time"
)

// Status is what is known of a pool at a moment.
type Status struct {
	Name    string       `json:"name"`
	Balance Balance      `json:"balance"`
	Check   *CheckStatus `json:"health_check,omitempty"` // nil where there is none
	Nodes   []NodeStatus `json:"nodes"`                  // in the order of the configuration
}

// CheckStatus is how nodes are checked.
type CheckStatus struct {
	Protocol Protocol `json:"protocol"`
	Interval string   `json:"interval"` // as "2s"
	Timeout  string   `json:"timeout"`
	Rise     int      `json:"rise"`
	Fall     int      `json:"fall"`
}

// NodeStatus is what is known of a node.
type NodeStatus struct {
	Address     string    `json:"address"`        // "" of a name that was never resolved
	Name        string    `json:"name,omitempty"` // of the configuration, where it is another
	Weight      int       `json:"weight"`
	State       State     `json:"state"`
	Since       time.Time `json:"since"`            // of State
	Reason      string    `json:"reason,omitempty"` // why it is not up, a word
	Error       string    `json:"error,omitempty"`  // and in words
	Draining    bool      `json:"draining"`
	Connections int       `json:"connections"` // open, or being opened
	CheckedAt   time.Time `json:"checked_at,omitzero"`
	CheckMillis float64   `json:"check_ms,omitzero"` // how long that took
}

// Up says whether the node gets clients.
func (n NodeStatus) Up() bool { return n.State == StateUp && !n.Draining }

// Status tells how the pool is.
func (p *Pool) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	status := Status{Name: p.Name, Balance: p.settings.Balance, Nodes: []NodeStatus{}}
	if status.Balance == "" {
		status.Balance = RoundRobin
	}
	if c := p.settings.Check; c.enabled() {
		status.Check = &CheckStatus{Protocol: c.Protocol, Interval: c.interval().String(), Timeout: c.timeout().String(),
			Rise: c.rise(), Fall: c.fall()}
	}
	for _, s := range p.sources {
		if !s.literal && len(s.addresses) == 0 {
			status.Nodes = append(status.Nodes, NodeStatus{Name: s.Address, Weight: max(s.Weight, 1), State: StateUnresolved,
				Since: s.since.UTC(), Reason: reasonDNS, Draining: p.draining[s.Address]})
		}
		for _, b := range p.backends {
			if b.Node == s.Address {
				status.Nodes = append(status.Nodes, b.status())
			}
		}
	}
	return status
}

func (b *Backend) status() NodeStatus {
	n := NodeStatus{Address: b.Address, Weight: b.weight, State: b.state, Since: b.since.UTC(),
		Draining: b.pool.drainsNode(b), Connections: b.connections, CheckedAt: b.lastCheck.UTC(),
		CheckMillis: float64(b.checkTook.Microseconds()) / 1000}
	if b.Node != b.Address {
		n.Name = b.Node
	}
	if b.why != nil {
		n.Reason, n.Error = reason(b.why), b.why.Error()
	}
	return n
}

// Up says whether there is a node that gets clients.
func (p *Pool) Up() bool {
	return slices.ContainsFunc(p.Status().Nodes, NodeStatus.Up)
}

// ErrUnknownNode is returned by [Pool.Drain].
var ErrUnknownNode = errors.New("upstream: there is no such node")

// Drained is what [Pool.Drain] has done.
type Drained struct {
	Changed     bool
	Connections int // that the node has
}

// Drain sends no new client to a node, or does so again: on is false then.
// Connections that are there stay. The node is named as in the configuration,
// which means all addresses of a name, those that it gets later too; or it is one
// address, for as long as it is there. It drains until this is taken back in the
// same words, the node leaves the configuration, or the process ends. The error
// is ErrUnknownNode.
func (p *Pool) Drain(node string, on bool) (Drained, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.knows(node) {
		return Drained{}, ErrUnknownNode
	}
	d := Drained{Changed: p.draining[node] != on}
	for _, b := range p.backends {
		if b.Address == node || b.Node == node {
			d.Connections += b.connections
		}
	}
	switch {
	case !d.Changed:
		return d, nil
	case !on:
		delete(p.draining, node)
	case p.draining == nil:
		p.draining = map[string]bool{node: true}
	default:
		p.draining[node] = true
	}
	message := map[bool]string{true: "node drains", false: "node takes connections again"}[on]
	p.log().Info(message, "upstream", p.Name, "node", node, "connections", d.Connections)
	return d, nil
}

// knows says whether a node is one of the configuration or an address of one.
func (p *Pool) knows(node string) bool {
	return slices.ContainsFunc(p.sources, func(s *source) bool { return s.Address == node }) ||
		slices.ContainsFunc(p.backends, func(b *Backend) bool { return b.Address == node })
}

func (p *Pool) drainsNode(b *Backend) bool { return p.draining[b.Address] || p.draining[b.Node] }

// drains says whether a node drains. If there was none to try, that is why.
func (p *Pool) drains() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.draining) > 0
}

// forgetDraining lets go of nodes that are no more.
func (p *Pool) forgetDraining() {
	for node := range p.draining {
		if !p.knows(node) {
			delete(p.draining, node)
		}
	}
}
