package sniff

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

var _ Conn = (*tls.Conn)(nil)

// stream is a Conn whose input is a reader, and which notes what it is told.
type stream struct {
	net.Conn
	input      io.Reader
	below      net.Conn
	written    bytes.Buffer
	closeWrite int
}

func (s *stream) Read(p []byte) (int, error)  { return s.input.Read(p) }
func (s *stream) Write(p []byte) (int, error) { return s.written.Write(p) }
func (s *stream) CloseWrite() error           { s.closeWrite++; return nil }
func (s *stream) NetConn() net.Conn           { return s.below }

const wireFormatInfo = "\x00\x00\x01\x64\x01ActiveMQ\x00\x00\x00\x0c\x01\x00\x00\x01R"

// TestGuard lets everything through, cut in any way on either side of it.
func TestGuard(t *testing.T) {
	sent := wireFormatInfo + strings.Repeat("more", 10000)
	for name, cut := range map[string]func(io.Reader) io.Reader{
		"whole":        func(r io.Reader) io.Reader { return r },
		"byte by byte": iotest.OneByteReader,
		"in halves":    iotest.HalfReader,
		"with its end": iotest.DataErrReader,
	} {
		for _, size := range []int{1, 5, 16 << 10} {
			guarded := Guard(&stream{input: cut(strings.NewReader(sent))}, OpenWire)
			var got bytes.Buffer
			buf := make([]byte, size)
			for err := error(nil); err != io.EOF; {
				var n int
				if n, err = guarded.Read(buf); err != nil && err != io.EOF {
					t.Fatal(err)
				}
				got.Write(buf[:n])
			}
			if got.String() != sent {
				t.Errorf("%s, read by %d: %d bytes of %d", name, size, got.Len(), len(sent))
			}
		}
	}
}

// TestGuardMismatch holds back all of what is not OpenWire, for good.
func TestGuardMismatch(t *testing.T) {
	for _, s := range samples() {
		if s.decides == 0 || s.protocol == OpenWire {
			continue
		}
		for _, input := range []io.Reader{strings.NewReader(s.sent), iotest.OneByteReader(strings.NewReader(s.sent))} {
			guarded := Guard(&stream{input: input}, OpenWire)
			p := make([]byte, 100)
			for range 2 {
				n, err := guarded.Read(p)
				var mismatch *MismatchError
				if n != 0 || !errors.As(err, &mismatch) || mismatch.Found != s.protocol {
					t.Errorf("%s: %d bytes, %v", s.name, n, err)
				}
			}
		}
	}
}

func TestGuardPassesTheRestThrough(t *testing.T) {
	_, below := net.Pipe()
	defer below.Close()
	s := &stream{below: below, input: strings.NewReader("")}
	guarded := Guard(s, OpenWire)
	if _, err := guarded.Write([]byte("from the broker")); err != nil || s.written.String() != "from the broker" {
		t.Errorf("wrote %q, %v", s.written.String(), err)
	}
	if err := guarded.CloseWrite(); err != nil || s.closeWrite != 1 {
		t.Errorf("CloseWrite called %d times, %v", s.closeWrite, err)
	}
	if guarded.NetConn() != below {
		t.Error("NetConn is another")
	}
	if n, err := guarded.Read(nil); n != 0 || err != nil {
		t.Errorf("an empty read: %d, %v", n, err)
	}
}

func TestGuardEnds(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		sent string
		err  error
		want func(error) bool
	}{
		{"", io.EOF, func(err error) bool { return err == io.EOF }},
		{"", broken, func(err error) bool { return err == broken }},
		{"\x00\x00\x01", broken, func(err error) bool { return err == broken }},
		{"\x00\x00\x01", io.EOF, func(err error) bool {
			var partial *PartialError
			return errors.As(err, &partial) && errors.Is(err, io.EOF) && partial.Received == 3 && partial.Reason() == "client_closed"
		}},
		{wireFormatInfo, io.EOF, func(err error) bool { return err == io.EOF }},
	} {
		guarded := Guard(&stream{input: io.MultiReader(strings.NewReader(test.sent), iotest.ErrReader(test.err))}, OpenWire)
		got := make([]byte, 100)
		n, err := guarded.Read(got)
		if err == nil {
			_, err = guarded.Read(got[n:])
		}
		if !test.want(err) {
			t.Errorf("%q, then %v: %v", test.sent, test.err, err)
		}
	}
}

// TestGuardCarriesOn is interrupted by a deadline within the first bytes, as a
// relay that waits for many connections is all the time.
func TestGuardCarriesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		defer server.Close()
		guarded := Guard(&stream{input: server}, OpenWire)
		go client.Write([]byte(wireFormatInfo[:7]))

		if err := server.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 100)
		n, err := guarded.Read(p)
		var temporary interface{ Temporary() bool }
		if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &temporary) {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if err := server.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		go client.Write([]byte(wireFormatInfo[7:]))
		if n, err = guarded.Read(p); err != nil || string(p[:n]) != wireFormatInfo {
			t.Errorf("%q, %v", p[:n], err)
		}
	})
}
