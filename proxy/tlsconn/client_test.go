package tlsconn

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// errWouldBlock is what a memConn returns where a socket would block.
var errWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "would block" }
func (wouldBlock) Timeout() bool   { return false }
func (wouldBlock) Temporary() bool { return true }

// A memConn is the server's end of a connection in memory: what the client has
// sent is toServer, and nothing ever waits.
type memConn struct {
	toServer, toClient bytes.Buffer

	eof      bool // the client has gone
	stutter  bool // every other call fails, and one byte goes with the rest
	tick     int
	writes   int
	writeErr error
	closed   bool
}

func (c *memConn) Read(b []byte) (int, error) {
	if c.stuttering() {
		return 0, errWouldBlock
	}
	if c.toServer.Len() == 0 {
		if c.eof {
			return 0, io.EOF
		}
		return 0, errWouldBlock
	}
	if c.stutter {
		b = b[:1]
	}
	return c.toServer.Read(b)
}

func (c *memConn) Write(b []byte) (int, error) {
	if c.writeErr != nil {
		return 0, c.writeErr
	}
	c.writes++
	if c.stuttering() {
		return 0, errWouldBlock
	}
	if c.stutter && len(b) > 1 {
		n, _ := c.toClient.Write(b[:1])
		return n, errWouldBlock
	}
	return c.toClient.Write(b)
}

func (c *memConn) stuttering() bool {
	c.tick++
	return c.stutter && c.tick%2 == 0
}

func (c *memConn) Close() error                     { c.closed = true; return nil }
func (c *memConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *memConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *memConn) SetDeadline(time.Time) error      { return nil }
func (c *memConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memConn) SetWriteDeadline(time.Time) error { return nil }

// A record is what a client sends, before it is protected.
type record struct {
	recordType uint8
	data       []byte
}

// A client is a TLS 1.2 client that does only what a test tells it to, however
// wrong that is. It shares the record layer and the key derivation with the
// server, which have their own tests against published vectors, and messages and
// key exchange with Client, which other implementations are tests for.
type client struct {
	t      testing.TB
	conn   *memConn
	server *Conn

	// hello is what is sent; tests change it.
	hello       clientHello
	certificate *tls.Certificate // for CertificateRequest; nil sends none
	session     *clientSession   // to resume
	// premaster, if set, is what is encrypted with RSA key exchange; ciphertext
	// replaces the whole ciphertext.
	premaster, ciphertext []byte
	// public, if set, is the DHE or ECDHE public value.
	public []byte
	spent  *time.Duration // the server's time, where it is measured
	// send, if set, turns every record that is to be sent into others.
	send func(record) []record

	in, out    halfConn
	reader     recordReader
	messages   []byte // of handshake, not yet taken
	transcript []byte // all messages
	reply      serverHello
	suite      *cipherSuite
	leaf       *x509.Certificate
	params     []byte // of ServerKeyExchange
	requested  bool
	status     []byte
	etm, ems   bool
	master     []byte
	keys       connectionKeys
	ticket     []byte
	lifetime   uint32 // the ticket's, in seconds
	gotTicket  bool
	rest       *record // an alert that was taken where a message was due
}

// clientSession is what a client keeps to resume a session.
type clientSession struct {
	ticket, master []byte
	suite          uint16
}

// newClient returns a client, and a server for it.
func newClient(t testing.TB, config *Config) *client {
	c := &client{t: t, conn: new(memConn)}
	c.server = Server(c.conn, config)
	c.hello = clientHello{
		version:              tls.VersionTLS12,
		suites:               oldSuites(),
		compressions:         []byte{0},
		serverName:           "gate.test",
		groups:               []tls.CurveID{tls.CurveP256, tls.X25519, 256, 257},
		pointFormats:         []byte{0},
		schemes:              []tls.SignatureScheme{tls.PSSWithSHA256, tls.PKCS1WithSHA256, tls.PKCS1WithSHA1},
		extendedMasterSecret: true,
		encryptThenMAC:       true,
		ticketExtension:      true,
		extensions: []uint16{extServerName, extSupportedGroups, extECPointFormats, extSignatureAlgorithms,
			extExtendedMasterSecret, extEncryptThenMAC, extSessionTicket, extRenegotiationInfo},
	}
	rand.Read(c.hello.random[:])
	return c
}

// oldSuites are what crypto/tls lacks, or has without countermeasures: what most
// tests are about.
func oldSuites() []uint16 {
	return []uint16{0x009F, 0x009E, 0xC028, 0xC027, 0x006B, 0x0067, 0x0039, 0x0033, 0x003D, 0x003C}
}

// without takes extensions out of the hello.
func (m *clientHello) without(extensions ...uint16) {
	m.extensions = slices.DeleteFunc(slices.Clone(m.extensions), func(e uint16) bool { return slices.Contains(extensions, e) })
	m.encryptThenMAC = m.offers(extEncryptThenMAC)
	m.extendedMasterSecret = m.offers(extExtendedMasterSecret)
	m.ticketExtension = m.offers(extSessionTicket)
}

// write sends a record, as it is after send.
func (c *client) write(recordType uint8, data []byte) {
	records := []record{{recordType, data}}
	if c.send != nil {
		records = c.send(records[0])
	}
	for _, r := range records {
		for {
			n := min(len(r.data), maxPlaintext)
			c.conn.toServer.Write(c.out.seal(nil, r.recordType, r.data[:n]))
			if r.data = r.data[n:]; len(r.data) == 0 {
				break
			}
		}
	}
}

// sendAltered sends a record with one bit changed behind its protection.
func (c *client) sendAltered() {
	r := c.out.seal(nil, recordApplicationData, []byte("ping"))
	r[len(r)-1] ^= 1
	c.conn.toServer.Write(r)
}

// sendTwice sends the same record twice, and has the server read the first.
func (c *client) sendTwice() {
	r := c.out.seal(nil, recordApplicationData, []byte("ping"))
	c.conn.toServer.Write(r)
	c.conn.toServer.Write(r)
	if n, err := c.server.Read(make([]byte, 10)); n != 4 || err != nil {
		c.t.Error(n, err)
	}
}

// message sends a handshake message.
func (c *client) message(messageType uint8, add func(*cryptobyte.Builder)) {
	message, err := appendMessage(nil, messageType, add)
	if err != nil {
		c.t.Fatal(err)
	}
	c.transcript = append(c.transcript, message...)
	c.write(recordHandshake, message)
}

// pump lets the server handshake as far as it can, and returns what ends the
// handshake, if it is at its end.
func (c *client) pump() error {
	if c.spent != nil {
		start := time.Now()
		defer func() { *c.spent += time.Since(start) }()
	}
	for range 1 << 20 {
		err := c.server.Handshake()
		if err == nil || !isTemporary(err) {
			return err
		}
		if c.conn.toServer.Len() == 0 && c.server.out.writer.sealed == nil {
			return nil // it waits for us
		}
	}
	c.t.Fatal("the server runs in circles")
	return nil
}

// readRecord takes a record that the server has sent; io.EOF says that there is
// none.
func (c *client) readRecord() (record, error) {
	if err := c.reader.readHeader(&c.conn.toClient); err != nil {
		return record{}, err
	}
	fragment, err := c.reader.readFragment(&c.conn.toClient)
	if err != nil {
		return record{}, err
	}
	recordType := c.reader.recordType()
	if c.in.typed && recordType == recordChangeCipherSpec { // RFC 8446 appendix D.4
		return record{recordType, bytes.Clone(fragment)}, nil
	}
	data, err := c.in.open(recordType, c.reader.version(), fragment)
	if c.in.typed && err == nil {
		recordType = c.in.header.contentType()
	}
	return record{recordType, bytes.Clone(data)}, err
}

// errAlert is an alert that the server sent.
type errAlert struct {
	level uint8
	alert alert
}

func (e errAlert) Error() string { return fmt.Sprintf("alert of level %d: %v", e.level, e.alert) }

// readMessage takes a handshake message, or ChangeCipherSpec as type 0.
func (c *client) readMessage() (messageType uint8, s cryptobyte.String, err error) {
	for {
		if m := c.messages; len(m) >= messageHeaderLen {
			n := messageHeaderLen + int(m[1])<<16 + int(binary.BigEndian.Uint16(m[2:]))
			if len(m) >= n {
				c.transcript = append(c.transcript, m[:n]...)
				c.messages = m[n:]
				return m[0], cryptobyte.String(m[messageHeaderLen:n]), nil
			}
		}
		r, err := c.readRecord()
		switch {
		case err != nil:
			return 0, nil, err
		case r.recordType == recordAlert && len(r.data) == 2:
			c.rest = &r
			return 0, nil, errAlert{r.data[0], alert(r.data[1])}
		case r.recordType == recordChangeCipherSpec:
			return 0, nil, nil
		case r.recordType != recordHandshake:
			return 0, nil, fmt.Errorf("record of type %d", r.recordType)
		}
		c.messages = append(c.messages, r.data...)
	}
}

// flight1 sends ClientHello and reads the answer.
func (c *client) flight1() error {
	if c.session != nil {
		c.hello.ticket = c.session.ticket
		c.hello.sessionID = []byte("resumed")
	}
	c.message(typeClientHello, c.hello.marshal)
	serverErr := c.pump()
	for {
		messageType, s, err := c.readMessage()
		if err != nil {
			return errors.Join(err, serverErr)
		}
		if err := c.take(messageType, s); err != nil {
			return err
		}
		if messageType == typeServerHelloDone || messageType == typeFinished {
			return serverErr
		}
	}
}

// take takes a message of the server's.
func (c *client) take(messageType uint8, s cryptobyte.String) error {
	var ok bool
	switch messageType {
	case typeServerHello:
		var err error
		if c.reply, err = parseServerHello(s); err != nil {
			return err
		}
		c.suite = suiteByID(c.reply.suite)
		c.etm, c.ems = c.reply.encryptThenMAC, c.reply.extendedMasterSecret
		ok = c.suite != nil
		if c.resumed() {
			c.master = c.session.master
			c.keys = keysFromMaster(c.suite, c.master, c.hello.random[:], c.reply.random[:])
		}
	case typeCertificate:
		chain, err := parseCertificates(s)
		if err != nil {
			return err
		}
		c.leaf, err = x509.ParseCertificate(chain[0])
		ok = err == nil
	case typeCertificateStatus:
		var err error
		c.status, err = parseCertificateStatus(s)
		ok = err == nil
	case typeServerKeyExchange:
		return c.takeKeyExchange(s)
	case typeCertificateRequest:
		_, err := parseCertificateRequest(s)
		c.requested, ok = true, err == nil
	case typeServerHelloDone:
		ok = s.Empty()
	case typeNewSessionTicket:
		m, err := parseNewSessionTicket(s)
		c.ticket, c.lifetime, c.gotTicket, ok = m.ticket, m.lifetimeHint, true, err == nil
	case 0:
		ok = true
		c.in.setCipher(c.suite, c.etm, c.keys.serverMAC, c.keys.serverKey, c.keys.serverIV, false)
	case typeFinished:
		m, err := parseFinished(s)
		before := c.transcript[:len(c.transcript)-messageHeaderLen-verifyDataLen]
		want := finishedSum(c.suite.hash, c.master, labelServerFinished, c.sum(before))
		ok = err == nil && bytes.Equal(m[:], want)
	}
	if !ok {
		return fmt.Errorf("server's message of type %d is wrong", messageType)
	}
	return nil
}

func (c *client) resumed() bool {
	return c.session != nil && bytes.Equal(c.reply.sessionID, c.hello.sessionID)
}

func (c *client) sum(messages []byte) []byte {
	h := c.suite.hash.New()
	h.Write(messages)
	return h.Sum(nil)
}

// takeKeyExchange verifies ServerKeyExchange.
func (c *client) takeKeyExchange(s cryptobyte.String) error {
	m, err := parseServerKeyExchange(s, c.suite.kx)
	if err != nil {
		return err
	}
	c.params = m.params
	signed := slices.Concat(c.hello.random[:], c.reply.random[:], m.params)
	return verify(c.leaf.PublicKey, m.scheme, signed, m.signature)
}

// flight2 sends the client's part of a full handshake and reads the rest.
func (c *client) flight2() error {
	if c.requested {
		var chain certificates
		if c.certificate != nil {
			chain = c.certificate.Certificate
		}
		c.message(typeCertificate, chain.marshal)
	}
	exchange, premaster := c.keyExchange()
	c.message(typeClientKeyExchange, func(b *cryptobyte.Builder) { b.AddBytes(exchange) })
	if c.ems {
		c.master = extendedMasterSecret(c.suite.hash, premaster, c.sum(c.transcript))
	} else {
		c.master = masterSecret(c.suite.hash, premaster, c.hello.random[:], c.reply.random[:])
	}
	c.keys = keysFromMaster(c.suite, c.master, c.hello.random[:], c.reply.random[:])
	if c.requested && c.certificate != nil {
		c.certificateVerify()
	}
	c.finish()
	serverErr := c.pump()
	for {
		messageType, s, err := c.readMessage()
		if err == nil {
			err = c.take(messageType, s)
		}
		if err != nil {
			return errors.Join(err, serverErr)
		}
		if messageType == typeFinished {
			return serverErr
		}
	}
}

func (c *client) certificateVerify() {
	scheme := clientScheme(c.certificate.PrivateKey)
	s, _ := schemeByID(scheme)
	opts := crypto.SignerOpts(s.hash)
	if s.kind == signPSS {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.hash}
	}
	signature, err := crypto.SignMessage(c.certificate.PrivateKey.(crypto.Signer), rand.Reader, c.transcript, opts)
	if err != nil {
		c.t.Fatal(err)
	}
	m := certificateVerify{scheme, signature}
	c.message(typeCertificateVerify, m.marshal)
}

// finish sends ChangeCipherSpec and Finished.
func (c *client) finish() {
	c.write(recordChangeCipherSpec, []byte{1})
	c.out.setCipher(c.suite, c.etm, c.keys.clientMAC, c.keys.clientKey, c.keys.clientIV, true)
	m := finished(finishedSum(c.suite.hash, c.master, labelClientFinished, c.sum(c.transcript)))
	c.message(typeFinished, m.marshal)
}

// keyExchange returns ClientKeyExchange's body and the premaster secret.
func (c *client) keyExchange() (exchange, premaster []byte) {
	ours, premaster, _, err := agree(c.suite.kx, c.params, c.leaf, &c.hello)
	if err != nil {
		c.t.Fatal(err)
	}
	if c.premaster != nil {
		premaster = c.premaster
		//lint:ignore SA1019 what these suites are
		if ours, err = rsa.EncryptPKCS1v15(rand.Reader, c.leaf.PublicKey.(*rsa.PublicKey), premaster); err != nil {
			c.t.Fatal(err)
		}
	}
	if c.ciphertext != nil {
		ours = c.ciphertext
	}
	if c.public != nil {
		ours = c.public
	}
	var b cryptobyte.Builder
	marshalExchange(&b, c.suite.kx, ours)
	return b.BytesOrPanic(), premaster
}

// handshake does a full or abbreviated handshake.
func (c *client) handshake() error {
	if err := c.flight1(); err != nil {
		return err
	}
	if !c.resumed() {
		return c.flight2()
	}
	c.finish()
	return c.pump()
}

// mustHandshake is handshake for tests that are about something else.
func (c *client) mustHandshake() {
	c.t.Helper()
	c.mustBeComplete(c.handshake())
}

func (c *client) mustBeComplete(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	if !c.server.ConnectionState().HandshakeComplete {
		c.t.Fatal("the server's handshake isn't complete")
	}
}

// kept is the session that the handshake has left.
func (c *client) kept() *clientSession {
	return &clientSession{ticket: c.ticket, master: c.master, suite: c.suite.id}
}

// readAlert takes the next record, which has to be an alert.
func (c *client) readAlert() (level uint8, a alert, err error) {
	r, err := c.readRecord()
	if err != nil {
		return 0, 0, err
	}
	if r.recordType != recordAlert || len(r.data) != 2 {
		return 0, 0, fmt.Errorf("record of type %d and %d bytes, not an alert", r.recordType, len(r.data))
	}
	return r.data[0], alert(r.data[1]), nil
}
