package tlsconn

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"golang.org/x/crypto/cryptobyte"
)

// A client13 is a [client] for TLS 1.3: it, too, does only what a test tells it to,
// and has the record layer and the key schedule from the server.
type client13 struct {
	*client
	shares    []tls.CurveID // groups that it sends a share for
	pskModes  []byte
	earlyData bool
	session   *session13 // to resume
	foreign   int        // how many tickets of other servers are offered before it
	oneBinder bool       // for all of them
	// finish13, if set, is sent instead of the right verify_data.
	finish13 []byte

	suite    *suite13
	keys     map[tls.CurveID]*ecdh.PrivateKey
	hybrid   *mlkem.DecapsulationKey768
	retries  int // HelloRetryRequests that came
	schedule *keySchedule
	own      []byte // our secrets of traffic
	theirs   []byte
	exporter []byte
	scheme   tls.SignatureScheme // of CertificateVerify
	alpn     string
	named    bool // the server has taken the name
	resumed  bool
	ticket   *session13
	request  []tls.SignatureScheme
}

// session13 is what a client keeps to resume a session of TLS 1.3.
type session13 struct {
	ticket, secret []byte
	lifetime       uint32
}

func testConfig13() *Config {
	config := testConfig()
	config.Version = tls.VersionTLS13
	config.Certificates = []tls.Certificate{*testPKI().serverECDSA}
	return config
}

// newClient13 returns a client, and a server for it.
func newClient13(t testing.TB, config *Config) *client13 {
	c := &client13{client: newClient(t, config), pskModes: []byte{pskWithDHE}, shares: []tls.CurveID{tls.X25519}}
	c.hello.suites = CipherSuites13()
	c.hello.versions = []uint16{tls.VersionTLS13}
	c.hello.schemes = append(c.hello.schemes, tls.ECDSAWithP256AndSHA256, tls.Ed25519)
	c.hello.sessionID = bytes.Repeat([]byte{7}, 32)
	c.hello.groups = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
	c.hello.without(extEncryptThenMAC, extExtendedMasterSecret, extSessionTicket, extRenegotiationInfo)
	c.hello.extensions = append(c.hello.extensions, extSupportedVersions)
	return c
}

// marshalHello writes ClientHello with what TLS 1.3 has added to it.
func (c *client13) marshalHello(b *cryptobyte.Builder) {
	var hello cryptobyte.Builder
	c.hello.marshal(&hello)
	start, list, ok := splitHello(hello.BytesOrPanic())
	if !ok && len(c.hello.extensions) > 0 {
		panic("hello is malformed")
	}
	b.AddBytes(start)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddBytes(list)
		if c.shares != nil {
			putExtension(b, extKeyShare, func(b *cryptobyte.Builder) { b.AddUint16LengthPrefixed(c.marshalShares) })
		}
		if c.pskModes != nil {
			putExtension(b, extPSKModes, func(b *cryptobyte.Builder) {
				b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(c.pskModes) })
			})
		}
		if c.earlyData {
			putExtension(b, extEarlyData, func(*cryptobyte.Builder) {})
		}
		if c.session != nil {
			putExtension(b, extPreSharedKey, c.marshalTickets)
		}
	})
}

func (c *client13) marshalShares(b *cryptobyte.Builder) {
	for _, group := range c.shares {
		b.AddUint16(uint16(group))
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(c.share(group)) })
	}
}

// share returns our share for a group, the same each time.
func (c *client13) share(group tls.CurveID) []byte {
	if c.public != nil {
		return c.public
	}
	if group == tls.X25519MLKEM768 {
		if c.hybrid == nil {
			var err error
			c.hybrid, err = mlkem.GenerateKey768()
			must(err)
		}
		return append(c.hybrid.EncapsulationKey().Bytes(), c.share(tls.X25519)...)
	}
	if curveOf(group) == nil {
		return []byte("share")
	}
	if c.keys == nil {
		c.keys = make(map[tls.CurveID]*ecdh.PrivateKey)
	}
	if c.keys[group] == nil {
		key, err := curveOf(group).GenerateKey(rand.Reader)
		must(err)
		c.keys[group] = key
	}
	return c.keys[group].PublicKey().Bytes()
}

func (c *client13) marshalTickets(b *cryptobyte.Builder) {
	tickets := append(slices.Repeat([][]byte{bytes.Repeat([]byte("another server's"), 8)}, c.foreign), c.session.ticket)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, ticket := range tickets {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(ticket) })
			b.AddUint32(12345)
		}
	})
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for range c.binders() {
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(make([]byte, len(c.session.secret))) })
		}
	})
}

func (c *client13) binders() int {
	if c.oneBinder {
		return 1
	}
	return c.foreign + 1
}

// sendHello sends ClientHello, with the binder of the last ticket.
func (c *client13) sendHello() {
	message, err := appendMessage(nil, typeClientHello, c.marshalHello)
	must(err)
	if c.session != nil {
		n := len(c.session.secret)
		binders := 2 + c.binders()*(1+n)
		hash := crypto.SHA256
		if n == crypto.SHA384.Size() {
			hash = crypto.SHA384
		}
		h := hash.New()
		h.Write(c.transcript)
		h.Write(message[:len(message)-binders])
		d := newDeriver(hash)
		key := newKeySchedule(d, c.session.secret).derive("res binder", d.empty())
		copy(message[len(message)-n:], d.verifyData(key, h.Sum(nil)))
	}
	c.transcript = append(c.transcript, message...)
	c.write(recordHandshake, message)
}

// handshake does a handshake, and is there when the server's is complete.
func (c *client13) handshake() error {
	c.sendHello()
	serverErr := c.pump()
	for {
		messageType, s, err := c.readMessage()
		if err != nil {
			return errors.Join(err, serverErr)
		}
		if err := c.take(messageType, s); err != nil {
			return err
		}
		if messageType == typeServerHello && c.schedule == nil { // HelloRetryRequest
			c.write(recordChangeCipherSpec, []byte{1})
			c.sendHello()
			serverErr = c.pump()
		}
		if messageType == typeFinished {
			break
		}
	}
	return c.flight2()
}

// mustHandshake is handshake for tests that are about something else.
func (c *client13) mustHandshake() {
	c.t.Helper()
	c.mustBeComplete(c.handshake())
}

func (c *client13) sum() []byte {
	h := c.suite.hash.New()
	h.Write(c.transcript)
	return h.Sum(nil)
}

// take takes a message of the server's.
func (c *client13) take(messageType uint8, s cryptobyte.String) error {
	ok := false
	switch messageType {
	case 0: // ChangeCipherSpec
		ok = true
	case typeServerHello:
		return c.takeServerHello(s)
	case typeEncryptedExtensions:
		ok = c.takeExtensions(s)
	case typeCertificateRequest:
		ok = c.takeRequest(s)
	case typeCertificate:
		var context, list, der, extensions cryptobyte.String
		ok = s.ReadUint8LengthPrefixed(&context) && context.Empty() && s.ReadUint24LengthPrefixed(&list) && s.Empty() &&
			list.ReadUint24LengthPrefixed(&der) && list.ReadUint16LengthPrefixed(&extensions)
		c.status = extensions
		var err error
		c.leaf, err = x509.ParseCertificate(der)
		ok = ok && err == nil
	case typeCertificateVerify:
		m, err := parseCertificateVerify(s)
		before := c.transcript[:len(c.transcript)-messageHeaderLen-4-len(m.signature)]
		h := c.suite.hash.New()
		h.Write(before)
		c.scheme = m.scheme
		return errors.Join(err, verify(c.leaf.PublicKey, m.scheme, signed13(serverSignature, h.Sum(nil)), m.signature))
	case typeFinished:
		before := c.transcript[:len(c.transcript)-messageHeaderLen-len(s)]
		h := c.suite.hash.New()
		h.Write(before)
		if !bytes.Equal(s, c.schedule.verifyData(c.theirs, h.Sum(nil))) {
			return errors.New("server's Finished is wrong")
		}
		handshakeSecret := c.own
		c.schedule.advance(nil)
		sum := c.sum()
		c.own = c.schedule.derive("c ap traffic", sum)
		c.theirs = c.schedule.derive("s ap traffic", sum)
		c.exporter = c.schedule.derive("exp master", sum)
		c.in.setTraffic13(newAEAD13(c.schedule.deriver, c.suite, c.theirs), false)
		c.master = handshakeSecret // for our Finished
		ok = true
	}
	if !ok {
		return fmt.Errorf("server's message of type %d is wrong", messageType)
	}
	return nil
}

// takeServerHello takes ServerHello or HelloRetryRequest.
func (c *client13) takeServerHello(s cryptobyte.String) error {
	var version, suite, group uint16
	var random []byte
	var sessionID, extensions, share cryptobyte.String
	var compression uint8
	if !s.ReadUint16(&version) || !s.ReadBytes(&random, randomLen) || !s.ReadUint8LengthPrefixed(&sessionID) || !s.ReadUint16(&suite) ||
		!s.ReadUint8(&compression) || !s.ReadUint16LengthPrefixed(&extensions) || !s.Empty() {
		return errors.New("ServerHello is malformed")
	}
	if version != tls.VersionTLS12 || !bytes.Equal(sessionID, c.hello.sessionID) || compression != 0 {
		return fmt.Errorf("ServerHello of version %#04x, session ID %x, compression %d", version, sessionID, compression)
	}
	c.suite = suite13ByID(suite)
	retry := bytes.Equal(random, helloRetryRandom[:])
	for !extensions.Empty() {
		var extension, value uint16
		var data cryptobyte.String
		if !extensions.ReadUint16(&extension) || !extensions.ReadUint16LengthPrefixed(&data) {
			return errors.New("ServerHello's extensions are malformed")
		}
		ok := true
		switch extension {
		case extSupportedVersions:
			ok = data.ReadUint16(&value) && value == tls.VersionTLS13
		case extKeyShare:
			ok = data.ReadUint16(&group) && (retry || data.ReadUint16LengthPrefixed(&share))
		case extPreSharedKey:
			ok = data.ReadUint16(&value) && c.session != nil && int(value) == c.foreign
			c.resumed = true
		default:
			ok = false
		}
		if !ok || !data.Empty() {
			return fmt.Errorf("ServerHello's extension %d is wrong", extension)
		}
	}
	if retry {
		c.retries++
		return c.takeRetry(tls.CurveID(group))
	}
	secret, err := c.secret(tls.CurveID(group), share)
	if err != nil {
		return err
	}
	var psk []byte
	if c.resumed {
		psk = c.session.secret
	}
	c.schedule = newKeySchedule(newDeriver(c.suite.hash), psk)
	c.schedule.advance(secret)
	c.own, c.theirs = c.schedule.derive("c hs traffic", c.sum()), c.schedule.derive("s hs traffic", c.sum())
	c.in.setTraffic13(newAEAD13(c.schedule.deriver, c.suite, c.theirs), false)
	c.out.setTraffic13(newAEAD13(c.schedule.deriver, c.suite, c.own), true)
	return nil
}

// takeRetry prepares the second hello.
func (c *client13) takeRetry(group tls.CurveID) error {
	if slices.Contains(c.shares, group) || !slices.Contains(c.hello.groups, group) {
		return fmt.Errorf("HelloRetryRequest for group %d", group)
	}
	n := messageHeaderLen + int(c.transcript[1])<<16 + int(c.transcript[2])<<8 + int(c.transcript[3])
	h := c.suite.hash.New()
	h.Write(c.transcript[:n])
	rest := c.transcript[n:]
	c.transcript = slices.Concat([]byte{typeMessageHash, 0, 0, byte(h.Size())}, h.Sum(nil), rest)
	c.shares, c.earlyData = []tls.CurveID{group}, false
	return nil
}

func (c *client13) secret(group tls.CurveID, share []byte) ([]byte, error) {
	if group == tls.X25519MLKEM768 {
		postQuantum, err := c.hybrid.Decapsulate(share[:mlkem.CiphertextSize768])
		if err != nil {
			return nil, err
		}
		secret, err := c.secret(tls.X25519, share[mlkem.CiphertextSize768:])
		return append(postQuantum, secret...), err
	}
	public, err := curveOf(group).NewPublicKey(share)
	if err != nil {
		return nil, err
	}
	return c.keys[group].ECDH(public)
}

func (c *client13) takeExtensions(s cryptobyte.String) bool {
	var extensions cryptobyte.String
	ok := s.ReadUint16LengthPrefixed(&extensions) && s.Empty()
	for ok && !extensions.Empty() {
		var extension uint16
		var data, list, name cryptobyte.String
		ok = extensions.ReadUint16(&extension) && extensions.ReadUint16LengthPrefixed(&data)
		switch extension {
		case extServerName:
			c.named, ok = true, ok && data.Empty()
		case extALPN:
			ok = ok && data.ReadUint16LengthPrefixed(&list) && list.ReadUint8LengthPrefixed(&name) && list.Empty()
			c.alpn = string(name)
		default:
			ok = false
		}
	}
	return ok
}

func (c *client13) takeRequest(s cryptobyte.String) bool {
	var context, extensions, data cryptobyte.String
	var extension uint16
	ok := s.ReadUint8LengthPrefixed(&context) && context.Empty() && s.ReadUint16LengthPrefixed(&extensions) && s.Empty() &&
		extensions.ReadUint16(&extension) && extension == extSignatureAlgorithms && extensions.ReadUint16LengthPrefixed(&data) &&
		readUint16List(data, &c.request)
	c.requested = true
	return ok
}

// flight2 sends our certificate, if one was asked for, and Finished.
func (c *client13) flight2() error {
	if len(c.hello.sessionID) > 0 && c.retries == 0 {
		plain := c.out
		c.out = halfConn{}
		c.write(recordChangeCipherSpec, []byte{1})
		c.out = plain
	}
	if c.requested {
		var chain certificates13
		if c.certificate != nil {
			chain.chain = c.certificate.Certificate
		}
		c.message(typeCertificate, chain.marshal)
		if c.certificate != nil {
			c.certificateVerify()
		}
	}
	mac := c.schedule.verifyData(c.master, c.sum())
	if c.finish13 != nil {
		mac = c.finish13
	}
	c.message(typeFinished, finished13(mac).marshal)
	c.out.setTraffic13(newAEAD13(c.schedule.deriver, c.suite, c.own), true)
	resumption := c.schedule.derive("res master", c.sum())
	err := c.pump()
	for err == nil {
		messageType, s, readErr := c.readMessage()
		if readErr == io.EOF {
			break
		}
		if readErr != nil || messageType != typeNewSessionTicket {
			return fmt.Errorf("message of type %d behind Finished, %w", messageType, readErr)
		}
		var age uint32
		var nonce, extensions cryptobyte.String
		c.ticket = new(session13)
		if !s.ReadUint32(&c.ticket.lifetime) || !s.ReadUint32(&age) || !s.ReadUint8LengthPrefixed(&nonce) || !readVector16(&s, &c.ticket.ticket) ||
			!s.ReadUint16LengthPrefixed(&extensions) || !s.Empty() || !extensions.Empty() {
			return errors.New("NewSessionTicket is malformed")
		}
		c.ticket.secret = c.schedule.deriver.derive(resumption, "resumption", nonce)
	}
	if err != nil {
		_, a, readErr := c.readAlertBehindTicket()
		return errors.Join(errAlert{alertLevelFatal, a}, readErr, err)
	}
	return nil
}

// readAlertBehindTicket is readAlert where a ticket may come before.
func (c *client13) readAlertBehindTicket() (level uint8, a alert, err error) {
	for {
		r, err := c.readRecord()
		if err != nil || r.recordType == recordAlert {
			if err == nil && len(r.data) == 2 {
				c.rest = &r
				return r.data[0], alert(r.data[1]), nil
			}
			return 0, 0, fmt.Errorf("alert of %d bytes: %w", len(r.data), err)
		}
	}
}

// certificateVerify signs the transcript.
func (c *client13) certificateVerify() {
	scheme := clientScheme(c.certificate.PrivateKey)
	if !slices.Contains(c.request, scheme) {
		c.t.Fatalf("scheme %v is not among %v", scheme, c.request)
	}
	signature, err := sign(c.certificate.PrivateKey, scheme, signed13(clientSignature, c.sum()))
	must(err)
	m := certificateVerify{scheme, signature}
	c.message(typeCertificateVerify, m.marshal)
}
