package relay

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newTestPoller returns a Poller that nothing wakes but what happens: looking after
// silent connections would make up for events that are lost.
func newTestPoller() *Poller { return &Poller{coolAfter: time.Hour} }

// relays are the ways to carry: with goroutines, and with a Poller.
func relays(t testing.TB) map[string]*Relay {
	p := newTestPoller()
	t.Cleanup(p.Close)
	return map[string]*Relay{"goroutines": {}, "poller": {Poller: p}}
}

// An outcome is what done was called with.
type outcome struct {
	Stats
	err error
}

// hand gives both connections to r and returns where the outcome will be.
func hand(r *Relay, client, backend Conn) <-chan outcome {
	return handLimited(r, client, backend, Limits{})
}

// handLimited is hand for a connection with limits.
func handLimited(r *Relay, client, backend Conn, limits Limits) <-chan outcome {
	ended := make(chan outcome, 2) // room for a second call, which would be a bug
	var fromClient, fromBackend tally
	options := Options{Limits: limits, FromClient: &fromClient, FromBackend: &fromBackend}
	r.Hand(client, backend, options, func(s Stats, err error) {
		if c, b := fromClient.Load(), fromBackend.Load(); c != s.FromClient || b != s.FromBackend {
			err = fmt.Errorf("counters have %d and %d bytes, %+v (%v)", c, b, s, err)
		}
		ended <- outcome{s, err}
	})
	return ended
}

// tally is a [Counter].
type tally struct{ atomic.Int64 }

func (t *tally) Add(n float64) { t.Int64.Add(int64(n)) }

// await returns the outcome and fails the test if it does not come.
func await(t testing.TB, ended <-chan outcome) outcome {
	t.Helper()
	select {
	case o := <-ended:
		return o
	case <-time.After(20 * time.Second):
		t.Fatal("the connection did not end")
		panic("unreachable")
	}
}

// tcpPair returns both ends of a TCP connection over loopback.
func tcpPair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err = l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	far = c.(*net.TCPConn)
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func tlsConfig(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// tlsPair returns both ends of a TLS connection over loopback, and the TCP
// connection below the far end.
func tlsPair(t testing.TB, config *tls.Config) (near, far *tls.Conn, farTCP *net.TCPConn) {
	t.Helper()
	nearTCP, farTCP := tcpPair(t)
	near = tls.Server(NewSocket(nearTCP), config)
	far = tls.Client(farTCP, &tls.Config{InsecureSkipVerify: true})
	handshake := make(chan error, 1)
	go func() { handshake <- far.Handshake() }()
	if err := errors.Join(near.Handshake(), <-handshake); err != nil {
		t.Fatal(err)
	}
	return near, far, farTCP
}

// A duplex is a connection in memory, without buffers, that can half-close;
// under synctest, waiting for it counts as waiting.
type duplex struct {
	net.Conn          // what is written here
	in       net.Conn // what is read here
}

func duplexPair() (near, far *duplex) {
	a, b := net.Pipe()
	c, d := net.Pipe()
	return &duplex{Conn: a, in: d}, &duplex{Conn: c, in: b}
}

func (d *duplex) Read(b []byte) (int, error)        { return d.in.Read(b) }
func (d *duplex) CloseWrite() error                 { return d.Conn.Close() }
func (d *duplex) Close() error                      { return errors.Join(d.Conn.Close(), d.in.Close()) }
func (d *duplex) SetReadDeadline(t time.Time) error { return d.in.SetReadDeadline(t) }
func (d *duplex) SetDeadline(t time.Time) error {
	return errors.Join(d.in.SetDeadline(t), d.Conn.SetDeadline(t))
}

// pattern is n bytes in which a loss, a swap or a repetition shows.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func mustWrite(t testing.TB, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatalf("write: %v", err)
	}
}

func mustReadAll(t testing.TB, r io.Reader, want []byte) {
	t.Helper()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read: %v after %d bytes", err, len(got))
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes that differ from the %d written", len(got), len(want))
	}
}

func mustReadFull(t testing.TB, r io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil {
		t.Fatalf("read: %v after %d bytes", err, n)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("read %q, want %q", got, want)
	}
}
