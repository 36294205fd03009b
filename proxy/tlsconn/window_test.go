package tlsconn

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// A windowConn shows what it has taken, so much at once, from the client. What it
// has shown is spoilt as soon as anything else is done with it.
type windowConn struct {
	*memConn
	atOnce    int
	in, shown []byte
	hits      int
}

func (c *windowConn) spoil() {
	for i := range c.shown {
		c.shown[i] = 0xEE
	}
	c.shown = nil
}

func (c *windowConn) Next(n int) []byte {
	c.spoil()
	if len(c.in) < n {
		return nil
	}
	c.hits++
	c.shown, c.in = c.in[:n:n], c.in[n:]
	return c.shown
}

func (c *windowConn) Read(b []byte) (int, error) {
	c.spoil()
	if len(c.in) == 0 {
		c.in = make([]byte, c.atOnce)
		n, err := c.memConn.Read(c.in)
		if c.in = c.in[:n]; err != nil {
			return 0, err
		}
	}
	n := copy(b, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *windowConn) Write(b []byte) (int, error) {
	c.spoil()
	return c.memConn.Write(b)
}

// windowed lays a window below a client's server.
func windowed(c *client, atOnce int) *windowConn {
	w := &windowConn{memConn: c.conn, atOnce: atOnce}
	c.server.Rebase(w)
	return w
}

// connections are one of each kind of cipher, by name.
func connections(t *testing.T) map[string]*client {
	all := map[string]*client{}
	for name, suite := range map[string]uint16{"AES-GCM": 0x009E, "AES-CBC": 0x0067, "ChaCha20": 0xCCA8} {
		config := testConfig()
		config.CipherSuites = []uint16{suite}
		c := newClient(t, config)
		c.hello.suites = []uint16{suite}
		c.mustHandshake()
		all[name] = c
	}
	for _, suite := range suites13 {
		c := newClient13(t, testConfig13())
		c.hello.suites = []uint16{suite.id}
		c.mustHandshake()
		all[fmt.Sprintf("TLS 1.3, %#04x", suite.id)] = c.client
	}
	return all
}

// What is opened in a window is what was sent, however it arrives and is read, and
// nothing of it is used when the window shows something else.
func TestWindow(t *testing.T) {
	for name, c := range connections(t) {
		t.Run(name, func(t *testing.T) {
			stream := rand.NewChaCha8([32]byte{})
			random := rand.New(stream)
			for _, atOnce := range []int{37, 1000, maxPlaintext, 64 << 10} {
				for _, size := range []int{100, 5000, maxCiphertext, 80 << 10} {
					w := windowed(c, atOnce)
					var want []byte
					for i := range 60 { // long ones and short ones, in turns that are long enough to give up
						most := []int{maxPlaintext, 20}[i/15%2]
						data := make([]byte, 1+random.IntN(most))
						stream.Read(data)
						c.write(recordApplicationData, data)
						want = append(want, data...)
					}
					var got []byte
					for b := make([]byte, size); len(got) < len(want); {
						n, err := c.server.Read(b)
						if err != nil {
							t.Fatal(err)
						}
						got = append(got, b[:n]...)
						w.spoil() // now it is another connection's
					}
					if !bytes.Equal(got, want) {
						t.Fatalf("%d bytes at once, read in %d: something else", atOnce, size)
					}
					if n, err := c.server.Read(make([]byte, size)); err != errWouldBlock {
						t.Fatal(n, err)
					}
				}
			}
		})
	}
}

// Most records of a stream are opened in the window; those are not that it shows the
// beginning of. One that shows nothing is given up.
func TestWindowIsUsed(t *testing.T) {
	c := connections(t)["AES-GCM"]
	for _, tt := range []struct{ atOnce, least, most int }{{64 << 10, 70, 80}, {1000, 0, 0}} {
		w := windowed(c, tt.atOnce)
		for range 100 {
			c.write(recordApplicationData, make([]byte, maxPlaintext))
		}
		for b := make([]byte, 80<<10); ; {
			if _, err := c.server.Read(b); err == errWouldBlock {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if w.hits < tt.least || w.hits > tt.most {
			t.Errorf("%d of 100 records with %d bytes at once", w.hits, tt.atOnce)
		}
		if gaveUp := c.server.in.reader.misses > maxMisses; gaveUp != (tt.most == 0) {
			t.Errorf("given up: %t, with %d bytes at once", gaveUp, tt.atOnce)
		}
	}
}

// A record that was changed is refused in the window, too, and whoever reads gets
// nothing of it.
func TestWindowRefuses(t *testing.T) {
	for name, c := range connections(t) {
		t.Run(name, func(t *testing.T) {
			windowed(c, 64<<10)
			secret := bytes.Repeat([]byte("secret"), 1000)
			c.write(recordApplicationData, secret)
			sent := c.conn.toServer.Bytes()
			sent[len(sent)-1] ^= 1
			b := make([]byte, 64<<10)
			n, err := c.server.Read(b)
			if n != 0 || err == nil || isTemporary(err) {
				t.Errorf("%d, %v", n, err)
			}
			if bytes.Contains(b, secret[:12]) {
				t.Error("there is plaintext where whoever reads sees it")
			}
			if err := c.server.in.err; err == nil {
				t.Error("the connection goes on")
			}
		})
	}
}
