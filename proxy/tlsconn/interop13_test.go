package tlsconn

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// smallData is what goes each way where it is not about the data: two records, the
// second of them not full.
var smallData = mebibyte[:20000]

// peerConfig13 is a server for TLS 1.3 that has one suite or group, or all if there
// are none.
func peerConfig13(suites []uint16, groups ...tls.CurveID) *Config {
	config := peerConfig()
	config.Version, config.CipherSuites, config.CurvePreferences = tls.VersionTLS13, suites, groups
	return config
}

// peer13 is what a client was told to do.
type peer13 struct {
	suite   uint16
	group   tls.CurveID
	resumed bool
}

func checkPeer13(t *testing.T, conn *Conn, want peer13) {
	t.Helper()
	s := conn.ConnectionState()
	got := peer13{s.CipherSuite, s.CurveID, s.DidResume}
	if s.Version != tls.VersionTLS13 || s.ServerName != "gate.test" || !s.HandshakeComplete || got != want {
		t.Errorf("version %#04x, name %q, %+v; want %+v", s.Version, s.ServerName, got, want)
	}
}

func checkEcho(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes came back, or changed", len(got))
	}
}

// issueECDSA issues a server's certificate with a key of a curve.
func (p *pki) issueECDSA(curve elliptic.Curve) *tls.Certificate {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	must(err)
	return p.issue(key, "gate.test", x509.ExtKeyUsageServerAuth)
}

// OpenSSL's client: suites, groups, certificates, each of them in a full handshake
// and in a session that is resumed, in one as in the other with or without a
// HelloRetryRequest.
func TestOpenSSL13(t *testing.T) {
	p := testPKI()
	authorities, _, _ := peerFiles(t)
	const suite = tls.TLS_AES_256_GCM_SHA384 // where it is not about that
	for _, tt := range []struct {
		name   string
		config *Config
		change func(*Config)
		args   []string
		data   []byte
		suite  uint16
		group  tls.CurveID
		retry  bool
	}{
		{"AES-128-GCM", peerConfig13(nil), nil, []string{"-ciphersuites", "TLS_AES_128_GCM_SHA256"}, mebibyte, tls.TLS_AES_128_GCM_SHA256, tls.X25519, false},
		{"AES-256-GCM", peerConfig13(nil), nil, []string{"-ciphersuites", "TLS_AES_256_GCM_SHA384"}, mebibyte, suite, tls.X25519, false},
		{"ChaCha20", peerConfig13(nil), nil, []string{"-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"}, mebibyte, tls.TLS_CHACHA20_POLY1305_SHA256, tls.X25519, false},
		{"our order of suites", peerConfig13([]uint16{tls.TLS_CHACHA20_POLY1305_SHA256, suite}), nil, nil, smallData, tls.TLS_CHACHA20_POLY1305_SHA256, tls.X25519, false},
		{"P-256", peerConfig13(nil), nil, []string{"-groups", "P-256"}, smallData, suite, tls.CurveP256, false},
		{"P-384", peerConfig13(nil), nil, []string{"-groups", "P-384"}, smallData, suite, tls.CurveP384, false},
		{"P-521", peerConfig13(nil), nil, []string{"-groups", "P-521"}, smallData, suite, tls.CurveP521, false},
		{"X25519 after retry", peerConfig13(nil), nil, []string{"-groups", "P-256:X25519"}, smallData, suite, tls.X25519, true},
		{"P-256 after retry", peerConfig13(nil, tls.CurveP256), nil, []string{"-groups", "X25519:P-256"}, smallData, suite, tls.CurveP256, true},
		{"P-384 after retry", peerConfig13(nil, tls.CurveP384), nil, []string{"-groups", "X25519:P-384"}, smallData, suite, tls.CurveP384, true},
		{"P-521 after retry", peerConfig13(nil, tls.CurveP521), nil, []string{"-groups", "X25519:P-521"}, smallData, suite, tls.CurveP521, true},
		{"SHA-256 after retry", peerConfig13([]uint16{tls.TLS_AES_128_GCM_SHA256}, tls.CurveP384), nil, []string{"-groups", "X25519:P-384"}, smallData,
			tls.TLS_AES_128_GCM_SHA256, tls.CurveP384, true},
		{"RSA with SHA-512", peerConfig13(nil), nil, []string{"-sigalgs", "rsa_pss_rsae_sha512:ECDSA+SHA256"}, smallData, suite, tls.X25519, false},
		{"ECDSA", peerConfig13(nil), func(c *Config) { c.Certificates = []tls.Certificate{*p.serverECDSA} }, nil, smallData, suite, tls.X25519, false},
		{"ECDSA with P-384", peerConfig13(nil), func(c *Config) { c.Certificates = []tls.Certificate{*p.issueECDSA(elliptic.P384())} }, nil, smallData, suite, tls.X25519, false},
		{"ECDSA with P-521", peerConfig13(nil), func(c *Config) { c.Certificates = []tls.Certificate{*p.issueECDSA(elliptic.P521())} }, nil, smallData, suite, tls.X25519, false},
		{"Ed25519", peerConfig13(nil), func(c *Config) { c.Certificates = []tls.Certificate{*p.serverEd25519} }, nil, smallData, suite, tls.X25519, false},
		{"without ChangeCipherSpec", peerConfig13(nil), nil, []string{"-no_middlebox"}, smallData, suite, tls.X25519, false},
		{"without ChangeCipherSpec, after retry", peerConfig13(nil), nil, []string{"-no_middlebox", "-groups", "P-256:X25519"}, smallData, suite, tls.X25519, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.change != nil {
				tt.change(tt.config)
			}
			s := servePeers(t, tt.config, len(tt.data))
			_, _, session := peerFiles(t)
			for _, resumed := range []bool{false, true} {
				file := "-sess_out"
				if resumed {
					file = "-sess_in"
				}
				messages := session + ".messages"
				args := s.sClient(authorities, "-quiet", "-tls1_3", "-msg", "-msgfile", messages, file, session)
				out := runPeer(t, nil, tt.data, "openssl", append(args, tt.args...)...)
				checkPeer13(t, s.result(t), peer13{tt.suite, tt.group, resumed})
				checkEcho(t, out, tt.data)
				log, err := os.ReadFile(messages)
				must(err)
				if hellos := bytes.Count(log, []byte(", ClientHello\n")); hellos < 1 || (hellos == 2) != tt.retry {
					t.Errorf("resumed %v: %d hellos", resumed, hellos)
				}
			}
		})
	}
}

// A session goes on with another suite if that has the same hash (RFC 8446 §4.6.1).
func TestOpenSSL13OtherSuite(t *testing.T) {
	authorities, _, _ := peerFiles(t)
	for _, tt := range []struct {
		name        string
		first, then uint16
		resumed     bool
	}{
		{"the same hash", tls.TLS_AES_128_GCM_SHA256, tls.TLS_CHACHA20_POLY1305_SHA256, true},
		{"another hash", tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := servePeers(t, peerConfig13(nil), len(smallData))
			_, _, session := peerFiles(t)
			out := runPeer(t, nil, smallData, "openssl", s.sClient(authorities, "-quiet", "-ciphersuites", tls.CipherSuiteName(tt.first), "-sess_out", session)...)
			checkPeer13(t, s.result(t), peer13{tt.first, tls.X25519, false})
			checkEcho(t, out, smallData)
			out = runPeer(t, nil, smallData, "openssl", s.sClient(authorities, "-quiet", "-ciphersuites", tls.CipherSuiteName(tt.then), "-sess_in", session)...)
			checkPeer13(t, s.result(t), peer13{tt.then, tls.X25519, tt.resumed})
			checkEcho(t, out, smallData)
		})
	}
}

// Clients with certificates: full handshakes, and resumed ones that show none and
// have one all the same.
func TestPeerCertificates13(t *testing.T) {
	p := testPKI()
	authorities, _, _ := peerFiles(t)
	for _, certificate := range []*tls.Certificate{p.clientRSA, p.clientECDSA, p.clientEd25519} {
		config := peerConfig13(nil)
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, p.roots
		check := func(t *testing.T, s *peerServer, resumed bool) {
			t.Helper()
			conn := s.result(t)
			checkPeer13(t, conn, peer13{tls.TLS_AES_256_GCM_SHA384, tls.X25519, resumed})
			state := conn.ConnectionState()
			if len(state.PeerCertificates) == 0 || !state.PeerCertificates[0].Equal(certificate.Leaf) || len(state.VerifiedChains) != 1 {
				t.Errorf("state %+v", state)
			}
		}
		file := writePair(t, certificate)
		t.Run("OpenSSL's "+certificate.Leaf.Subject.CommonName, func(t *testing.T) {
			t.Parallel()
			s := servePeers(t, config, len(smallData))
			session := filepath.Join(t.TempDir(), "session.pem")
			for _, option := range []string{"-sess_out", "-sess_in"} {
				out := runPeer(t, nil, smallData, "openssl", s.sClient(authorities, "-quiet", "-cert", file, "-key", file, option, session)...)
				check(t, s, option == "-sess_in")
				checkEcho(t, out, smallData)
			}
		})
		t.Run("GnuTLS's "+certificate.Leaf.Subject.CommonName, func(t *testing.T) {
			t.Parallel()
			s := servePeers(t, config, len(smallData))
			out := runPeer(t, nil, smallData, "gnutls-cli", s.gnuTLS(authorities, "--resume", "--waitresumption", "--x509certfile="+file, "--x509keyfile="+file,
				"--priority=NORMAL:-VERS-ALL:+VERS-TLS1.3")...)
			check(t, s, false)
			check(t, s, true)
			checkEcho(t, out, smallData)
		})
	}
}

// How handshakes fail, on both sides.
func TestOpenSSL13Failures(t *testing.T) {
	p := testPKI()
	authorities, _, _ := peerFiles(t)
	stranger := filepath.Join(t.TempDir(), "stranger.pem")
	must(os.WriteFile(stranger, pemOf(newAuthority().ca.Raw), 0o600))
	for _, tt := range []struct {
		name        string
		change      func(*Config)
		authorities string
		args        []string
		op          string // of the server's error
		want        alert
		told        string // by OpenSSL
	}{
		{"no client certificate", func(c *Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, p.roots }, authorities, nil,
			"local error", alertCertificateRequired, "alert certificate required"},
		// The alert comes unprotected: OpenSSL has no keys for writing before its
		// Finished.
		{"client does not trust us", func(*Config) {}, stranger, nil, "remote error", alertUnknownCA, "certificate verify failed"},
		{"no suite in common", func(c *Config) { c.CipherSuites = []uint16{tls.TLS_AES_128_GCM_SHA256} }, authorities,
			[]string{"-ciphersuites", "TLS_AES_256_GCM_SHA384"}, "local error", alertHandshakeFailure, "alert handshake failure"},
		{"no group in common", func(c *Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} }, authorities,
			[]string{"-groups", "X25519"}, "local error", alertHandshakeFailure, "alert handshake failure"},
		{"no TLS 1.3", func(*Config) {}, authorities, []string{"-tls1_2"}, "local error", alertProtocolVersion, "alert protocol version"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			config := peerConfig13(nil)
			tt.change(config)
			s := servePeers(t, config, 1)
			_, errs, err := tryPeer(t, nil, nil, "openssl", s.sClient(tt.authorities, append([]string{"-quiet"}, tt.args...)...)...)
			if err == nil || !strings.Contains(string(errs), tt.told) {
				t.Errorf("client: %v\n%s", err, errs)
			}
			_, err = s.outcome(t)
			checkEnd(t, err, tt.op, tt.want)
		})
	}
}

// A peerProcess is a client that is talked to while it runs.
type peerProcess struct {
	stdin io.WriteCloser
	lines *bufio.Reader // of everything that it prints
}

// startPeer starts a client, which ends with the test at the latest.
func startPeer(t *testing.T, name string, args ...string) *peerProcess {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	cmd := exec.CommandContext(ctx, name, args...)
	stdin, err := cmd.StdinPipe()
	must(err)
	read, write, err := os.Pipe()
	must(err)
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatalf("this test needs %s: %v", name, err)
	}
	write.Close()
	t.Cleanup(func() {
		cancel()
		read.Close()
		_ = cmd.Wait() // killed, unless it was told to end
	})
	return &peerProcess{stdin, bufio.NewReader(read)}
}

// say writes to the client's input.
func (p *peerProcess) say(data []byte) {
	_, _ = p.stdin.Write(data) // if the client has gone, await tells why
}

// await reads lines up to this one.
func (p *peerProcess) await(t *testing.T, want string) {
	t.Helper()
	var seen strings.Builder
	for {
		line, err := p.lines.ReadString('\n')
		if strings.TrimSuffix(line, "\n") == want {
			return
		}
		seen.WriteString(line)
		if err != nil {
			t.Fatalf("no %.80q: %v\n%s", want, err, seen.String())
		}
	}
}

// exchange has a line echoed that is longer than a record, and is no command.
func (p *peerProcess) exchange(t *testing.T, digit string) {
	t.Helper()
	line := strings.Repeat(digit, 40000)
	go p.say([]byte(line + "\n"))
	p.await(t, line)
}

// serveLines serves clients that are talked to: lines come back. After each of them
// seen is called.
func serveLines(t *testing.T, config *Config, seen func(*Conn)) *peerServer {
	return servePeersWith(t, config, func(conn *Conn) error {
		for lines := bufio.NewReader(conn); ; {
			line, err := lines.ReadBytes('\n')
			if err == io.EOF && len(line) == 0 {
				return conn.Close()
			} else if err != nil {
				return err
			}
			if _, err := conn.Write(line); err != nil {
				return err
			}
			if seen != nil {
				seen(conn)
			}
		}
	})
}

// OpenSSL's client changes its keys, without and with the wish that we change ours.
func TestOpenSSL13KeyUpdate(t *testing.T) {
	authorities, _, _ := peerFiles(t)
	for _, suite := range CipherSuites13() {
		t.Run(tls.CipherSuiteName(suite), func(t *testing.T) {
			t.Parallel()
			type keys struct{ in, out *aead13 }
			seen := make(chan keys, 1)
			s := serveLines(t, peerConfig13([]uint16{suite}), func(c *Conn) {
				seen <- keys{c.in.half.opener.(*aead13), c.out.writer.half.sealer.(*aead13)}
			})
			client := startPeer(t, "openssl", s.sClient(authorities, "-tls1_3")...)
			client.exchange(t, "0")
			before := <-seen
			for i, tt := range []struct {
				command string
				ours    bool // change, too
			}{{"k", false}, {"K", true}, {"K", true}, {"k", false}} {
				client.say([]byte(tt.command + "\n"))
				client.await(t, "KEYUPDATE")
				client.exchange(t, string(rune('1'+i)))
				after := <-seen
				if after.in == before.in || (after.out != before.out) != tt.ours {
					t.Errorf("%q: keys changed %v, ours %v", tt.command, after.in != before.in, after.out != before.out)
				}
				client.exchange(t, string(rune('5'+i)))
				before = <-seen
				if before != after {
					t.Errorf("%q: keys changed twice", tt.command)
				}
			}
			client.say([]byte("Q\n"))
			s.result(t)
		})
	}
}

// A session of another server's lets OpenSSL's client send early data here. It is
// dropped, and the handshake is a full one.
func TestOpenSSL13EarlyData(t *testing.T) {
	authorities, _, _ := peerFiles(t)
	pair := writePair(t, testPKI().server)
	dir := t.TempDir()
	early := filepath.Join(dir, "early")
	must(os.WriteFile(early, bytes.Repeat([]byte("early data\n"), 3000), 0o600))
	for _, suite := range []uint16{tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256} {
		session := filepath.Join(dir, tls.CipherSuiteName(suite))
		address := startOpenSSL(t, "-tls1_3", "-ciphersuites", tls.CipherSuiteName(suite), "-rev", "-max_early_data", "40000",
			"-cert", pair, "-key", pair)
		client := startPeer(t, "openssl", "s_client", "-connect", address, "-servername", "gate.test", "-sess_out", session)
		client.say([]byte("0\n"))
		client.await(t, "0") // which comes behind the ticket
		client.say([]byte("Q\n"))
		for _, tt := range []struct {
			name   string
			groups []tls.CurveID
			group  tls.CurveID
		}{
			{"", nil, tls.X25519},
			{" and HelloRetryRequest", []tls.CurveID{tls.CurveP384}, tls.CurveP384},
		} {
			t.Run(tls.CipherSuiteName(suite)+tt.name, func(t *testing.T) {
				s := serveLines(t, peerConfig13([]uint16{suite}, tt.groups...), nil)
				client := startPeer(t, "openssl", s.sClient(authorities, "-groups", "X25519:P-384", "-sess_in", session, "-early_data", early)...)
				client.await(t, "Early data was rejected")
				client.exchange(t, "1")
				client.exchange(t, "2")
				client.say([]byte("Q\n"))
				checkPeer13(t, s.result(t), peer13{suite, tt.group, false})
			})
		}
	}
}

// OpenSSL's client exports the same keys.
func TestOpenSSL13Exporter(t *testing.T) {
	authorities, _, _ := peerFiles(t)
	for _, suite := range CipherSuites13() {
		var exported string
		s := serveLines(t, peerConfig13([]uint16{suite}), func(c *Conn) {
			key, err := c.ExportKeyingMaterial("EXPERIMENTAL test", nil, 100)
			if err == nil {
				exported = strings.ToUpper(hex.EncodeToString(key))
			}
		})
		client := startPeer(t, "openssl", s.sClient(authorities, "-keymatexport", "EXPERIMENTAL test", "-keymatexportlen", "100")...)
		client.say([]byte("0\n"))
		const prefix = "    Keying material: "
		var line string
		for !strings.HasPrefix(line, prefix) {
			var err error
			if line, err = client.lines.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		client.await(t, "0")
		client.say([]byte("Q\n"))
		s.result(t)
		if want := strings.TrimSpace(strings.TrimPrefix(line, prefix)); exported != want {
			t.Errorf("%s: exported %s, OpenSSL %s", tls.CipherSuiteName(suite), exported, want)
		}
	}
}

// GnuTLS's client, in a full handshake and in a session that is resumed: with
// suites, and with groups of which it has sent a share or not.
func TestGnuTLS13(t *testing.T) {
	someData := mebibyte[:1<<18] // gnutls-cli is slow
	p := testPKI()
	authorities, _, _ := peerFiles(t)
	const suite = tls.TLS_AES_256_GCM_SHA384
	for _, tt := range []struct {
		name        string
		certificate *tls.Certificate
		groups      []tls.CurveID
		priority    string
		data        []byte
		suite       uint16
		group       tls.CurveID
	}{
		{"AES-128-GCM", p.server, nil, "+AES-128-GCM:+GROUP-X25519", someData, tls.TLS_AES_128_GCM_SHA256, tls.X25519},
		{"AES-256-GCM", p.server, nil, "+AES-256-GCM:+GROUP-X25519", someData, suite, tls.X25519},
		{"ChaCha20", p.server, nil, "+CHACHA20-POLY1305:+GROUP-X25519", someData, tls.TLS_CHACHA20_POLY1305_SHA256, tls.X25519},
		{"P-256, ECDSA", p.serverECDSA, nil, "+AES-256-GCM:+GROUP-SECP256R1", smallData, suite, tls.CurveP256},
		{"P-384, Ed25519", p.serverEd25519, nil, "+AES-256-GCM:+GROUP-SECP384R1", smallData, suite, tls.CurveP384},
		{"P-521", p.server, nil, "+AES-256-GCM:+GROUP-SECP521R1", smallData, suite, tls.CurveP521},
		{"X25519 after retry", p.server, nil, "+AES-256-GCM:+GROUP-SECP256R1:+GROUP-X25519", smallData, suite, tls.X25519},
		{"P-384 after retry", p.server, []tls.CurveID{tls.CurveP384}, "+AES-256-GCM:+GROUP-X25519:+GROUP-SECP384R1", smallData, suite, tls.CurveP384},
		{"P-521 after retry", p.server, []tls.CurveID{tls.CurveP521}, "+AES-256-GCM:+GROUP-X25519:+GROUP-SECP521R1", smallData, suite, tls.CurveP521},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			config := peerConfig13(nil, tt.groups...)
			config.Certificates = []tls.Certificate{*tt.certificate}
			s := servePeers(t, config, len(tt.data))
			out := runPeer(t, nil, tt.data, "gnutls-cli", s.gnuTLS(authorities, "--resume", "--waitresumption", "--single-key-share",
				"--priority=NONE:+VERS-TLS1.3:+COMP-NULL:+CTYPE-X509:+SIGN-ALL:+AEAD:"+tt.priority)...)
			for _, resumed := range []bool{false, true} {
				checkPeer13(t, s.result(t), peer13{tt.suite, tt.group, resumed})
			}
			checkEcho(t, out, tt.data)
		})
	}
}

// GnuTLS's client wants new keys: ours change with its own.
func TestGnuTLS13KeyUpdate(t *testing.T) {
	authorities, _, _ := peerFiles(t)
	seen := make(chan [2]*aead13, 1)
	s := serveLines(t, peerConfig13(nil), func(c *Conn) {
		seen <- [2]*aead13{c.in.half.opener.(*aead13), c.out.writer.half.sealer.(*aead13)}
	})
	client := startPeer(t, "gnutls-cli", s.gnuTLS(authorities, "--inline-commands")...)
	client.say([]byte("0\n"))
	client.await(t, "0")
	before := <-seen
	for _, line := range []string{"1", "2"} {
		client.say([]byte("^rekey^\n"))
		client.say([]byte(line + "\n"))
		client.await(t, line)
		after := <-seen
		if after[0] == before[0] || after[1] == before[1] {
			t.Errorf("keys changed %v, ours %v", after[0] != before[0], after[1] != before[1])
		}
		before = after
	}
	client.stdin.Close()
	s.result(t)
}

// GnuTLS's client has its keys when it does not like our certificate, and so its
// alert is protected.
func TestGnuTLS13Untrusting(t *testing.T) {
	stranger := filepath.Join(t.TempDir(), "stranger.pem")
	must(os.WriteFile(stranger, pemOf(newAuthority().ca.Raw), 0o600))
	s := servePeers(t, peerConfig13(nil), 1)
	if _, errs, err := tryPeer(t, nil, nil, "gnutls-cli", s.gnuTLS(stranger)...); err == nil {
		t.Errorf("the client has trusted us\n%s", errs)
	}
	_, err := s.outcome(t)
	checkEnd(t, err, "remote error", alertBadCertificate) // as GnuTLS calls it
}

// checkEnd checks the error that a connection has ended with.
func checkEnd(t *testing.T, err error, op string, want alert) {
	t.Helper()
	got, ok := errors.AsType[*net.OpError](err)
	if !ok || got.Op != op || !strings.Contains(got.Err.Error(), want.String()) {
		t.Errorf("server: %v; want a %s, %v", err, op, want)
	}
}
