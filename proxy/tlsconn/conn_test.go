package tlsconn

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// connected returns a connection whose handshake is done, with a suite.
func connected(t testing.TB, suite uint16) *client {
	t.Helper()
	c := newClient(t, testConfig())
	c.hello.suites = []uint16{suite}
	c.mustHandshake()
	return c
}

func TestEnd(t *testing.T) {
	closeNotify := func(c *client) { c.write(recordAlert, []byte{alertLevelWarning, byte(alertCloseNotify)}) }
	for _, tt := range []struct {
		name string
		send func(*client)
		want error
	}{
		{"close_notify", closeNotify, io.EOF},
		{"close_notify as a fatal alert", func(c *client) { c.write(recordAlert, []byte{alertLevelFatal, 0}) }, io.EOF},
		{"between two records", func(c *client) { c.conn.eof = true }, io.EOF},
		{"in a header", func(c *client) { c.conn.eof = true; c.conn.toServer.Write([]byte{23, 3}) }, io.ErrUnexpectedEOF},
		{"after a header", func(c *client) { c.conn.eof = true; c.conn.toServer.Write([]byte{23, 3, 3, 0, 99}) }, io.ErrUnexpectedEOF},
		{"in a record", func(c *client) { c.conn.eof = true; c.conn.toServer.Write([]byte{23, 3, 3, 0, 99, 1}) }, io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := connected(t, 0x009E)
			c.write(recordApplicationData, []byte("last"))
			tt.send(c)
			got := make([]byte, 10)
			if n, err := c.server.Read(got); string(got[:n]) != "last" || err != nil {
				t.Fatalf("%q, %v", got[:n], err)
			}
			for range 2 {
				if n, err := c.server.Read(got); n != 0 || err != tt.want {
					t.Fatalf("%d, %v", n, err)
				}
			}
			if c.server.in.reader.buffer != nil {
				t.Error("a buffer is held")
			}
			// The other direction is open still.
			if n, err := c.server.Write([]byte("answer")); n != 6 || err != nil {
				t.Fatal(n, err)
			}
			if r, err := c.readRecord(); string(r.data) != "answer" || err != nil {
				t.Fatal(r, err)
			}
			if err := c.server.Close(); err != nil || !c.conn.closed {
				t.Fatal(err)
			}
			checkLastAlert(t, c, alertLevelWarning, alertCloseNotify)
			if err := c.server.Close(); err != net.ErrClosed {
				t.Error(err)
			}
			if _, err := c.server.Write([]byte("x")); err != net.ErrClosed {
				t.Error(err)
			}
		})
	}
}

func TestCloseWrite(t *testing.T) {
	c := newClient(t, testConfig())
	if err := c.server.CloseWrite(); err == nil {
		t.Error("closed before the handshake")
	}
	c.mustHandshake()
	for range 2 {
		if err := c.server.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.server.Write([]byte("x")); err != errShutdown {
		t.Error(err)
	}
	c.write(recordApplicationData, []byte("ping"))
	got := make([]byte, 10)
	if n, err := c.server.Read(got); string(got[:n]) != "ping" || err != nil {
		t.Fatalf("%q, %v", got[:n], err)
	}
	// A fault after close_notify: there is no one to tell.
	c.write(recordChangeCipherSpec, []byte{1})
	if _, err := c.server.Read(got); err == nil {
		t.Error("no error")
	}
	if err := c.server.Close(); err != nil {
		t.Error(err)
	}
	var alerts int
	for {
		r, err := c.readRecord()
		if err != nil {
			break
		}
		if alerts++; r.recordType != recordAlert || r.data[1] != byte(alertCloseNotify) {
			t.Errorf("%+v", r)
		}
	}
	if alerts != 1 {
		t.Errorf("%d alerts", alerts)
	}
}

// An error from below that is not temporary stays, and is none itself.
func TestPermanentErrors(t *testing.T) {
	broken := errors.New("broken")
	t.Run("write", func(t *testing.T) {
		c := connected(t, 0x009E)
		c.conn.writeErr = broken
		for range 2 {
			if n, err := c.server.Write([]byte("x")); n != 0 || err != broken {
				t.Fatal(n, err)
			}
		}
		if c.server.out.writer.sealed != nil {
			t.Error("a buffer is held")
		}
		if err := c.server.CloseWrite(); err != broken {
			t.Error(err)
		}
		c.write(recordApplicationData, []byte("ping"))
		if n, err := c.server.Read(make([]byte, 10)); n != 4 || err != nil {
			t.Error(n, err)
		}
	})
	t.Run("handshake", func(t *testing.T) {
		c := newClient(t, testConfig())
		c.conn.writeErr = &net.OpError{Op: "write", Err: broken}
		c.message(typeClientHello, c.hello.marshal)
		first := c.server.Handshake()
		if !errors.Is(first, broken) || isTemporary(first) {
			t.Fatal(first)
		}
		c.conn.writeErr = nil
		if again := c.server.Handshake(); again != first {
			t.Fatal(again)
		}
		if c.server.handshaking != nil {
			t.Error("the handshake's state is kept")
		}
	})
}

// Nothing is held while a connection idles: no buffer, and nothing that only the
// handshake needed.
func TestIdle(t *testing.T) {
	for _, suite := range []uint16{0x009E, 0x0067} {
		c := connected(t, suite)
		c.exchange()
		if _, err := c.server.Read(make([]byte, 10)); err != errWouldBlock {
			t.Fatal(err)
		}
		s := c.server
		if s.in.reader.buffer != nil || s.in.plaintext != nil || s.in.messages != nil || s.out.writer.sealed != nil || s.handshaking != nil {
			t.Errorf("%+v", s)
		}
		// The same with the beginning of a header there.
		c.conn.toServer.Write([]byte{23, 3, 3})
		if _, err := c.server.Read(make([]byte, 10)); err != errWouldBlock {
			t.Fatal(err)
		}
		if s.in.reader.buffer != nil {
			t.Error("a buffer is held for a header")
		}
	}
}

// One Write of 64 KiB is one below, of four records.
func TestWriteCoalesces(t *testing.T) {
	c := connected(t, 0x009E)
	data := make([]byte, 100<<10)
	rand.Read(data)
	for _, tt := range []struct{ size, writes, records int }{
		{0, 0, 0}, {1, 1, 1}, {maxPlaintext, 1, 1}, {maxPlaintext + 1, 1, 2}, {64 << 10, 1, 4}, {100 << 10, 2, 7},
	} {
		c.conn.writes = 0
		if n, err := c.server.Write(data[:tt.size]); n != tt.size || err != nil {
			t.Fatal(n, err)
		}
		var got []byte
		records := 0
		for {
			r, err := c.readRecord()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			records++
			got = append(got, r.data...)
		}
		if c.conn.writes != tt.writes || records != tt.records || !bytes.Equal(got, data[:tt.size]) {
			t.Errorf("%d bytes: %d writes, %d records, %d bytes arrived", tt.size, c.conn.writes, records, len(got))
		}
	}
}

// Reads of any size get what was sent.
func TestReadInParts(t *testing.T) {
	c := connected(t, 0x0067)
	for _, size := range []int{1, 7, 100, maxPlaintext} {
		want := make([]byte, maxPlaintext)
		rand.Read(want)
		c.write(recordApplicationData, want[:100])
		c.write(recordApplicationData, want[100:])
		var got []byte
		for len(got) < len(want) {
			b := make([]byte, size)
			n, err := c.server.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b[:n]...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("reads of %d bytes", size)
		}
		if n, err := c.server.Read(nil); n != 0 || err != nil {
			t.Error(n, err)
		}
	}
}

// pipe returns the two ends of a loopback connection.
func pipe(t testing.TB) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	must(err)
	server, err = l.Accept()
	must(err)
	t.Cleanup(func() { server.Close(); client.Close() })
	return server, client
}

// Reading and writing at once, by several goroutines, with crypto/tls's client;
// and a Close in the middle of it. In TLS 1.3 our keys change meanwhile.
func TestConcurrency(t *testing.T) {
	for _, config := range []*Config{testConfig(), testConfig13()} {
		t.Run(fmt.Sprintf("%#04x", config.Version), func(t *testing.T) { testConcurrency(t, config) })
	}
}

func testConcurrency(t *testing.T, settings *Config) {
	below, far := pipe(t)
	server := Server(below, settings)
	config := &tls.Config{RootCAs: testPKI().roots, ServerName: "gate.test", MaxVersion: max(settings.Version, tls.VersionTLS12), CipherSuites: []uint16{0xC027}}
	peer := tls.Client(far, config)

	const writers, each = 3, 200
	message := bytes.Repeat([]byte("m"), 5000)
	var wg sync.WaitGroup
	for _, conn := range []net.Conn{server, peer} {
		for range writers {
			wg.Go(func() {
				for range each {
					server.out.updateDue.Store(true) // as if the client had asked for it
					if _, err := conn.Write(message); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Go(func() {
			if n, err := io.CopyN(io.Discard, conn, writers*each*int64(len(message))); err != nil {
				t.Error(n, err)
			}
		})
	}
	wg.Wait()

	// Now nobody reads on the other side, until Close.
	wg.Go(func() {
		for {
			if _, err := server.Write(message); err != nil {
				return
			}
		}
	})
	wg.Go(func() { _, _ = server.Read(message) })
	wg.Go(func() { server.ConnectionState() })
	for server.active.Load() < 2 { // until the writer is at work
		time.Sleep(time.Millisecond)
	}
	server.Close()
	wg.Wait()
}

// The context of a handshake ends it, also when it has ended before.
func TestHandshakeContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, late := range []bool{true, false} {
			near, far := net.Pipe()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if !late {
				cancel()
			}
			server := Server(near, testConfig())
			err := server.HandshakeContext(ctx)
			want := context.DeadlineExceeded
			if !late {
				want = context.Canceled
			}
			if err != want {
				t.Errorf("error is %v", err)
			}
			if _, err := near.Read(make([]byte, 1)); err != io.ErrClosedPipe {
				t.Errorf("connection below: %v", err)
			}
			if err := server.Handshake(); err == nil || isTemporary(err) {
				t.Errorf("handshake again: %v", err)
			}
			cancel()
			far.Close()
		}
	})
}

// A deadline that has passed is a temporary error: with a later one, everything
// goes on.
func TestDeadlines(t *testing.T) {
	below, far := pipe(t)
	server := Server(below, testConfig())
	must(server.SetDeadline(time.Now().Add(-time.Second)))
	if err := server.Handshake(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	must(server.SetDeadline(time.Time{}))

	peer := tls.Client(far, &tls.Config{RootCAs: testPKI().roots, ServerName: "gate.test", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{0xC027}})
	done := make(chan error)
	go func() {
		if _, err := peer.Write([]byte("ping")); err != nil {
			done <- err
			return
		}
		// The server's Write has to wait for this.
		_, err := io.CopyN(io.Discard, peer, 20<<20)
		done <- err
	}()
	got := make([]byte, 10)
	if n, err := server.Read(got); string(got[:n]) != "ping" || err != nil {
		t.Fatal(n, err)
	}
	must(server.SetReadDeadline(time.Now().Add(-time.Second)))
	if _, err := server.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	timeouts := 0
	for rest := make([]byte, 20<<20); len(rest) > 0; {
		must(server.SetWriteDeadline(time.Now().Add(time.Millisecond)))
		n, err := server.Write(rest)
		rest = rest[n:]
		if errors.Is(err, os.ErrDeadlineExceeded) {
			timeouts++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatalf("client: %v, after %d timeouts", err, timeouts)
	}
	t.Logf("%d timeouts", timeouts)
}

// Close is done in a bounded time when the client takes nothing.
func TestCloseIsBounded(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := connected(t, 0x009E)
			near, far := net.Pipe() // which has no buffer
			defer far.Close()
			c.server.below = near
			start := time.Now()
			if err := c.server.Close(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
			if waited := time.Since(start); waited != closeTimeout {
				t.Errorf("waited for %v", waited)
			}
		})
	})
	t.Run("while an alert is being sent", func(t *testing.T) {
		c := connected(t, 0x009E)
		stuck := &stuckConn{memConn: c.conn, writing: make(chan struct{}), deadline: make(chan struct{})}
		c.server.below = stuck
		c.write(recordChangeCipherSpec, []byte{1})
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := c.server.Read(make([]byte, 1)); err == nil {
				t.Error("no error")
			}
		}()
		<-stuck.writing
		if err := c.server.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
}

// A stuckConn takes nothing, and lets go of writers when there is a deadline.
type stuckConn struct {
	*memConn
	writing, deadline chan struct{}
	once              [2]sync.Once
}

func (c *stuckConn) Write([]byte) (int, error) {
	c.once[0].Do(func() { close(c.writing) })
	<-c.deadline
	return 0, os.ErrDeadlineExceeded
}

func (c *stuckConn) SetWriteDeadline(time.Time) error {
	c.once[1].Do(func() { close(c.deadline) })
	return nil
}

func TestExportKeyingMaterialFails(t *testing.T) {
	c := newClient(t, testConfig())
	if _, err := c.server.ExportKeyingMaterial("EXPERIMENTAL test", nil, 10); err == nil {
		t.Error("exported before the handshake")
	}
	c.mustHandshake()
	if _, err := c.server.ExportKeyingMaterial("master secret", nil, 10); err == nil {
		t.Error("exported with a reserved label")
	}
}
