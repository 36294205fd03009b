package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Totals are counters as people read them, of which every one is in /metrics,
// too. Those that are 0 may be left out.
type Totals struct {
	Accepted                map[string]uint64 // connections, by listener
	FromClient, FromBackend map[string]uint64 // bytes, by listener
	Handshakes              []HandshakeTotal
	Refusals                []RefusalTotal
}

// HandshakeTotal is how many handshakes were alike.
type HandshakeTotal struct {
	Handshake // without Ticket
	Count     uint64
}

// RefusalTotal is how many connections to a listener got no further than the
// gateway, for one reason.
type RefusalTotal struct {
	Listener, Reason string
	Count            uint64
}

// Totals reads the counters. Those of a nil Metrics are empty.
func (m *Metrics) Totals() Totals {
	if m == nil {
		return Totals{}
	}
	t := Totals{Accepted: make(map[string]uint64), FromClient: make(map[string]uint64), FromBackend: make(map[string]uint64)}
	each(m.connections.accepted, func(label map[string]string, n uint64) { t.Accepted[label["listener"]] = n })
	each(m.connections.bytes, func(label map[string]string, n uint64) {
		if label["direction"] == "from_client" {
			t.FromClient[label["listener"]] = n
		} else {
			t.FromBackend[label["listener"]] = n
		}
	})
	each(m.handshakes.completed, func(label map[string]string, n uint64) {
		t.Handshakes = append(t.Handshakes, HandshakeTotal{Handshake{
			Listener: label["listener"], Version: label["version"], Suite: label["suite"], Group: label["group"],
			Engine: label["engine"], Resumed: label["resumed"] == "true",
		}, n})
	})
	each(m.connections.refusals, func(label map[string]string, n uint64) {
		t.Refusals = append(t.Refusals, RefusalTotal{label["listener"], label["reason"], n})
	})
	return t
}

// each visits the counters of a vector, in no order.
func each(vector *prometheus.CounterVec, visit func(label map[string]string, n uint64)) {
	counters := make(chan prometheus.Metric)
	go func() {
		vector.Collect(counters)
		close(counters)
	}()
	for c := range counters {
		var read dto.Metric
		if err := c.Write(&read); err != nil {
			continue // which counters have none of
		}
		label := make(map[string]string, len(read.GetLabel()))
		for _, pair := range read.GetLabel() {
			label[pair.GetName()] = pair.GetValue()
		}
		visit(label, uint64(read.GetCounter().GetValue()))
	}
}
