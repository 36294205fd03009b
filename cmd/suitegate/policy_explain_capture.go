package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/suitegate/suitegate/proxy/clienthello/capture"
)

// clientPick is whose hello is meant, of those in a capture. The zero value is
// the only one that there is.
type clientPick struct {
	addr netip.Addr
	port uint16 // 0 is any
}

// parsePick parses IP or IP:PORT; empty is none.
func parsePick(text string) (clientPick, error) {
	if text == "" {
		return clientPick{}, nil
	}
	if both, err := netip.ParseAddrPort(text); err == nil && both.Port() > 0 {
		return clientPick{both.Addr().Unmap().WithZone(""), both.Port()}, nil
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return clientPick{}, usageHint(fmt.Errorf("--client %q is neither an address nor one with a port", text), "such as 192.0.2.7, 192.0.2.7:40000 or [2001:db8::7]:40000")
	}
	return clientPick{addr: addr.Unmap().WithZone("")}, nil
}

func (p clientPick) given() bool { return p.addr.IsValid() }

func (p clientPick) String() string {
	if p.port == 0 {
		return p.addr.String()
	}
	return netip.AddrPortFrom(p.addr, p.port).String()
}

// takes says whether a client is meant.
func (p clientPick) takes(client netip.AddrPort) bool {
	return !p.given() || client.Addr() == p.addr && (p.port == 0 || client.Port() == p.port)
}

// readCapture reads the input as far as it is packets; otherwise it returns what
// it is.
func readCapture(input io.Reader, pick clientPick) (*capture.Capture, []byte, error) {
	options := capture.Options{Want: pick.takes}
	buffered := bufio.NewReaderSize(input, 64<<10)
	if head, _ := buffered.Peek(4); capture.IsFile(head) { // an error comes again
		c, err := capture.Read(buffered, options)
		return c, nil, err
	}
	if head, _ := buffered.Peek(buffered.Size()); capture.IsText(head) {
		c, err := capture.ReadText(buffered, options)
		return c, nil, err
	}
	rest, err := readAtMost(buffered)
	if err != nil {
		return nil, nil, err
	}
	if packets := packetsIn(rest); len(packets) > 0 {
		return capture.ReadPackets(packets, options), nil, nil
	}
	return nil, rest, nil
}

// packetsIn are the packets of an input that is their bytes, or a dump of them.
// A hello is none, whatever its bytes look like besides.
func packetsIn(input []byte) [][]byte {
	if beginsHello(input) {
		return nil
	}
	if capture.IsPacket(input) {
		return [][]byte{input}
	}
	if wire, err := wireBytes(input); err == nil {
		if !beginsHello(wire) && capture.IsPacket(wire) {
			return [][]byte{wire}
		}
		return nil
	}
	// Wireshark's dump of several packets: the offsets begin again with each.
	var packets [][]byte
	for _, text := range splitDumps(string(input)) {
		packet, ok := undumpLines(text)
		if !ok || len(packets) == 0 && (beginsHello(packet) || !capture.IsPacket(packet)) {
			return nil
		}
		packets = append(packets, packet)
	}
	return packets
}

// beginsHello says whether bytes are the record of a hello, or its message.
func beginsHello(b []byte) bool {
	const major = 3 // of all versions
	return len(b) >= 6 && (b[0] == recordHandshake && b[1] == major && b[5] == typeClientHello || b[0] == typeClientHello && b[4] == major)
}

// splitDumps divides lines behind offsets where these begin again.
func splitDumps(text string) (dumps []string) {
	for line := range strings.Lines(text) {
		if zeroOffset.MatchString(line) {
			dumps = append(dumps, "")
		}
		if len(dumps) == 0 {
			if strings.TrimSpace(line) == "" {
				continue
			}
			return nil
		}
		dumps[len(dumps)-1] += line
	}
	return dumps
}

// from is the hello that is meant.
func (p clientPick) from(c *capture.Capture) (capture.Hello, error) {
	hellos := c.Hellos
	switch {
	case len(hellos) == 0 && p.given() && c.Seen.Hellos > 0:
		return capture.Hello{}, withHint(fmt.Errorf("the capture has no hello of %s, and of others %d", p, c.Seen.Hellos), "without --client they are listed")
	case len(hellos) == 0:
		return capture.Hello{}, noHello(c.Seen)
	case len(hellos) == 1, p.port != 0: // ports that were used again: the last time
		return hellos[len(hellos)-1], nil
	}
	const most = 40
	var list strings.Builder
	w := tabwriter.NewWriter(&list, 0, 0, 2, ' ', 0)
	for _, h := range hellos[:min(len(hellos), most)] {
		what := "malformed"
		if h.Hello != nil {
			what = fmt.Sprintf("server name %q\tJA4 %s", h.Hello.ServerName, h.Hello.JA4())
		}
		fmt.Fprintf(w, "  %v\tto %v\t%s\n", h.Client, h.Server, what)
	}
	w.Flush()
	if more := len(hellos) + c.Seen.Dropped - most; more > 0 {
		fmt.Fprintf(&list, "  and %d more\n", more)
	}
	return capture.Hello{}, withHint(fmt.Errorf("the capture has %s:\n%s", count(len(hellos)+c.Seen.Dropped, "hello"), list.String()),
		"choose one: --client "+hellos[0].Client.String())
}

// noHello says what there is instead, and what would help.
func noHello(seen capture.Seen) error {
	var hints []string
	if seen.Truncated > 0 || seen.Headless > 0 {
		hints = append(hints, "capture packets whole: tcpdump -s 0")
	}
	if seen.Middle > 0 || seen.Connections == 0 && seen.Headless == 0 {
		hints = append(hints, "begin the capture before the client connects")
	}
	if seen.Connections > 0 && slices.ContainsFunc([]int{seen.Incomplete, seen.Silent}, func(n int) bool { return n > 0 }) {
		hints = append(hints, "end it after the client's handshake")
	}
	return withHint(errors.New("the capture has no hello: "+seen.String()), hints...)
}

// incomplete says what a capture has besides the hello that was found, if that
// is worth a word.
func incomplete(seen *capture.Seen) string {
	if seen == nil || seen.Truncated+seen.Incomplete == 0 && seen.Damage == nil {
		return ""
	}
	return "not all of the capture can be read: " + seen.String()
}
