package capture

import (
	"encoding/binary"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// decoder takes packets apart, down to TCP. What it returns is good until the
// next packet.
type decoder struct {
	ethernet  layers.Ethernet
	vlan      layers.Dot1Q
	loopback  layers.Loopback
	cooked    layers.LinuxSLL
	cooked2   layers.LinuxSLL2
	ip4       layers.IPv4
	ip6       layers.IPv6
	extension layers.IPv6ExtensionSkipper
	tcp       layers.TCP

	truncated bool // less of the packet is there than it says that it has
}

// SetTruncated implements [gopacket.DecodeFeedback].
func (d *decoder) SetTruncated() { d.truncated = true }

// outcome is what became of a packet.
type outcome int

const (
	segment    outcome = iota // of TCP
	other                     // something else
	fragment                  // of a packet: its TCP segment cannot be put together
	cutInFront                // of TCP's payload
	unknownLink
)

// links are the kinds of header that a packet can begin with. Where it is an IP
// header, that says of which version it is.
var links = map[layers.LinkType]gopacket.LayerType{
	layers.LinkTypeNull:      layers.LayerTypeLoopback,
	layers.LinkTypeLoop:      layers.LayerTypeLoopback,
	layers.LinkTypeEthernet:  layers.LayerTypeEthernet,
	layers.LinkTypeLinuxSLL:  layers.LayerTypeLinuxSLL,
	layers.LinkTypeLinuxSLL2: layers.LayerTypeLinuxSLL2,
	layers.LinkTypeRaw:       gopacket.LayerTypeZero,
	layers.LinkTypeIPv4:      gopacket.LayerTypeZero,
	layers.LinkTypeIPv6:      gopacket.LayerTypeZero,
	linkRawBSD:               gopacket.LayerTypeZero,
	linkRawOpenBSD:           gopacket.LayerTypeZero,
}

// What some systems write for LINKTYPE_RAW: their own numbers of it.
const (
	linkRawBSD     layers.LinkType = 12
	linkRawOpenBSD layers.LinkType = 14
)

// layer is the one to decode for a type; nil for none of ours.
func (d *decoder) layer(t gopacket.LayerType) gopacket.DecodingLayer {
	switch t {
	case layers.LayerTypeEthernet:
		return &d.ethernet
	case layers.LayerTypeDot1Q:
		return &d.vlan
	case layers.LayerTypeLoopback:
		return &d.loopback
	case layers.LayerTypeLinuxSLL:
		return &d.cooked
	case layers.LayerTypeLinuxSLL2:
		return &d.cooked2
	case layers.LayerTypeIPv4:
		return &d.ip4
	case layers.LayerTypeIPv6:
		return &d.ip6
	case layers.LayerTypeTCP:
		return &d.tcp
	}
	if d.extension.CanDecode().Contains(t) {
		return &d.extension
	}
	return nil
}

// decode leaves the last segment in d.tcp, and returns its addresses. missing is
// how many bytes of the packet were not captured.
func (d *decoder) decode(data []byte, link layers.LinkType, missing int) (source, destination netip.AddrPort, what outcome) {
	d.truncated = false
	next, known := links[link]
	if !known {
		return source, destination, unknownLink
	}
	if next == gopacket.LayerTypeZero && len(data) > 0 {
		next = ipVersion(data)
	}
	var from, to netip.Addr
	const deepest = 16 // tags and extension headers
	for range deepest {
		layer := d.layer(next)
		if layer == nil {
			break
		}
		if layer.DecodeFromBytes(data, d) != nil {
			if d.truncated || missing > 0 {
				return source, destination, cutInFront
			}
			return source, destination, other
		}
		switch layer {
		case &d.ip4:
			if d.ip4.FragOffset != 0 || d.ip4.Flags&layers.IPv4MoreFragments != 0 {
				return source, destination, fragment
			}
			// Segments that the network card is still to cut have no length
			// where it has no room for it.
			d.truncated = d.truncated || missing > 0 && len(data) >= 4 && binary.BigEndian.Uint16(data[2:]) == 0
			from, to = addr(d.ip4.SrcIP), addr(d.ip4.DstIP)
		case &d.ip6:
			from, to = addr(d.ip6.SrcIP), addr(d.ip6.DstIP)
		case &d.tcp:
			return netip.AddrPortFrom(from, uint16(d.tcp.SrcPort)), netip.AddrPortFrom(to, uint16(d.tcp.DstPort)), segment
		}
		if next == layers.LayerTypeIPv6Fragment {
			return source, destination, fragment
		}
		data, next = layer.LayerPayload(), layer.NextLayerType()
	}
	return source, destination, other
}

func addr(ip []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(ip) // the layers have 4 or 16 bytes
	return a.Unmap()
}

// ipVersion is the layer that an IP packet begins with.
func ipVersion(data []byte) gopacket.LayerType {
	switch data[0] >> 4 {
	case 4:
		return layers.LayerTypeIPv4
	case 6:
		return layers.LayerTypeIPv6
	}
	return gopacket.LayerTypeZero
}

// IsPacket says whether bytes are an IP packet, alone or behind the header of a
// link that [ReadPackets] knows.
func IsPacket(b []byte) bool {
	_, ok := guessLink(b)
	return ok
}

// guessLink finds out what header a packet begins with of which nobody has said
// so: by where in it there is an IP header that fits what follows.
func guessLink(packet []byte) (layers.LinkType, bool) {
	for _, guess := range []struct {
		link   layers.LinkType
		header func([]byte) int // its length; negative if there is none
	}{
		{layers.LinkTypeRaw, func([]byte) int { return 0 }},
		{layers.LinkTypeEthernet, ethernetHeader},
		{layers.LinkTypeLinuxSLL, func(b []byte) int { return headerWithType(b, 16, 14) }},
		{layers.LinkTypeLinuxSLL2, func(b []byte) int { return headerWithType(b, 20, 0) }},
		{layers.LinkTypeNull, func(b []byte) int { return 4 }},
	} {
		if n := guess.header(packet); n >= 0 && n < len(packet) && beginsIP(packet[n:]) {
			return guess.link, true
		}
	}
	return 0, false
}

// ethernetHeader is the length of an Ethernet header with its VLAN tags.
func ethernetHeader(b []byte) int {
	const addresses, tag = 12, 4
	for at := addresses; at+2 <= len(b); at += tag {
		switch layers.EthernetType(binary.BigEndian.Uint16(b[at:])) {
		case layers.EthernetTypeIPv4, layers.EthernetTypeIPv6:
			return at + 2
		case layers.EthernetTypeDot1Q, layers.EthernetTypeQinQ:
		default:
			return -1
		}
	}
	return -1
}

// headerWithType is the length of a header that has the EtherType of IP at an
// offset.
func headerWithType(b []byte, length, at int) int {
	if len(b) < length {
		return -1
	}
	switch layers.EthernetType(binary.BigEndian.Uint16(b[at:])) {
	case layers.EthernetTypeIPv4, layers.EthernetTypeIPv6:
		return length
	}
	return -1
}

// beginsIP says whether an IP packet begins here: one of IPv4 by its checksum
// (RFC 791 §3.1), one of IPv6 by its length and what it carries.
func beginsIP(b []byte) bool {
	switch ipVersion(b) {
	case layers.LayerTypeIPv4:
		length := int(b[0]&0xf) * 4
		if length < 20 || len(b) < length {
			return false
		}
		sum := 0
		for at := 0; at < length; at += 2 {
			sum += int(binary.BigEndian.Uint16(b[at:]))
		}
		for sum > 0xffff {
			sum = sum&0xffff + sum>>16
		}
		return sum == 0xffff
	case layers.LayerTypeIPv6:
		const header, padding = 40, 64
		if len(b) < header || len(b)-header > int(binary.BigEndian.Uint16(b[4:]))+padding {
			return false
		}
		switch layers.IPProtocol(b[6]) {
		case layers.IPProtocolTCP, layers.IPProtocolUDP, layers.IPProtocolICMPv6, layers.IPProtocolIPv6HopByHop,
			layers.IPProtocolIPv6Destination, layers.IPProtocolIPv6Routing, layers.IPProtocolIPv6Fragment:
			return true
		}
	}
	return false
}
