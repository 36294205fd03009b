package engine

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	aes128 = tls.TLS_AES_128_GCM_SHA256
	aes256 = tls.TLS_AES_256_GCM_SHA384
	chacha = tls.TLS_CHACHA20_POLY1305_SHA256
)

// testCertificates are an RSA-2048 and an ECDSA P-256 certificate for
// "gate.test", and the pool that trusts both.
var testCertificates = sync.OnceValue(func() (c struct {
	rsa, ecdsa *tls.Certificate
	roots      *x509.CertPool
}) {
	c.roots = x509.NewCertPool()
	issue := func(key any, public any) *tls.Certificate {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "gate.test"},
			DNSNames: []string{"gate.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
			IsCA:     true, BasicConstraintsValid: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
		if err != nil {
			panic(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			panic(err)
		}
		c.roots.AddCert(leaf)
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	c.rsa, c.ecdsa = issue(rsaKey, &rsaKey.PublicKey), issue(ecKey, &ecKey.PublicKey)
	return c
})

// connect returns the two ends of a loopback connection. It has the buffers
// that net.Pipe lacks: in TLS both sides may write at once.
func connect(t *testing.T) (near, far net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		defer l.Close()
		if far, err = net.Dial("tcp", l.Addr().String()); err == nil {
			near, err = l.Accept()
		}
	}
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	return near, far
}

// handshake runs a client against e under choice, echoes a message, and returns
// both sides' states and errors.
func handshake(t *testing.T, e Engine, choice Choice, client *tls.Config) (server, peer tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	near, far := connect(t)
	defer near.Close()
	defer far.Close()
	deadline := time.Now().Add(20 * time.Second)
	_ = near.SetDeadline(deadline)
	_ = far.SetDeadline(deadline)

	done := make(chan struct{})
	go func() {
		defer close(done)
		conn := e.Server(near, choice)
		if serverErr = conn.HandshakeContext(context.Background()); serverErr != nil {
			near.Close()
			return
		}
		server = conn.ConnectionState()
		_, serverErr = io.CopyN(conn, conn, 4)
	}()
	conn := tls.Client(far, client)
	if clientErr = conn.Handshake(); clientErr == nil {
		if _, clientErr = conn.Write([]byte("ping")); clientErr == nil {
			// The read also takes a TLS 1.3 session ticket in.
			_, clientErr = io.ReadFull(conn, make([]byte, 4))
		}
		peer = conn.ConnectionState()
	} else {
		far.Close()
	}
	<-done
	return server, peer, serverErr, clientErr
}

func clientConfig() *tls.Config {
	return &tls.Config{
		RootCAs: testCertificates().roots, ServerName: "gate.test",
		CipherSuites: []uint16{ // all that crypto/tls has for TLS 1.2
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
			tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_128_CBC_SHA256,
			tls.TLS_RSA_WITH_AES_256_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA,
		},
	}
}

// Whatever the client would prefer, the choice is what both sides end with.
func TestServerNegotiatesTheChoice(t *testing.T) {
	certificates := testCertificates()
	both := Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13}
	type row struct {
		name   string
		config Config
		choice Choice
		max    uint16 // the client's
	}
	rows := []row{
		{"1.3 AES-256 X25519MLKEM768 RSA", both, Choice{Version: tls.VersionTLS13, Suite: aes256, Group: tls.X25519MLKEM768, Certificate: certificates.rsa}, 0},
		{"1.3 AES-256 P-384 ECDSA", both, Choice{Version: tls.VersionTLS13, Suite: aes256, Group: tls.CurveP384, Certificate: certificates.ecdsa}, 0},
		{"1.2 ECDSA", both, Choice{Version: tls.VersionTLS12, Suite: tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, Group: tls.CurveP256, Certificate: certificates.ecdsa}, tls.VersionTLS12},
	}
	for _, suite := range clientConfig().CipherSuites {
		group := tls.CurveP256
		if !strings.Contains(tls.CipherSuiteName(suite), "ECDHE") {
			group = 0
		}
		if strings.Contains(tls.CipherSuiteName(suite), "ECDSA") {
			continue
		}
		rows = append(rows, row{"1.2 " + tls.CipherSuiteName(suite), both,
			Choice{Version: tls.VersionTLS12, Suite: suite, Group: group, Certificate: certificates.rsa}, tls.VersionTLS12})
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			client := clientConfig()
			client.MaxVersion = tt.max
			e := New(tt.config, []uint16{tt.choice.Suite}).For(tt.choice.Suite)
			if e == nil {
				t.Fatal("no engine serves this suite")
			}
			server, peer, serverErr, clientErr := handshake(t, e, tt.choice, client)
			if serverErr != nil || clientErr != nil {
				t.Fatalf("server: %v, client: %v", serverErr, clientErr)
			}
			if err := Verify(server, tt.choice); err != nil {
				t.Error(err)
			}
			if peer.CipherSuite != tt.choice.Suite || peer.Version != tt.choice.Version || peer.CurveID != tt.choice.Group {
				t.Errorf("client sees %#04x %#04x %d", peer.Version, peer.CipherSuite, peer.CurveID)
			}
			if !bytes.Equal(peer.PeerCertificates[0].Raw, tt.choice.Certificate.Certificate[0]) {
				t.Error("client got another certificate")
			}
		})
	}
}

// Every suite that a policy can name has one engine, and crypto/tls has to lack
// eight of the policy activemq's, or it could be used for more.
func TestWhoServes(t *testing.T) {
	lacking := map[uint16]bool{0xC028: true, 0x009F: true, 0x006B: true, 0x0039: true, 0x003D: true, 0x009E: true, 0x0067: true, 0x0033: true}
	all := New(Config{}, []uint16{0x0033, aes128})
	for _, suite := range []uint16{
		0xC030, 0xC028, 0xC014, 0x009F, 0x006B, 0x0039, 0x009D, 0x003D, 0x0035, 0xC02F, 0xC027, 0xC013, 0x009E, 0x0067, 0x0033, 0x009C, 0x003C, 0x002F,
		0xCCA8, 0xC02C, 0xC02B, 0xCCA9, 0xC00A, 0xC009, aes128, aes256, chacha,
	} {
		want := "tls12"
		if suite>>8 == 0x13 {
			want = "tls13"
		}
		if got := all.For(suite); got == nil || got.Name() != want || !all.Serves(suite) {
			t.Errorf("%#04x is served by %v, want %s", suite, got, want)
		}
		if got := NewStandard(Config{}).Serves(suite); got == lacking[suite] {
			t.Errorf("crypto/tls serves %#04x: %v", suite, got)
		}
	}
	if all.For(0x0005) != nil || all.For(0x0001) != nil { // RC4; NULL
		t.Error("RC4 or NULL")
	}
	if engines := New(Config{}, []uint16{aes256}); len(engines) != 1 || engines[0].Name() != "tls13" {
		t.Errorf("engines for a policy of TLS 1.3 alone: %v", engines)
	}
}

// Whatever a client prefers, it gets the suite of TLS 1.3 that was decided, also in
// a HelloRetryRequest.
func TestDecidedSuite(t *testing.T) {
	hello := recordHello(t, clientConfig())
	for _, suite := range []uint16{aes256, aes128, chacha} {
		for _, group := range []tls.CurveID{tls.X25519, tls.CurveP384} {
			choice := Choice{Version: tls.VersionTLS13, Suite: suite, Group: group, Certificate: testCertificates().ecdsa}
			e := NewTLS13(Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13})
			if got := serverHelloSuite(t, e, choice, hello); got != suite {
				t.Errorf("decided %#04x with group %v, ServerHello has %#04x", suite, group, got)
			}
		}
	}
}

// recordHello returns what a client with this configuration sends first.
func recordHello(t *testing.T, config *tls.Config) []byte {
	t.Helper()
	near, far := connect(t)
	go func() {
		_ = tls.Client(far, config).Handshake() // ends when the pipe is closed
		far.Close()
	}()
	defer near.Close()
	header := make([]byte, 5)
	if _, err := io.ReadFull(near, header); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(header[3])<<8|int(header[4]))
	if _, err := io.ReadFull(near, body); err != nil {
		t.Fatal(err)
	}
	return append(header, body...)
}

// serverHelloSuite plays a recorded hello to e, and returns the suite of its
// ServerHello or HelloRetryRequest.
func serverHelloSuite(t *testing.T, e Engine, choice Choice, hello []byte) uint16 {
	near, far := connect(t)
	defer far.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Server(near, choice).HandshakeContext(context.Background()) // the client never answers
		near.Close()
	}()
	_ = far.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := far.Write(hello); err != nil {
		t.Error(err)
		return 0
	}
	// 5 record header, 4 message header, 2 version, 32 random, 1+n session id
	answer := make([]byte, 5+4+2+32+1+32+2)
	if _, err := io.ReadFull(far, answer); err != nil {
		t.Error(err)
		return 0
	}
	far.Close()
	<-done
	at := 5 + 4 + 2 + 32 + 1 + int(answer[43])
	return uint16(answer[at])<<8 | uint16(answer[at+1])
}

// RFC 8446 §4.1.3: a server that could have done TLS 1.3 marks the random of
// its TLS 1.2 ServerHello, so that the version of a decision is not all that counts.
func TestDowngradeMarker(t *testing.T) {
	client := clientConfig()
	client.MaxVersion = tls.VersionTLS12
	hello := recordHello(t, client)
	choice := Choice{Version: tls.VersionTLS12, Suite: tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, Group: tls.X25519, Certificate: testCertificates().rsa}
	for _, tt := range []struct {
		max    uint16
		marked bool
	}{{tls.VersionTLS13, true}, {tls.VersionTLS12, false}} {
		e := NewTLS12(Config{MinVersion: tls.VersionTLS12, MaxVersion: tt.max})
		near, far := connect(t)
		go func() {
			_ = e.Server(near, choice).HandshakeContext(context.Background()) // the client never answers
			near.Close()
		}()
		_ = far.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := far.Write(hello); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 5+4+2+32)
		if _, err := io.ReadFull(far, answer); err != nil {
			t.Fatal(err)
		}
		far.Close()
		if got := string(answer[len(answer)-8:]) == "DOWNGRD\x01"; got != tt.marked {
			t.Errorf("listener up to %#04x: marker %v, want %v", tt.max, got, tt.marked)
		}
	}
}

// sessionSuites are of both versions. That of TLS 1.3 is the one that crypto/tls
// chooses by itself.
var sessionSuites = []uint16{aes128, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256}

func versionOf(suite uint16) uint16 {
	if suite>>8 == 0x13 {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

func ownEngines(config Config) Dispatcher      { return New(config, sessionSuites) }
func standardEngines(config Config) Dispatcher { return Dispatcher{NewStandard(config)} }

func TestResumption(t *testing.T)         { testResumption(t, ownEngines, false) }
func TestStandardResumption(t *testing.T) { testResumption(t, standardEngines, true) }

// Tickets resume between sibling configurations of one listener, and never
// between listeners. crypto/tls takes a TLS 1.2 session with another group, too,
// than was decided this time.
func testResumption(t *testing.T, engines func(Config) Dispatcher, anyGroup bool) {
	config := Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13}
	one, same, other := engines(config), engines(config), engines(config)
	one.SetTicketKeys([][32]byte{{1}})
	same.SetTicketKeys([][32]byte{{9}, {1}}) // rotated since
	other.SetTicketKeys([][32]byte{{2}})
	off, brief := config, config
	off.NoTickets, brief.TicketLifetime = true, time.Nanosecond
	short := engines(brief)
	short.SetTicketKeys([][32]byte{{1}})
	for _, suite := range sessionSuites {
		version := versionOf(suite)
		choice := Choice{Version: version, Suite: suite, Group: tls.X25519, Certificate: testCertificates().rsa}
		again, identified := choice, choice
		again.Group, identified.Identity = tls.CurveP256, "another certificate's"
		for _, tt := range []struct {
			name    string
			second  Dispatcher
			choice  Choice
			resumed bool
		}{
			{"same engine", one, choice, true},
			{"sibling config", one, again, anyGroup || version == tls.VersionTLS13},
			{"key rotated, still accepted", same, choice, true},
			{"other listener's keys", other, choice, false},
			{"other certificate", one, identified, false},
			{"lifetime over", short, choice, false},
			{"tickets off", engines(off), choice, false},
		} {
			t.Run(tls.CipherSuiteName(suite)+" "+tt.name, func(t *testing.T) {
				client := clientConfig()
				client.MaxVersion = version
				client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				if _, _, serverErr, clientErr := handshake(t, one.For(suite), choice, client); serverErr != nil || clientErr != nil {
					t.Fatal(serverErr, clientErr)
				}
				server, _, serverErr, clientErr := handshake(t, tt.second.For(suite), tt.choice, client)
				if serverErr != nil || clientErr != nil {
					t.Fatal(serverErr, clientErr)
				}
				if server.DidResume != tt.resumed {
					t.Errorf("resumed %v, want %v", server.DidResume, tt.resumed)
				}
				if err := Verify(server, tt.choice); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A session goes on under its server name alone (RFC 6066 §3).
func TestResumptionUnderAnotherName(t *testing.T) { testResumptionUnderAnotherName(t, ownEngines) }
func TestStandardResumptionUnderAnotherName(t *testing.T) {
	testResumptionUnderAnotherName(t, standardEngines)
}

func testResumptionUnderAnotherName(t *testing.T, engines func(Config) Dispatcher) {
	e := engines(Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13})
	e.SetTicketKeys([][32]byte{{1}})
	for _, suite := range sessionSuites {
		version := versionOf(suite)
		choice := Choice{Version: version, Suite: suite, Group: tls.X25519, Certificate: testCertificates().rsa}
		// The cache of a client that takes all names for one.
		cache := sessionCache{tls.NewLRUClientSessionCache(1)}
		for _, tt := range []struct {
			name    string
			resumed bool
		}{{"gate.test", false}, {"gate.test", true}, {"other.test", false}} {
			client := clientConfig()
			client.MaxVersion, client.ServerName, client.ClientSessionCache = version, tt.name, cache
			client.InsecureSkipVerify = true // as crypto/tls would not offer the session otherwise
			server, _, serverErr, clientErr := handshake(t, e.For(suite), choice, client)
			if serverErr != nil || clientErr != nil || server.DidResume != tt.resumed {
				t.Errorf("%s to %s: resumed %v, want %v, %v, %v", tls.CipherSuiteName(suite), tt.name, server.DidResume, tt.resumed, serverErr, clientErr)
			}
		}
	}
}

type sessionCache struct{ tls.ClientSessionCache }

func (c sessionCache) Get(string) (*tls.ClientSessionState, bool) {
	return c.ClientSessionCache.Get("")
}
func (c sessionCache) Put(_ string, s *tls.ClientSessionState) { c.ClientSessionCache.Put("", s) }

// What is read from the encoding of a session is what crypto/tls wrote there.
func TestSessionCreated(t *testing.T) {
	var created time.Time
	config := &tls.Config{Certificates: []tls.Certificate{*testCertificates().rsa}, Time: func() time.Time { return time.Unix(1_800_000_000, 0) }}
	config.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		var err error
		created, err = sessionCreated(ss)
		return nil, err
	}
	near, far := connect(t)
	defer near.Close()
	defer far.Close()
	client := clientConfig()
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	go func() { _ = tls.Client(far, client).Handshake() }()
	if err := tls.Server(near, config).Handshake(); err != nil || created.Unix() != 1_800_000_000 {
		t.Errorf("created %v, %v", created, err)
	}
}

func TestPinnedIsBounded(t *testing.T) {
	var p pinned[int]
	for i := range 3 * maxPinned {
		identity := string(rune(i))
		first := p.get(Choice{Identity: identity}, func() *int { return &i })
		if second := p.get(Choice{Identity: identity}, nil); *first != i || second != first {
			t.Fatal("not the same twice")
		}
	}
	if len(p.configs) > maxPinned {
		t.Errorf("%d configurations", len(p.configs))
	}
}

func TestVerifyNoticesADifference(t *testing.T) {
	choice := Choice{Version: tls.VersionTLS13, Suite: aes256, Group: tls.X25519}
	good := tls.ConnectionState{HandshakeComplete: true, Version: tls.VersionTLS13, CipherSuite: aes256, CurveID: tls.X25519}
	if err := Verify(good, choice); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*tls.ConnectionState){
		func(s *tls.ConnectionState) { s.Version = tls.VersionTLS12 },
		func(s *tls.ConnectionState) { s.CipherSuite = aes128 },
		func(s *tls.ConnectionState) { s.CurveID = tls.CurveP256 },
		func(s *tls.ConnectionState) { s.HandshakeComplete = false },
	} {
		state := good
		change(&state)
		if err := Verify(state, choice); !errors.Is(err, ErrNotAsDecided) {
			t.Errorf("%+v: %v", state, err)
		}
	}
}

func TestAlertName(t *testing.T) {
	if AlertName(40) != "handshake_failure" || AlertName(99) != "alert_99" {
		t.Error("AlertName", AlertName(40), AlertName(99))
	}
}

func TestHandshakeErrorReasons(t *testing.T) {
	for _, engines := range []func(Config) Dispatcher{ownEngines, standardEngines} {
		e := engines(Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13}).For(aes128)
		t.Run(e.Name(), func(t *testing.T) { testHandshakeErrorReasons(t, e) })
	}
	if got := NewHandshakeError(os.ErrDeadlineExceeded).Reason(); got != ReasonHandshakeTimeout {
		t.Error(got)
	}
}

func testHandshakeErrorReasons(t *testing.T, e Engine) {
	certificate := testCertificates().rsa
	choice := Choice{Version: tls.VersionTLS13, Suite: aes128, Group: tls.X25519, Certificate: certificate}
	distrusting := clientConfig()
	distrusting.RootCAs = x509.NewCertPool()
	_, _, err, _ := handshake(t, e, choice, distrusting)
	if got := NewHandshakeError(err); got.Reason() != ReasonClientAlert {
		t.Errorf("client that distrusts us: %s: %v", got.Reason(), got)
	}
	if alert, ok := ClientAlert(fmt.Errorf("proxy: %w", NewHandshakeError(err))); !ok || AlertName(alert) != "bad_certificate" {
		t.Errorf("client that distrusts us: alert %d, %t", alert, ok)
	}
	hello := recordHello(t, clientConfig())
	for _, tt := range []struct {
		name   string
		play   func(far net.Conn)
		reason string
	}{
		{"closes", func(far net.Conn) { _, _ = far.Write(hello); far.Close() }, ReasonClientClosed},
		{"is silent", func(far net.Conn) { _, _ = far.Write(hello); _, _ = io.Copy(io.Discard, far) }, ReasonHandshakeTimeout},
		{"talks nonsense", func(far net.Conn) {
			_, _ = far.Write(hello)
			go func() { _, _ = io.Copy(io.Discard, far) }()
			_, _ = far.Write([]byte{22, 3, 3, 0, 4, 99, 0, 0, 0})
		}, ReasonHandshakeFailed},
	} {
		near, far := connect(t)
		go tt.play(far)
		_ = near.SetDeadline(time.Now().Add(200 * time.Millisecond))
		if tt.reason != ReasonHandshakeTimeout {
			_ = near.SetDeadline(time.Now().Add(20 * time.Second))
		}
		err := e.Server(near, choice).HandshakeContext(context.Background())
		got := NewHandshakeError(err)
		if got.Reason() != tt.reason || !errors.Is(got, err) {
			t.Errorf("client that %s: %s, want %s: %v", tt.name, got.Reason(), tt.reason, got)
		}
		if alert, ok := ClientAlert(got); ok {
			t.Errorf("client that %s: alert %d", tt.name, alert)
		}
		near.Close()
		far.Close()
	}
}
