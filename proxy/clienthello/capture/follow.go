package capture

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"

	"github.com/gopacket/gopacket/layers"

	"github.com/suitegate/suitegate/proxy/clienthello"
	"github.com/suitegate/suitegate/proxy/proxyheader"
)

const (
	// maxConnections is how many connections are remembered at a time. The
	// oldest make room for new ones: of most the hello came at once.
	maxConnections = 1 << 16

	// maxBuffered bounds the bytes of all hellos that are on their way; the
	// oldest connections make room.
	maxBuffered = 64 << 20
)

// follower follows connections until their hellos are whole.
type follower struct {
	options Options
	decoder decoder

	connections map[endpoints]*connection
	order       []*connection // of those, and some that are no longer there, the oldest first
	buffered    int           // bytes of all

	hellos []Hello
	kept   int // bytes of their messages
	known  map[helloID]bool
	seen   Seen
}

// endpoints are the addresses of a connection, the lower one first.
type endpoints [2]netip.AddrPort

// connection is one TCP connection. Which side is the client shows in its SYN
// or the answer to it; or else in what it says, if that is a hello.
type connection struct {
	ends   endpoints
	halves [2]half // from each end
	client int     // whose is the client's half; -1 if that is not known
	opened bool    // its beginning is in the capture
	done   bool    // nothing more is of interest
	cut    bool    // a packet of it was not captured whole
	gone   bool    // from follower.connections
}

func newFollower(o Options) *follower {
	return &follower{options: o, connections: make(map[endpoints]*connection), known: make(map[helloID]bool)}
}

// bare takes a packet that does not say how it begins.
func (f *follower) bare(packet []byte) {
	link, ok := guessLink(packet)
	if !ok {
		f.seen.Packets++
		f.seen.Other++
		return
	}
	f.packet(packet, link, 0, 0)
}

// packet takes the next one. missing is how many bytes of it are not there.
func (f *follower) packet(data []byte, link layers.LinkType, missing int, snapLength uint32) {
	f.seen.Packets++
	from, to, what := f.decoder.decode(data, link, missing)
	tcp := &f.decoder.tcp
	if what == cutInFront || what == segment && f.decoder.truncated {
		f.seen.SnapLength = max(f.seen.SnapLength, snapLength)
	}
	switch what {
	case segment:
	case fragment:
		f.seen.Fragments++
		return
	case unknownLink:
		f.seen.link(link)
		return
	case cutInFront:
		f.seen.Headless++
		return
	default:
		f.seen.Other++
		return
	}
	ends, side := endpoints{from, to}, 0
	if to.Compare(from) < 0 {
		ends, side = endpoints{to, from}, 1
	}
	c := f.connections[ends]
	if tcp.SYN && c != nil && !c.continues(side, tcp) {
		f.end(c) // the ports are used again
		c = nil
	}
	if c == nil {
		c = f.begin(ends)
	}
	if c.done {
		return
	}
	before := c.size()
	seq := tcp.Seq
	switch {
	case tcp.SYN && tcp.ACK:
		c.opens(1-side, tcp.Ack)
		seq++
	case tcp.SYN:
		c.opens(side, tcp.Seq+1)
		seq++ // data may come with it (RFC 7413)
	}
	if c.client < 0 || c.client == side {
		c.add(side, seq, tcp.Payload, f.decoder.truncated)
	}
	f.look(c)
	f.buffered += c.size() - before
	for f.buffered > maxBuffered {
		f.endOldest()
	}
}

// begin remembers a connection.
func (f *follower) begin(ends endpoints) *connection {
	for len(f.connections) >= maxConnections {
		f.endOldest()
	}
	if len(f.order) >= 2*maxConnections {
		f.order = slices.DeleteFunc(f.order, func(c *connection) bool { return c.gone })
	}
	c := &connection{ends: ends, client: -1}
	f.connections[ends] = c
	f.order = append(f.order, c)
	f.seen.Connections++
	return c
}

// opens says where the bytes of the client begin.
func (c *connection) opens(client int, first uint32) {
	c.client, c.opened = client, true
	c.halves[1-client] = half{}
	c.halves[client].begin(first)
}

// continues says whether a SYN may be the connection's own: one that was sent
// again or came late, or the answer to it.
func (c *connection) continues(side int, tcp *layers.TCP) bool {
	client, first := side, tcp.Seq+1
	if tcp.ACK {
		client, first = 1-side, tcp.Ack
	}
	h := &c.halves[client]
	switch {
	case c.client < 0:
		return h.near(first)
	case c.client != client:
		return false
	case tcp.ACK: // of data, too, that came with the SYN
		return h.offset(first) >= 0 && h.offset(first) <= window
	}
	return h.first == first
}

// add adds a segment to a half.
func (c *connection) add(side int, seq uint32, payload []byte, truncated bool) {
	h := &c.halves[side]
	c.cut = c.cut || truncated
	if !h.begun && beginsHello(payload) {
		// Nothing says that the client's bytes begin here, but the hello.
		c.client = side
		c.halves[1-side] = half{}
		h.begin(seq)
	}
	h.add(seq, payload)
}

// look looks whether the hello is whole, where that may have changed.
func (f *follower) look(c *connection) {
	if c.client < 0 {
		return
	}
	h := &c.halves[c.client]
	if len(h.data) == h.looked {
		return
	}
	h.looked = len(h.data)
	hello, err := h.collect()
	found := Hello{Client: c.ends[c.client], Server: c.ends[1-c.client], Hello: hello}
	if h.header.Source.IsValid() {
		found.Client, found.Server = h.header.Source, h.header.Destination
	}
	foreign, _ := errors.AsType[*clienthello.NotTLSError](err)
	found.Err, _ = errors.AsType[*clienthello.ParseError](err)
	switch {
	case hello != nil || found.Err != nil:
		f.keep(found, len(h.data))
	case foreign != nil:
		f.seen.foreign(foreign.Protocol)
	default:
		return
	}
	c.done = true
	c.halves = [2]half{{first: c.halves[0].first}, {first: c.halves[1].first}}
}

// collect looks for the hello, behind a PROXY header if there is one.
func (h *half) collect() (*clienthello.Hello, error) {
	if h.collector == nil {
		h.collector = clienthello.NewCollector(clienthello.MaxSize)
	}
	hello, err := h.collector.Collect(h.data[h.headerLen:])
	foreign, ok := errors.AsType[*clienthello.NotTLSError](err)
	if !ok || h.headerLen > 0 || foreign.Protocol != clienthello.ProxyV1 && foreign.Protocol != clienthello.ProxyV2 {
		return hello, err
	}
	h.collector = nil
	rest := bytes.NewReader(h.data)
	header, bad := proxyheader.Read(rest)
	if reason, ok := errors.AsType[*proxyheader.Error](bad); ok {
		if reason.Reason() == "client_closed" {
			return nil, nil // there is more to come
		}
		return nil, err
	}
	h.header, h.headerLen = header, len(h.data)-rest.Len()
	if rest.Len() == 0 {
		return nil, nil
	}
	return h.collect()
}

// beginsHello says whether a segment begins as the first of a hello does, record
// and message.
func beginsHello(b []byte) bool {
	const handshake, clientHello = 22, 1
	return len(b) >= 6 && b[0] == handshake && b[1] == 3 && b[5] == clientHello
}

// endOldest makes room.
func (f *follower) endOldest() {
	for len(f.order) > 0 {
		c := f.order[0]
		f.order[0] = nil
		f.order = f.order[1:]
		if !c.gone {
			f.end(c)
			return
		}
	}
}

// end forgets a connection, and counts what became of it.
func (f *follower) end(c *connection) {
	f.buffered -= c.size()
	c.gone = true
	if f.connections[c.ends] == c {
		delete(f.connections, c.ends)
	}
	switch {
	case c.done: // and counted
	case c.client >= 0 && c.cut:
		f.seen.Truncated++
	case c.client >= 0 && c.size() > 0:
		f.seen.Incomplete++
	case c.opened:
		f.seen.Silent++
	default:
		f.seen.Middle++
	}
	c.done, c.halves = true, [2]half{}
}

// finish ends what is still there.
func (f *follower) finish() *Capture {
	for len(f.connections) > 0 {
		f.endOldest()
	}
	return &Capture{Hellos: f.hellos, Seen: f.seen}
}
