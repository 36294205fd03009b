package tlsconn

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"testing"
	"time"
)

// Every suite and group, with a share at once and after a HelloRetryRequest, in full
// and resumed; and what a resumed session is good for, another time.
func TestHandshake13(t *testing.T) {
	for _, suite := range CipherSuites13() {
		for _, group := range []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521} {
			for _, retries := range []int{0, 1} {
				t.Run(fmt.Sprintf("%04X %v retries=%d", suite, group, retries), func(t *testing.T) {
					config := testConfig13()
					config.CurvePreferences = []tls.CurveID{group}
					var kept *session13
					for round := range 3 {
						c := newClient13(t, config)
						c.hello.suites, c.shares, c.session = []uint16{suite}, []tls.CurveID{group}, kept
						if retries > 0 {
							c.shares = []tls.CurveID{tls.CurveP256 ^ tls.CurveP384 ^ min(group, tls.CurveP384)}
							if group != tls.CurveP256 && group != tls.CurveP384 {
								c.shares = []tls.CurveID{tls.CurveP256}
							}
						}
						c.mustHandshake()
						if c.resumed != (round > 0) || c.retries != retries || c.ticket == nil {
							t.Fatalf("round %d: resumed %v, %d retries, ticket %v", round, c.resumed, c.retries, c.ticket)
						}
						kept = c.ticket
						checkState13(t, c, suite, group)
						c.exchange()
					}
				})
			}
		}
	}
}

func checkState13(t *testing.T, c *client13, suite uint16, group tls.CurveID) {
	t.Helper()
	s := c.server.ConnectionState()
	if s.Version != tls.VersionTLS13 || s.CipherSuite != suite || s.CurveID != group || s.DidResume != c.resumed || s.ServerName != "gate.test" || len(s.TLSUnique) > 0 {
		t.Errorf("state %+v", s)
	}
	want, err := exportKeyingMaterial13(c.suite.hash, c.exporter, "EXPORTER-x", []byte("context"), 20)
	must(err)
	if got, err := c.server.ExportKeyingMaterial("EXPORTER-x", []byte("context"), 20); err != nil || !bytes.Equal(got, want) {
		t.Errorf("exported %x, %v; want %x", got, err, want)
	}
}

// What is negotiated beside suite and group.
func TestNegotiation13(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config func(*Config)
		client func(*client13)
		check  func(*client13) bool
	}{
		{"protocol", func(c *Config) { c.NextProtos = []string{"mqtt", "amqp"} }, func(c *client13) {
			c.hello.extensions, c.hello.protocols = append(c.hello.extensions, extALPN), []string{"amqp", "mqtt"}
		}, func(c *client13) bool {
			return c.alpn == "mqtt" && c.server.ConnectionState().NegotiatedProtocol == "mqtt"
		}},
		{"no name", nil, func(c *client13) { c.hello.without(extServerName) }, func(c *client13) bool { return !c.named }},
		{"a name", nil, nil, func(c *client13) bool { return c.named }},
		{"our order of suites", func(c *Config) {
			c.CipherSuites = []uint16{tls.TLS_CHACHA20_POLY1305_SHA256, tls.TLS_AES_128_GCM_SHA256}
		}, nil,
			func(c *client13) bool { return c.suite.id == tls.TLS_CHACHA20_POLY1305_SHA256 }},
		{"our order of groups", func(c *Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384, tls.X25519} }, nil,
			func(c *client13) bool { return c.retries == 1 && c.server.ConnectionState().CurveID == tls.CurveP384 }},
		{"shares of many others", nil, func(c *client13) { offerUnknown(c, 1000) }, func(c *client13) bool { return c.retries == 0 }},
		{"no middlebox in between", nil, func(c *client13) { c.hello.sessionID = nil }, func(c *client13) bool { return c.server.in.useless == 0 }},
		{"RSA", func(c *Config) { c.Certificates = []tls.Certificate{*testPKI().server} }, nil, nil},
		{"Ed25519", func(c *Config) { c.Certificates = []tls.Certificate{*testPKI().serverEd25519} }, nil, nil},
		{"staple and timestamps", func(c *Config) {
			c.Certificates[0].OCSPStaple, c.Certificates[0].SignedCertificateTimestamps = []byte("staple"), [][]byte{[]byte("time")}
		}, func(c *client13) {
			c.hello.statusRequest, c.hello.timestamps = true, true
			c.hello.extensions = append(c.hello.extensions, extStatusRequest, extSCT)
		}, func(c *client13) bool {
			return bytes.Equal(c.status, []byte("\x00\x05\x00\x0a\x01\x00\x00\x06staple\x00\x12\x00\x08\x00\x06\x00\x04time"))
		}},
		{"staple and timestamps that nobody wants", func(c *Config) {
			c.Certificates[0].OCSPStaple, c.Certificates[0].SignedCertificateTimestamps = []byte("staple"), [][]byte{[]byte("time")}
		}, nil, func(c *client13) bool { return len(c.status) == 0 }},
		{"a client without tickets", nil, func(c *client13) { c.pskModes = nil }, func(c *client13) bool { return c.ticket == nil }},
		{"a client without forward secrecy", nil, func(c *client13) { c.pskModes = []byte{0} }, func(c *client13) bool { return c.ticket == nil }},
		{"no tickets here", func(c *Config) { c.Tickets = nil }, nil, func(c *client13) bool { return c.ticket == nil }},
		{"the ticket's life", func(c *Config) { c.TicketLifetime = 90 * 24 * time.Hour }, nil, func(c *client13) bool { return c.ticket.lifetime == 7*24*3600 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := testConfig13()
			config.CurvePreferences = []tls.CurveID{tls.X25519}
			if tt.config != nil {
				tt.config(config)
			}
			c := newClient13(t, config)
			if tt.client != nil {
				tt.client(c)
			}
			c.mustHandshake()
			if tt.check != nil && !tt.check(c) {
				t.Errorf("state %+v, client %+v", c.server.ConnectionState(), c)
			}
			c.exchange()
		})
	}
}

// When a session is not resumed, and the handshake is a full one.
func TestNotResumed13(t *testing.T) {
	start := time.Now()
	for _, tt := range []struct {
		name   string
		config func(*Config)
		client func(*client13)
		want   bool
	}{
		{"the same again", nil, nil, true},
		{"another server's ticket before it", nil, func(c *client13) { c.foreign = 1 }, true},
		{"another suite with its hash", nil, func(c *client13) { c.hello.suites = []uint16{tls.TLS_CHACHA20_POLY1305_SHA256} }, true},
		{"another hash", nil, func(c *client13) { c.hello.suites = []uint16{tls.TLS_AES_256_GCM_SHA384} }, false},
		{"another name", nil, func(c *client13) { c.hello.serverName = "other.test" }, false},
		{"no name", nil, func(c *client13) { c.hello.without(extServerName); c.hello.serverName = "" }, false},
		{"without forward secrecy", nil, func(c *client13) { c.pskModes = []byte{0} }, false},
		{"another context", func(c *Config) { c.SessionContext = "other" }, nil, false},
		{"another key", func(c *Config) { c.Tickets = testTickets(2) }, nil, false},
		{"an older key", func(c *Config) { c.Tickets = testTickets(2, 1) }, nil, true},
		{"a certificate is required", func(c *Config) { c.ClientAuth = tls.RequireAnyClientCert }, func(c *client13) { c.certificate = testPKI().clientECDSA }, false},
		{"a certificate is requested", func(c *Config) { c.ClientAuth = tls.RequestClientCert }, nil, true},
		{"just in time", func(c *Config) { c.Time = func() time.Time { return start.Add(24*time.Hour - 2*time.Second) } }, nil, true},
		{"too late", func(c *Config) { c.Time = func() time.Time { return start.Add(24 * time.Hour) } }, nil, false},
		{"behind five others", nil, func(c *client13) { c.foreign = maxIdentities }, false},
		{"behind four others", nil, func(c *client13) { c.foreign = maxIdentities - 1 }, true},
		{"for longer than TLS allows", func(c *Config) {
			c.TicketLifetime = 90 * 24 * time.Hour
			c.Time = func() time.Time { return start.Add(maxTicketLifetime) }
		}, nil, false},
		{"a session that is refused now", func(c *Config) { c.VerifySession = func([]*x509.Certificate) error { return errWouldBlock } }, nil, false},
		{"a ticket of TLS 1.2", nil, func(c *client13) {
			state, err := (&session{suite: 0xC027, masterSecret: make([]byte, masterSecretLen), created: start, serverName: "gate.test"}).marshal()
			must(err)
			c.session = &session13{ticket: testTickets(1).seal(state, ""), secret: c.session.secret}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := testConfig13()
			config.Time = func() time.Time { return start }
			config.CurvePreferences = []tls.CurveID{tls.X25519}
			first := newClient13(t, config)
			first.hello.suites = []uint16{tls.TLS_AES_128_GCM_SHA256}
			first.mustHandshake()
			changed := *config
			if tt.config != nil {
				tt.config(&changed)
			}
			c := newClient13(t, &changed)
			c.hello.suites, c.session = []uint16{tls.TLS_AES_128_GCM_SHA256}, first.ticket
			if tt.client != nil {
				tt.client(c)
			}
			c.mustHandshake()
			if c.resumed != tt.want || c.server.ConnectionState().DidResume != tt.want {
				t.Errorf("resumed: %v", c.resumed)
			}
			c.exchange()
		})
	}
}

// A session does not live longer for being resumed.
func TestResumedLifetime13(t *testing.T) {
	now := time.Now()
	config := testConfig13()
	config.Time = func() time.Time { return now }
	var kept *session13
	for i, resumed := range []bool{false, true, true, false} {
		c := newClient13(t, config)
		c.session = kept
		c.mustHandshake()
		if c.resumed != resumed {
			t.Errorf("handshake %d: resumed %v", i, c.resumed)
		}
		kept = c.ticket
		now = now.Add(9 * time.Hour)
	}
}

// A certificate may say what it signs with.
func TestCertificateSchemes13(t *testing.T) {
	config := testConfig13()
	certificate := *testPKI().server
	certificate.SupportedSignatureAlgorithms = []tls.SignatureScheme{tls.PSSWithSHA512}
	config.Certificates = []tls.Certificate{certificate}
	c := newClient13(t, config)
	_ = c.handshake()
	checkRefused(t, c.client, alertHandshakeFailure)
	c = newClient13(t, config)
	c.hello.schemes = append(c.hello.schemes, tls.PSSWithSHA512)
	c.mustHandshake()
	if c.scheme != tls.PSSWithSHA512 {
		t.Errorf("signed with %v", c.scheme)
	}
}

// Client certificates, which a session keeps.
func TestClientCertificates13(t *testing.T) {
	p := testPKI()
	for _, certificate := range []*tls.Certificate{p.clientRSA, p.clientECDSA, p.clientEd25519} {
		t.Run(certificate.Leaf.Subject.CommonName, func(t *testing.T) {
			config := testConfig13()
			config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, p.roots
			var kept *session13
			for range 2 {
				c := newClient13(t, config)
				c.certificate, c.session = certificate, kept
				c.mustHandshake()
				if c.resumed != (kept != nil) || c.requested == c.resumed || c.ticket == nil {
					t.Fatalf("resumed %v, requested %v, ticket %v", c.resumed, c.requested, c.ticket)
				}
				if s := c.server.ConnectionState(); len(s.PeerCertificates) != 1 || !s.PeerCertificates[0].Equal(certificate.Leaf) || len(s.VerifiedChains) != 1 {
					t.Errorf("state %+v", s)
				}
				kept = c.ticket
				c.exchange()
			}
		})
	}
}

// A whole session in which, in both directions, every byte comes with a temporary
// error before it: with HelloRetryRequest, client certificate, and resumed.
func TestTemporaryErrorAtEveryByte13(t *testing.T) {
	config := testConfig13()
	config.ClientAuth, config.CurvePreferences = tls.RequireAnyClientCert, []tls.CurveID{tls.CurveP256}
	var kept *session13
	for range 2 {
		c := newClient13(t, config)
		c.conn.stutter = true
		c.certificate, c.session = testPKI().clientECDSA, kept
		c.mustHandshake()
		if c.resumed != (kept != nil) || c.retries != 1 {
			t.Fatal("resumed:", c.resumed, "retries:", c.retries)
		}
		kept = c.ticket
		stutteringData(t, c.client)
		c.write(recordHandshake, keyUpdate(updateRequested))
		c.own = c.schedule.deriver.derive(c.own, "traffic upd", nil)
		c.out.setTraffic13(newAEAD13(c.schedule.deriver, c.suite, c.own), true)
		readToEnd(t, c.client)
		c.expectKeyUpdate()
		stutteringData(t, c.client)
		stutteringEnd(t, c.client)
	}
}

// readToEnd has the server take all that was sent, which is no data.
func readToEnd(t *testing.T, c *client) {
	t.Helper()
	for c.conn.toServer.Len() > 0 {
		if _, err := c.server.Read(make([]byte, 1)); err != errWouldBlock {
			t.Fatal(err)
		}
	}
}

// expectKeyUpdate has the client take the KeyUpdate that comes before the server's
// next data, by having it send some.
func (c *client13) expectKeyUpdate() {
	c.t.Helper()
	for n, err := c.server.Write([]byte("x")); n == 0; n, err = c.server.Write([]byte("x")) {
		if err != nil && err != errWouldBlock {
			c.t.Fatal(err)
		}
	}
	for c.server.out.writer.sealed != nil {
		if _, err := c.server.Write(nil); err != nil && err != errWouldBlock {
			c.t.Fatal(err)
		}
	}
	r, err := c.readRecord()
	if err != nil || r.recordType != recordHandshake || !bytes.Equal(r.data, keyUpdate(updateNotRequested)) {
		c.t.Fatalf("%+v, %v instead of a KeyUpdate", r, err)
	}
	c.theirs = c.schedule.deriver.derive(c.theirs, "traffic upd", nil)
	c.in.setTraffic13(newAEAD13(c.schedule.deriver, c.suite, c.theirs), false)
	if r, err := c.readRecord(); err != nil || string(r.data) != "x" {
		c.t.Fatalf("%+v, %v behind a KeyUpdate", r, err)
	}
}

// Keys change when the client says so, as often as it likes; ours when it asks, once
// for however many times it has asked.
func TestKeyUpdate(t *testing.T) {
	c := newClient13(t, testConfig13())
	c.mustHandshake()
	update := func(requested uint8) {
		c.write(recordHandshake, keyUpdate(requested))
		c.own = c.schedule.deriver.derive(c.own, "traffic upd", nil)
		c.out.setTraffic13(newAEAD13(c.schedule.deriver, c.suite, c.own), true)
	}
	for range 2 * maxUseless {
		update(updateNotRequested)
		c.exchange()
	}
	for range 3 {
		update(updateRequested)
	}
	if _, err := c.server.Read(make([]byte, 1)); err != errWouldBlock {
		t.Fatal(err)
	}
	if c.conn.toClient.Len() > 0 || c.server.out.writer.sealed != nil {
		t.Error("the answer is not put off until there is data")
	}
	c.expectKeyUpdate()
	c.exchange()

	// In two records, and the last of all: nothing is owed to who has gone.
	m := keyUpdate(updateRequested)
	c.write(recordHandshake, m[:2])
	c.write(recordHandshake, m[2:])
	c.own = c.schedule.deriver.derive(c.own, "traffic upd", nil)
	c.out.setTraffic13(newAEAD13(c.schedule.deriver, c.suite, c.own), true)
	c.write(recordAlert, []byte{alertLevelWarning, byte(alertCloseNotify)})
	if _, err := c.server.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
	must(c.server.CloseWrite())
	if r, err := c.readRecord(); err != nil || r.recordType != recordAlert {
		t.Fatalf("%+v, %v instead of close_notify", r, err)
	}
}

// Early data is what comes before anything that can be opened: no more is dropped
// behind the client's first message.
func TestEarlyDataEnds(t *testing.T) {
	config := testConfig13()
	config.ClientAuth, config.CurvePreferences = tls.RequireAnyClientCert, []tls.CurveID{tls.X25519}
	c := newClient13(t, config)
	c.session, c.earlyData = &session13{ticket: make([]byte, 100), secret: make([]byte, 48)}, true
	c.certificate = testPKI().clientECDSA
	c.send = func(r record) []record {
		if r.recordType == recordHandshake && r.data[0] == typeCertificateVerify {
			c.conn.toServer.Write(new(halfConn).seal(nil, recordApplicationData, make([]byte, 100)))
		}
		return []record{r}
	}
	_ = c.handshake()
	checkRefused(t, c.client, alertBadRecordMAC)
}

// Early data that is not wanted is dropped, in a full handshake, one that resumes,
// and around a HelloRetryRequest.
func TestEarlyData(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*client13)
		sent   int // records of 1000 bytes
		want   alert
	}{
		{"with a ticket of ours", func(*client13) {}, 3, 0},
		{"with a ticket of another server's", func(c *client13) { c.session.ticket = make([]byte, 100) }, 3, 0},
		{"before the second hello", func(c *client13) { c.shares = []tls.CurveID{tls.CurveP256} }, 3, 0},
		{"none of it", func(*client13) {}, 0, 0},
		{"too much", func(*client13) {}, 66, alertUnexpectedMessage},
		{"too much before the second hello", func(c *client13) { c.shares = []tls.CurveID{tls.CurveP256} }, 66, alertUnexpectedMessage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := testConfig13()
			config.CurvePreferences = []tls.CurveID{tls.X25519}
			first := newClient13(t, config)
			first.mustHandshake()
			c := newClient13(t, config)
			c.session, c.earlyData = first.ticket, true
			tt.change(c)
			c.send = func(r record) []record {
				if c.transcript != nil && r.data[0] == typeClientHello && c.send != nil {
					c.send = nil
					c.write(r.recordType, r.data)
					early := new(halfConn)
					early.setTraffic13(newAEAD13(newDeriver(suites13[0].hash), &suites13[0], make([]byte, 48)), true)
					for range tt.sent {
						c.conn.toServer.Write(early.seal(nil, recordApplicationData, make([]byte, 1000)))
					}
					return nil
				}
				return []record{r}
			}
			err := c.handshake()
			if tt.want != 0 {
				checkRefused(t, c.client, tt.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			c.exchange()

			// From there on what cannot be opened is what it always is.
			c.conn.toServer.Write(new(halfConn).seal(nil, recordApplicationData, make([]byte, 100)))
			checkRefused(t, c.client, alertBadRecordMAC)
		})
	}
}
