// Package proxyheader reads and writes the header of the PROXY protocol,
// versions 1 and 2, by which a proxy tells who its client is. The sections are
// those of https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt.
package proxyheader

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

const (
	// maxV1 is the longest line of version 1, its CR LF included (section 2.1).
	maxV1 = 107

	// maxV2 is the longest header of version 2 that is read, behind its fixed
	// 16 bytes; the protocol has 65,535. It is the library's own limit. A
	// header with a client's certificate takes about 2 KiB.
	maxV2 = 4096

	prefixV1  = "PROXY "
	prefixV2  = "\r\n\r\n\x00\r\nQUIT\n"
	fixedV2   = len(prefixV2) + 4 // command, family, length
	tlsRecord = 22                // the type of record that a ClientHello comes in
)

// A Header is what a proxy says of a connection.
type Header struct {
	// Local is true for a connection of the proxy's own, such as a health check
	// (LOCAL; UNKNOWN in version 1): it says nothing, and the addresses of the
	// socket hold.
	Local bool

	// Source is the client, and Destination what the client connected to.
	// IPv4 addresses are just that, however the header wrote them.
	Source, Destination netip.AddrPort
}

// Read reads a header from r, and not a byte of what stands behind it, however
// the bytes come. Deadlines are the caller's. What a version 2 header holds
// beside the addresses is skipped.
//
// The error is an [*Error].
func Read(r io.Reader) (Header, error) {
	raw, err := frame(r)
	if err != nil {
		return Header{}, err
	}
	parsed, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(raw), len(raw)))
	if err != nil {
		return Header{}, invalid("%w", err)
	}
	if parsed.Command == proxyproto.LOCAL {
		return Header{Local: true}, nil
	}
	source, destination, ok := parsed.TCPAddrs()
	if !ok {
		return Header{}, invalid("proxyheader: addresses of kind %#02x, not TCP", byte(parsed.TransportProtocol))
	}
	return Header{Source: AddrPort(source), Destination: AddrPort(destination)}, nil
}

// frame reads the bytes of one header. It knows where one ends, and nothing of
// what it says.
func frame(r io.Reader) ([]byte, error) {
	f := framer{r: r, raw: make([]byte, 0, maxV1)}
	// Both versions are longer than the signature of version 2.
	for len(f.raw) < len(prefixV2) {
		if err := f.read(len(prefixV2)); err != nil {
			return nil, err
		}
		if !begins(f.raw, prefixV1) && !begins(f.raw, prefixV2) {
			return nil, missing(f.raw)
		}
	}
	if f.raw[0] == prefixV1[0] {
		return f.line()
	}
	return f.binary()
}

// begins says that b, as far as it goes, can be the beginning of what has the
// prefix.
func begins(b []byte, prefix string) bool {
	n := min(len(b), len(prefix))
	return string(b[:n]) == prefix[:n]
}

type framer struct {
	r     io.Reader
	raw   []byte
	empty int // reads in a row that brought nothing
}

// line reads the rest of version 1's. Its end cannot be nearer than two bytes
// while there is no CR.
func (f *framer) line() ([]byte, error) {
	for !bytes.HasSuffix(f.raw, []byte("\r\n")) {
		step := 2
		if f.raw[len(f.raw)-1] == '\r' {
			step = 1
		}
		want := len(f.raw) + step
		if want > maxV1 {
			return nil, invalid("proxyheader: a line of version 1 that does not end within %d bytes", maxV1)
		}
		if err := f.fill(want); err != nil {
			return nil, err
		}
	}
	return f.raw, nil
}

// binary reads the rest of version 2's.
func (f *framer) binary() ([]byte, error) {
	if err := f.fill(fixedV2); err != nil {
		return nil, err
	}
	length := int(binary.BigEndian.Uint16(f.raw[fixedV2-2:]))
	if length > maxV2 {
		return nil, invalid("proxyheader: a header of version 2 with %d bytes, more than %d", length, maxV2)
	}
	f.raw = append(make([]byte, 0, fixedV2+length), f.raw...)
	if err := f.fill(fixedV2 + length); err != nil {
		return nil, err
	}
	return f.raw, nil
}

// fill reads until there are n bytes.
func (f *framer) fill(n int) error {
	for len(f.raw) < n {
		if err := f.read(n); err != nil {
			return err
		}
	}
	return nil
}

// read reads once, until there are n bytes at most.
func (f *framer) read(n int) error {
	const maxEmpty = 100 // reads in a row are taken for a broken reader, as in bufio
	got, err := f.r.Read(f.raw[len(f.raw):n])
	f.raw = f.raw[:len(f.raw)+got]
	switch {
	case got > 0:
		f.empty = 0
		return nil // an error comes again
	case err == nil:
		if f.empty++; f.empty < maxEmpty {
			return nil
		}
		err = io.ErrNoProgress
	}
	return partial(len(f.raw), err)
}

// An Error says why there is no header.
type Error struct {
	reason string
	alert  uint8
	err    error
}

func (e *Error) Error() string { return e.err.Error() }

// Unwrap returns what is below, the connection's own error for one.
func (e *Error) Unwrap() error { return e.err }

// Reason is a stable name for logs and metrics:
//
//	proxy_header_missing  what came is none
//	proxy_header_invalid  it breaks the protocol, is too long, or not about TCP
//	proxy_header_timeout  the deadline passed before it was complete
//	handshake_canceled    the connection was closed on this side
//	client_closed         the other side ended it before it was complete
func (e *Error) Reason() string { return e.reason }

// Alert is the TLS alert to send: internal_error (RFC 8446 §6.2) where a
// ClientHello came instead, since that client could not know; otherwise 0, for
// none, because nobody would understand it.
func (e *Error) Alert() uint8 { return e.alert }

func invalid(format string, args ...any) *Error {
	return &Error{reason: "proxy_header_invalid", err: fmt.Errorf(format, args...)}
}

func missing(first []byte) *Error {
	e := &Error{reason: "proxy_header_missing"}
	if first[0] == tlsRecord {
		const internalError = 80
		e.alert, e.err = internalError, errors.New("proxyheader: TLS without a PROXY header before it")
		return e
	}
	const quoted = 4 // enough to recognise a protocol, and short of what it carries
	e.err = fmt.Errorf("proxyheader: no PROXY header: begins with %+q", first[:min(len(first), quoted)])
	return e
}

func partial(received int, err error) *Error {
	e := &Error{reason: "client_closed", err: fmt.Errorf("proxyheader: after %d bytes of a header: %w", received, err)}
	var network net.Error
	switch {
	case errors.As(err, &network) && network.Timeout():
		e.reason = "proxy_header_timeout"
	case errors.Is(err, net.ErrClosed):
		e.reason = "handshake_canceled"
	}
	return e
}
