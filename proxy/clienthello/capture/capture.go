package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/suitegate/suitegate/proxy/clienthello"
)

const (
	// maxHellos is how many hellos are kept for the caller to choose from, and
	// maxKept how many bytes their messages may have together.
	maxHellos = 1000
	maxKept   = 16 << 20
)

// Hello is a ClientHello that was found, or what came in place of one.
type Hello struct {
	// Client is who sent it, and Server whom to: of a connection behind a proxy
	// that says so, what its PROXY header says.
	Client, Server netip.AddrPort

	Hello *clienthello.Hello      // nil if it is malformed
	Err   *clienthello.ParseError // why; nil if it is not
}

// Options say what to look for. The zero value looks for everything.
type Options struct {
	// Want, where it is set, says which clients' hellos are kept. Others are
	// counted only.
	Want func(client netip.AddrPort) bool
}

// Capture is what was in a capture.
type Capture struct {
	Hellos []Hello // in the order in which they were complete, each once
	Seen   Seen
}

// Magic numbers of files, as their first four bytes are in big-endian order.
// https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html section 4 and
// https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html section 4.1.
const (
	pcapMicroseconds        = 0xa1b2c3d4
	pcapMicrosecondsSwapped = 0xd4c3b2a1
	pcapNanoseconds         = 0xa1b23c4d
	pcapNanosecondsSwapped  = 0x4d3cb2a1
	pcapng                  = 0x0a0d0d0a
)

// IsFile says whether a file that begins with these bytes, 4 at least, is a
// capture that [Read] reads.
func IsFile(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	switch binary.BigEndian.Uint32(head) {
	case pcapMicroseconds, pcapMicrosecondsSwapped, pcapNanoseconds, pcapNanosecondsSwapped, pcapng:
		return true
	}
	return false
}

// Read reads a capture of either format to its end. One that ends in the middle
// of a packet, as those of a program that was killed do, is read up to there:
// see [Seen.Damage]. The error is that the beginning is no capture's, or r's own.
func Read(r io.Reader, o Options) (*Capture, error) {
	buffered := bufio.NewReader(r)
	head, err := buffered.Peek(4)
	if err != nil {
		return nil, fmt.Errorf("capture: %w", unexpected(err))
	}
	var next func() ([]byte, gopacket.CaptureInfo, layers.LinkType, uint32, error)
	if binary.BigEndian.Uint32(head) == pcapng {
		ng, err := pcapgo.NewNgReader(buffered, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
		if err != nil {
			return nil, fmt.Errorf("capture: pcapng: %w", unexpected(err))
		}
		next = func() (data []byte, ci gopacket.CaptureInfo, link layers.LinkType, snapLength uint32, err error) {
			if data, ci, err = ng.ZeroCopyReadPacketData(); err != nil {
				return
			}
			face, err := ng.Interface(ci.InterfaceIndex)
			return data, ci, face.LinkType, face.SnapLength, err
		}
	} else {
		plain, err := pcapgo.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("capture: pcap: %w", unexpected(err))
		}
		next = func() (data []byte, ci gopacket.CaptureInfo, link layers.LinkType, snapLength uint32, err error) {
			data, ci, err = plain.ZeroCopyReadPacketData()
			return data, ci, plain.LinkType(), plain.Snaplen(), err
		}
	}
	f := newFollower(o)
	for {
		data, info, link, snapLength, err := next()
		if errors.Is(err, io.EOF) {
			return f.finish(), nil
		}
		if err != nil {
			f.seen.Damage = err
			return f.finish(), nil
		}
		f.packet(data, link, info.Length-info.CaptureLength, snapLength)
	}
}

// unexpected makes of a file's end an error that says so.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ReadPackets looks at single packets, which begin with whatever header the link
// that they were captured on has.
func ReadPackets(packets [][]byte, o Options) *Capture {
	f := newFollower(o)
	for _, packet := range packets {
		f.bare(packet)
	}
	return f.finish()
}

// keep takes a hello that was found, unless it is there already: a capture of
// several interfaces has a packet as often as it passes one.
func (f *follower) keep(h Hello, size int) {
	if h.Hello != nil {
		id := helloID{h.Client, h.Hello.Random}
		if f.known[id] {
			return
		}
		if len(f.known) < maxConnections {
			f.known[id] = true
		}
	}
	f.seen.Hellos++
	switch {
	case f.options.Want != nil && !f.options.Want(h.Client):
	case len(f.hellos) == maxHellos || f.kept+size > maxKept:
		f.seen.Dropped++
	default:
		f.hellos, f.kept = append(f.hellos, h), f.kept+size
	}
}

// helloID is what no two hellos have in common.
type helloID struct {
	client netip.AddrPort
	random [32]byte
}
