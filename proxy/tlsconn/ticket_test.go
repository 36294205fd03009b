package tlsconn

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"
	"time"
)

func TestTicketKeys(t *testing.T) {
	state := []byte("state")
	ticket := testTickets(1).seal(state, "context")
	for _, tt := range []struct {
		name    string
		keys    *TicketKeys
		opens   bool
		current bool
	}{
		{"the same", testTickets(1), true, true},
		{"rotated", testTickets(2, 1), true, false},
		{"two behind", testTickets(3, 2, 1), true, false},
		{"gone", testTickets(3, 2), false, false},
		{"none", testTickets(), false, false},
		{"never set", new(TicketKeys), false, false},
		{"nil", nil, false, false},
	} {
		got, current := tt.keys.open(ticket, "context")
		if (got != nil) != tt.opens || current != tt.current || tt.opens && !bytes.Equal(got, state) {
			t.Errorf("%s: %q, %v", tt.name, got, current)
		}
	}
	if testTickets().seal(state, "") != nil || (*TicketKeys)(nil).seal(state, "") != nil {
		t.Error("sealed without a key")
	}
	if testTickets(1).seal(make([]byte, maxTicket), "") != nil {
		t.Error("sealed a ticket that is too long to be sent")
	}
	if bytes.Equal(testTickets(1).seal(state, "context"), ticket) {
		t.Error("a nonce was used twice")
	}
	for _, context := range []string{"", "contex", "context2"} {
		if got, _ := testTickets(1).open(ticket, context); got != nil {
			t.Errorf("opened in the context %q", context)
		}
	}
	for i := range ticket {
		changed := bytes.Clone(ticket)
		changed[i] ^= 0x10
		if got, _ := testTickets(1).open(changed, "context"); got != nil {
			t.Errorf("opened with byte %d changed", i)
		}
		if got, _ := testTickets(1).open(ticket[:i], "context"); got != nil {
			t.Errorf("opened with %d bytes", i)
		}
	}
}

func TestSessionRoundTrip(t *testing.T) {
	want := &session{
		suite: 0xC028, group: tls.CurveP384, extendedMasterSecret: true, created: time.Unix(1800000000, 0),
		masterSecret: bytes.Repeat([]byte{7}, masterSecretLen), serverName: "gate.test",
		peerCertificates: []*x509.Certificate{testPKI().clientRSA.Leaf, testPKI().ca},
	}
	state, err := want.marshal()
	must(err)
	got, err := parseSession(state)
	if err != nil {
		t.Fatal(err)
	}
	if got.suite != want.suite || got.group != want.group || !got.extendedMasterSecret || !got.created.Equal(want.created) ||
		!bytes.Equal(got.masterSecret, want.masterSecret) || got.serverName != want.serverName ||
		len(got.peerCertificates) != 2 || !got.peerCertificates[0].Equal(want.peerCertificates[0]) {
		t.Errorf("%+v", got)
	}
	fixed := 1 + 2 + 2 + 1 + 8 + masterSecretLen + 1 + len(want.serverName)
	whole := 3 + len(want.peerCertificates[0].Raw) // a state may end between certificates
	for n := range state {
		if _, err := parseSession(state[:n]); err == nil && n != fixed && n != fixed+whole {
			t.Errorf("parsed %d bytes", n)
		}
	}
	for i, b := range map[int]byte{0: 2, 5: 2} {
		changed := bytes.Clone(state)
		changed[i] = b
		if _, err := parseSession(changed); err == nil {
			t.Errorf("parsed with %d at %d", b, i)
		}
	}
}

// A renewed ticket does not prolong the life of the master secret.
func TestTicketLifetime(t *testing.T) {
	start := time.Now()
	now := start
	config := testConfig()
	config.Time = func() time.Time { return now }
	c := newClient(t, config)
	c.mustHandshake()
	for i, elapsed := range []time.Duration{10 * time.Hour, 20 * time.Hour, 25 * time.Hour} {
		now = start.Add(elapsed)
		config.Tickets = testTickets(byte(i+2), byte(i+1)) // so that it is renewed
		again := newClient(t, config)
		again.session = c.kept()
		again.mustHandshake()
		if again.resumed() != (elapsed < 24*time.Hour) || !again.gotTicket {
			t.Errorf("after %v: resumed: %v, a new ticket: %v", elapsed, again.resumed(), again.gotTicket)
		}
		left := 24 * time.Hour
		if again.resumed() {
			left -= elapsed
		}
		if hint := time.Duration(again.lifetime) * time.Second; hint > left || hint < left-2*time.Second {
			t.Errorf("after %v: the hint is %v, want %v", elapsed, hint, left)
		}
		c = again
	}
}

// RFC 5077 §3.3: keys that go between ServerHello and NewSessionTicket make for
// an empty ticket, and so do certificates that are too long.
func TestEmptyTicket(t *testing.T) {
	t.Run("keys gone", func(t *testing.T) {
		c := newClient(t, testConfig())
		if err := c.flight1(); err != nil {
			t.Fatal(err)
		}
		c.server.config.Tickets.Set(nil)
		if err := c.flight2(); err != nil || !c.gotTicket || len(c.ticket) != 0 {
			t.Errorf("%v, ticket %x", err, c.ticket)
		}
	})
	t.Run("long certificates", func(t *testing.T) {
		config := testConfig()
		config.ClientAuth = tls.RequestClientCert
		c := newClient(t, config)
		c.certificate = testPKI().issue(mustECDSA(), "long", x509.ExtKeyUsageClientAuth, func(template *x509.Certificate) {
			template.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Value: make([]byte, maxTicket-460)}}
		})
		if err := c.handshake(); err != nil || !c.gotTicket || len(c.ticket) != 0 {
			t.Errorf("%v, ticket of %d bytes", err, len(c.ticket))
		}
	})
}
