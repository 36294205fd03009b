package tlsconn

import (
	"crypto/subtle"
	"crypto/tls"
	"hash"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// A handshake is a server's handshake under way (RFC 5246 §7.3):
//
//	full                              abbreviated (RFC 5077 §3.1)
//
//	ClientHello             -->       ClientHello             -->
//	                ServerHello                       ServerHello
//	                Certificate                 NewSessionTicket*
//	         CertificateStatus*                ChangeCipherSpec
//	         ServerKeyExchange*       <--                Finished
//	        CertificateRequest*       ChangeCipherSpec
//	<--         ServerHelloDone       Finished                -->
//	Certificate*
//	ClientKeyExchange
//	CertificateVerify*
//	ChangeCipherSpec
//	Finished                -->
//	          NewSessionTicket*
//	           ChangeCipherSpec
//	<--                Finished
type handshake struct {
	conn *Conn
	next step // nil at the end

	hello       *clientHello
	reply       serverHello
	certificate *tls.Certificate
	suite       *cipherSuite
	group       tls.CurveID         // 0 with RSA key exchange
	scheme      tls.SignatureScheme // of ServerKeyExchange
	agreement   keyAgreement
	request     *certificateRequest // nil if the client is asked for no certificate
	keys        connectionKeys
	transcript  transcript
	room        [firstRead]byte
}

func newHandshake(c *Conn) *handshake {
	hs := &handshake{conn: c, next: (*handshake).readClientHello}
	c.in.reader.room = &hs.room
	return hs
}

// run takes steps to the end of the handshake.
func (hs *handshake) run() error { return takeSteps(hs, &hs.next) }

// readClientHello reads ClientHello (RFC 5246 §7.4.1.2), decides, and answers
// with the first flight of a full or abbreviated handshake.
func (hs *handshake) readClientHello() (step, error) {
	c := hs.conn
	message, err := hs.conn.readMessage(typeClientHello)
	if err != nil {
		return nil, err
	}
	if c.in.moreMessages() {
		return nil, refuse(alertUnexpectedMessage, "more handshake bytes behind ClientHello")
	}
	if hs.hello, err = parseClientHello(body(message)); err != nil {
		return nil, err
	}
	c.session.serverName = hs.hello.serverName
	if err := hs.negotiate(); err != nil {
		return nil, err
	}
	c.protocol = hs.reply.protocol
	c.in.versioned = true

	s, current, err := hs.resumable()
	if err != nil {
		return nil, err
	}
	if s == nil {
		if err := hs.chooseSuite(); err != nil {
			return nil, err
		}
		c.session = session{
			suite:                hs.suite.id,
			group:                hs.group,
			extendedMasterSecret: hs.hello.extendedMasterSecret,
			created:              c.config.time(),
			serverName:           hs.hello.serverName,
		}
	} else {
		c.session, c.resumed = *s, true
	}
	// RFC 7366 §3: never with AEAD. Extensions of the session's own handshake
	// are of no account: this one's hold.
	c.etm = hs.hello.encryptThenMAC && hs.suite.isCBC()
	c.randoms = [2][randomLen]byte{hs.hello.random, hs.reply.random}
	hs.reply.suite = hs.suite.id
	hs.reply.encryptThenMAC = c.etm
	hs.transcript = newTranscript(hs.suite, c.config.ClientAuth != tls.NoClientCert && !c.resumed)
	hs.transcript.add(message)
	if c.resumed {
		return hs.resume(current)
	}
	return hs.answer()
}

// resume sends our flight of an abbreviated handshake (RFC 5077 §3.1).
func (hs *handshake) resume(current bool) (step, error) {
	c := hs.conn
	if err := c.verifyConnection(); err != nil {
		return nil, err
	}
	// The echo of the client's session ID says that we resume (RFC 5077 §3.4).
	hs.reply.sessionID = hs.hello.sessionID
	hs.reply.ticket = !current
	if err := hs.send(typeServerHello, &hs.reply); err != nil {
		return nil, err
	}
	hs.keys = keysFromMaster(hs.suite, c.session.masterSecret, c.randoms[0][:], c.randoms[1][:])
	if err := hs.sendFinished(); err != nil {
		return nil, err
	}
	return (*handshake).readChangeCipherSpec, nil
}

// answer sends our first flight of a full handshake.
func (hs *handshake) answer() (step, error) {
	c := hs.conn
	hs.reply.serverName = hs.hello.serverName != ""
	hs.reply.ticket = hs.hello.ticketExtension && len(c.config.Tickets.list()) > 0
	hs.reply.statusRequest = hs.hello.statusRequest && len(hs.certificate.OCSPStaple) > 0
	// RFC 8422 §5.2.
	hs.reply.pointFormats = hs.suite.kx == kxECDHE && hs.hello.offers(extECPointFormats)
	if hs.hello.timestamps {
		hs.reply.timestamps = hs.certificate.SignedCertificateTimestamps
	}
	if err := hs.send(typeServerHello, &hs.reply); err != nil {
		return nil, err
	}
	if err := hs.send(typeCertificate, certificates(hs.certificate.Certificate)); err != nil {
		return nil, err
	}
	if hs.reply.statusRequest {
		if err := hs.send(typeCertificateStatus, certificateStatus(hs.certificate.OCSPStaple)); err != nil {
			return nil, err
		}
	}
	if err := hs.sendKeyExchange(); err != nil {
		return nil, err
	}
	if c.config.ClientAuth != tls.NoClientCert {
		hs.request = c.config.request()
		if err := hs.send(typeCertificateRequest, hs.request); err != nil {
			return nil, err
		}
	}
	if err := hs.send(typeServerHelloDone, serverHelloDone{}); err != nil {
		return nil, err
	}
	if hs.request != nil {
		return (*handshake).readCertificate, nil
	}
	return (*handshake).readClientKeyExchange, nil
}

// sendKeyExchange draws our key and sends ServerKeyExchange, if the suite has
// one (RFC 5246 §7.4.3). The signature covers both randoms and the parameters.
func (hs *handshake) sendKeyExchange() (err error) {
	hs.agreement, err = newKeyAgreement(hs.suite.kx, hs.group, hs.certificate.PrivateKey, hs.hello.version)
	if err != nil {
		return refuse(alertInternalError, "key exchange: %w", err)
	}
	params, err := hs.agreement.params()
	if err != nil {
		return refuse(alertInternalError, "ServerKeyExchange: %w", err)
	}
	if params == nil {
		return nil
	}
	signed := slices.Concat(hs.hello.random[:], hs.reply.random[:], params)
	signature, err := sign(hs.certificate.PrivateKey, hs.scheme, signed)
	if err != nil {
		return refuse(alertInternalError, "ServerKeyExchange: %w", err)
	}
	return hs.send(typeServerKeyExchange, &serverKeyExchange{params, hs.scheme, signature})
}

// readCertificate reads the client's Certificate, which has to come, be it
// empty, once it was asked for (RFC 5246 §7.4.6).
func (hs *handshake) readCertificate() (step, error) {
	c := hs.conn
	message, err := hs.conn.readMessage(typeCertificate)
	if err != nil {
		return nil, err
	}
	raw, err := parseCertificates(body(message))
	if err != nil {
		return nil, err
	}
	c.session.peerCertificates, c.chains, err = c.config.clientCertificates(raw)
	if err != nil {
		return nil, err
	}
	hs.transcript.add(message)
	return (*handshake).readClientKeyExchange, nil
}

// readClientKeyExchange reads ClientKeyExchange (RFC 5246 §7.4.7) and computes
// the master secret (§8.1; RFC 7627 §4).
func (hs *handshake) readClientKeyExchange() (step, error) {
	c := hs.conn
	message, err := hs.conn.readMessage(typeClientKeyExchange)
	if err != nil {
		return nil, err
	}
	premaster, err := hs.agreement.premasterSecret(body(message))
	if err != nil {
		return nil, err
	}
	hs.transcript.add(message)
	if c.session.extendedMasterSecret {
		c.session.masterSecret = extendedMasterSecret(hs.suite.hash, premaster, hs.transcript.sum())
	} else {
		c.session.masterSecret = masterSecret(hs.suite.hash, premaster, c.randoms[0][:], c.randoms[1][:])
	}
	clear(premaster)
	hs.agreement = nil
	hs.keys = keysFromMaster(hs.suite, c.session.masterSecret, c.randoms[0][:], c.randoms[1][:])
	if len(c.session.peerCertificates) > 0 {
		return (*handshake).readCertificateVerify, nil
	}
	return hs.proven()
}

// readCertificateVerify reads CertificateVerify, a signature of all messages so
// far (RFC 5246 §7.4.8).
func (hs *handshake) readCertificateVerify() (step, error) {
	message, err := hs.conn.readMessage(typeCertificateVerify)
	if err != nil {
		return nil, err
	}
	m, err := parseCertificateVerify(body(message))
	if err != nil {
		return nil, err
	}
	if !hs.request.allows(m.scheme) {
		return nil, refuse(alertIllegalParameter, "CertificateVerify with signature algorithm %#04x", uint16(m.scheme))
	}
	public := hs.conn.session.peerCertificates[0].PublicKey
	if err := verify(public, m.scheme, hs.transcript.messages, m.signature); err != nil {
		return nil, refuse(alertDecryptError, "CertificateVerify: %w", err)
	}
	hs.transcript.add(message)
	return hs.proven()
}

// proven is where the client has shown all that it can.
func (hs *handshake) proven() (step, error) {
	hs.transcript.keep, hs.transcript.messages = false, nil
	if err := hs.conn.verifyConnection(); err != nil {
		return nil, err
	}
	return (*handshake).readChangeCipherSpec, nil
}

// verifyConnection asks Config.VerifyConnection. The error is a fault.
func (c *Conn) verifyConnection() error {
	if c.config.VerifyConnection == nil {
		return nil
	}
	if err := c.config.VerifyConnection(c.connectionStateLocked()); err != nil {
		return refuse(callbackAlert(err), "connection: %w", err)
	}
	return nil
}

func (hs *handshake) readChangeCipherSpec() (step, error) {
	if err := hs.conn.readChangeCipherSpec(hs.suite, hs.keys.clientMAC, hs.keys.clientKey, hs.keys.clientIV); err != nil {
		return nil, err
	}
	return (*handshake).readFinished, nil
}

// readFinished reads the client's Finished (RFC 5246 §7.4.9), and answers with
// our last flight if it is our turn.
func (hs *handshake) readFinished() (step, error) {
	c := hs.conn
	message, err := hs.conn.readMessage(typeFinished)
	if err != nil {
		return nil, err
	}
	if c.in.moreMessages() {
		return nil, refuse(alertUnexpectedMessage, "more handshake bytes behind Finished")
	}
	m, err := parseFinished(body(message))
	if err != nil {
		return nil, err
	}
	want := finishedSum(hs.suite.hash, c.session.masterSecret, labelClientFinished, hs.transcript.sum())
	if subtle.ConstantTimeCompare(m[:], want) != 1 {
		return nil, refuse(alertDecryptError, "Finished is wrong")
	}
	if c.resumed {
		return nil, nil
	}
	hs.first(m)
	hs.transcript.add(message)
	if err := hs.sendFinished(); err != nil {
		return nil, err
	}
	return (*handshake).flush, nil
}

// sendFinished sends a ticket if one was promised (RFC 5077 §3.3),
// ChangeCipherSpec, and Finished.
func (hs *handshake) sendFinished() error {
	c := hs.conn
	if hs.reply.ticket {
		if err := hs.sendTicket(); err != nil {
			return err
		}
	}
	c.sendChangeCipherSpec(hs.suite, hs.keys.serverMAC, hs.keys.serverKey, hs.keys.serverIV)
	m := finished(finishedSum(hs.suite.hash, c.session.masterSecret, labelServerFinished, hs.transcript.sum()))
	if c.resumed {
		hs.first(m)
	}
	return hs.send(typeFinished, m)
}

// sendTicket sends NewSessionTicket: an empty one, if keys have gone in the
// meantime or the client's certificates are too long.
func (hs *handshake) sendTicket() error {
	c := hs.conn
	state, err := c.session.marshal()
	if err != nil {
		return refuse(alertInternalError, "session state: %w", err)
	}
	var m newSessionTicket
	if m.ticket = c.config.Tickets.seal(state, c.config.SessionContext); m.ticket != nil {
		left := c.config.ticketLifetime() - c.config.time().Sub(c.session.created)
		m.lifetimeHint = uint32(max(left, time.Second) / time.Second)
	}
	return hs.send(typeNewSessionTicket, &m)
}

// flush is the end of a full handshake.
func (hs *handshake) flush() (step, error) { return nil, hs.conn.out.flush(hs.conn.below) }

// first keeps the first Finished message, which identifies the connection (RFC
// 5929 §3.1).
func (hs *handshake) first(m finished) { hs.conn.tlsUnique, hs.conn.haveUnique = m, true }

// send queues a message.
func (hs *handshake) send(messageType uint8, m interface{ marshal(*cryptobyte.Builder) }) error {
	return hs.conn.sendMessage(&hs.transcript, messageType, m.marshal)
}

// A transcript is all handshake messages, in order: as a hash, and in full
// where a client may yet sign them with a hash of its own choice.
type transcript struct {
	hash     hash.Hash
	messages []byte
	keep     bool
}

func newTranscript(suite *cipherSuite, keep bool) transcript {
	return transcript{hash: suite.hash.New(), keep: keep}
}

func (t *transcript) add(message []byte) {
	t.hash.Write(message)
	if t.keep {
		t.messages = append(t.messages, message...)
	}
}

// sum returns the hash of the messages so far.
func (t *transcript) sum() []byte { return t.hash.Sum(nil) }
