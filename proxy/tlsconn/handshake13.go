package tlsconn

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"hash"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// A handshake13 is a server's handshake under way in TLS 1.3 (RFC 8446 §2; what is
// in braces is protected, and ChangeCipherSpec is there for middleboxes, appendix
// D.4):
//
//	ClientHello           -->
//	                             HelloRetryRequest*
//	                      <--     ChangeCipherSpec*
//	ChangeCipherSpec*
//	ClientHello*          -->
//	                                    ServerHello
//	                              ChangeCipherSpec*
//	                          {EncryptedExtensions}
//	                          {CertificateRequest*}
//	                                 {Certificate*}
//	                           {CertificateVerify*}
//	                                     {Finished}
//	                      <--   {NewSessionTicket*}
//	ChangeCipherSpec*
//	{Certificate*}
//	{CertificateVerify*}
//	{Finished}            -->
//	                      <--   {NewSessionTicket*}
//
// Without certificates of the client's everything that its Finished shows is known
// before: the ticket, which needs that, goes with our flight. With them, it is sent
// at the end.
//
// Steps are as in [handshake].
type handshake13 struct {
	conn *Conn
	next step13 // nil at the end

	hello       *clientHello
	offer       *hello13
	first       []byte // what the second ClientHello must repeat; nil without HelloRetryRequest
	protocol    string // by ALPN
	certificate *tls.Certificate
	suite       *suite13
	group       tls.CurveID
	identity    int                 // of the ticket, in an abbreviated handshake
	scheme      tls.SignatureScheme // of CertificateVerify, in a full one
	request     *certificateRequest // nil if the client is asked for no certificate

	*deriver
	schedule                   *keySchedule
	clientSecret, serverSecret []byte // of the handshake's traffic
	clientTraffic              []byte // of what follows
	expected                   []byte // verify_data of the client's Finished, if request is nil
	transcript                 hash.Hash
	flight                     []byte // messages for the next record
	room                       [firstRead]byte
}

func newHandshake13(c *Conn) *handshake13 {
	hs := &handshake13{conn: c, next: (*handshake13).readClientHello}
	c.in.reader.room = &hs.room
	return hs
}

// run takes steps to the end of the handshake.
func (hs *handshake13) run() error { return takeSteps(hs, &hs.next) }

// readClientHello reads ClientHello (RFC 8446 §4.1.2), decides, and answers it.
func (hs *handshake13) readClientHello() (step13, error) {
	c := hs.conn
	message, err := hs.readHello()
	if err != nil {
		return nil, err
	}
	c.session.serverName = hs.hello.serverName
	if err := hs.negotiate(); err != nil {
		return nil, err
	}
	c.in.lenient = true
	hs.transcript, hs.deriver = hs.suite.hash.New(), newDeriver(hs.suite.hash)
	if share := hs.offer.share(hs.group); share != nil {
		return hs.answer(message, share)
	}
	return hs.retry(message)
}

// readHello reads a ClientHello, and parses it.
func (hs *handshake13) readHello() (message []byte, err error) {
	if message, err = hs.readLast(typeClientHello); err != nil {
		return nil, err
	}
	if hs.hello, err = parseClientHello(body(message)); err != nil {
		return nil, err
	}
	// Nobody gets as far as parsing that who does not want TLS 1.3 (RFC 8446
	// §4.2.1).
	if !slices.Contains(hs.hello.versions, tls.VersionTLS13) {
		return nil, refuse(alertProtocolVersion, "version %#04x, supported versions %x", hs.hello.version, hs.hello.versions)
	}
	if err := hs.hello.checkLegacyVersion(); err != nil {
		return nil, err
	}
	hs.offer, err = parseHello13(body(message), hs.hello)
	return message, err
}

// retry asks for a key share of the group that was decided (RFC 8446 §4.1.4).
func (hs *handshake13) retry(message []byte) (step13, error) {
	// What counts of the first hello is its hash (RFC 8446 §4.4.1).
	hs.transcript.Write(message)
	sum := hs.transcript.Sum(nil)
	hs.transcript.Reset()
	hs.transcript.Write([]byte{typeMessageHash, 0, 0, byte(len(sum))})
	hs.transcript.Write(sum)

	request := serverHello13{random: helloRetryRandom, sessionID: hs.hello.sessionID, suite: hs.suite.id, group: hs.group}
	if err := hs.send(typeServerHello, &request); err != nil {
		return nil, err
	}
	hs.queue()
	hs.changeCipherSpec()
	hs.skipEarlyData()
	hs.first = repeated(body(message))
	return (*handshake13).readSecondHello, nil
}

// readSecondHello reads the ClientHello that answers a HelloRetryRequest, which
// has to be the first one again, with the share (RFC 8446 §4.1.2).
func (hs *handshake13) readSecondHello() (step13, error) {
	message, err := hs.readHello()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(repeated(body(message)), hs.first) {
		return nil, refuse(alertIllegalParameter, "second ClientHello is not the first one")
	}
	if hs.offer.earlyData {
		return nil, refuse(alertIllegalParameter, "early_data after HelloRetryRequest")
	}
	if len(hs.offer.shares) != 1 || hs.offer.shares[0].group != hs.group {
		return nil, refuse(alertIllegalParameter, "second ClientHello without the share for group %d alone", hs.group)
	}
	hs.conn.in.dropEarly = 0
	return hs.answer(message, hs.offer.shares[0].data)
}

// answer computes the secrets of the handshake, and sends our flight.
func (hs *handshake13) answer(hello, share []byte) (step13, error) {
	c := hs.conn
	if err := hs.resume(hello); err != nil {
		return nil, err
	}
	c.protocol, c.session.group = hs.protocol, hs.group
	own, secret, err := exchange13(hs.group, share)
	if err != nil {
		return nil, refuse(alertIllegalParameter, "key share for group %d: %w", hs.group, err)
	}
	if c.resumed {
		if err := c.verifyConnection(); err != nil {
			return nil, err
		}
	}
	reply := serverHello13{sessionID: hs.hello.sessionID, suite: hs.suite.id, group: hs.group, share: own,
		resumed: c.resumed, identity: uint16(hs.identity)}
	rand.Read(reply.random[:]) // never fails
	if err := hs.send(typeServerHello, &reply); err != nil {
		return nil, err
	}
	hs.queue()
	if hs.first == nil {
		hs.changeCipherSpec()
		hs.skipEarlyData()
	}

	if hs.schedule == nil {
		hs.schedule = newKeySchedule(hs.deriver, nil)
	}
	hs.schedule.advance(secret)
	clear(secret)
	sum := hs.transcript.Sum(nil)
	hs.clientSecret = hs.schedule.derive("c hs traffic", sum)
	hs.serverSecret = hs.schedule.derive("s hs traffic", sum)
	c.out.setTraffic13(newAEAD13(hs.deriver, hs.suite, hs.serverSecret))
	c.in.half.setTraffic13(newAEAD13(hs.deriver, hs.suite, hs.clientSecret), false)
	if err := hs.sendParameters(); err != nil {
		return nil, err
	}
	if err := hs.sendFinished(); err != nil {
		return nil, err
	}
	if hs.request != nil {
		return (*handshake13).readCertificate, nil
	}
	return (*handshake13).readFinished, nil
}

// sendParameters sends what stands between ServerHello and Finished (RFC 8446
// §4.3, §4.4).
func (hs *handshake13) sendParameters() error {
	c := hs.conn
	// RFC 6066 §3: not on resumption.
	extensions := encryptedExtensions{serverName: hs.hello.serverName != "" && !c.resumed, protocol: hs.protocol}
	if err := hs.send(typeEncryptedExtensions, &extensions); err != nil {
		return err
	}
	if c.resumed {
		return nil
	}
	if c.config.ClientAuth != tls.NoClientCert {
		hs.request = c.config.request()
		if err := hs.send(typeCertificateRequest, (*certificateRequest13)(hs.request)); err != nil {
			return err
		}
	}
	certificate := certificates13{chain: hs.certificate.Certificate}
	if hs.hello.statusRequest && len(hs.certificate.OCSPStaple) > 0 {
		certificate.status = hs.certificate.OCSPStaple
	}
	if hs.hello.timestamps && len(hs.certificate.SignedCertificateTimestamps) > 0 {
		certificate.timestamps = hs.certificate.SignedCertificateTimestamps
	}
	if err := hs.send(typeCertificate, &certificate); err != nil {
		return err
	}
	signature, err := sign(hs.certificate.PrivateKey, hs.scheme, signed13(serverSignature, hs.transcript.Sum(nil)))
	if err != nil {
		return refuse(alertInternalError, "CertificateVerify: %w", err)
	}
	return hs.send(typeCertificateVerify, &certificateVerify{hs.scheme, signature})
}

// sendFinished ends our flight, and computes the secrets of what follows.
func (hs *handshake13) sendFinished() error {
	c := hs.conn
	mac := hs.verifyData(hs.serverSecret, hs.transcript.Sum(nil))
	if err := hs.send(typeFinished, finished13(mac)); err != nil {
		return err
	}
	hs.queue()
	hs.schedule.advance(nil)
	sum := hs.transcript.Sum(nil)
	hs.clientTraffic = hs.schedule.derive("c ap traffic", sum)
	c.out.setTraffic13(newAEAD13(hs.deriver, hs.suite, hs.schedule.derive("s ap traffic", sum)))
	c.exporterSecret = hs.schedule.derive("exp master", sum)
	if hs.request != nil {
		return nil
	}
	// The client's Finished can be nothing else, or the handshake fails.
	hs.expected = hs.verifyData(hs.clientSecret, sum)
	finished, err := appendMessage(nil, typeFinished, finished13(hs.expected).marshal)
	if err != nil {
		return err
	}
	hs.transcript.Write(finished)
	return hs.sendTicket()
}

// sendTicket sends NewSessionTicket (RFC 8446 §4.6.1), where there is a key for it
// and the client could use one. The transcript must have the client's Finished.
func (hs *handshake13) sendTicket() error {
	c := hs.conn
	if len(c.config.Tickets.list()) == 0 || !slices.Contains(hs.offer.pskModes, pskWithDHE) {
		return nil
	}
	master := hs.schedule.derive("res master", hs.transcript.Sum(nil))
	resumed := c.session
	resumed.masterSecret = hs.deriver.derive(master, "resumption", []byte(ticketNonce))
	state, err := resumed.marshal13()
	if err != nil {
		return refuse(alertInternalError, "session state: %w", err)
	}
	var m newSessionTicket13
	if m.ticket = c.config.Tickets.seal(state, c.config.context13()); m.ticket == nil {
		return nil // the client's certificates are too long, or the keys have gone
	}
	left := c.config.ticketLifetime() - c.config.time().Sub(c.session.created)
	m.lifetime = uint32(min(max(left, time.Second), maxTicketLifetime) / time.Second)
	rand.Read(m.ageAdd[:]) // never fails
	message, err := appendMessage(nil, typeNewSessionTicket, m.marshal)
	if err != nil {
		return err
	}
	c.out.queue(recordHandshake, message)
	return nil
}

// readCertificate reads the client's Certificate, which has to come, be it empty
// (RFC 8446 §4.4.2).
func (hs *handshake13) readCertificate() (step13, error) {
	c := hs.conn
	message, err := hs.conn.readMessage(typeCertificate)
	if err != nil {
		return nil, err
	}
	raw, err := parseCertificates13(body(message))
	if err != nil {
		return nil, err
	}
	if c.session.peerCertificates, c.chains, err = c.config.clientCertificates(raw); err != nil {
		return nil, err
	}
	hs.transcript.Write(message)
	if len(raw) > 0 {
		return (*handshake13).readCertificateVerify, nil
	}
	return (*handshake13).readFinished, nil
}

// readCertificateVerify reads the client's CertificateVerify (RFC 8446 §4.4.3).
func (hs *handshake13) readCertificateVerify() (step13, error) {
	message, err := hs.conn.readMessage(typeCertificateVerify)
	if err != nil {
		return nil, err
	}
	m, err := parseCertificateVerify(body(message))
	if err != nil {
		return nil, err
	}
	public := hs.conn.session.peerCertificates[0].PublicKey
	if !hs.request.allows(m.scheme) || !fits13(m.scheme, public) {
		return nil, refuse(alertIllegalParameter, "CertificateVerify with signature algorithm %#04x", uint16(m.scheme))
	}
	if err := verify(public, m.scheme, signed13(clientSignature, hs.transcript.Sum(nil)), m.signature); err != nil {
		return nil, refuse(alertDecryptError, "CertificateVerify: %w", err)
	}
	hs.transcript.Write(message)
	return (*handshake13).readFinished, nil
}

// readFinished reads the client's Finished (RFC 8446 §4.4.4), behind which its
// keys change.
func (hs *handshake13) readFinished() (step13, error) {
	c := hs.conn
	message, err := hs.readLast(typeFinished)
	if err != nil {
		return nil, err
	}
	want := hs.expected
	if hs.request != nil {
		want = hs.verifyData(hs.clientSecret, hs.transcript.Sum(nil))
	}
	if len(body(message)) != len(want) {
		return nil, errDecode("Finished") // RFC 8446 §6
	}
	if subtle.ConstantTimeCompare(body(message), want) != 1 {
		return nil, refuse(alertDecryptError, "Finished is wrong")
	}
	c.in.lenient, c.in.dropEarly = false, 0
	c.in.half.setTraffic13(newAEAD13(hs.deriver, hs.suite, hs.clientTraffic), false)
	if c.resumed {
		return nil, nil
	}
	if err := c.verifyConnection(); err != nil {
		return nil, err
	}
	if hs.request == nil {
		return nil, nil
	}
	hs.transcript.Write(message)
	if err := hs.sendTicket(); err != nil {
		return nil, err
	}
	return (*handshake13).flush, nil
}

// flush is the end of a handshake whose client has shown certificates.
func (hs *handshake13) flush() (step13, error) { return nil, hs.conn.out.flush(hs.conn.below) }

// readLast is read for a message behind which keys change, or it is our turn: it
// has to be the last of its record (RFC 8446 §5.1).
func (hs *handshake13) readLast(messageType uint8) ([]byte, error) {
	message, err := hs.conn.readMessage(messageType)
	if err == nil && hs.conn.in.moreMessages() {
		return nil, refuse(alertUnexpectedMessage, "more handshake bytes behind a message of type %d", messageType)
	}
	return message, err
}

// send adds a message to the flight, to be queued with others in one record.
func (hs *handshake13) send(messageType uint8, m interface{ marshal(*cryptobyte.Builder) }) error {
	start := len(hs.flight)
	flight, err := appendMessage(hs.flight, messageType, m.marshal)
	if err != nil {
		return err
	}
	hs.flight = flight
	hs.transcript.Write(flight[start:])
	return nil
}

// queue seals the flight so far, under the keys of now.
func (hs *handshake13) queue() {
	hs.conn.out.queue(recordHandshake, hs.flight)
	hs.flight = hs.flight[:0]
}

// changeCipherSpec sends what makes middleboxes believe in a resumed session of
// TLS 1.2, if the client wants that (RFC 8446 appendix D.4).
func (hs *handshake13) changeCipherSpec() {
	if len(hs.hello.sessionID) > 0 {
		hs.conn.out.queue(recordChangeCipherSpec, []byte{1})
	}
}

// skipEarlyData has the client's early data dropped, which it sends before it
// knows that there is none here (RFC 8446 §4.2.10): tickets of ours allow none, but
// it may have one of another server's.
func (hs *handshake13) skipEarlyData() {
	if hs.offer.earlyData {
		hs.conn.in.dropEarly = maxEarlyData
	}
}
