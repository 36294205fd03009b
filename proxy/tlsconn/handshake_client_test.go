package tlsconn

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// shake lets a client and a server, of whatever implementation, handshake over
// a pipe, with something to say each, and returns their errors.
func shake(t *testing.T, config *ClientConfig, server func(net.Conn) serverConn) (conn *Conn, clientErr, serverErr error) {
	t.Helper()
	below, far := net.Pipe()
	defer far.Close()
	deadline := time.Now().Add(30 * time.Second)
	_ = below.SetDeadline(deadline)
	_ = far.SetDeadline(deadline)
	done := make(chan error, 1)
	go func() {
		defer far.Close()
		done <- echoOnce(server(far))
	}()
	conn = Client(below, config)
	clientErr = exchangeOnce(conn)
	below.Close()
	return conn, clientErr, <-done
}

func ownClientConfig(suites ...uint16) *ClientConfig {
	return &ClientConfig{RootCAs: testPKI().roots, ServerName: "gate.test", CipherSuites: suites}
}

// Every suite and group, in full and resumed, with what each client certificate
// signs.
func TestClient(t *testing.T) {
	for _, id := range CipherSuites() {
		for _, certificate := range []*tls.Certificate{nil, testPKI().clientRSA, testPKI().clientECDSA, testPKI().clientEd25519} {
			server := forSuite(testConfig(), id)
			server.ClientAuth, server.ClientCAs = tls.VerifyClientCertIfGiven, testPKI().roots
			config := ownClientConfig(id)
			config.NextProtos, server.NextProtos = []string{"mqtt", "amqp"}, []string{"amqp"}
			if certificate != nil {
				config.Certificates = []tls.Certificate{*certificate}
			}
			for _, resumed := range []bool{false, true, true} {
				conn, err, serverErr := shake(t, config, ownServer(server))
				if err != nil || serverErr != nil {
					t.Fatalf("%s: %v, server: %v", names[id].openssl, err, serverErr)
				}
				state := conn.ConnectionState()
				if !state.HandshakeComplete || state.CipherSuite != id || state.DidResume != resumed || state.NegotiatedProtocol != "amqp" ||
					!bytes.Equal(state.PeerCertificates[0].Raw, server.Certificates[0].Certificate[0]) ||
					conn.EncryptThenMAC() != suiteByID(id).isCBC() || !conn.ExtendedMasterSecret() {
					t.Errorf("%s, resumed %v: %+v", names[id].openssl, resumed, state)
				}
				if config.Session = conn.Session(); config.Session == nil || config.Session.CipherSuite() != id {
					t.Fatalf("%s, resumed %v: session %v", names[id].openssl, resumed, config.Session)
				}
			}
		}
	}
}

func TestClientGroups(t *testing.T) {
	for _, group := range (&Config{}).groups() {
		config := ownClientConfig()
		config.CurvePreferences = []tls.CurveID{group}
		config.CipherSuites = slices.DeleteFunc(CipherSuites(), func(id uint16) bool {
			return suiteByID(id).kx == kxRSA || (suiteByID(id).kx == kxDHE) != (group >= 256)
		})
		conn, err, serverErr := shake(t, config, ownServer(testConfig()))
		if err != nil || serverErr != nil || conn.ConnectionState().CurveID != group {
			t.Errorf("group %d: %v, server: %v, %+v", group, err, serverErr, conn.ConnectionState())
		}
	}
}

// crypto/tls has two of the suites, and tickets of its own.
func TestClientWithCryptoTLS(t *testing.T) {
	server := &tls.Config{Certificates: []tls.Certificate{*testPKI().server}, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{0xC027, 0x003C},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: testPKI().roots}
	for _, id := range server.CipherSuites {
		config := ownClientConfig(id)
		config.Certificates = []tls.Certificate{*testPKI().clientECDSA}
		for _, resumed := range []bool{false, true} {
			conn, err, serverErr := shake(t, config, func(c net.Conn) serverConn { return tls.Server(c, server) })
			if err != nil || serverErr != nil || conn.ConnectionState().DidResume != resumed || conn.EncryptThenMAC() {
				t.Fatalf("%s: %v, server: %v, %+v", names[id].openssl, err, serverErr, conn.ConnectionState())
			}
			config.Session = conn.Session()
		}
	}
}

// OpenSSL's server has all of the suites, and primes for Diffie-Hellman that are
// not RFC 7919's.
func TestClientWithOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatalf("this test needs openssl: %v", err)
	}
	pair, ecdsa := writePair(t, testPKI().server), writePair(t, testPKI().serverECDSA)
	address := startOpenSSL(t, "-tls1_2", "-rev", "-cipher", "ALL:@SECLEVEL=0", "-cert", pair, "-key", pair, "-dcert", ecdsa, "-dkey", ecdsa,
		"-CAfile", pair, "-verify", "3")
	for _, id := range CipherSuites() {
		config := ownClientConfig(id)
		config.Certificates = []tls.Certificate{*testPKI().clientRSA}
		for _, resumed := range []bool{false, true} {
			below, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			conn := Client(below, config)
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			if err := conn.Handshake(); err != nil {
				t.Fatalf("%s: %v", names[id].openssl, err)
			}
			state := conn.ConnectionState()
			if state.DidResume != resumed || state.CipherSuite != id || conn.EncryptThenMAC() != suiteByID(id).isCBC() {
				t.Errorf("%s, resumed %v: %+v", names[id].openssl, resumed, state)
			}
			if suiteByID(id).kx == kxDHE && state.CurveID != 0 {
				t.Errorf("%s: group %d: this test no longer knows another prime", names[id].openssl, state.CurveID)
			}
			// -rev: the server sends a line back from its end to its beginning.
			if _, err := conn.Write([]byte("olleh\n")); err != nil {
				t.Fatal(err)
			}
			answer := make([]byte, 6)
			if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "hello\n" {
				t.Fatalf("%s, resumed %v: %q, %v", names[id].openssl, resumed, answer, err)
			}
			config.Session = conn.Session()
			conn.Close()
		}
	}
}

// startOpenSSL runs OpenSSL's server until the test ends.
func startOpenSSL(t *testing.T, args ...string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "openssl", append([]string{"s_server", "-accept", address, "-quiet"}, args...)...)
	// The end of its input would be its own.
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // killed, as it says
		if t.Failed() {
			t.Logf("openssl s_server: %s", out.Bytes())
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return address
		}
		if time.Now().After(deadline) {
			t.Fatal("openssl s_server does not listen: ", err)
		}
	}
}

// What a client does not take, and what it tells the server.
func TestClientRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server func(*Config)
		client func(*ClientConfig)
		want   string // of the client's error
		alert  string // what the server hears
	}{
		{"another name", nil, func(c *ClientConfig) { c.ServerName = "other.test" }, "certificate is valid for gate.test", "bad_certificate"},
		{"another authority", nil, func(c *ClientConfig) { c.RootCAs = x509.NewCertPool() }, "unknown authority", "unknown_ca"},
		{"an expired certificate", nil, func(c *ClientConfig) { c.Time = func() time.Time { return time.Now().Add(1000 * time.Hour) } },
			"expired", "certificate_expired"},
		{"another key's signature", func(c *Config) {
			c.Certificates = []tls.Certificate{{Certificate: c.Certificates[0].Certificate, PrivateKey: testPKI().clientRSA.PrivateKey}}
		}, nil, "ServerKeyExchange", "decrypt_error"},
		{"no suite in common", func(c *Config) { c.CipherSuites = []uint16{0x003C} }, func(c *ClientConfig) { c.CipherSuites = []uint16{0x009F} },
			"remote error: tlsconn: handshake_failure", ""},
		{"no certificate where one is required", func(c *Config) { c.ClientAuth = tls.RequireAnyClientCert }, nil, "remote error: tlsconn: handshake_failure", ""},
		{"nothing to verify", nil, func(c *ClientConfig) { c.ServerName = "" }, "needs ServerName or InsecureSkipVerify", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, config := testConfig(), ownClientConfig()
			if tt.server != nil {
				tt.server(server)
			}
			if tt.client != nil {
				tt.client(config)
			}
			conn, err, serverErr := shake(t, config, ownServer(server))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("client: %v", err)
			}
			if tt.alert != "" && (serverErr == nil || !strings.Contains(serverErr.Error(), "remote error: tlsconn: "+tt.alert)) {
				t.Errorf("server: %v", serverErr)
			}
			if conn.Session() != nil {
				t.Error("there is a session")
			}
		})
	}
	insecure := ownClientConfig()
	insecure.ServerName, insecure.RootCAs, insecure.InsecureSkipVerify = "", nil, true
	if _, err, serverErr := shake(t, insecure, ownServer(testConfig())); err != nil || serverErr != nil {
		t.Errorf("InsecureSkipVerify: %v, server: %v", err, serverErr)
	}
}

// A session of another key is not resumed, and what the full handshake then
// leaves is.
func TestClientSessionRefused(t *testing.T) {
	config, server := ownClientConfig(), testConfig()
	for i, want := range []bool{false, true, false, true} {
		if i == 2 {
			server.Tickets = testTickets(2)
		}
		conn, err, serverErr := shake(t, config, func(c net.Conn) serverConn { return Server(c, server) })
		if err != nil || serverErr != nil || conn.ConnectionState().DidResume != want {
			t.Fatalf("connection %d: %v, server: %v, %+v", i, err, serverErr, conn.ConnectionState())
		}
		config.Session = conn.Session()
	}
}

// A server's replies, changed on their way.
func TestClientJudgesReplies(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*serverHello)
		want   string
	}{
		{"a suite that was not offered", func(m *serverHello) { m.suite = 0x003C }, "illegal_parameter: suite 0x003c"},
		{"an unknown suite", func(m *serverHello) { m.suite = 0x1301 }, "illegal_parameter: suite 0x1301"},
		{"encrypt_then_mac with GCM", func(m *serverHello) { m.encryptThenMAC = true }, "illegal_parameter: encrypt_then_mac"},
		{"a protocol that was not offered", func(m *serverHello) { m.protocol = "h2" }, `illegal_parameter: application protocol "h2"`},
		{"a staple that was not asked for", func(m *serverHello) { m.statusRequest = true }, "unsupported_extension"},
		{"another random", func(m *serverHello) { rand.Read(m.random[:]) }, "decrypt_error: ServerKeyExchange"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err, _ := shake(t, ownClientConfig(0x009F), func(c net.Conn) serverConn { return Server(&changingConn{Conn: c, change: tt.change}, testConfig()) })
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Error(err)
			}
		})
	}
}

// changingConn is a server's, whose first record is ServerHello.
type changingConn struct {
	net.Conn
	change func(*serverHello)
	done   bool
}

func (c *changingConn) Write(b []byte) (int, error) {
	if c.done {
		return c.Conn.Write(b)
	}
	c.done = true
	n := recordHeaderLen + int(b[3])<<8 + int(b[4])
	reply, err := parseServerHello(body(b[recordHeaderLen:n]))
	if err != nil {
		return 0, err
	}
	c.change(&reply)
	message, err := appendMessage(nil, typeServerHello, reply.marshal)
	if err != nil {
		return 0, err
	}
	if _, err := c.Conn.Write(slices.Concat(new(halfConn).seal(nil, recordHandshake, message), b[n:])); err != nil {
		return 0, err
	}
	return len(b), nil
}

// After a temporary error, at whatever byte, the client goes on.
func TestClientTemporaryErrors(t *testing.T) {
	for _, id := range []uint16{0x009F, 0xC028, 0x003D} {
		config := ownClientConfig(id)
		for _, resumed := range []bool{false, true} {
			below, far := net.Pipe()
			done := make(chan error, 1)
			go func() {
				defer far.Close()
				done <- echoOnce(Server(far, testConfig()))
			}()
			conn := Client(&stutteringConn{Conn: below}, config)
			err := conn.Handshake()
			for errors.Is(err, errWouldBlock) {
				err = conn.Handshake()
			}
			if err != nil || conn.ConnectionState().DidResume != resumed {
				t.Fatalf("suite %04X: %v, %+v", id, err, conn.ConnectionState())
			}
			config.Session = conn.Session()
			conn.Close()
			<-done
		}
	}
}

// stutteringConn does every other call, and one byte of it.
type stutteringConn struct {
	net.Conn
	calls int
}

func (c *stutteringConn) Read(b []byte) (int, error) {
	if c.calls++; c.calls%2 == 0 {
		return 0, errWouldBlock
	}
	return c.Conn.Read(b[:1])
}

func (c *stutteringConn) Write(b []byte) (int, error) {
	if c.calls++; c.calls%2 == 0 {
		return 0, errWouldBlock
	}
	if len(b) <= 1 {
		return c.Conn.Write(b)
	}
	n, err := c.Conn.Write(b[:1])
	if err == nil {
		err = errWouldBlock
	}
	return n, err
}

// A server that asks for a renegotiation is told that there is none.
func TestClientRefusesRenegotiation(t *testing.T) {
	far, below := pipe(t)
	done := make(chan error, 1)
	go func() {
		defer far.Close()
		server := Server(far, testConfig())
		if err := server.Handshake(); err != nil {
			done <- err
			return
		}
		server.out.queue(recordHandshake, []byte{typeHelloRequest, 0, 0, 0})
		done <- echoOnce(server)
	}()
	conn := Client(below, ownClientConfig())
	if err := exchangeOnce(conn); err != nil {
		t.Error(err)
	}
	below.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if conn.in.hello.messages != 1 {
		t.Errorf("%d requests came", conn.in.hello.messages)
	}
}
