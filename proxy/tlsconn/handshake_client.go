package tlsconn

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// A clientHandshake is a client's handshake under way: the other side of
// [handshake], where the messages are drawn. Its steps keep the same rule.
type clientHandshake struct {
	conn   *Conn
	config *ClientConfig
	next   clientStep // nil at the end

	hello      *clientHello
	first      []byte // ClientHello, until the suite says how to hash it
	reply      serverHello
	suite      *cipherSuite
	params     []byte              // of ServerKeyExchange
	request    *certificateRequest // nil if the server asks for no certificate
	keys       connectionKeys
	transcript transcript
}

func newClientHandshake(c *Conn) *clientHandshake {
	return &clientHandshake{conn: c, config: c.clientConfig, next: (*clientHandshake).sendHello}
}

// run takes steps to the end of the handshake.
func (hs *clientHandshake) run() error { return takeSteps(hs, &hs.next) }

// sendHello queues ClientHello (RFC 5246 §7.4.1.2).
func (hs *clientHandshake) sendHello() (clientStep, error) {
	if hs.config.ServerName == "" && !hs.config.InsecureSkipVerify {
		return nil, errors.New("tlsconn: a client needs ServerName or InsecureSkipVerify")
	}
	hs.hello = hs.config.hello()
	rand.Read(hs.hello.random[:]) // never fails
	if hs.config.Session != nil {
		// The server's echo will say that it resumes (RFC 5077 §3.4).
		hs.hello.sessionID = make([]byte, maxSessionID)
		rand.Read(hs.hello.sessionID)
	}
	if len(hs.hello.suites) == 0 {
		return nil, errors.New("tlsconn: a client needs a suite")
	}
	var err error
	if hs.first, err = appendMessage(nil, typeClientHello, hs.hello.marshal); err != nil {
		return nil, err
	}
	hs.conn.out.queue(recordHandshake, hs.first)
	return (*clientHandshake).readServerHello, nil
}

// readServerHello reads ServerHello (RFC 5246 §7.4.1.3).
func (hs *clientHandshake) readServerHello() (clientStep, error) {
	c := hs.conn
	message, err := hs.conn.readMessage(typeServerHello)
	if err != nil {
		return nil, err
	}
	if hs.reply, err = parseServerHello(body(message)); err != nil {
		return nil, err
	}
	if err := hs.judgeReply(); err != nil {
		return nil, err
	}
	c.in.versioned = true
	c.protocol = hs.reply.protocol
	c.etm = hs.reply.encryptThenMAC
	c.randoms = [2][randomLen]byte{hs.hello.random, hs.reply.random}
	c.resumed = hs.config.Session != nil && slices.Equal(hs.reply.sessionID, hs.hello.sessionID)
	hs.transcript = newTranscript(hs.suite, len(hs.config.Certificates) > 0 && !c.resumed)
	hs.transcript.add(hs.first)
	hs.transcript.add(message)
	hs.first = nil
	if !c.resumed {
		c.session = session{
			suite:                hs.suite.id,
			extendedMasterSecret: hs.reply.extendedMasterSecret,
			created:              hs.config.time(),
			serverName:           hs.hello.serverName,
		}
		return (*clientHandshake).readCertificate, nil
	}
	c.session, c.ticket = hs.config.Session.session, hs.config.Session.ticket
	if hs.suite.id != c.session.suite {
		return nil, refuse(alertIllegalParameter, "session of suite %#04x resumed with %#04x", c.session.suite, hs.suite.id)
	}
	// RFC 7627 §5.3.
	if hs.reply.extendedMasterSecret != c.session.extendedMasterSecret {
		return nil, refuse(alertHandshakeFailure, "extended_master_secret differs from that of the session")
	}
	hs.keys = keysFromMaster(hs.suite, c.session.masterSecret, c.randoms[0][:], c.randoms[1][:])
	return hs.awaitFinished(), nil
}

// judgeReply sees to it that the server answers what was asked.
func (hs *clientHandshake) judgeReply() error {
	m := &hs.reply
	hs.suite = suiteByID(m.suite)
	switch {
	case hs.suite == nil || !slices.Contains(hs.hello.suites, m.suite):
		return refuse(alertIllegalParameter, "suite %#04x, which was not offered", m.suite)
	case m.encryptThenMAC && !hs.suite.isCBC(): // RFC 7366 §3
		return refuse(alertIllegalParameter, "encrypt_then_mac with suite %#04x", m.suite)
	case m.protocol != "" && !slices.Contains(hs.hello.protocols, m.protocol): // RFC 7301 §3.1
		return refuse(alertIllegalParameter, "application protocol %q, which was not offered", m.protocol)
	// RFC 5246 §7.4.1.4.
	case m.statusRequest, len(m.timestamps) > 0,
		m.serverName && !hs.hello.offers(extServerName), m.pointFormats && !hs.hello.offers(extECPointFormats):
		return refuse(alertUnsupportedExtension, "an extension that was not offered")
	}
	return nil
}

// readCertificate reads the server's Certificate.
func (hs *clientHandshake) readCertificate() (clientStep, error) {
	message, err := hs.conn.readMessage(typeCertificate)
	if err != nil {
		return nil, err
	}
	raw, err := parseCertificates(body(message))
	if err != nil {
		return nil, err
	}
	c := hs.conn
	if c.session.peerCertificates, c.chains, err = hs.config.serverCertificates(raw); err != nil {
		return nil, err
	}
	public := c.session.peerCertificates[0].PublicKey
	if _, ok := public.(*rsa.PublicKey); ok == hs.suite.ecdsa {
		return nil, refuse(alertUnsupportedCertificate, "server certificate with a key of type %T for suite %#04x", public, hs.suite.id)
	}
	hs.transcript.add(message)
	if hs.suite.kx == kxRSA {
		return (*clientHandshake).readHelloDone, nil
	}
	return (*clientHandshake).readKeyExchange, nil
}

// readKeyExchange reads ServerKeyExchange, which is signed over both randoms and
// the parameters (RFC 5246 §7.4.3).
func (hs *clientHandshake) readKeyExchange() (clientStep, error) {
	message, err := hs.conn.readMessage(typeServerKeyExchange)
	if err != nil {
		return nil, err
	}
	m, err := parseServerKeyExchange(body(message), hs.suite.kx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(hs.hello.schemes, m.scheme) {
		return nil, refuse(alertIllegalParameter, "ServerKeyExchange with signature algorithm %#04x", uint16(m.scheme))
	}
	signed := slices.Concat(hs.hello.random[:], hs.reply.random[:], m.params)
	if err := verify(hs.conn.session.peerCertificates[0].PublicKey, m.scheme, signed, m.signature); err != nil {
		return nil, refuse(alertDecryptError, "ServerKeyExchange: %w", err)
	}
	hs.params = m.params
	hs.transcript.add(message)
	return (*clientHandshake).readHelloDone, nil
}

// readHelloDone reads what ends the server's flight, and before that
// CertificateRequest, if it comes (RFC 5246 §7.4.4, §7.4.5).
func (hs *clientHandshake) readHelloDone() (clientStep, error) {
	messageType, err := hs.peek()
	if err != nil {
		return nil, err
	}
	if messageType == typeCertificateRequest && hs.request == nil {
		message, err := hs.conn.readMessage(typeCertificateRequest)
		if err != nil {
			return nil, err
		}
		m, err := parseCertificateRequest(body(message))
		if err != nil {
			return nil, err
		}
		hs.request = &m
		hs.transcript.add(message)
		return (*clientHandshake).readHelloDone, nil
	}
	message, err := hs.conn.readMessage(typeServerHelloDone)
	if err != nil {
		return nil, err
	}
	if len(body(message)) > 0 || hs.conn.in.moreMessages() {
		return nil, errDecode("ServerHelloDone")
	}
	hs.transcript.add(message)
	if err := hs.answer(); err != nil {
		return nil, err
	}
	return hs.awaitFinished(), nil
}

// answer queues our flight of a full handshake.
func (hs *clientHandshake) answer() error {
	c := hs.conn
	var certificate *tls.Certificate
	if hs.request != nil {
		var chain certificates // RFC 5246 §7.4.6: empty, where there is none
		if len(hs.config.Certificates) > 0 {
			certificate = &hs.config.Certificates[0]
			chain = certificate.Certificate
		}
		if err := hs.send(typeCertificate, chain.marshal); err != nil {
			return err
		}
	}
	ours, premaster, group, err := agree(hs.suite.kx, hs.params, c.session.peerCertificates[0], hs.hello)
	if err != nil {
		return err
	}
	if err := hs.send(typeClientKeyExchange, func(b *cryptobyte.Builder) { marshalExchange(b, hs.suite.kx, ours) }); err != nil {
		return err
	}
	c.session.group = group
	if c.session.extendedMasterSecret {
		c.session.masterSecret = extendedMasterSecret(hs.suite.hash, premaster, hs.transcript.sum())
	} else {
		c.session.masterSecret = masterSecret(hs.suite.hash, premaster, c.randoms[0][:], c.randoms[1][:])
	}
	hs.keys = keysFromMaster(hs.suite, c.session.masterSecret, c.randoms[0][:], c.randoms[1][:])
	if certificate != nil {
		if err := hs.sendCertificateVerify(certificate.PrivateKey); err != nil {
			return err
		}
	}
	hs.transcript.keep, hs.transcript.messages = false, nil
	return hs.sendFinished()
}

// sendCertificateVerify signs all messages so far (RFC 5246 §7.4.8).
func (hs *clientHandshake) sendCertificateVerify(key crypto.PrivateKey) error {
	scheme, ok := hs.request.schemeFor(key)
	if !ok {
		return refuse(alertHandshakeFailure, "the server takes no signature by a key of type %T", key)
	}
	signature, err := sign(key, scheme, hs.transcript.messages)
	if err != nil {
		return refuse(alertInternalError, "CertificateVerify: %w", err)
	}
	m := certificateVerify{scheme, signature}
	return hs.send(typeCertificateVerify, m.marshal)
}

// schemeFor returns the server's first scheme that a key can sign with.
func (m *certificateRequest) schemeFor(key crypto.PrivateKey) (tls.SignatureScheme, bool) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return 0, false
	}
	for _, id := range m.schemes {
		scheme, ok := schemeByID(id)
		if ok && scheme.hash != crypto.SHA1 && scheme.fits(signer.Public()) {
			return id, true
		}
	}
	return 0, false
}

// sendFinished queues ChangeCipherSpec and Finished.
func (hs *clientHandshake) sendFinished() error {
	c := hs.conn
	c.sendChangeCipherSpec(hs.suite, hs.keys.clientMAC, hs.keys.clientKey, hs.keys.clientIV)
	m := finished(finishedSum(hs.suite.hash, c.session.masterSecret, labelClientFinished, hs.transcript.sum()))
	if !c.resumed {
		c.tlsUnique, c.haveUnique = m, true
	}
	return hs.send(typeFinished, m.marshal)
}

// awaitFinished is the step for what the server sends last.
func (hs *clientHandshake) awaitFinished() clientStep {
	if hs.reply.ticket {
		return (*clientHandshake).readTicket
	}
	return (*clientHandshake).readChangeCipherSpec
}

// readTicket reads NewSessionTicket, which was announced (RFC 5077 §3.3); an
// empty one takes the announcement back.
func (hs *clientHandshake) readTicket() (clientStep, error) {
	message, err := hs.conn.readMessage(typeNewSessionTicket)
	if err != nil {
		return nil, err
	}
	m, err := parseNewSessionTicket(body(message))
	if err != nil {
		return nil, err
	}
	if len(m.ticket) > 0 {
		hs.conn.ticket = bytes.Clone(m.ticket) // and not all of the flight
	}
	hs.transcript.add(message)
	return (*clientHandshake).readChangeCipherSpec, nil
}

func (hs *clientHandshake) readChangeCipherSpec() (clientStep, error) {
	if err := hs.conn.readChangeCipherSpec(hs.suite, hs.keys.serverMAC, hs.keys.serverKey, hs.keys.serverIV); err != nil {
		return nil, err
	}
	return (*clientHandshake).readFinished, nil
}

// readFinished reads the server's Finished, and sends ours if it resumes.
func (hs *clientHandshake) readFinished() (clientStep, error) {
	c := hs.conn
	message, err := hs.conn.readMessage(typeFinished)
	if err != nil {
		return nil, err
	}
	m, err := parseFinished(body(message))
	if err != nil {
		return nil, err
	}
	want := finishedSum(hs.suite.hash, c.session.masterSecret, labelServerFinished, hs.transcript.sum())
	if subtle.ConstantTimeCompare(m[:], want) != 1 || c.in.moreMessages() {
		return nil, refuse(alertDecryptError, "Finished is wrong")
	}
	if !c.resumed {
		return nil, nil
	}
	hs.transcript.add(message)
	c.tlsUnique, c.haveUnique = m, true
	if err := hs.sendFinished(); err != nil {
		return nil, err
	}
	return (*clientHandshake).flush, nil
}

// flush is the end of an abbreviated handshake.
func (hs *clientHandshake) flush() (clientStep, error) { return nil, hs.conn.out.flush(hs.conn.below) }

// peek writes what is queued, and returns the type of the next message.
func (hs *clientHandshake) peek() (uint8, error) {
	if err := hs.conn.out.flush(hs.conn.below); err != nil {
		return 0, err
	}
	return hs.conn.in.peek(hs.conn.below)
}

// send queues a message.
func (hs *clientHandshake) send(messageType uint8, add func(*cryptobyte.Builder)) error {
	return hs.conn.sendMessage(&hs.transcript, messageType, add)
}
