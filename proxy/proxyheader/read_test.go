package proxyheader

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// v2 is a header of version 2: command and family, and what follows the length.
func v2(command, family byte, payload string) string {
	return prefixV2 + string([]byte{command, family, byte(len(payload) >> 8), byte(len(payload))}) + payload
}

const (
	addresses4 = "\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x16\x27" // 192.0.2.7:56324 to 198.51.100.1:5671
	alpn       = "\x01\x00\x04mqtt"
)

var (
	addresses6 = "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x07" + strings.Repeat("\x00", 15) + "\x01\xdc\x04\x16\x27"
	ipv4       = header("192.0.2.7:56324", "198.51.100.1:5671")
	ipv6       = header("[2001:db8::7]:56324", "[::1]:5671")
	local      = Header{Local: true}
)

func header(source, destination string) Header {
	return Header{Source: netip.MustParseAddrPort(source), Destination: netip.MustParseAddrPort(destination)}
}

var good = []struct {
	name, raw string
	want      Header
}{
	{"v1, IPv4", "PROXY TCP4 192.0.2.7 198.51.100.1 56324 5671\r\n", ipv4},
	{"v1, IPv6", "PROXY TCP6 2001:db8::7 ::1 56324 5671\r\n", ipv6},
	{"v1, IPv4 in IPv6", "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 56324 5671\r\n", ipv4},
	{"v1, shortest", "PROXY TCP4 1.1.1.1 1.1.1.1 0 0\r\n", header("1.1.1.1:0", "1.1.1.1:0")},
	{"v1, unknown", "PROXY UNKNOWN\r\n", local},
	{"v1, unknown, at its longest", "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", local},
	{"v2, IPv4", v2(0x21, 0x11, addresses4), ipv4},
	{"v2, IPv4 with TLVs", v2(0x21, 0x11, addresses4+alpn), ipv4},
	{"v2, IPv6", v2(0x21, 0x21, addresses6), ipv6},
	{"v2, at its longest", v2(0x21, 0x11, addresses4+strings.Repeat("x", maxV2-12)), ipv4},
	{"v2, local", v2(0x20, 0x00, ""), local},
	{"v2, local with addresses", v2(0x20, 0x11, addresses4), local},
}

// A header is the same in one piece and byte by byte, and what stands behind it
// stays where it is.
func TestRead(t *testing.T) {
	const behind = "\x16\x03\x01\x02\x00\x01"
	for _, tt := range good {
		for how, split := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader,
			"halves": iotest.HalfReader, "with the end": iotest.DataErrReader,
		} {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				r := bytes.NewReader([]byte(tt.raw + behind))
				got, err := Read(split(r))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if rest, _ := io.ReadAll(r); string(rest) != behind && how != "with the end" { // which reads ahead itself
					t.Errorf("%q is left, want %q", rest, behind)
				}
			})
		}
	}
}

func TestReadBad(t *testing.T) {
	for _, tt := range []struct {
		name, raw, reason, contains string
	}{
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03xx", "proxy_header_missing", "TLS without a PROXY header"},
		{"AMQP", "AMQP\x00\x00\x09\x01", "proxy_header_missing", `begins with "AMQP"`},
		{"secrets are not quoted", "GET /?secret", "proxy_header_missing", `begins with "GET "`},
		{"one byte", "\x00", "proxy_header_missing", `"\x00"`},
		{"v1 in small letters", "proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n", "proxy_header_missing", ""},
		{"v1 without a space", "PROXYTCP4 1.1.1.1 1.1.1.1 1 1\r\n", "proxy_header_missing", ""},
		{"v2 with another signature", "\r\n\r\n\x00\r\nQUIT\r", "proxy_header_missing", ""},
		{"v1 without an end", "PROXY UNKNOWN" + strings.Repeat(" ", 200), "proxy_header_invalid", "within 107 bytes"},
		{"v1 one byte too long", "PROXY UNKNOWN" + strings.Repeat(" ", 93) + "\r\n", "proxy_header_invalid", "within 107 bytes"},
		{"v1 of UDP", "PROXY UDP4 192.0.2.7 198.51.100.1 56324 5671\r\n", "proxy_header_invalid", ""},
		{"v1 with the other family", "PROXY TCP4 ::1 ::1 1 1\r\n", "proxy_header_invalid", ""},
		{"v1 with a bad port", "PROXY TCP4 192.0.2.7 198.51.100.1 65536 1\r\n", "proxy_header_invalid", ""},
		{"v1 with more", "PROXY TCP4 192.0.2.7 198.51.100.1 1 1 1\r\n", "proxy_header_invalid", ""},
		{"v2 of version 3", v2(0x31, 0x11, addresses4), "proxy_header_invalid", ""},
		{"v2 of another command", v2(0x22, 0x11, addresses4), "proxy_header_invalid", ""},
		{"v2 of no family", v2(0x21, 0x00, ""), "proxy_header_invalid", ""},
		{"v2 of UDP", v2(0x21, 0x12, addresses4), "proxy_header_invalid", "0x12, not TCP"},
		{"v2 of Unix sockets", v2(0x21, 0x31, strings.Repeat("\x00", 216)), "proxy_header_invalid", "0x31, not TCP"},
		{"v2 too short for its addresses", v2(0x21, 0x11, addresses4[:11]), "proxy_header_invalid", ""},
		{"v2 too long", prefixV2 + "\x21\x11\xff\xff", "proxy_header_invalid", "65535 bytes, more than 4096"},
		{"nothing", "", "client_closed", "after 0 bytes"},
		{"half of v1", "PROXY TCP4 192", "client_closed", "after 14 bytes"},
		{"half of v2", v2(0x21, 0x11, addresses4)[:20], "client_closed", "after 20 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Read(strings.NewReader(tt.raw))
			wantError(t, err, tt.reason, tt.contains)
			_, err = Read(iotest.OneByteReader(strings.NewReader(tt.raw)))
			wantError(t, err, tt.reason, "")
		})
	}
}

func wantError(t *testing.T, err error, reason, contains string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Reason() != reason || !strings.Contains(err.Error(), contains) || !strings.Contains(err.Error(), "proxy") {
		t.Fatalf("error %v (%T), want one for %s that has %q", err, err, reason, contains)
	}
	if wantAlert := strings.Contains(err.Error(), "TLS without"); (e.Alert() != 0) != wantAlert {
		t.Errorf("alert %d for %v", e.Alert(), err)
	}
}

// What ends a read from outside keeps its name.
func TestReadEnded(t *testing.T) {
	for _, tt := range []struct {
		err    error
		reason string
	}{
		{os.ErrDeadlineExceeded, "proxy_header_timeout"},
		{&net.OpError{Op: "read", Err: net.ErrClosed}, "handshake_canceled"},
		{&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, "client_closed"},
	} {
		_, err := Read(io.MultiReader(strings.NewReader("PROXY TCP4"), iotest.ErrReader(tt.err)))
		wantError(t, err, tt.reason, "after 10 bytes")
		if !errors.Is(err, tt.err) {
			t.Errorf("%v is not %v", err, tt.err)
		}
	}
	if _, err := Read(silent{}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that brings nothing: %v", err)
	}
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

// The client of a header that stops short is waited for as long as the
// deadline says, over a real socket.
func TestReadDeadline(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	go client.Write([]byte("PROXY TC"))
	server.SetDeadline(time.Now().Add(20 * time.Millisecond))
	_, err := Read(server)
	server.Close()
	wantError(t, err, "proxy_header_timeout", "after 8 bytes")
}

// FuzzRead: no input panics, is read past its header, or means something else
// when it comes in other pieces.
func FuzzRead(f *testing.F) {
	for _, tt := range good {
		f.Add([]byte(tt.raw))
		f.Add([]byte(tt.raw + "\x16\x03\x01"))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := bytes.NewReader(raw)
		whole, err := Read(r)
		left := r.Len()
		r.Reset(raw)
		split, splitErr := Read(iotest.OneByteReader(r))
		if whole != split || (err == nil) != (splitErr == nil) {
			t.Fatalf("%v, %v in one piece, %v, %v byte by byte", whole, err, split, splitErr)
		}
		if err != nil {
			if e := (*Error)(nil); !errors.As(err, &e) || e.Reason() == "" {
				t.Fatalf("error %v (%T)", err, err)
			}
			return
		}
		if left != r.Len() {
			t.Fatalf("%d bytes are left of a whole, %d of its bytes", left, r.Len())
		}
		if n := len(raw) - left; n > fixedV2+maxV2 {
			t.Fatalf("a header of %d bytes", n)
		}
		if whole.Local {
			return
		}
		for _, v := range []Version{V1, V2} { // what was read can be written, and says the same
			again, err := v.Append(nil, Client{Source: whole.Source, Destination: whole.Destination, TLS: "TLSv1.3"})
			if err != nil {
				t.Fatal(err)
			}
			if back, err := Read(bytes.NewReader(again)); err != nil || back != whole {
				t.Fatalf("%v, %v, want %v", back, err, whole)
			}
		}
	})
}
