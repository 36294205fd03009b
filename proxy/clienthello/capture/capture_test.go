package capture

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/suitegate/suitegate/proxy/clienthello"
)

// recordedHello is one of the hellos that package clienthello keeps.
func recordedHello(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("../testdata/" + name + ".hex")
	if err != nil {
		t.Fatal(err)
	}
	wire, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// lines are what was found, one a line.
func lines(c *Capture) (all []string) {
	for _, h := range c.Hellos {
		what := fmt.Sprint(h.Err)
		if h.Hello != nil {
			what = fmt.Sprintf("%q %s", h.Hello.ServerName, h.Hello.JA4())
		}
		all = append(all, fmt.Sprintf("%v > %v %s", h.Client, h.Server, what))
	}
	return all
}

// TestRealCaptures reads what tcpdump wrote and printed.
func TestRealCaptures(t *testing.T) {
	const (
		four = `127.0.0.1:36054 > 127.0.0.1:15555 "broker.example.com" t13d311000_e8f1e7e78f70_1f22a2ca17c4`
		six  = `[::1]:51486 > [::1]:15556 "six.example.com" t13d311000_e8f1e7e78f70_1f22a2ca17c4`
	)
	for _, test := range []struct {
		file string
		want []string
		seen string
	}{
		{"openssl-loopback.pcap", []string{four}, "7 packets, 1 TCP connection: 1 with a ClientHello"},
		{"openssl-any.pcap", []string{four, six}, "32 packets, 2 TCP connections: 2 with a ClientHello"},
		{"openssl-cut.pcap", nil, "7 packets, 1 TCP connection: 1 whose ClientHello is cut off, captured with -s 200"},
		{"openssl-loopback.txt", []string{four}, "7 packets, 1 TCP connection: 1 with a ClientHello"},
		{"openssl-any.txt", []string{four, six}, "20 packets, 2 TCP connections: 2 with a ClientHello"},
	} {
		t.Run(test.file, func(t *testing.T) {
			data := readFile(t, test.file)
			text := strings.HasSuffix(test.file, ".txt")
			if IsFile(data) == text || IsText(data) != text {
				t.Errorf("a capture: %t, a text: %t", IsFile(data), IsText(data))
			}
			read := Read
			if text {
				read = ReadText
			}
			c, err := read(bytes.NewReader(data), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, lines(c)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if got := c.Seen.String(); got != test.seen {
				t.Errorf("seen %q", got)
			}
		})
	}
}

var (
	client = netip.MustParseAddrPort("192.0.2.7:40000")
	server = netip.MustParseAddrPort("198.51.100.1:5671")
)

// sent is a segment from one address to another. A SYN takes the number before
// seq.
type sent struct {
	from, to netip.AddrPort
	seq, ack uint32
	flags    string // of S, A, F, R
	payload  []byte
}

// link wraps IP packets.
type link struct {
	name  string
	kind  layers.LinkType
	outer func(v6 bool) []gopacket.SerializableLayer
	bytes func(v6 bool) []byte // in front of all that
}

func etherType(v6 bool) layers.EthernetType {
	if v6 {
		return layers.EthernetTypeIPv6
	}
	return layers.EthernetTypeIPv4
}

var (
	raw     = link{name: "raw", kind: layers.LinkTypeRaw}
	macs    = layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}}
	typed   = func(v6 bool) []byte { t := etherType(v6); return []byte{byte(t >> 8), byte(t)} }
	wrapped = []link{
		raw,
		{name: "BSD's raw", kind: linkRawBSD},
		{name: "Ethernet", kind: layers.LinkTypeEthernet, outer: func(v6 bool) []gopacket.SerializableLayer {
			e := macs
			e.EthernetType = etherType(v6)
			return []gopacket.SerializableLayer{&e}
		}},
		{name: "VLAN in VLAN", kind: layers.LinkTypeEthernet, outer: func(v6 bool) []gopacket.SerializableLayer {
			e := macs
			e.EthernetType = layers.EthernetTypeQinQ
			return []gopacket.SerializableLayer{&e, &layers.Dot1Q{VLANIdentifier: 7, Type: layers.EthernetTypeDot1Q}, &layers.Dot1Q{VLANIdentifier: 9, Type: etherType(v6)}}
		}},
		{name: "cooked", kind: layers.LinkTypeLinuxSLL, bytes: func(v6 bool) []byte {
			return append([]byte{0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0}, typed(v6)...)
		}},
		{name: "cooked v2", kind: layers.LinkTypeLinuxSLL2, bytes: func(v6 bool) []byte {
			return append(typed(v6), 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0)
		}},
		{name: "null", kind: layers.LinkTypeNull, bytes: func(v6 bool) []byte {
			if v6 {
				return []byte{30, 0, 0, 0} // Darwin
			}
			return []byte{2, 0, 0, 0}
		}},
		{name: "loop", kind: layers.LinkTypeLoop, bytes: func(v6 bool) []byte {
			if v6 {
				return []byte{0, 0, 0, 24} // OpenBSD
			}
			return []byte{0, 0, 0, 2}
		}},
	}
)

// packet is a segment as it is on a link.
func (l link) packet(t testing.TB, s sent) []byte {
	t.Helper()
	tcp := &layers.TCP{SrcPort: layers.TCPPort(s.from.Port()), DstPort: layers.TCPPort(s.to.Port()), Seq: s.seq, Ack: s.ack, Window: 65535,
		SYN: strings.Contains(s.flags, "S"), ACK: strings.Contains(s.flags, "A"), FIN: strings.Contains(s.flags, "F"), RST: strings.Contains(s.flags, "R")}
	v6 := s.from.Addr().Is6()
	var ip gopacket.SerializableLayer
	if v6 {
		six := &layers.IPv6{Version: 6, NextHeader: layers.IPProtocolTCP, HopLimit: 64, SrcIP: s.from.Addr().AsSlice(), DstIP: s.to.Addr().AsSlice()}
		ip = six
		_ = tcp.SetNetworkLayerForChecksum(six) // always nil for IP
	} else {
		four := &layers.IPv4{Version: 4, Protocol: layers.IPProtocolTCP, TTL: 64, SrcIP: s.from.Addr().AsSlice(), DstIP: s.to.Addr().AsSlice()}
		ip = four
		_ = tcp.SetNetworkLayerForChecksum(four)
	}
	var all []gopacket.SerializableLayer
	if l.outer != nil {
		all = l.outer(v6)
	}
	all = append(all, ip, tcp, gopacket.Payload(s.payload))
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		t.Fatal(err)
	}
	var front []byte
	if l.bytes != nil {
		front = l.bytes(v6)
	}
	return append(front, buffer.Bytes()...)
}

// pcap is a file with packets, cut to a length; 0 is whole.
func pcap(t testing.TB, l link, cut int, packets ...[]byte) []byte {
	t.Helper()
	var file bytes.Buffer
	w := pcapgo.NewWriterNanos(&file)
	if err := w.WriteFileHeader(uint32(cut), l.kind); err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		part := p
		if cut > 0 {
			part = p[:min(len(p), cut)]
		}
		if err := w.WritePacket(gopacket.CaptureInfo{CaptureLength: len(part), Length: len(p)}, part); err != nil {
			t.Fatal(err)
		}
	}
	return file.Bytes()
}

// packets are segments on a link.
func (l link) packets(t testing.TB, segments ...sent) (all [][]byte) {
	t.Helper()
	for _, s := range segments {
		all = append(all, l.packet(t, s))
	}
	return all
}

// opening is a handshake of TCP, and says where the client's bytes begin.
func opening(first uint32) []sent {
	return []sent{
		{from: client, to: server, seq: first - 1, flags: "S"},
		{from: server, to: client, seq: 77, ack: first, flags: "SA"},
		{from: client, to: server, seq: first, ack: 78, flags: "A"},
	}
}

func read(t testing.TB, file []byte) *Capture {
	t.Helper()
	c, err := Read(bytes.NewReader(file), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantHello holds that a capture has one hello, and all of it.
func wantHello(t testing.TB, c *Capture, wire []byte, from netip.AddrPort) {
	t.Helper()
	want, err := clienthello.Read(bytes.NewReader(wire), 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Hellos) != 1 || c.Hellos[0].Hello == nil {
		t.Fatalf("%q of %s", lines(c), c.Seen)
	}
	got := c.Hellos[0]
	if got.Client != from || got.Hello.JA4() != want.JA4() || got.Hello.Random != want.Random || !slices.Equal(got.Hello.CipherSuites, want.CipherSuites) {
		t.Errorf("%q, want %s of %v", lines(c), want.JA4(), from)
	}
}

// TestLinks reads a connection from each kind of link, in each kind of file.
func TestLinks(t *testing.T) {
	wire := recordedHello(t, "chromium-default")
	six := func(a netip.AddrPort) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr("2001:db8::"+fmt.Sprintf("%x", a.Port())), a.Port())
	}
	for _, l := range wrapped {
		for _, v6 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, v6 %t", l.name, v6), func(t *testing.T) {
				from := client
				segments := append(opening(1000), sent{from: client, to: server, seq: 1000, payload: wire[:900]}, sent{from: client, to: server, seq: 1900, payload: wire[900:]})
				if v6 {
					from = six(client)
					for i := range segments {
						segments[i].from, segments[i].to = six(segments[i].from), six(segments[i].to)
					}
				}
				packets := l.packets(t, segments...)
				file := pcap(t, l, 0, packets...)
				wantHello(t, read(t, file), wire, from)
				wantHello(t, read(t, swapped(file)), wire, from)
				wantHello(t, read(t, ng(t, l.kind, packets...)), wire, from)
				if c := read(t, file[:len(file)-1]); len(c.Hellos) != 0 || c.Seen.Damage == nil {
					t.Errorf("a file that ends too soon: %s", c.Seen)
				}
				if l.kind != linkRawBSD && l.kind != layers.LinkTypeLoop {
					wantHello(t, ReadPackets(packets, Options{}), wire, from)
				}
			})
		}
	}
}

// swapped has the numbers of a file in the other byte order, and microseconds.
func swapped(file []byte) []byte {
	file = slices.Clone(file)
	for _, at := range []int{0, 8, 12, 16, 20} {
		slices.Reverse(file[at : at+4])
	}
	slices.Reverse(file[4:6])
	slices.Reverse(file[6:8])
	copy(file, "\xa1\xb2\xc3\xd4")
	for at := 24; at < len(file); {
		length := int(file[at+8]) | int(file[at+9])<<8
		for n := range 4 {
			slices.Reverse(file[at+4*n : at+4*n+4])
		}
		at += 16 + length
	}
	return file
}

// ng is a pcapng file that has another link, too.
func ng(t testing.TB, kind layers.LinkType, packets ...[]byte) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := pcapgo.NewNgWriter(&file, layers.LinkTypePPP)
	if err != nil {
		t.Fatal(err)
	}
	index, err := w.AddInterface(pcapgo.NgInterface{Name: "second", LinkType: kind})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		if err := w.WritePacket(gopacket.CaptureInfo{CaptureLength: len(p), Length: len(p), InterfaceIndex: index}, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// TestSegments cuts a hello in hundreds of ways: into segments that overlap, come
// again, and in any order, before the SYN and around the end of the sequence
// numbers.
func TestSegments(t *testing.T) {
	names := []string{"chromium-default", "go-default", "openssl-default", "gnutls-no-extensions"}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		wire := recordedHello(t, names[r.IntN(len(names))])
		first := r.Uint32()
		if seed%3 == 0 {
			first = ^uint32(0) - uint32(r.IntN(len(wire)))
		}
		var segments []sent
		for at := 0; at < len(wire); {
			n := 1 + r.IntN(min(700, len(wire)-at))
			back := r.IntN(min(at, 50) + 1)
			s := sent{from: client, to: server, seq: first + uint32(at-back), payload: wire[at-back : at+n]}
			segments = append(segments, s)
			if r.IntN(4) == 0 {
				segments = append(segments, s)
			}
			at += n
		}
		segments = append(segments, sent{from: client, to: server, seq: first - 1, payload: []byte{0}}) // keep-alive
		switch seed % 4 {
		case 0: // in order
			segments = append(opening(first), segments...)
		case 1:
			r.Shuffle(len(segments), func(i, k int) { segments[i], segments[k] = segments[k], segments[i] })
			segments = append(opening(first), segments...)
		case 2: // the SYN anywhere
			segments = append(segments, opening(first)[0])
			r.Shuffle(len(segments), func(i, k int) { segments[i], segments[k] = segments[k], segments[i] })
		case 3: // no SYN, but its answer
			segments = append(segments, opening(first)[1])
			r.Shuffle(len(segments), func(i, k int) { segments[i], segments[k] = segments[k], segments[i] })
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			wantHello(t, read(t, pcap(t, raw, 0, raw.packets(t, segments...)...)), wire, client)
		})
	}
}

// TestWithoutOpening finds a hello where the capture began with it, if only its
// first segment shows that it is one.
func TestWithoutOpening(t *testing.T) {
	wire := recordedHello(t, "chromium-default")
	segments := []sent{
		{from: server, to: client, seq: 9000, payload: []byte("\x16\x03\x03\x00\x02\x02\x00")},
		{from: client, to: server, seq: 1500, payload: wire[500:]},
		{from: client, to: server, seq: 1000, payload: wire[:500]},
	}
	wantHello(t, read(t, pcap(t, raw, 0, raw.packets(t, segments...)...)), wire, client)
}

func TestConnections(t *testing.T) {
	wire, other := recordedHello(t, "openssl-sni-alpn"), recordedHello(t, "go-default")
	from := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(client.Addr(), port) }
	data := func(port uint16, payload []byte) sent {
		return sent{from: from(port), to: server, seq: 5, payload: payload}
	}
	syn := func(port uint16) sent { return sent{from: from(port), to: server, seq: 4, flags: "S"} }
	again := data(40000, other)
	again.seq = 900005
	for _, test := range []struct {
		name     string
		segments []sent
		hellos   int
		seen     string
	}{
		{"nothing", nil, 0, "0 packets, 0 TCP connections"},
		{"two at once", []sent{syn(1), syn(2), data(2, wire[:50]), data(1, other), {from: from(2), to: server, seq: 55, payload: wire[50:]}}, 2,
			"5 packets, 2 TCP connections: 2 with a ClientHello"},
		{"the same ports again", []sent{syn(40000), data(40000, wire), {from: client, to: server, seq: 900004, flags: "S"}, again}, 2,
			"4 packets, 2 TCP connections: 2 with a ClientHello"},
		{"one packet on two interfaces", []sent{syn(1), data(1, wire), {from: from(1), to: netip.MustParseAddrPort("10.0.0.1:1"), seq: 5, payload: wire}}, 1,
			"3 packets, 2 TCP connections: 1 with a ClientHello"},
		{"the middle", []sent{data(1, []byte("\x17\x03\x03\x00\x10aaaa"))}, 0, "1 packet, 1 TCP connection: 1 in its middle, begun before the capture"},
		{"silence", []sent{syn(1)}, 0, "1 packet, 1 TCP connection: 1 whose client says nothing"},
		{"AMQP", []sent{syn(1), data(1, []byte("AMQP\x00\x00\x09\x01"))}, 0, "2 packets, 1 TCP connection: 1 with amqp instead of TLS"},
		{"noise", []sent{syn(1), data(1, []byte("whatever"))}, 0, "2 packets, 1 TCP connection: 1 with something that is not TLS"},
		{"a packet lost", []sent{syn(1), data(1, wire[:100])}, 0, "2 packets, 1 TCP connection: 1 with packets of the ClientHello missing"},
		{"malformed", []sent{syn(1), data(1, []byte("\x16\x03\x01\x00\x00"))}, 1, "2 packets, 1 TCP connection: 1 with a ClientHello"},
		{"data with the SYN", []sent{{from: client, to: server, seq: 4, flags: "S", payload: wire[:60]}, {from: server, to: client, seq: 1, ack: 65, flags: "SA"},
			{from: client, to: server, seq: 65, payload: wire[60:]}}, 1, "3 packets, 1 TCP connection: 1 with a ClientHello"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := read(t, pcap(t, raw, 0, raw.packets(t, test.segments...)...))
			if len(c.Hellos) != test.hellos || c.Seen.String() != test.seen {
				t.Errorf("%q, seen %q", lines(c), c.Seen)
			}
		})
	}
}

// TestProxyHeader reads what a load balancer puts in front, in a segment of its
// own or not.
func TestProxyHeader(t *testing.T) {
	wire := recordedHello(t, "openssl-default")
	const v1 = "PROXY TCP4 203.0.113.9 198.51.100.1 1234 5671\r\n"
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\xc6\x33\x64\x01\x04\xd2\x16\x27"
	said := netip.MustParseAddrPort("203.0.113.9:1234")
	for _, header := range []string{v1, v2} {
		whole := append([]byte(header), wire...)
		for _, at := range []int{20, len(header), len(header) + 100} {
			c := read(t, pcap(t, raw, 0, raw.packets(t, append(opening(1),
				sent{from: client, to: server, seq: 1, payload: whole[:at]},
				sent{from: client, to: server, seq: 1 + uint32(at), payload: whole[at:]})...)...))
			wantHello(t, c, wire, said)
		}
	}
	c := read(t, pcap(t, raw, 0, raw.packets(t, append(opening(1), sent{from: client, to: server, seq: 1, payload: []byte("PROXY nonsense\r\n")})...)...))
	if want := "4 packets, 1 TCP connection: 1 with proxy_v1 instead of TLS"; c.Seen.String() != want {
		t.Errorf("seen %q", c.Seen)
	}
}

// TestCut says what a snapshot length has cost.
func TestCut(t *testing.T) {
	segments := append(opening(1), sent{from: client, to: server, seq: 1, payload: recordedHello(t, "go-default")})
	for _, test := range []struct {
		length int
		want   string
	}{
		{96, "4 packets, 1 TCP connection: 1 whose ClientHello is cut off, captured with -s 96"},
		{30, "4 packets, 0 TCP connections: 4 packets cut off, captured with -s 30"},
	} {
		if c := read(t, pcap(t, raw, test.length, raw.packets(t, segments...)...)); c.Seen.String() != test.want {
			t.Errorf("-s %d: %q", test.length, c.Seen)
		}
	}
}

// TestWant keeps the hellos of one client, and counts all.
func TestWant(t *testing.T) {
	var segments []sent
	for port := range uint16(50) {
		wire := recordedHello(t, "openssl-default")
		wire[11] = byte(port) // of the random
		segments = append(segments, sent{from: netip.AddrPortFrom(client.Addr(), 1000+port), to: server, seq: 1, payload: wire})
	}
	file := pcap(t, raw, 0, raw.packets(t, segments...)...)
	c, err := Read(bytes.NewReader(file), Options{Want: func(a netip.AddrPort) bool { return a.Port() == 1030 }})
	if err != nil || len(c.Hellos) != 1 || c.Hellos[0].Client.Port() != 1030 || c.Seen.Hellos != 50 {
		t.Errorf("%q, seen %s, %v", lines(c), c.Seen, err)
	}
}

func TestUnreadable(t *testing.T) {
	if _, err := Read(strings.NewReader("\xa1\xb2"), Options{}); err == nil {
		t.Error("two bytes are a capture")
	}
	if _, err := Read(strings.NewReader("\xa1\xb2\xc3\xd4\x00\x09"+strings.Repeat("\x00", 40)), Options{}); err == nil {
		t.Error("version 9 is read")
	}
	c := read(t, pcap(t, link{kind: layers.LinkTypeIEEE802_11}, 0, []byte("frame")))
	if want := "1 packet, 0 TCP connections: 1 packet of link type 105, which is not read"; c.Seen.String() != want {
		t.Errorf("seen %q", c.Seen)
	}
}

// TestBounds holds what is kept of a capture that was made to have much kept.
func TestBounds(t *testing.T) {
	f := newFollower(Options{})
	wire := recordedHello(t, "go-default")
	filler := make([]byte, 60<<10)
	n := 0
	for range 3000 {
		n++
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 999)
		f.packet(raw.packet(t, sent{from: from, to: server, seq: 0, flags: "S"}), raw.kind, 0, 0)
		f.packet(raw.packet(t, sent{from: from, to: server, seq: 2, payload: filler}), raw.kind, 0, 0)
		f.packet(raw.packet(t, sent{from: from, to: server, seq: 2 + window, payload: filler}), raw.kind, 0, 0)
		total := 0
		for _, c := range f.connections {
			total += c.size()
		}
		if f.buffered > maxBuffered || n%500 == 0 && f.buffered != total {
			t.Fatalf("%d bytes are kept, counted as %d", total, f.buffered)
		}
	}
	for n := range uint32(2*maxConnections + 10) { // the same ports again and again
		f.packet(raw.packet(t, sent{from: client, to: server, seq: n * 7, flags: "S"}), raw.kind, 0, 0)
	}
	if len(f.order) > 2*maxConnections {
		t.Errorf("%d connections are remembered", len(f.order))
	}
	for n := range 2 * maxPieces {
		f.packet(raw.packet(t, sent{from: client, to: server, seq: uint32(2*maxConnections+9)*7 + uint32(3+2*n), payload: wire[:1]}), raw.kind, 0, 0)
	}
	if c := f.connections[endpoints{client, server}]; c == nil || len(c.halves[0].pieces) != maxPieces {
		t.Errorf("%+v", c)
	}
	f.finish()
	if f.buffered != 0 {
		t.Errorf("%d bytes are left", f.buffered)
	}
}

// FuzzRead holds that no file brings the reader down, that what it keeps is
// counted right, and that every connection is accounted for.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"openssl-loopback.pcap", "openssl-cut.pcap", "openssl-any.pcap", "openssl-loopback.txt"} {
		f.Add(readFile(f, name))
	}
	wire := recordedHello(f, "go-default")
	for _, l := range wrapped {
		packets := l.packets(f, append(opening(7), sent{from: client, to: server, seq: 7, payload: wire})...)
		f.Add(pcap(f, l, 0, packets...))
		f.Add(ng(f, l.kind, packets...))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		var c *Capture
		var err error
		if IsFile(input) {
			c, err = Read(bytes.NewReader(input), Options{})
		} else {
			c, err = ReadText(bytes.NewReader(input), Options{})
		}
		if err != nil {
			return
		}
		s := c.Seen
		counted := s.Hellos + s.Truncated + s.Incomplete + s.Middle + s.Silent
		for _, n := range s.Foreign {
			counted += n
		}
		if counted > s.Connections || len(c.Hellos) > s.Hellos || s.Connections > s.Packets {
			t.Errorf("%q, seen %s", lines(c), s)
		}
	})
}

// FuzzPackets does the same for packets alone, so that fuzzing does not have to
// get a file right.
func FuzzPackets(f *testing.F) {
	wire := recordedHello(f, "go-default")
	for i, l := range wrapped {
		f.Add(uint16(l.kind), l.packet(f, sent{from: client, to: server, seq: 7, payload: wire[i:]}), l.packet(f, sent{from: client, to: server, seq: 6, flags: "S"}))
	}
	f.Fuzz(func(t *testing.T, kind uint16, one, two []byte) {
		f := newFollower(Options{})
		for _, p := range [][]byte{one, two, one, two} {
			f.packet(p, layers.LinkType(kind), 0, 0)
			f.bare(p)
			total := 0
			for _, c := range f.connections {
				total += c.size()
			}
			if total != f.buffered {
				t.Fatalf("%d bytes are kept, counted as %d", total, f.buffered)
			}
		}
		if f.finish(); f.buffered != 0 {
			t.Fatalf("%d bytes are left", f.buffered)
		}
	})
}
