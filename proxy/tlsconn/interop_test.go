package tlsconn

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// names are what OpenSSL and GnuTLS call the suites.
var names = map[uint16]struct{ openssl, gnutls string }{
	0x009F: {"DHE-RSA-AES256-GCM-SHA384", "+DHE-RSA:+AES-256-GCM:+AEAD"},
	0x009E: {"DHE-RSA-AES128-GCM-SHA256", "+DHE-RSA:+AES-128-GCM:+AEAD"},
	0xC028: {"ECDHE-RSA-AES256-SHA384", "+ECDHE-RSA:+AES-256-CBC:+SHA384"},
	0xC027: {"ECDHE-RSA-AES128-SHA256", "+ECDHE-RSA:+AES-128-CBC:+SHA256"},
	0x006B: {"DHE-RSA-AES256-SHA256", "+DHE-RSA:+AES-256-CBC:+SHA256"},
	0x0067: {"DHE-RSA-AES128-SHA256", "+DHE-RSA:+AES-128-CBC:+SHA256"},
	0x0039: {"DHE-RSA-AES256-SHA", "+DHE-RSA:+AES-256-CBC:+SHA1"},
	0x0033: {"DHE-RSA-AES128-SHA", "+DHE-RSA:+AES-128-CBC:+SHA1"},
	0x003D: {"AES256-SHA256", "+RSA:+AES-256-CBC:+SHA256"},
	0x003C: {"AES128-SHA256", "+RSA:+AES-128-CBC:+SHA256"},
	0xC02C: {"ECDHE-ECDSA-AES256-GCM-SHA384", "+ECDHE-ECDSA:+AES-256-GCM:+AEAD"},
	0xC030: {"ECDHE-RSA-AES256-GCM-SHA384", "+ECDHE-RSA:+AES-256-GCM:+AEAD"},
	0xC02B: {"ECDHE-ECDSA-AES128-GCM-SHA256", "+ECDHE-ECDSA:+AES-128-GCM:+AEAD"},
	0xC02F: {"ECDHE-RSA-AES128-GCM-SHA256", "+ECDHE-RSA:+AES-128-GCM:+AEAD"},
	0xCCA9: {"ECDHE-ECDSA-CHACHA20-POLY1305", "+ECDHE-ECDSA:+CHACHA20-POLY1305:+AEAD"},
	0xCCA8: {"ECDHE-RSA-CHACHA20-POLY1305", "+ECDHE-RSA:+CHACHA20-POLY1305:+AEAD"},
	0xC00A: {"ECDHE-ECDSA-AES256-SHA", "+ECDHE-ECDSA:+AES-256-CBC:+SHA1"},
	0xC014: {"ECDHE-RSA-AES256-SHA", "+ECDHE-RSA:+AES-256-CBC:+SHA1"},
	0xC009: {"ECDHE-ECDSA-AES128-SHA", "+ECDHE-ECDSA:+AES-128-CBC:+SHA1"},
	0xC013: {"ECDHE-RSA-AES128-SHA", "+ECDHE-RSA:+AES-128-CBC:+SHA1"},
	0x009D: {"AES256-GCM-SHA384", "+RSA:+AES-256-GCM:+AEAD"},
	0x009C: {"AES128-GCM-SHA256", "+RSA:+AES-128-GCM:+AEAD"},
	0x0035: {"AES256-SHA", "+RSA:+AES-256-CBC:+SHA1"},
	0x002F: {"AES128-SHA", "+RSA:+AES-128-CBC:+SHA1"},
}

// mebibyte is what goes each way: text, because gnutls-cli reads lines, and
// sends each in a record of its own.
var mebibyte = func() []byte {
	random := rand.New(rand.NewPCG(5, 6))
	b := make([]byte, 1<<20)
	for i := range b {
		if b[i] = 'a' + byte(random.IntN(26)); i%4000 == 3999 {
			b[i] = '\n'
		}
	}
	return b
}()

// A peerServer takes connections of clients that are other programs. Each one
// is sent back what it sends.
type peerServer struct {
	net.Listener
	results chan peerResult
}

type peerResult struct {
	conn *Conn
	err  error
}

// servePeers takes connections until the test ends. It closes a connection once
// echo bytes, or the client's close_notify, have come.
func servePeers(t *testing.T, config *Config, echo int) *peerServer {
	return servePeersWith(t, config, func(conn *Conn) error { return echoTo(conn, echo) })
}

// servePeersWith takes connections until the test ends, one after the other.
func servePeersWith(t *testing.T, config *Config, serve func(*Conn) error) *peerServer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &peerServer{l, make(chan peerResult, 4)}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			below, err := l.Accept()
			if err != nil {
				return
			}
			_ = below.SetDeadline(time.Now().Add(30 * time.Second))
			conn := Server(below, config)
			err = serve(conn)
			below.Close()
			s.results <- peerResult{conn, err}
		}
	}()
	return s
}

func echoTo(conn *Conn, n int) error {
	data := make([]byte, n)
	if read, err := io.ReadFull(conn, data); err == io.EOF {
		return conn.Close() // the first of two connections
	} else if err != nil {
		return fmt.Errorf("after %d bytes: %w", read, err)
	}
	if _, err := conn.Write(data); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, conn) // the client may close in whatever way it likes
	return nil
}

func (s *peerServer) port() string { return fmt.Sprint(s.Addr().(*net.TCPAddr).Port) }

// result is that of the next connection.
func (s *peerServer) result(t *testing.T) *Conn {
	t.Helper()
	conn, err := s.outcome(t)
	if err != nil {
		t.Fatal("server: ", err)
	}
	return conn
}

// outcome is result where the connection may have failed.
func (s *peerServer) outcome(t *testing.T) (*Conn, error) {
	t.Helper()
	select {
	case r := <-s.results:
		return r.conn, r.err
	case <-time.After(30 * time.Second):
		t.Fatal("no connection")
		return nil, nil
	}
}

// sClient are the arguments with which OpenSSL's client connects, and trusts the
// authorities.
func (s *peerServer) sClient(authorities string, args ...string) []string {
	return append([]string{"s_client", "-connect", "127.0.0.1:" + s.port(), "-servername", "gate.test", "-verify_hostname", "gate.test",
		"-CAfile", authorities, "-verify_return_error"}, args...)
}

// gnuTLS is sClient for GnuTLS's client.
func (s *peerServer) gnuTLS(authorities string, args ...string) []string {
	return append(args, "--logfile=/dev/null", "--x509cafile="+authorities, "--sni-hostname=gate.test", "--verify-hostname=gate.test",
		"--port="+s.port(), "127.0.0.1")
}

// runPeer runs a client, which has to be installed, with its input, and returns
// its output.
func runPeer(t *testing.T, env []string, input []byte, name string, args ...string) (stdout []byte) {
	t.Helper()
	stdout, stderr, err := tryPeer(t, env, input, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr)
	}
	return stdout
}

// tryPeer is runPeer where the client may fail.
func tryPeer(t *testing.T, env []string, input []byte, name string, args ...string) (stdout, stderr []byte, err error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("this test needs %s: %v", name, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = bytes.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.Bytes(), errs.Bytes(), err
}

// peerFiles writes what clients read from files.
func peerFiles(t *testing.T) (authorities, withoutEMS, session string) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	authorities = write("ca.pem", pemOf(testPKI().ca.Raw))
	withoutEMS = write("openssl.cnf", []byte("openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = defaults\n[defaults]\nOptions = -ExtendedMasterSecret\n"))
	return authorities, withoutEMS, filepath.Join(dir, "session.pem")
}

// eachVariant runs f for every suite, with and without encrypt-then-MAC and
// extended master secret.
func eachVariant(t *testing.T, f func(t *testing.T, id uint16, etm, ems bool)) {
	for _, id := range CipherSuites() {
		for _, etm := range []bool{true, false} {
			for _, ems := range []bool{true, false} {
				if !suiteByID(id).isCBC() && !etm {
					continue // it makes no difference
				}
				if (!etm || !ems) && !slices.Contains(oldSuites(), id) {
					continue // it makes none that others have not shown
				}
				t.Run(fmt.Sprintf("%s EtM=%v EMS=%v", names[id].openssl, etm, ems), func(t *testing.T) {
					t.Parallel()
					f(t, id, etm, ems)
				})
			}
		}
	}
}

func peerConfig() *Config {
	return &Config{Certificates: []tls.Certificate{*testPKI().server}, Tickets: testTickets(1)}
}

// forSuite returns config with a certificate that fits the suite.
func forSuite(config *Config, id uint16) *Config {
	if suiteByID(id).ecdsa {
		config.Certificates = []tls.Certificate{*testPKI().serverECDSA}
	}
	return config
}

// checkPeer holds a connection against what the client was told to do.
func checkPeer(t *testing.T, conn *Conn, id uint16, etm, ems, resumed bool) {
	t.Helper()
	etm = etm && suiteByID(id).isCBC()
	s := conn.ConnectionState()
	if s.Version != tls.VersionTLS12 || s.CipherSuite != id || conn.EncryptThenMAC() != etm || conn.ExtendedMasterSecret() != ems || s.DidResume != resumed {
		t.Errorf("version %#04x, suite %04X, EtM %v, EMS %v, resumed %v; want 0x0303, %04X, %v, %v, %v", s.Version, s.CipherSuite,
			conn.EncryptThenMAC(), conn.ExtendedMasterSecret(), s.DidResume, id, etm, ems, resumed)
	}
}

// OpenSSL's client: every suite, a mebibyte each way, and the same in a session
// that is resumed.
func TestOpenSSL(t *testing.T) {
	authorities, withoutEMS, _ := peerFiles(t)
	eachVariant(t, func(t *testing.T, id uint16, etm, ems bool) {
		s := servePeers(t, forSuite(peerConfig(), id), len(mebibyte))
		_, _, session := peerFiles(t)
		args := s.sClient(authorities, "-quiet", "-tls1_2", "-cipher", names[id].openssl+":@SECLEVEL=0")
		var env []string
		if !etm {
			args = append(args, "-no_etm")
		}
		if !ems {
			env = []string{"OPENSSL_CONF=" + withoutEMS}
		}
		for _, resumed := range []bool{false, true} {
			file := "-sess_out"
			if resumed {
				file = "-sess_in"
			}
			out := runPeer(t, env, mebibyte, "openssl", append(args, file, session)...)
			checkPeer(t, s.result(t), id, etm, ems, resumed)
			if !bytes.Equal(out, mebibyte) {
				t.Errorf("%d bytes came back, or changed", len(out))
			}
		}
	})
}

// GnuTLS's client, likewise; gnutls-cli is slow, so that the mebibyte goes once
// with each suite.
func TestGnuTLS(t *testing.T) {
	authorities, _, _ := peerFiles(t)
	eachVariant(t, func(t *testing.T, id uint16, etm, ems bool) {
		data := mebibyte
		if !etm || !ems {
			data = data[:1<<14]
		}
		s := servePeers(t, forSuite(peerConfig(), id), len(data))
		priority := "NONE:+VERS-TLS1.2:+COMP-NULL:+CTYPE-X509:+SIGN-ALL:+GROUP-ALL:" + names[id].gnutls
		if !etm {
			priority += ":%NO_ETM"
		}
		if !ems {
			priority += ":%NO_SESSION_HASH"
		}
		out := runPeer(t, nil, data, "gnutls-cli", s.gnuTLS(authorities, "--resume", "--priority="+priority)...)
		for _, resumed := range []bool{false, true} {
			checkPeer(t, s.result(t), id, etm, ems, resumed)
		}
		if !bytes.Equal(out, data) {
			t.Errorf("%d bytes came back, or changed", len(out))
		}
	})
}

// GnuTLS knows RFC 7919, where OpenSSL's TLS 1.2 takes any group.
func TestGnuTLSGroups(t *testing.T) {
	authorities, _, _ := peerFiles(t)
	for group, name := range map[tls.CurveID]string{256: "FFDHE2048", 257: "FFDHE3072", 258: "FFDHE4096"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := servePeers(t, peerConfig(), len(mebibyte))
			out := runPeer(t, nil, mebibyte, "gnutls-cli",
				s.gnuTLS(authorities, "--priority=NONE:+VERS-TLS1.2:+COMP-NULL:+CTYPE-X509:+SIGN-ALL:+GROUP-"+name+":"+names[0x0067].gnutls)...)
			if state := s.result(t).ConnectionState(); state.CipherSuite != 0x0067 || state.CurveID != group {
				t.Errorf("suite %04X, group %d", state.CipherSuite, state.CurveID)
			}
			if !bytes.Equal(out, mebibyte) {
				t.Errorf("%d bytes came back, or changed", len(out))
			}
		})
	}
}

// Groups and signatures as OpenSSL's client offers them.
func TestOpenSSLNegotiation(t *testing.T) {
	authorities, _, _ := peerFiles(t)
	for _, tt := range []struct {
		name  string
		id    uint16
		args  []string
		group tls.CurveID
	}{
		{"X25519", 0xC028, []string{"-groups", "X25519"}, tls.X25519},
		{"P-256", 0xC028, []string{"-groups", "P-256"}, tls.CurveP256},
		{"P-384", 0xC028, []string{"-groups", "P-384"}, tls.CurveP384},
		{"P-521", 0xC028, []string{"-groups", "P-521"}, tls.CurveP521},
		{"PKCS #1 with SHA-512", 0x009F, []string{"-sigalgs", "RSA+SHA512"}, 256},
		{"PSS with SHA-384", 0x009F, []string{"-sigalgs", "rsa_pss_rsae_sha384"}, 256},
		{"without tickets", 0x009F, []string{"-no_ticket"}, 256},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := servePeers(t, peerConfig(), len(mebibyte))
			out := runPeer(t, nil, mebibyte, "openssl",
				append(s.sClient(authorities, "-quiet", "-tls1_2", "-cipher", names[tt.id].openssl), tt.args...)...)
			conn := s.result(t)
			if state := conn.ConnectionState(); state.CipherSuite != tt.id || state.CurveID != tt.group {
				t.Errorf("suite %04X, group %d", state.CipherSuite, state.CurveID)
			}
			if !bytes.Equal(out, mebibyte) {
				t.Errorf("%d bytes came back, or changed", len(out))
			}
		})
	}
}

func pemOf(certificate []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
}

// writePair writes a certificate and its key into one file.
func writePair(t *testing.T, certificate *tls.Certificate) (file string) {
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	must(err)
	file = filepath.Join(t.TempDir(), "pair.pem")
	must(os.WriteFile(file, append(pemOf(certificate.Certificate[0]),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...), 0o600))
	return file
}

// OpenSSL's client with certificates.
func TestOpenSSLClientCertificates(t *testing.T) {
	p := testPKI()
	authorities, _, _ := peerFiles(t)
	for _, certificate := range []*tls.Certificate{p.clientRSA, p.clientECDSA, p.clientEd25519} {
		t.Run(certificate.Leaf.Subject.CommonName, func(t *testing.T) {
			t.Parallel()
			file := writePair(t, certificate)
			config := peerConfig()
			config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, p.roots
			s := servePeers(t, config, len(mebibyte))
			session := filepath.Join(t.TempDir(), "session.pem")
			for _, option := range []string{"-sess_out", "-sess_in"} {
				out := runPeer(t, nil, mebibyte, "openssl", s.sClient(authorities, "-quiet", "-tls1_2", "-cipher", "DHE-RSA-AES256-SHA256",
					"-cert", file, "-key", file, option, session)...)
				state := s.result(t).ConnectionState()
				if len(state.PeerCertificates) == 0 || !state.PeerCertificates[0].Equal(certificate.Leaf) || len(state.VerifiedChains) != 1 ||
					state.DidResume != (option == "-sess_in") {
					t.Errorf("state %+v", state)
				}
				if !bytes.Equal(out, mebibyte) {
					t.Errorf("%d bytes came back, or changed", len(out))
				}
			}
		})
	}
}

// OpenSSL's client wants to renegotiate, and is told that there is no such thing.
func TestOpenSSLRenegotiation(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "openssl", "s_client", "-connect", l.Addr().String(), "-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384")
	cmd.Stdin = strings.NewReader("R\n")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(cmd.Start())
	below, err := l.Accept()
	must(err)
	defer below.Close()
	conn := Server(below, peerConfig())
	_, err = conn.Read(make([]byte, 1))
	below.Close()
	_ = cmd.Wait() // it fails, which its output tells
	if conn.in.hello.messages != 1 || !strings.Contains(out.String(), "no renegotiation") {
		t.Errorf("%d hellos, Read: %v\n%s", conn.in.hello.messages, err, out.String())
	}
}
