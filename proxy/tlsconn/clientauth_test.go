package tlsconn

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"testing"
	"time"
)

// What is asked of clients, what they answer, and what comes of it: in full, and
// when the session is resumed.
func TestClientAuth(t *testing.T) {
	p := testPKI()
	stranger := newAuthority().issue(mustECDSA(), "stranger", x509.ExtKeyUsageClientAuth)
	expired := p.issue(mustECDSA(), "expired", x509.ExtKeyUsageClientAuth, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	serverOnly := p.issue(mustECDSA(), "server", x509.ExtKeyUsageServerAuth)
	p384Key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	p384 := p.issue(p384Key, "P-384", x509.ExtKeyUsageClientAuth)

	for _, tt := range []struct {
		name        string
		auth        tls.ClientAuthType
		certificate *tls.Certificate
		want        alert
		verified    bool
	}{
		{"asked of nobody", tls.NoClientCert, p.clientRSA, 0, false},
		{"requested, none", tls.RequestClientCert, nil, 0, false},
		{"requested, any", tls.RequestClientCert, stranger, 0, false},
		{"required, none", tls.RequireAnyClientCert, nil, alertHandshakeFailure, false},
		{"required, any", tls.RequireAnyClientCert, stranger, 0, false},
		{"optional, none", tls.VerifyClientCertIfGiven, nil, 0, false},
		{"optional, RSA", tls.VerifyClientCertIfGiven, p.clientRSA, 0, true},
		{"optional, stranger's", tls.VerifyClientCertIfGiven, stranger, alertUnknownCA, false},
		{"verified, none", tls.RequireAndVerifyClientCert, nil, alertHandshakeFailure, false},
		{"verified, RSA", tls.RequireAndVerifyClientCert, p.clientRSA, 0, true},
		{"verified, ECDSA", tls.RequireAndVerifyClientCert, p.clientECDSA, 0, true},
		{"verified, ECDSA of another curve", tls.RequireAndVerifyClientCert, p384, 0, true},
		{"verified, Ed25519", tls.RequireAndVerifyClientCert, p.clientEd25519, 0, true},
		{"verified, stranger's", tls.RequireAndVerifyClientCert, stranger, alertUnknownCA, false},
		{"verified, expired", tls.RequireAndVerifyClientCert, expired, alertCertificateExpired, false},
		{"verified, for servers", tls.RequireAndVerifyClientCert, serverOnly, alertBadCertificate, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := testConfig()
			config.ClientAuth, config.ClientCAs = tt.auth, p.roots
			var kept *clientSession
			for _, resumed := range []bool{false, true} {
				c := newClient(t, config)
				c.certificate, c.session = tt.certificate, kept
				err := c.handshake()
				if tt.want != 0 {
					checkRefused(t, c, tt.want)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				c.exchange()
				kept = c.kept()

				state := c.server.ConnectionState()
				if state.DidResume != resumed || c.requested != (tt.auth != tls.NoClientCert && !resumed) {
					t.Errorf("resumed: %v, certificate requested: %v", state.DidResume, c.requested)
				}
				if given := tt.certificate != nil && tt.auth != tls.NoClientCert; given != (len(state.PeerCertificates) == 1) {
					t.Errorf("certificates: %v", state.PeerCertificates)
				} else if given && !bytes.Equal(state.PeerCertificates[0].Raw, tt.certificate.Certificate[0]) {
					t.Error("another certificate")
				}
				if tt.verified != (len(state.VerifiedChains) == 1 && len(state.VerifiedChains[0]) == 2) {
					t.Errorf("chains: %v", state.VerifiedChains)
				}
			}
		})
	}
}

func TestBadClientCertificates(t *testing.T) {
	p := testPKI()
	whole := p.clientECDSA.Certificate[0]
	// A key that is too long to be verified with: only its length matters.
	n := new(big.Int).Lsh(big.NewInt(1), maxClientRSABits)
	n.Add(n, big.NewInt(1))
	long := p.issue(publicOnly{&rsa.PublicKey{N: n, E: 65537}}, "long", x509.ExtKeyUsageClientAuth)
	for _, tt := range []struct {
		name  string
		chain certificates
		want  alert
	}{
		{"cut", certificates{whole[:len(whole)-1]}, alertBadCertificate},
		{"garbage", certificates{[]byte("garbage")}, alertBadCertificate},
		{"garbage behind the leaf", certificates{whole, []byte("garbage")}, alertBadCertificate},
		{"RSA key of 8193 bits", certificates{long.Certificate[0]}, alertBadCertificate},
	} {
		config := testConfig()
		config.ClientAuth = tls.RequestClientCert
		c := newClient(t, config)
		c.certificate = &tls.Certificate{Certificate: tt.chain, PrivateKey: p.clientECDSA.PrivateKey}
		_ = c.handshake()
		t.Run(tt.name, func(t *testing.T) { checkRefused(t, c, tt.want) })
	}
}

// The intermediate authority comes from the client, and is remembered in the
// ticket.
func TestClientChain(t *testing.T) {
	p := testPKI()
	middle := &pki{key: mustECDSA()}
	authority := p.issue(middle.key, "middle", x509.ExtKeyUsageClientAuth, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign })
	middle.ca = authority.Leaf
	leaf := middle.issue(mustECDSA(), "leaf", x509.ExtKeyUsageClientAuth)
	leaf.Certificate = append(leaf.Certificate, authority.Certificate[0])

	config := testConfig()
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, p.roots
	var kept *clientSession
	for range 2 {
		c := newClient(t, config)
		c.certificate, c.session = leaf, kept
		c.mustHandshake()
		state := c.server.ConnectionState()
		if state.DidResume != (kept != nil) || len(state.PeerCertificates) != 2 || len(state.VerifiedChains) != 1 || len(state.VerifiedChains[0]) != 3 {
			t.Errorf("state %+v", state)
		}
		kept = c.kept()
	}
}

// A resumed session's certificate is judged again.
func TestClientAuthOnResumption(t *testing.T) {
	p := testPKI()
	brief := p.issue(mustECDSA(), "brief", x509.ExtKeyUsageClientAuth, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Hour) })
	for _, tt := range []struct {
		name    string
		change  func(*Config)
		resumed bool
		alert   alert // of the full handshake that follows
	}{
		{"nothing changed", func(*Config) {}, true, 0},
		{"another authority", func(c *Config) { c.ClientCAs = x509.NewCertPool() }, false, alertUnknownCA},
		{"certificate expired", func(c *Config) { c.Time = func() time.Time { return time.Now().Add(2 * time.Hour) } }, false, alertCertificateExpired},
		{"no certificates any more", func(c *Config) { c.ClientAuth = tls.NoClientCert }, false, 0},
		{"without verification", func(c *Config) { c.ClientAuth = tls.RequireAnyClientCert }, true, 0},
		{"session refused", func(c *Config) { c.VerifySession = func([]*x509.Certificate) error { return errors.New("no") } }, false, 0},
		{"client refused", func(c *Config) {
			c.VerifySession = func([]*x509.Certificate) error { return errors.New("no") }
			c.VerifyConnection = func(tls.ConnectionState) error { return withAlert(alertCertificateRevoked) }
		}, false, alertCertificateRevoked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := testConfig()
			config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, p.roots
			first := newClient(t, config)
			first.certificate = brief
			first.mustHandshake()

			tt.change(config)
			c := newClient(t, config)
			c.certificate, c.session = brief, first.kept()
			err := c.handshake()
			if tt.alert != 0 {
				checkRefused(t, c, tt.alert)
				return
			}
			if err != nil || c.resumed() != tt.resumed {
				t.Error(c.resumed(), err)
			}
		})
	}
}

// withAlert is an error of a callback that names its alert.
type withAlert alert

func (withAlert) Error() string  { return "no" }
func (a withAlert) Alert() uint8 { return uint8(a) }

func TestBadCertificateVerify(t *testing.T) {
	for _, tt := range []struct {
		name        string
		certificate *tls.Certificate
		change      func(m *certificateVerify)
		want        alert
	}{
		{"signature", testPKI().clientRSA, func(m *certificateVerify) { m.signature[7] ^= 1 }, alertDecryptError},
		{"signature", testPKI().clientECDSA, func(m *certificateVerify) { m.signature[7] ^= 1 }, alertDecryptError},
		{"signature", testPKI().clientEd25519, func(m *certificateVerify) { m.signature[7] ^= 1 }, alertDecryptError},
		{"empty", testPKI().clientECDSA, func(m *certificateVerify) { m.signature = nil }, alertDecryptError},
		{"scheme of another key", testPKI().clientRSA, func(m *certificateVerify) { m.scheme = tls.ECDSAWithP256AndSHA256 }, alertDecryptError},
		{"scheme of another key", testPKI().clientECDSA, func(m *certificateVerify) { m.scheme = tls.PSSWithSHA256 }, alertDecryptError},
		{"scheme of another key", testPKI().clientEd25519, func(m *certificateVerify) { m.scheme = tls.PSSWithSHA256 }, alertDecryptError},
		{"another padding", testPKI().clientRSA, func(m *certificateVerify) { m.scheme = tls.PKCS1WithSHA256 }, alertDecryptError},
		{"another hash", testPKI().clientRSA, func(m *certificateVerify) { m.scheme = tls.PSSWithSHA384 }, alertDecryptError},
		{"SHA-1", testPKI().clientRSA, func(m *certificateVerify) { m.scheme = tls.PKCS1WithSHA1 }, alertIllegalParameter},
		{"MD5", testPKI().clientRSA, func(m *certificateVerify) { m.scheme = 0x0101 }, alertIllegalParameter},
		{"scheme that there isn't", testPKI().clientRSA, func(m *certificateVerify) { m.scheme = 0x0a0a }, alertIllegalParameter},
	} {
		t.Run(tt.name+" of the "+tt.certificate.Leaf.Subject.CommonName, func(t *testing.T) {
			config := testConfig()
			config.ClientAuth = tls.RequireAnyClientCert
			c := newClient(t, config)
			c.certificate = tt.certificate
			c.send = func(r record) []record {
				if messageTypeOf(r) != typeCertificateVerify {
					return []record{r}
				}
				m, err := parseCertificateVerify(body(bytes.Clone(r.data)))
				must(err)
				tt.change(&m)
				changed, err := appendMessage(nil, typeCertificateVerify, m.marshal)
				must(err)
				return []record{{recordHandshake, changed}}
			}
			_ = c.handshake()
			checkRefused(t, c, tt.want)
		})
	}
}

// The callbacks see what crypto/tls would show them, and have the last word.
func TestVerifyCallbacks(t *testing.T) {
	p := testPKI()
	refusal := errors.New("no")
	for _, refuse := range []string{"", "certificate", "connection"} {
		config := testConfig()
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, p.roots
		var calls []string
		config.VerifyPeerCertificate = func(raw [][]byte, chains [][]*x509.Certificate) error {
			calls = append(calls, "certificate")
			if len(raw) != 1 || !bytes.Equal(raw[0], p.clientRSA.Certificate[0]) || len(chains) != 1 {
				t.Errorf("%x, %v", raw, chains)
			}
			if refuse == "certificate" {
				return refusal
			}
			return nil
		}
		config.VerifyConnection = func(s tls.ConnectionState) error {
			calls = append(calls, "connection")
			if s.HandshakeComplete || s.CipherSuite != 0x009F || len(s.PeerCertificates) != 1 || len(s.VerifiedChains) != 1 || s.ServerName != "gate.test" {
				t.Errorf("%+v", s)
			}
			if refuse == "connection" {
				return refusal
			}
			return nil
		}
		c := newClient(t, config)
		c.certificate = p.clientRSA
		err := c.handshake()
		if refuse != "" {
			checkRefused(t, c, alertBadCertificate)
			if err := c.server.Handshake(); !errors.Is(err, refusal) {
				t.Error(err)
			}
			continue
		}
		if err != nil || len(calls) != 2 {
			t.Fatal(err, calls)
		}
		// On resumption the connection alone is judged, and may be refused.
		for _, late := range []string{"", "connection"} {
			calls, refuse = nil, late
			again := newClient(t, config)
			again.session = c.kept()
			err := again.handshake()
			if len(calls) != 1 || calls[0] != "connection" || (err == nil) != (late == "") {
				t.Error(err, calls)
			}
			if late != "" {
				checkRefused(t, again, alertBadCertificate)
			}
		}
		refuse = ""
	}
}

// Clients are told which authorities count, unless that is too much to tell.
func TestCertificateRequest(t *testing.T) {
	config := &Config{ClientCAs: testPKI().roots}
	if m := config.request(); len(m.authorities) != 1 || !bytes.Equal(m.authorities[0], testPKI().ca.RawSubject) || len(m.schemes) == 0 {
		t.Errorf("%+v", m)
	}
	many := x509.NewCertPool()
	for i := range 700 {
		certificate := *testPKI().ca
		certificate.Raw = append(bytes.Clone(certificate.Raw), byte(i), byte(i>>8)) // another one to the pool
		certificate.RawSubject = bytes.Repeat([]byte{byte(i)}, 100)
		many.AddCert(&certificate)
	}
	config.ClientCAs = many
	m := config.request()
	if len(m.authorities) != 0 {
		t.Errorf("%d authorities", len(m.authorities))
	}
	if _, err := appendMessage(nil, typeCertificateRequest, m.marshal); err != nil {
		t.Error(err)
	}
}

// publicOnly is a key that signs nothing.
type publicOnly struct{ key *rsa.PublicKey }

func (k publicOnly) Public() crypto.PublicKey { return k.key }

func (publicOnly) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("no private key")
}
