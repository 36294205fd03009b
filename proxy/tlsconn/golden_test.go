package tlsconn

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"time"
)

var update = flag.Bool("update", false, "record testdata/golden again, with OpenSSL's client")

const goldenDir = "testdata/golden"

// goldenSeed and goldenTime make the server's part of a session the same each
// time.
const goldenSeed = 1

var goldenTime = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// A goldenCase is a session that OpenSSL's client had with this server.
type goldenCase struct {
	name   string
	args   []string
	ems    bool
	resume bool // the session of the case before
	change func(*Config)
}

func goldenCases() (cases []goldenCase) {
	for _, id := range CipherSuites() {
		if suiteByID(id).ecdsa {
			continue // ECDSA signs with randomness that is nobody's to set
		}
		cipher := []string{"-cipher", names[id].openssl + ":@SECLEVEL=0"}
		cases = append(cases, goldenCase{names[id].openssl, cipher, true, false, nil})
		if suiteByID(id).isCBC() {
			cases = append(cases, goldenCase{names[id].openssl + "-no-etm", append([]string{"-no_etm"}, cipher...), true, false, nil})
		}
	}
	with := func(name string, args ...string) goldenCase {
		return goldenCase{name: name, args: append(args, "-cipher", "DHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-SHA384:@SECLEVEL=0"), ems: true}
	}
	ecdhe := func(c *Config) { c.CipherSuites = []uint16{0xC028} }
	groups := []string{"P-256", "P-384", "P-521"}
	for _, group := range groups {
		c := with(strings.ToLower(group), "-groups", group)
		c.change = ecdhe
		cases = append(cases, c)
	}
	for _, name := range []string{"rsa", "ecdsa", "ed25519"} {
		file := filepath.Join(goldenDir, "client-"+name)
		c := with("client-"+name, "-cert", file+".crt", "-key", file+".key")
		c.change = func(config *Config) {
			config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, goldenClients()
		}
		again := c
		again.name, again.resume = c.name+"-resumed", true
		cases = append(cases, c, again)
	}
	first := with("ticket")
	resumed := with("ticket-resumed")
	resumed.resume = true
	renewed := with("ticket-renewed")
	renewed.resume, renewed.change = true, func(c *Config) { c.Tickets = testTickets(2, 1) }
	noEMS := with("no-ems")
	noEMS.ems = false
	cases = append(cases, first, resumed, renewed, noEMS)

	alpn := with("alpn", "-alpn", "amqp,mqtt")
	alpn.change = func(c *Config) { c.NextProtos = []string{"mqtt"} }
	status := with("status", "-status")
	status.change = func(c *Config) { c.Certificates[0].OCSPStaple = []byte{0x30, 3, 0x0a, 1, 1} } // malformedRequest (RFC 6960 §4.2.1)
	pkcs1 := with("pkcs1", "-sigalgs", "RSA+SHA512")
	noName := with("no-servername", "-noservername")
	downgrade := with("downgrade-marker")
	downgrade.change = func(c *Config) { c.MaxVersion = tls.VersionTLS13 }
	return append(cases, alpn, status, pkcs1, noName, downgrade)
}

func goldenClients() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, name := range []string{"rsa", "ecdsa", "ed25519"} {
		data, err := os.ReadFile(filepath.Join(goldenDir, "client-"+name+".crt"))
		must(err)
		pool.AppendCertsFromPEM(data)
	}
	return pool
}

func (g goldenCase) config(t testing.TB) *Config {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(goldenDir, "server.crt"), filepath.Join(goldenDir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	config := &Config{Certificates: []tls.Certificate{certificate}, Tickets: testTickets(1), Time: func() time.Time { return goldenTime }}
	if g.change != nil {
		g.change(config)
	}
	return config
}

// goldenSession is what the server does with each connection: one call after
// the other.
func goldenSession(conn *Conn) []func() error {
	buf := make([]byte, 100)
	return []func() error{
		conn.Handshake,
		func() error {
			n, err := conn.Read(buf)
			if err == nil && string(buf[:n]) != "ping\n" {
				err = fmt.Errorf("read %q", buf[:n])
			}
			return err
		},
		func() error { _, err := conn.Write([]byte("pong\n")); return err },
		conn.CloseWrite,
		func() error {
			if _, err := conn.Read(buf); err != io.EOF {
				return err
			}
			return nil
		},
	}
}

// Recorded sessions with OpenSSL's client, byte for byte. Run with -update to
// record them again.
func TestGolden(t *testing.T) {
	for _, g := range goldenCases() {
		t.Run(g.name, func(t *testing.T) {
			file := filepath.Join(goldenDir, g.name+".txt")
			cryptotest.SetGlobalRandom(t, goldenSeed)
			if *update {
				must(os.WriteFile(file, dump(recordFlows(t, g)), 0o644))
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			flows, err := undump(data)
			if err != nil {
				t.Fatal(err)
			}
			cryptotest.SetGlobalRandom(t, goldenSeed)
			replay(t, Server(new(memConn), g.config(t)), flows)
		})
	}
}

// replay plays the client's flows to the server, and compares its own.
func replay(t *testing.T, conn *Conn, flows []flow) {
	below := conn.below.(*memConn)
	rest := goldenSession(conn)
	for i, f := range flows {
		if f.toServer {
			below.toServer.Write(f.data)
			continue
		}
		for len(rest) > 0 {
			err := rest[0]()
			if err == errWouldBlock {
				break
			}
			if err != nil {
				t.Fatalf("flow %d: %v", i, err)
			}
			rest = rest[1:]
		}
		if sent := below.toClient.Next(len(f.data)); !bytes.Equal(sent, f.data) {
			t.Fatalf("flow %d: the server sends\n%s\nand not\n%s", i, hex.Dump(sent), hex.Dump(f.data))
		}
	}
	for len(rest) > 0 {
		if err := rest[0](); err != nil {
			t.Fatalf("at the end: %v", err)
		}
		rest = rest[1:]
	}
	if below.toClient.Len() > 0 {
		t.Fatalf("the server sends %x too", below.toClient.Bytes())
	}
}

// A flow is what goes one way until something goes the other way.
type flow struct {
	toServer bool
	data     []byte
}

// A recordingConn keeps what goes over a connection.
type recordingConn struct {
	net.Conn
	mu    sync.Mutex
	flows []flow
}

func (c *recordingConn) add(toServer bool, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.flows); n > 0 && c.flows[n-1].toServer == toServer {
		c.flows[n-1].data = append(c.flows[n-1].data, data...)
	} else if len(data) > 0 {
		c.flows = append(c.flows, flow{toServer, bytes.Clone(data)})
	}
}

func (c *recordingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.add(true, b[:n])
	return n, err
}

func (c *recordingConn) Write(b []byte) (int, error) {
	c.add(false, b)
	return c.Conn.Write(b)
}

// recordFlows has a session with OpenSSL's client. A session that is to be
// resumed is made first.
func recordFlows(t *testing.T, g goldenCase) []flow {
	session := filepath.Join(t.TempDir(), "session.pem")
	file := []string{"-sess_out", session}
	if g.resume {
		first := g
		first.change = func(c *Config) {
			if g.change != nil {
				g.change(c)
			}
			c.Tickets = testTickets(1)
		}
		recordSession(t, first, "-sess_out", session)
		cryptotest.SetGlobalRandom(t, goldenSeed)
		file[0] = "-sess_in"
	}
	return recordSession(t, g, file...)
}

func recordSession(t *testing.T, g goldenCase, args ...string) []flow {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer l.Close()
	args = append([]string{"s_client", "-tls1_2", "-connect", l.Addr().String(), "-servername", "gate.test", "-quiet"}, append(args, g.args...)...)
	if strings.Contains(strings.Join(g.args, " "), "-noservername") {
		args = append(args[:4], args[6:]...)
	}
	cmd := exec.Command("openssl", args...)
	if _, withoutEMS, _ := peerFiles(t); !g.ems {
		cmd.Env = append(os.Environ(), "OPENSSL_CONF="+withoutEMS)
	}
	cmd.Stdin = strings.NewReader("ping\n")
	must(cmd.Start())
	below, err := l.Accept()
	must(err)
	defer below.Close()
	recording := &recordingConn{Conn: below}
	for _, call := range goldenSession(Server(recording, g.config(t))) {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	must(cmd.Wait())
	return recording.flows
}

// dump and undump are the format of the files: a line for each flow, and a hex
// dump.
func dump(flows []flow) []byte {
	var b bytes.Buffer
	for _, f := range flows {
		fmt.Fprintf(&b, ">>> %s\n%s", map[bool]string{true: "client", false: "server"}[f.toServer], hex.Dump(f.data))
	}
	return b.Bytes()
}

func undump(data []byte) (flows []flow, err error) {
	for line := range strings.Lines(string(data)) {
		if side, ok := strings.CutPrefix(line, ">>> "); ok {
			flows = append(flows, flow{toServer: side == "client\n"})
			continue
		}
		const start, end = 10, 58 // of the bytes in a line of hex.Dump
		if len(line) < end || len(flows) == 0 {
			return nil, fmt.Errorf("line %q", line)
		}
		bytes, err := hex.DecodeString(strings.ReplaceAll(line[start:end], " ", ""))
		if err != nil {
			return nil, err
		}
		last := &flows[len(flows)-1]
		last.data = append(last.data, bytes...)
	}
	return flows, nil
}
