package capture

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gopacket/gopacket/layers"

	"github.com/suitegate/suitegate/proxy/clienthello"
)

// Seen counts what was in a capture.
type Seen struct {
	Packets     int
	Connections int // of TCP; each is in one of the counts that follow

	Hellos     int // found, malformed ones among them
	Foreign    map[clienthello.Protocol]int
	Truncated  int // whose hello is in packets that were not captured whole
	Incomplete int // of whose hello packets are missing
	Middle     int // whose beginning is not there, and no hello either
	Silent     int // whose client says nothing

	Dropped   int // hellos that were wanted, and too many to keep
	Other     int // packets of other protocols than TCP, or with nothing to make of them
	Fragments int // packets that are parts of IP packets, which are not put together
	Links     map[layers.LinkType]int

	Headless   int    // packets that were cut off before TCP's payload
	SnapLength uint32 // to which packets were cut, in bytes; 0 if none was, or that is not known

	// Damage is why the capture could not be read to its end; nil if it could.
	Damage error
}

func (s *Seen) foreign(p clienthello.Protocol) {
	if s.Foreign == nil {
		s.Foreign = make(map[clienthello.Protocol]int)
	}
	s.Foreign[p]++
}

func (s *Seen) link(l layers.LinkType) {
	if s.Links == nil {
		s.Links = make(map[layers.LinkType]int)
	}
	s.Links[l]++
}

// String is all that there was, for people: "12 packets, 2 TCP connections: 1
// begins before the capture, 1 begins with amqp".
func (s Seen) String() string {
	text := fmt.Sprintf("%s, %s", number(s.Packets, "packet"), number(s.Connections, "TCP connection"))
	if list := s.list(); len(list) > 0 {
		text += ": " + strings.Join(list, ", ")
	}
	return text
}

func (s Seen) list() (list []string) {
	add := func(n int, format string, args ...any) {
		if n > 0 {
			list = append(list, fmt.Sprintf("%d "+format, append([]any{n}, args...)...))
		}
	}
	add(s.Hellos, "with a ClientHello")
	for _, protocol := range slices.Sorted(maps.Keys(s.Foreign)) {
		if protocol == clienthello.Unknown {
			add(s.Foreign[protocol], "with something that is not TLS")
		} else {
			add(s.Foreign[protocol], "with %s instead of TLS", protocol)
		}
	}
	cut := "cut off"
	if s.SnapLength > 0 {
		cut = fmt.Sprintf("cut off, captured with -s %d", s.SnapLength)
	}
	add(s.Truncated, "whose ClientHello is %s", cut)
	add(s.Incomplete, "with packets of the ClientHello missing")
	add(s.Middle, "in its middle, begun before the capture")
	add(s.Silent, "whose client says nothing")
	if s.Headless > 0 {
		list = append(list, number(s.Headless, "packet")+" "+cut)
	}
	if s.Other > 0 {
		list = append(list, number(s.Other, "packet")+" of no TCP")
	}
	if s.Fragments > 0 {
		list = append(list, number(s.Fragments, "IP fragment"))
	}
	for _, link := range slices.Sorted(maps.Keys(s.Links)) {
		list = append(list, fmt.Sprintf("%s of link type %d, which is not read", number(s.Links[link], "packet"), link))
	}
	if s.Damage != nil {
		list = append(list, fmt.Sprintf("and then damage: %v", s.Damage))
	}
	return list
}

func number(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
