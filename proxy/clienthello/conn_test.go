package clienthello

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// scripted is a connection whose Read does one step a call.
type scripted struct {
	memoryConn
	steps  []step
	closed bool // for writing
}

type step struct {
	data string
	err  error
}

func (c *scripted) Read(p []byte) (int, error) {
	if len(c.steps) == 0 {
		return 0, io.EOF
	}
	s := c.steps[0]
	c.steps = c.steps[1:]
	return copy(p, s.data), s.err
}

func (c *scripted) CloseWrite() error {
	c.closed = true
	return nil
}

type temporaryError struct{}

func (temporaryError) Error() string   { return "nothing there" }
func (temporaryError) Timeout() bool   { return false }
func (temporaryError) Temporary() bool { return true }

func TestReplay(t *testing.T) {
	for name, wire := range recordings(t) {
		for _, size := range []int{1, 5, 100, 4096} {
			h := mustRead(t, bytes.NewReader(wire))
			conn := h.Replay(&memoryConn{Reader: strings.NewReader("and more")})
			var got bytes.Buffer
			if _, err := io.CopyBuffer(struct{ io.Writer }{&got}, conn, make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			if got.String() != string(wire)+"and more" {
				t.Errorf("%s: other bytes with a buffer of %d", name, size)
			}
		}
	}
}

// TestReplayWhatFollows is for the early data that came with the hello.
func TestReplayWhatFollows(t *testing.T) {
	wire := recording(t, "openssl-early-data")
	hello := records(messageOf(t, wire), maxPlaintext)
	if len(wire) <= len(hello) {
		t.Fatal("nothing follows the hello in the recording")
	}
	got, err := io.ReadAll(mustRead(t, bytes.NewReader(wire)).Replay(&memoryConn{Reader: strings.NewReader("")}))
	if err != nil || !bytes.Equal(got, wire) {
		t.Errorf("%d bytes of %d: %v", len(got), len(wire), err)
	}
}

func TestReplayReleases(t *testing.T) {
	wire := recording(t, "go-default")
	h := mustRead(t, bytes.NewReader(wire))
	conn := h.Replay(&scripted{})
	if h.raw != nil {
		t.Error("the hello keeps the bytes")
	}
	if n, err := conn.Read(nil); n != 0 || err != nil {
		t.Errorf("read %d into nothing: %v", n, err)
	}
	if _, err := io.ReadFull(conn, make([]byte, len(wire)-1)); err != nil || conn.replay == nil {
		t.Errorf("a byte before the end: %v", err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil || conn.replay != nil {
		t.Errorf("the connection keeps the bytes: %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
}

// TestReplayTemporaryErrors is for a relay that reads when there may be nothing.
func TestReplayTemporaryErrors(t *testing.T) {
	h := mustRead(t, bytes.NewReader(recording(t, "gnutls-no-extensions")))
	want := string(h.raw) + "onetwo"
	below := &scripted{steps: []step{
		{"", temporaryError{}}, {"one", nil}, {"", temporaryError{}}, {"", os.ErrDeadlineExceeded}, {"two", nil},
	}}
	conn := h.Replay(below)
	var got []byte
	var failures []string
	for {
		p := make([]byte, 10)
		n, err := conn.Read(p)
		got = append(got, p[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			failures = append(failures, err.Error())
		}
	}
	if string(got) != want {
		t.Errorf("read %q, want %q", got, want)
	}
	if expect := []string{"nothing there", "nothing there", "i/o timeout"}; !slices.Equal(failures, expect) {
		t.Errorf("errors %q, want %q", failures, expect)
	}
}

func TestCloseWrite(t *testing.T) {
	below := new(scripted)
	conn := new(Hello).Replay(below)
	if err := conn.CloseWrite(); err != nil || !below.closed {
		t.Errorf("not passed on: %v", err)
	}
	if conn.NetConn() != below {
		t.Error("another connection below")
	}
	err := new(Hello).Replay(&memoryConn{}).CloseWrite()
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

// TestHandshake lets crypto/tls answer a hello that was read before, over a
// connection that delivers a byte at a time and one that delivers all at once.
func TestHandshake(t *testing.T) {
	certificate := selfSigned(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, wrap := range []func(io.Reader) io.Reader{
			func(r io.Reader) io.Reader { return r },
			iotest.OneByteReader,
		} {
			client, server := tcpPipe(t)
			ended := make(chan error, 1)
			go func() {
				conn := tls.Client(client, &tls.Config{
					InsecureSkipVerify: true, // the test is about bytes, not trust
					MaxVersion:         version,
				})
				_, err := conn.Write([]byte("hello"))
				ended <- errors.Join(err, conn.Close())
			}()
			h, err := Read(wrap(server), MaxSize)
			if err != nil {
				t.Fatal(err)
			}
			conn := tls.Server(h.Replay(server), &tls.Config{Certificates: []tls.Certificate{certificate}})
			got := make([]byte, 5)
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
				t.Errorf("%q, %v", got, err)
			}
			if _, err := conn.Read(got); err != io.EOF {
				t.Error(err)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
			server.Close()
		}
	}
}

// tcpPipe is both ends of a TCP connection over the loopback interface.
func tcpPipe(t *testing.T) (client, server net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if client, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
