package tlsconn

import (
	"crypto/fips140"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"
)

// In FIPS 140-3 mode no handshake takes place, on neither side, and the peer is
// told so.
func TestFIPS(t *testing.T) {
	if !fips140.Enabled() {
		again := exec.Command(os.Args[0], "-test.v", "-test.run=^TestFIPS$")
		again.Env = append(os.Environ(), "GODEBUG=fips140=on")
		if out, err := again.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	for _, side := range []struct {
		name string
		conn func(net.Conn) *Conn
	}{
		{"server", func(c net.Conn) *Conn { return Server(c, &Config{}) }},
		{"client", func(c net.Conn) *Conn { return Client(c, &ClientConfig{}) }},
	} {
		near, far := net.Pipe()
		sent := make(chan []byte, 1)
		go func() {
			record := make([]byte, 7)
			n, _ := far.Read(record) // what there is of an alert is compared below
			sent <- record[:n]
		}()
		conn := side.conn(near)
		for range 2 {
			if err := conn.Handshake(); !errors.Is(err, ErrFIPS) {
				t.Errorf("%s: %v", side.name, err)
			}
		}
		if record := <-sent; len(record) != 7 || record[0] != 21 || record[6] != byte(alertInternalError) {
			t.Errorf("%s sends % x", side.name, record)
		}
		if state := conn.ConnectionState(); state.HandshakeComplete || state.Version != tls.VersionTLS12 {
			t.Errorf("%s: %+v", side.name, state)
		}
		near.Close()
		far.Close()
	}
}
