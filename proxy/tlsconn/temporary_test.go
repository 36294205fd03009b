package tlsconn

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"testing"
)

// A whole session in which, in both directions, every byte comes with a
// temporary error before it: the handshakes, in full and abbreviated, with a
// client certificate; records of all sizes; both ends' close_notify.
func TestTemporaryErrorAtEveryByte(t *testing.T) {
	for _, suite := range []uint16{0x009E, 0xC028, 0x003C} {
		t.Run(fmt.Sprintf("%04X", suite), func(t *testing.T) {
			config := testConfig()
			config.ClientAuth = tls.RequireAnyClientCert
			var kept *clientSession
			for range 2 {
				c := newClient(t, config)
				c.conn.stutter = true
				c.certificate = testPKI().clientECDSA
				c.hello.suites = []uint16{suite}
				c.session = kept
				c.mustHandshake()
				if c.resumed() != (kept != nil) {
					t.Fatal("resumed:", c.resumed())
				}
				kept = c.kept()
				stutteringSession(t, c)
			}
		})
	}
}

func stutteringSession(t *testing.T, c *client) {
	stutteringData(t, c)

	// Renegotiation is refused at some time.
	hello, err := appendMessage(nil, typeClientHello, c.hello.marshal)
	must(err)
	c.write(recordHandshake, hello)
	for c.conn.toServer.Len() > 0 {
		if _, err := c.server.Read(make([]byte, 1)); err != errWouldBlock {
			t.Fatal(err)
		}
	}
	for c.server.out.writer.sealed != nil {
		if n, err := c.server.Write(nil); n != 0 || err != nil && err != errWouldBlock {
			t.Fatal(n, err)
		}
	}
	if level, a, err := c.readAlert(); level != alertLevelWarning || a != alertNoRenegotiation || err != nil {
		t.Fatal(level, a, err)
	}
	stutteringEnd(t, c)
}

// stutteringData sends records of all sizes in both directions.
func stutteringData(t *testing.T, c *client) {
	for _, size := range []int{0, 1, 100, maxPlaintext, maxPlaintext + 1, 3*maxPlaintext + 5} {
		want := bytes.Repeat([]byte{byte(size)}, size)

		// To the server.
		for rest := want; ; {
			n := min(len(rest), maxPlaintext)
			c.write(recordApplicationData, rest[:n])
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
		}
		got := make([]byte, 0, size+1)
		for len(got) < size {
			n, err := c.server.Read(got[len(got):cap(got)])
			got = got[:len(got)+n]
			if err != nil && err != errWouldBlock {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%d bytes arrived changed at the server", size)
		}

		// And back. The client reads as they come, so that a record sealed
		// twice shows as a bad MAC.
		var back []byte
		for rest := want; len(rest) > 0; {
			n, err := c.server.Write(rest)
			rest = rest[n:]
			if err != nil && err != errWouldBlock {
				t.Fatal(err)
			}
			back = append(back, readAll(t, c)...)
		}
		if !bytes.Equal(back, want) {
			t.Fatalf("%d bytes arrived changed at the client", size)
		}
	}
}

// stutteringEnd has both ends say that they are done.
func stutteringEnd(t *testing.T, c *client) {
	for c.server.CloseWrite() != nil {
	}
	if level, a, err := c.readAlert(); level != alertLevelWarning || a != alertCloseNotify || err != nil {
		t.Fatal(level, a, err)
	}
	c.write(recordAlert, []byte{alertLevelWarning, byte(alertCloseNotify)})
	for {
		_, err := c.server.Read(make([]byte, 1))
		if err == io.EOF {
			break
		}
		if err != errWouldBlock {
			t.Fatal(err)
		}
	}
	if err := c.server.Close(); err != nil && err != errWouldBlock {
		t.Fatal(err)
	}
}

// readAll returns the application data that has come so far.
func readAll(t *testing.T, c *client) (all []byte) {
	for {
		r, err := c.readRecord()
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.recordType == recordApplicationData {
			all = append(all, r.data...)
		}
	}
}

// A Write that goes on with less than it was called with first, and one that
// goes on with nothing.
func TestWriteGoesOn(t *testing.T) {
	c := newClient(t, testConfig())
	c.mustHandshake()
	data := bytes.Repeat([]byte("0123456789"), 100)

	c.conn.writeErr = errWouldBlock
	if n, err := c.server.Write(data); n != 0 || err != errWouldBlock {
		t.Fatal(n, err)
	}
	c.conn.writeErr = nil
	if n, err := c.server.Write(nil); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if got := readAll(t, c); !bytes.Equal(got, data) {
		t.Fatalf("%d bytes arrived", len(got))
	}
	// All of it has gone, and none of it was reported yet.
	for rest := data; len(rest) > 0; {
		n, err := c.server.Write(rest[:300])
		if n != 300 || err != nil {
			t.Fatal(n, err)
		}
		rest = rest[n:]
		if len(rest) == 100 {
			rest = append(rest, data[:200]...)
		}
		if got := readAll(t, c); len(rest) > 0 && len(got) > 0 {
			t.Fatalf("%d bytes arrived twice", len(got))
		} else if len(rest) == 0 && !bytes.Equal(got, data[:200]) {
			t.Fatalf("%q arrived", got)
		}
	}
}

// A temporary error while the alert is sent: Close sends what is left of it.
func TestAlertGoesOutLate(t *testing.T) {
	c := newClient(t, testConfig())
	c.mustHandshake()
	c.conn.writeErr = errWouldBlock
	c.write(recordChangeCipherSpec, []byte{1})
	if _, err := c.server.Read(make([]byte, 1)); err == nil || isTemporary(err) {
		t.Fatal(err)
	}
	c.conn.writeErr = nil
	if err := c.server.Close(); err != nil {
		t.Fatal(err)
	}
	checkLastAlert(t, c, alertLevelFatal, alertUnexpectedMessage)
}
