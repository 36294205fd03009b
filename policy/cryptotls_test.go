package policy

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// The tests of this file hold Select against crypto/tls: what it decides,
// crypto/tls narrowed to the decision does, and where it refuses, crypto/tls
// with the same policy and no narrowing refuses too.

// handshakeTimeout only ends a test that hangs.
const handshakeTimeout = 5 * time.Second

// connection is a pair over loopback. A net.Pipe has no buffer, so that both
// sides of a HelloRetryRequest, who write at once, would wait for each other.
func connection() (near, far net.Conn) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	if near, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		panic(err)
	}
	if far, err = listener.Accept(); err != nil {
		panic(err)
	}
	deadline := time.Now().Add(handshakeTimeout)
	near.SetDeadline(deadline)
	far.SetDeadline(deadline)
	return near, far
}

// certificates holds one self-signed certificate for each kind of key.
var certificates = sync.OnceValue(func() map[KeyType]tls.Certificate {
	made := make(map[KeyType]tls.Certificate)
	for k, generate := range map[KeyType]func() (crypto.Signer, error){
		RSA:       func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) },
		ECDSAP256: func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		ECDSAP384: func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) },
		Ed25519: func() (crypto.Signer, error) {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			return key, err
		},
	} {
		key, err := generate()
		if err != nil {
			panic(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"broker.example"}}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			panic(err)
		}
		made[k] = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	return made
})

// keyOf is the kind of key of a certificate.
func keyOf(c *x509.Certificate) KeyType {
	for k, known := range certificates() {
		if slices.Equal(known.Certificate[0], c.Raw) {
			return k
		}
	}
	return NoKey
}

// servedByCryptoTLS reports whether crypto/tls implements a suite.
func servedByCryptoTLS(id uint16) bool {
	return slices.ContainsFunc(slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()),
		func(s *tls.CipherSuite) bool { return s.ID == id })
}

// curves are the groups of a list that crypto/tls knows.
func curves(groups []Group) []tls.CurveID {
	var ids []tls.CurveID
	for _, g := range groups {
		if g.forTLS13() {
			ids = append(ids, tls.CurveID(g))
		}
	}
	return ids
}

// narrowed is crypto/tls with no choice but the decision. The highest version
// stays the policy's, so that a TLS 1.2 handshake carries the mark against
// downgrades.
func narrowed(p *Policy, d Decision) *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{certificates()[d.Key]},
		CipherSuites:           []uint16{d.Suite.ID},
		CurvePreferences:       curves([]Group{d.Group}),
		MinVersion:             uint16(d.Version),
		MaxVersion:             uint16(p.best()),
		SessionTicketsDisabled: true,
	}
}

// unnarrowed is crypto/tls with the policy as well as it can be told.
func unnarrowed(p *Policy, keys []KeyType) *tls.Config {
	c := &tls.Config{
		CurvePreferences:       curves(p.Groups),
		MinVersion:             tls.VersionTLS12,
		MaxVersion:             uint16(p.best()),
		CipherSuites:           []uint16{}, // nil would mean the defaults
		SessionTicketsDisabled: true,
	}
	if len(p.TLS12) == 0 {
		c.MinVersion = tls.VersionTLS13
	}
	for _, s := range p.TLS12 {
		c.CipherSuites = append(c.CipherSuites, s.ID)
	}
	for _, k := range keys {
		c.Certificates = append(c.Certificates, certificates()[k])
	}
	return c
}

// fixedTLS13 is the suite that crypto/tls takes among a hello's TLS 1.3 suites,
// or 0. It cannot be told an order there: ChaCha20 comes first unless both
// sides have AES in hardware, which for the client its first known suite shows.
func fixedTLS13(offered []uint16, hardware bool) uint16 {
	const aes128, aes256, chacha = tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256
	order := []uint16{chacha, aes128, aes256}
	known := slices.IndexFunc(offered, servedByCryptoTLS)
	if hardware && known >= 0 {
		// RSA key exchange does not count as a sign, whatever the cipher.
		if name := tls.CipherSuiteName(offered[known]); strings.Contains(name, "_GCM_") && !strings.HasPrefix(name, "TLS_RSA_") {
			order = []uint16{aes128, aes256, chacha}
		}
	}
	for _, id := range order {
		if slices.Contains(offered, id) {
			return id
		}
	}
	return 0
}

// aesHardware reports whether crypto/tls thinks that this machine has AES in
// hardware, which it tells by the order of its own hello.
var aesHardware = sync.OnceValue(func() bool {
	o := captureOffer(&tls.Config{InsecureSkipVerify: true})
	return strings.Contains(tls.CipherSuiteName(o.Suites[0]), "_GCM_")
})

// handshake runs both sides. Tickets must be off, so that the
// server has nothing to say after a TLS 1.3 handshake.
func handshake(client, server *tls.Config) (state tls.ConnectionState, clientErr, serverErr error) {
	near, far := connection()
	done := make(chan error, 1)
	go func() {
		defer far.Close()
		done <- tls.Server(far, server).Handshake()
	}()
	defer near.Close()
	conn := tls.Client(near, client)
	if clientErr = conn.Handshake(); clientErr != nil {
		near.Close()
	}
	return conn.ConnectionState(), clientErr, <-done
}

// recorder keeps what is read through it.
type recorder struct {
	net.Conn
	read []byte
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.read = append(r.read, p[:n]...)
	return n, err
}

// captureOffer takes down what a client with this configuration offers, as
// crypto/tls's server understands it. Key shares are not among the things that
// it tells, so they are read from the bytes.
func captureOffer(client *tls.Config) Offer {
	near, far := connection()
	wire := &recorder{Conn: far}
	var o Offer
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer far.Close()
		stop := errors.New("hello taken down")
		tls.Server(wire, &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			o = Offer{
				Versions:     convert[Version](info.SupportedVersions),
				Suites:       info.CipherSuites,
				Groups:       convert[Group](info.SupportedCurves),
				PointFormats: info.SupportedPoints,
				Signatures:   convert[SignatureScheme](info.SignatureSchemes),
				ServerName:   info.ServerName,

				ExtendedMasterSecret: true, // crypto/tls's clients always do, and its servers do not tell
			}
			return nil, stop
		}}).Handshake()
	}()
	tls.Client(near, client).Handshake()
	near.Close()
	<-done
	if len(wire.read) == 0 {
		return Offer{} // it has nothing to offer, as TLS 1.1 in FIPS 140-3 mode
	}
	o.KeyShares = keyShares(wire.read)
	return o
}

func convert[To, From ~uint16](values []From) []To {
	var converted []To
	for _, v := range values {
		converted = append(converted, To(v))
	}
	return converted
}

// keyShares reads the groups of key_share out of a record with a ClientHello.
func keyShares(record []byte) []Group {
	s := cryptobyte.String(record)
	var sessionID, suites, compression, extensions cryptobyte.String
	if !s.Skip(5+4+2+32) || !s.ReadUint8LengthPrefixed(&sessionID) || !s.ReadUint16LengthPrefixed(&suites) ||
		!s.ReadUint8LengthPrefixed(&compression) || !s.ReadUint16LengthPrefixed(&extensions) {
		panic("not a ClientHello")
	}
	var found []Group
	for !extensions.Empty() {
		var kind, group uint16
		var body, shares, key cryptobyte.String
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&body) {
			panic("not a ClientHello")
		}
		if kind != 51 || !body.ReadUint16LengthPrefixed(&shares) {
			continue
		}
		for shares.ReadUint16(&group) && shares.ReadUint16LengthPrefixed(&key) {
			found = append(found, Group(group))
		}
	}
	return found
}

// anyClient is a client of crypto/tls.
func anyClient(r *mathrand.Rand) *tls.Config {
	c := &tls.Config{
		InsecureSkipVerify:     true,
		SessionTicketsDisabled: true,
		MinVersion:             tls.VersionTLS10,
		MaxVersion:             tls.VersionTLS13,
	}
	switch r.IntN(8) {
	case 0:
		c.MaxVersion = tls.VersionTLS11
	case 1, 2, 3:
		c.MaxVersion = tls.VersionTLS12
	case 4:
		c.MinVersion = tls.VersionTLS13
	}
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if s.ID>>8 != 0x13 && r.IntN(4) == 0 {
			c.CipherSuites = append(c.CipherSuites, s.ID)
		}
	}
	c.CurvePreferences = some(r, tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521)
	return c
}

// anyPolicyOfCryptoTLS is a policy of what crypto/tls can do, bound to keys.
func anyPolicyOfCryptoTLS(r *mathrand.Rand, offered []uint16, served func(*Policy) *Policy) (*Policy, []KeyType) {
	p, keys := anyPolicy(r)
	p, _ = served(p).Bind(Have{Keys: keys, Serves: servedByCryptoTLS})
	// Half of the policies have the order that crypto/tls insists on, so that
	// the TLS 1.3 suite can be compared too.
	first := fixedTLS13(offered, aesHardware())
	if i := slices.IndexFunc(p.TLS13, func(s Suite) bool { return s.ID == first }); i > 0 && r.IntN(2) == 0 {
		p.TLS13[0], p.TLS13[i] = p.TLS13[i], p.TLS13[0]
	}
	return p, keys
}

// TestAgainstCryptoTLSClients runs whole handshakes.
func TestAgainstCryptoTLSClients(t *testing.T) {
	againstCryptoTLSClients(t, asIs)
}

// asIs serves a policy as it is written.
func asIs(p *Policy) *Policy { return p }

// againstCryptoTLSClients does so with policies as they are served.
func againstCryptoTLSClients(t *testing.T, served func(*Policy) *Policy) {
	r := mathrand.New(mathrand.NewPCG(3, 4))
	decided, refused, compared := make(map[string]int), make(map[Reason]int), 0
	for i := range 400 {
		client := anyClient(r)
		offer := captureOffer(client)
		if len(offer.Suites) == 0 {
			continue
		}
		p, keys := anyPolicyOfCryptoTLS(r, offer.Suites, served)
		if len(p.TLS12)+len(p.TLS13) == 0 {
			continue
		}
		where := fmt.Sprintf("case %d: offer %+v, policy %s, TLS 1.3 %s, groups %v, keys %v", i, offer, p.Preference(), p.TLS13, p.Groups, keys)
		d, err := p.Select(offer)
		if err != nil {
			refusal := err.(*Refusal)
			refused[refusal.Cause]++
			if unableToRefuse(refusal, offer) {
				continue
			}
			if state, clientErr, serverErr := handshake(client, unnarrowed(p, keys)); clientErr == nil || serverErr == nil {
				t.Errorf("%s\nrefused: %v\nbut crypto/tls agreed on %s, %s", where, err, tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
			}
			continue
		}
		decided[d.Version.String()+" "+d.Suite.KeyExchange.String()]++
		state, clientErr, serverErr := handshake(client, narrowed(p, d))
		if clientErr != nil || serverErr != nil {
			t.Errorf("%s\ndecided: %+v\nbut the client says %v, the server %v", where, d, clientErr, serverErr)
			continue
		}
		got := Decision{Version(state.Version), d.Suite, Group(state.CurveID), keyOf(state.PeerCertificates[0])}
		if d.Version == TLS12 || d.Suite.ID == fixedTLS13(offer.Suites, aesHardware()) {
			got.Suite, _ = SuiteByID(state.CipherSuite)
			compared++
		}
		if got != d {
			t.Errorf("%s\ndecided: %+v\ncrypto/tls did: %+v", where, d, got)
		}
	}
	t.Logf("decided %v (suite compared: %d), refused %v", decided, compared, refused)
	leastRSA, leastCompared := 10, 100
	if fips140.Enabled() { // which has none of the one, and fewer of the other
		leastRSA, leastCompared = 0, 50
	}
	if decided["TLSv1.2 ECDHE"] < 10 || decided["TLSv1.2 RSA"] < leastRSA || decided["TLSv1.3 any"] < 50 || compared < leastCompared ||
		refused[NoCommonSuite] < 10 || refused[NoCommonGroup] < 10 || refused[UnsupportedVersion] < 10 {
		t.Error("the generator reaches too little")
	}
}

// unableToRefuse reports whether crypto/tls cannot be told to refuse a client,
// because its TLS 1.3 suites cannot be configured.
func unableToRefuse(refusal *Refusal, o Offer) bool {
	return refusal.Cause == NoCommonSuite && slices.Contains(o.Versions, TLS13) &&
		strings.HasPrefix(refusal.Detail, TLS13.String()) && fixedTLS13(o.Suites, false) != 0
}
