package tlsconn

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// exchange sends a message each way over an open connection.
func (c *client) exchange() {
	c.t.Helper()
	c.conn.toServer.Write(c.out.seal(nil, recordApplicationData, []byte("ping")))
	buf := make([]byte, 100)
	if n, err := c.server.Read(buf); string(buf[:n]) != "ping" || err != nil {
		c.t.Fatalf("server read %q, %v", buf[:n], err)
	}
	if n, err := c.server.Write([]byte("pong")); n != 4 || err != nil {
		c.t.Fatalf("server wrote %d, %v", n, err)
	}
	if r, err := c.readRecord(); err != nil || string(r.data) != "pong" {
		c.t.Fatalf("client read %+v, %v", r, err)
	}
}

// Every suite, with and without encrypt-then-MAC and extended master secret, in
// a full handshake and in the two that resume it.
func TestHandshake(t *testing.T) {
	for _, id := range CipherSuites() {
		for _, etm := range []bool{true, false} {
			for _, ems := range []bool{true, false} {
				t.Run(fmt.Sprintf("%04X EtM=%v EMS=%v", id, etm, ems), func(t *testing.T) {
					testHandshake(t, id, etm, ems)
				})
			}
		}
	}
}

func testHandshake(t *testing.T, id uint16, etm, ems bool) {
	config := forSuite(testConfig(), id)
	config.NextProtos = []string{"mqtt", "amqp"}
	config.Tickets = testTickets(7)
	suite := suiteByID(id)
	var kept *clientSession
	for i := range 3 {
		switch i {
		case 1:
			config.Tickets.Set([][32]byte{{8}, {7}}) // rotate: the ticket is renewed
		case 2:
			config.Tickets.Set([][32]byte{{8}})
		}
		c := newClient(t, config)
		c.hello.suites = []uint16{id}
		c.hello.schemes = append(c.hello.schemes, tls.ECDSAWithP256AndSHA256)
		c.hello.extensions = append(c.hello.extensions, extALPN)
		c.hello.protocols = []string{"amqp", "mqtt"}
		if !etm {
			c.hello.without(extEncryptThenMAC)
		}
		if !ems {
			c.hello.without(extExtendedMasterSecret)
		}
		c.session = kept
		c.mustHandshake()
		c.exchange()
		if i < 2 {
			kept = c.kept()
		}

		state := c.server.ConnectionState()
		group := map[keyExchange]tls.CurveID{kxDHE: 256, kxECDHE: tls.CurveP256}[suite.kx]
		if c.suite.kx == kxECDHE {
			group = tls.X25519
		}
		if state.Version != tls.VersionTLS12 || state.CipherSuite != id || state.DidResume != (i > 0) || state.CurveID != group ||
			state.NegotiatedProtocol != "mqtt" || state.ServerName != "gate.test" || len(state.PeerCertificates) != 0 {
			t.Errorf("handshake %d: state %+v", i, state)
		}
		if (len(state.TLSUnique) == 0) != (i > 0 && !ems) {
			t.Errorf("handshake %d: tls-unique %x", i, state.TLSUnique)
		}
		if c.server.EncryptThenMAC() != (etm && suite.isCBC()) || c.etm != c.server.EncryptThenMAC() {
			t.Errorf("handshake %d: encrypt-then-MAC is %v, client's view %v", i, c.server.EncryptThenMAC(), c.etm)
		}
		if c.server.ExtendedMasterSecret() != ems || c.ems != ems {
			t.Errorf("handshake %d: extended master secret is %v, client's view %v", i, c.server.ExtendedMasterSecret(), c.ems)
		}
		if c.gotTicket != (i < 2) || c.reply.ticket != c.gotTicket {
			t.Errorf("handshake %d: got a ticket: %v", i, c.gotTicket)
		}
		if !c.reply.renegotiationInfo || c.reply.protocol != "mqtt" {
			t.Errorf("handshake %d: ServerHello %+v", i, c.reply)
		}
		// RFC 6066 §3: not on resumption. RFC 8422 §5.2: with ECC suites alone.
		if c.reply.serverName != (i == 0) || c.reply.pointFormats != (i == 0 && suite.kx == kxECDHE) {
			t.Errorf("handshake %d: ServerHello %+v", i, c.reply)
		}
		checkExport(t, c, ems)
	}
}

// checkExport compares what both sides export.
func checkExport(t *testing.T, c *client, ems bool) {
	t.Helper()
	got, err := c.server.ExportKeyingMaterial("EXPERIMENTAL test", []byte("context"), 40)
	if !ems {
		if err == nil {
			t.Error("exported keying material without extended master secret")
		}
		return
	}
	want, _ := exportKeyingMaterial(c.suite.hash, c.master, c.hello.random[:], c.reply.random[:], "EXPERIMENTAL test", []byte("context"), 40)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("exported %x, %v; want %x", got, err, want)
	}
}

// What a hello says decides.
func TestNegotiation(t *testing.T) {
	const dhe, ecdhe, rsa = 0x009F, 0xC028, 0x003D
	type outcome struct {
		suite uint16
		group tls.CurveID
		alert alert
	}
	refused := func(a alert) outcome { return outcome{alert: a} }
	all := func(*Config, *clientHello) {}
	for _, tt := range []struct {
		name   string
		change func(*Config, *clientHello)
		want   outcome
	}{
		{"our first suite", all, outcome{dhe, 256, 0}},
		{"our order, not the client's", func(c *Config, h *clientHello) {
			c.CipherSuites = []uint16{ecdhe, dhe}
			h.suites = []uint16{dhe, ecdhe}
		}, outcome{ecdhe, tls.X25519, 0}},
		{"our order of curves", func(c *Config, h *clientHello) {
			c.CipherSuites = []uint16{ecdhe}
			c.CurvePreferences = []tls.CurveID{tls.CurveP521, tls.CurveP256}
		}, outcome{ecdhe, tls.CurveP256, 0}},
		{"suites that we lack are passed over", func(c *Config, _ *clientHello) { c.CipherSuites = []uint16{0xC0AC, rsa} }, outcome{rsa, 0, 0}},
		{"no suite in common", func(_ *Config, h *clientHello) { h.suites = []uint16{0xC0AC, 0x1301} }, refused(alertHandshakeFailure)},

		// RFC 5246 appendix E.1, RFC 8446 §4.2.1.
		{"TLS 1.1", func(_ *Config, h *clientHello) { h.version = tls.VersionTLS11 }, refused(alertProtocolVersion)},
		{"SSL 3.0", func(_ *Config, h *clientHello) { h.version = 0x0300 }, refused(alertProtocolVersion)},
		{"version 3.4", func(_ *Config, h *clientHello) { h.version = 0x0304 }, outcome{dhe, 256, 0}},
		{"version 4.0", func(_ *Config, h *clientHello) { h.version = 0x0400 }, outcome{dhe, 256, 0}},
		{"supported_versions with 1.2", func(_ *Config, h *clientHello) { h.offer(extSupportedVersions); h.versions = []uint16{0x0304, 0x0303} }, outcome{dhe, 256, 0}},
		{"supported_versions without 1.2", func(_ *Config, h *clientHello) { h.offer(extSupportedVersions); h.versions = []uint16{0x0304, 0x0302} }, refused(alertProtocolVersion)},
		{"SSL 3.0 beside supported_versions", func(_ *Config, h *clientHello) {
			h.offer(extSupportedVersions)
			h.version, h.versions = 0x0300, []uint16{0x0303}
		}, refused(alertProtocolVersion)},
		{"supported_versions overrule", func(_ *Config, h *clientHello) {
			h.offer(extSupportedVersions)
			h.version, h.versions = 0x0301, []uint16{0x0303}
		}, outcome{dhe, 256, 0}},

		// RFC 7507 §3.
		{"fallback from our best", func(_ *Config, h *clientHello) { h.suites = append(h.suites, suiteFallback) }, outcome{dhe, 256, 0}},
		{"fallback below our best", func(c *Config, h *clientHello) {
			c.MaxVersion = tls.VersionTLS13
			h.suites = append(h.suites, suiteFallback)
		}, refused(alertInappropriateFallback)},

		{"compression without null", func(_ *Config, h *clientHello) { h.compressions = []byte{1} }, refused(alertIllegalParameter)},
		{"compression with null", func(_ *Config, h *clientHello) { h.compressions = []byte{1, 0} }, outcome{dhe, 256, 0}},

		// RFC 8422 §5.1.
		{"no curve of ours", func(c *Config, h *clientHello) {
			c.CipherSuites = []uint16{ecdhe, rsa}
			h.groups = []tls.CurveID{30, 257}
		}, outcome{rsa, 0, 0}},
		{"no groups: no ECDHE", func(c *Config, h *clientHello) {
			c.CipherSuites = []uint16{ecdhe, dhe}
			h.without(extSupportedGroups)
			h.groups = nil
		}, outcome{dhe, 256, 0}},
		{"no groups, ECDHE alone", func(c *Config, h *clientHello) {
			c.CipherSuites = []uint16{ecdhe}
			h.without(extSupportedGroups)
			h.groups = nil
		}, refused(alertHandshakeFailure)},
		{"compressed points alone", func(_ *Config, h *clientHello) { h.pointFormats = []byte{1, 2} }, refused(alertIllegalParameter)},
		{"no point formats", func(c *Config, h *clientHello) { c.CipherSuites = []uint16{ecdhe}; h.without(extECPointFormats) }, outcome{ecdhe, tls.X25519, 0}},

		// RFC 7919 §4.
		{"our order of finite field groups", func(c *Config, h *clientHello) {
			c.CurvePreferences = []tls.CurveID{257, 256}
			h.groups = []tls.CurveID{256, 257}
		}, outcome{dhe, 257, 0}},
		{"finite field groups listed, one of ours", func(_ *Config, h *clientHello) { h.groups = []tls.CurveID{260, 257} }, outcome{dhe, 257, 0}},
		{"finite field groups listed, none of ours", func(c *Config, h *clientHello) { h.groups = []tls.CurveID{260, 29}; h.suites = []uint16{dhe, ecdhe} }, outcome{ecdhe, tls.X25519, 0}},
		{"nothing but DHE then", func(_ *Config, h *clientHello) { h.groups = []tls.CurveID{260, 29}; h.suites = []uint16{dhe} }, refused(alertInsufficientSecurity)},
		{"a private finite field group", func(_ *Config, h *clientHello) { h.groups = []tls.CurveID{511}; h.suites = []uint16{dhe} }, refused(alertInsufficientSecurity)},
		{"not in the range", func(_ *Config, h *clientHello) { h.groups = []tls.CurveID{512, 255}; h.suites = []uint16{dhe} }, outcome{dhe, 256, 0}},
		{"curves alone: the client never heard of the RFC", func(_ *Config, h *clientHello) { h.groups = []tls.CurveID{29} }, outcome{dhe, 256, 0}},

		// RFC 5246 §7.4.1.4.1.
		{"SHA-1 alone", func(_ *Config, h *clientHello) { h.schemes = []tls.SignatureScheme{tls.PKCS1WithSHA1} }, outcome{rsa, 0, 0}},
		{"SHA-1 alone, allowed", func(c *Config, h *clientHello) {
			c.SHA1Signatures = true
			h.schemes = []tls.SignatureScheme{tls.PKCS1WithSHA1}
		}, outcome{dhe, 256, 0}},
		{"no signature_algorithms", func(_ *Config, h *clientHello) { h.without(extSignatureAlgorithms) }, outcome{rsa, 0, 0}},
		{"no signature_algorithms, SHA-1 allowed", func(c *Config, h *clientHello) { c.SHA1Signatures = true; h.without(extSignatureAlgorithms) }, outcome{dhe, 256, 0}},
		{"signatures that RSA can't make", func(_ *Config, h *clientHello) {
			h.schemes = []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.Ed25519}
			h.suites = []uint16{dhe, ecdhe}
		}, refused(alertHandshakeFailure)},

		// RFC 5746 §3.6.
		{"renegotiation_info not empty", func(_ *Config, h *clientHello) { h.renegotiationInfo = []byte{1} }, refused(alertHandshakeFailure)},

		// RFC 7301 §3.2.
		{"protocol of ours", func(c *Config, h *clientHello) {
			c.NextProtos = []string{"amqp"}
			h.offer(extALPN)
			h.protocols = []string{"x", "amqp"}
		}, outcome{dhe, 256, 0}},
		{"no protocol of ours", func(c *Config, h *clientHello) {
			c.NextProtos = []string{"amqp"}
			h.offer(extALPN)
			h.protocols = []string{"x"}
		}, refused(alertNoApplicationProtocol)},
		{"protocols when we have none", func(_ *Config, h *clientHello) { h.offer(extALPN); h.protocols = []string{"x"} }, outcome{dhe, 256, 0}},

		{"GetCertificate knows no such name", func(c *Config, _ *clientHello) {
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return nil, fmt.Errorf("x: %w", ErrUnrecognizedName)
			}
		}, refused(alertUnrecognizedName)},
		{"GetCertificate fails", func(c *Config, _ *clientHello) {
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errWouldBlock }
		}, refused(alertInternalError)},
		{"GetCertificate leaves it to Certificates", func(c *Config, _ *clientHello) {
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }
		}, outcome{dhe, 256, 0}},
		{"no certificate", func(c *Config, _ *clientHello) { c.Certificates = nil }, refused(alertUnrecognizedName)},
		{"a certificate for no suite", func(c *Config, _ *clientHello) { c.Certificates = []tls.Certificate{*testPKI().serverECDSA} }, refused(alertHandshakeFailure)},
		{"a certificate without a key", func(c *Config, _ *clientHello) {
			c.Certificates = []tls.Certificate{{Certificate: testPKI().server.Certificate}}
		}, refused(alertInternalError)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := testConfig()
			c := newClient(t, config)
			tt.change(config, &c.hello)
			err := c.handshake()
			if tt.want.alert != 0 {
				checkRefused(t, c, tt.want.alert)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s := c.server.ConnectionState(); s.CipherSuite != tt.want.suite || s.CurveID != tt.want.group {
				t.Errorf("got %04X with group %d, want %04X with %d", s.CipherSuite, s.CurveID, tt.want.suite, tt.want.group)
			}
		})
	}
}

// offer puts extensions into the hello.
func (m *clientHello) offer(extensions ...uint16) { m.extensions = append(m.extensions, extensions...) }

// checkRefused checks that the server's handshake, or connection, has ended with
// an alert: the only thing that the client is sent, its fault in the error, and
// the answer to every further call.
func checkRefused(t *testing.T, c *client, want alert) {
	t.Helper()
	err := c.server.Handshake()
	if c.server.handshakeDone.Load() {
		_, err = c.server.Read(make([]byte, 1))
	}
	op, ok := err.(*net.OpError)
	if !ok || op.Op != "local error" {
		t.Fatalf("server's error is %#v (%v), want a local error", err, err)
	}
	if f, ok := op.Err.(*fault); !ok || f.alert != want {
		t.Fatalf("server's error is %v, want %v", err, want)
	}
	if isTemporary(err) {
		t.Error("the error is temporary")
	}
	if again := c.server.Handshake(); !c.server.handshakeDone.Load() && again != err {
		t.Errorf("Handshake again: %v", again)
	}
	if _, again := c.server.Read(make([]byte, 1)); again != err {
		t.Errorf("Read: %v", again)
	}
	if _, again := c.server.Write([]byte("x")); again != err {
		t.Errorf("Write: %v", again)
	}
	if err := c.server.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if !c.conn.closed {
		t.Error("the connection below is open")
	}
	checkLastAlert(t, c, alertLevelFatal, want)
}

// checkLastAlert reads what the server has sent to its end: an alert.
func checkLastAlert(t *testing.T, c *client, level uint8, want alert) {
	t.Helper()
	last, err := c.lastSent()
	if err != nil {
		t.Fatal(err)
	}
	if last.recordType != recordAlert || !bytes.Equal(last.data, []byte{level, byte(want)}) {
		t.Fatalf("the server's last record is %+v, want alert %v of level %d", last, want, level)
	}
}

// lastSent returns the last record that the server sent.
func (c *client) lastSent() (last record, err error) {
	if c.rest != nil {
		return *c.rest, nil
	}
	for {
		r, err := c.readRecord()
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			return last, err
		}
		last = r
	}
}

// Without extensions the answer has none, and RSA key exchange is what is left.
func TestHelloWithoutExtensions(t *testing.T) {
	c := newClient(t, testConfig())
	c.hello.without(c.hello.extensions...)
	c.hello.extensions, c.hello.serverName, c.hello.groups = nil, "", nil
	c.mustHandshake()
	if want := (serverHello{random: c.reply.random, suite: 0x003D}); fmt.Sprint(c.reply) != fmt.Sprint(want) {
		t.Errorf("ServerHello %+v", c.reply)
	}
	c.exchange()
}

// RFC 5746 §3.6: the signalling suite is as good as the extension.
func TestRenegotiationSignal(t *testing.T) {
	for _, tt := range []struct {
		extension, suite, want bool
	}{{true, false, true}, {false, true, true}, {true, true, true}, {false, false, false}} {
		c := newClient(t, testConfig())
		if !tt.extension {
			c.hello.without(extRenegotiationInfo)
		}
		if tt.suite {
			c.hello.suites = append(c.hello.suites, suiteRenegotiationInfo)
		}
		c.mustHandshake()
		if c.reply.renegotiationInfo != tt.want {
			t.Errorf("%+v: renegotiation_info is %v", tt, c.reply.renegotiationInfo)
		}
	}
}

// RFC 8446 §4.1.3.
func TestDowngradeMarker(t *testing.T) {
	marker := []byte{0x44, 0x4F, 0x57, 0x4E, 0x47, 0x52, 0x44, 0x01}
	for version, want := range map[uint16]bool{0: false, tls.VersionTLS12: false, tls.VersionTLS13: true} {
		config := testConfig()
		config.MaxVersion = version
		for range 2 { // in full, and resumed
			c := newClient(t, config)
			c.mustHandshake()
			if got := bytes.HasSuffix(c.reply.random[:], marker); got != want {
				t.Errorf("best version %#04x: marker is %v", version, got)
			}
		}
	}
}

// The client's first scheme that the key can do signs ServerKeyExchange.
func TestServerKeyExchangeSignatures(t *testing.T) {
	for _, tt := range []struct {
		offered []tls.SignatureScheme
		own     []tls.SignatureScheme
		bits    int
		want    tls.SignatureScheme
	}{
		{[]tls.SignatureScheme{tls.PSSWithSHA256}, nil, 2048, tls.PSSWithSHA256},
		{[]tls.SignatureScheme{tls.PSSWithSHA384, tls.PSSWithSHA256}, nil, 2048, tls.PSSWithSHA384},
		{[]tls.SignatureScheme{tls.PSSWithSHA512}, nil, 2048, tls.PSSWithSHA512},
		{[]tls.SignatureScheme{tls.PKCS1WithSHA256}, nil, 2048, tls.PKCS1WithSHA256},
		{[]tls.SignatureScheme{tls.PKCS1WithSHA384}, nil, 2048, tls.PKCS1WithSHA384},
		{[]tls.SignatureScheme{tls.PKCS1WithSHA512}, nil, 2048, tls.PKCS1WithSHA512},
		{[]tls.SignatureScheme{0x0101, 0x0301, tls.ECDSAWithSHA1, tls.PKCS1WithSHA1, tls.PKCS1WithSHA256}, nil, 2048, tls.PKCS1WithSHA256},
		// The longest hash and salt don't fit into 1024 bits.
		{[]tls.SignatureScheme{tls.PSSWithSHA512, tls.PKCS1WithSHA512}, nil, 1024, tls.PKCS1WithSHA512},
		{[]tls.SignatureScheme{tls.PSSWithSHA256, tls.PKCS1WithSHA256}, []tls.SignatureScheme{tls.PKCS1WithSHA256}, 2048, tls.PKCS1WithSHA256},
	} {
		config := testConfig()
		cert := *testPKI().server
		if tt.bits == 1024 {
			cert = *testPKI().small
		}
		cert.SupportedSignatureAlgorithms = tt.own
		config.Certificates = []tls.Certificate{cert}
		c := newClient(t, config)
		c.hello.suites = []uint16{0xC028}
		c.hello.schemes = tt.offered
		if err := c.flight1(); err != nil {
			t.Fatal(err)
		}
		if got := c.server.handshaking.(*handshake).scheme; got != tt.want {
			t.Errorf("offered %v: signed with %v, want %v", tt.offered, got, tt.want)
		}
	}
}

func TestOCSPAndTimestamps(t *testing.T) {
	config := testConfig()
	config.Certificates[0].OCSPStaple = []byte("staple")
	config.Certificates[0].SignedCertificateTimestamps = [][]byte{[]byte("sct1"), []byte("sct2")}
	for _, asked := range []bool{true, false} {
		c := newClient(t, config)
		if asked {
			c.hello.offer(extStatusRequest, extSCT)
		}
		c.mustHandshake()
		if c.reply.statusRequest != asked || (string(c.status) == "staple") != asked || (len(c.reply.timestamps) == 2) != asked {
			t.Errorf("asked: %v, got staple %q and timestamps %q", asked, c.status, c.reply.timestamps)
		}
	}
}

// GetCertificate sees the hello and the connection; Certificates are chosen by
// name.
func TestCertificateChoice(t *testing.T) {
	other := testPKI().issue(mustRSA(1024), "other.test", 1)
	config := testConfig()
	config.Certificates = append(config.Certificates, *other)
	for name, want := range map[string]*tls.Certificate{"gate.test": testPKI().small, "other.test": other, "third.test": testPKI().small} {
		c := newClient(t, config)
		c.hello.serverName = name
		c.mustHandshake()
		if !bytes.Equal(c.leaf.Raw, want.Certificate[0]) {
			t.Errorf("%s: got the certificate of %q", name, c.leaf.DNSNames)
		}
	}

	var info *tls.ClientHelloInfo
	config.GetCertificate = func(i *tls.ClientHelloInfo) (*tls.Certificate, error) { info = i; return other, nil }
	c := newClient(t, config)
	c.hello.offer(extALPN)
	c.hello.protocols = []string{"amqp"}
	c.mustHandshake()
	if !bytes.Equal(c.leaf.Raw, other.Certificate[0]) {
		t.Errorf("got the certificate of %q", c.leaf.DNSNames)
	}
	if info.Conn != net.Conn(c.conn) || info.ServerName != "gate.test" || !slices.Equal(info.CipherSuites, c.hello.suites) ||
		!slices.Equal(info.SupportedCurves, c.hello.groups) || !slices.Equal(info.SignatureSchemes, c.hello.schemes) ||
		!slices.Equal(info.SupportedProtos, c.hello.protocols) || !slices.Equal(info.SupportedVersions, []uint16{tls.VersionTLS12}) ||
		!slices.Equal(info.SupportedPoints, c.hello.pointFormats) || !slices.Equal(info.Extensions, c.hello.extensions) {
		t.Errorf("ClientHelloInfo %+v", info)
	}
}

// A ticket is worth what was negotiated, while that is still allowed.
func TestResumption(t *testing.T) {
	now := time.Now()
	type change func(*Config, *client)
	for _, tt := range []struct {
		name          string
		first, second change
		resumed       bool
		alert         alert
	}{
		{"as it was", nil, nil, true, 0},
		{"after a day", nil, func(c *Config, _ *client) { c.Time = func() time.Time { return now.Add(24*time.Hour + time.Minute) } }, false, 0},
		{"after less than a day", nil, func(c *Config, _ *client) { c.Time = func() time.Time { return now.Add(24*time.Hour - time.Minute) } }, true, 0},
		{"after the lifetime", nil, func(c *Config, _ *client) {
			c.TicketLifetime, c.Time = time.Hour, func() time.Time { return now.Add(time.Hour + time.Minute) }
		}, false, 0},
		{"in another context", nil, func(c *Config, _ *client) { c.SessionContext = "other" }, false, 0},
		{"in its context", func(c *Config, _ *client) { c.SessionContext = "same" }, nil, true, 0},
		{"keys gone", nil, func(c *Config, _ *client) { c.Tickets = testTickets(9) }, false, 0},
		{"tickets off", nil, func(c *Config, _ *client) { c.Tickets = nil }, false, 0},
		{"suite no longer allowed", nil, func(c *Config, _ *client) { c.CipherSuites = []uint16{0x003D} }, false, 0},
		{"suite no longer offered", nil, func(_ *Config, c *client) { c.hello.suites = []uint16{0x003D} }, false, 0},
		{"suite no longer preferred", nil, func(c *Config, _ *client) { c.CipherSuites = []uint16{0x003D, 0x009F} }, true, 0},
		{"group no longer allowed", nil, func(c *Config, _ *client) { c.CurvePreferences = []tls.CurveID{257} }, false, 0},
		{"another name", nil, func(_ *Config, c *client) { c.hello.serverName = "other.test" }, false, 0},
		{"no name", nil, func(_ *Config, c *client) { c.hello.without(extServerName); c.hello.serverName = "" }, false, 0},
		{"certificate required now", nil, func(c *Config, _ *client) { c.ClientAuth = tls.RequireAnyClientCert }, false, alertHandshakeFailure},
		{"damaged ticket", nil, func(_ *Config, c *client) { c.session.ticket[40] ^= 1 }, false, 0},
		{"short ticket", nil, func(_ *Config, c *client) { c.session.ticket = c.session.ticket[:20] }, false, 0},
		// RFC 7627 §5.3.
		{"EMS from now on", func(_ *Config, c *client) { c.hello.without(extExtendedMasterSecret) }, nil, false, 0},
		{"EMS no longer", nil, func(_ *Config, c *client) { c.hello.without(extExtendedMasterSecret) }, false, alertHandshakeFailure},
		{"never EMS", func(_ *Config, c *client) { c.hello.without(extExtendedMasterSecret) },
			func(_ *Config, c *client) { c.hello.without(extExtendedMasterSecret) }, true, 0},
		// RFC 7366 §3: extensions are of the connection.
		{"EtM no longer", func(_ *Config, c *client) { c.hello.suites = []uint16{0x006B} },
			func(_ *Config, c *client) { c.hello.without(extEncryptThenMAC) }, true, 0},
		{"EtM from now on", func(_ *Config, c *client) { c.hello.suites = []uint16{0x006B}; c.hello.without(extEncryptThenMAC) }, nil, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := testConfig()
			c := newClient(t, config)
			if tt.first != nil {
				tt.first(config, c)
			}
			c.mustHandshake()

			again := newClient(t, config)
			again.session = c.kept()
			if tt.second != nil {
				tt.second(config, again)
			}
			err := again.handshake()
			if tt.alert != 0 {
				checkRefused(t, again, tt.alert)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := again.server.ConnectionState().DidResume; got != tt.resumed || again.resumed() != tt.resumed {
				t.Fatalf("resumed: %v, the client's view %v", got, again.resumed())
			}
			again.exchange()
		})
	}
}
