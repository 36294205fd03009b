package tlsconn

import (
	"crypto/subtle"
	"slices"
	"time"
)

const (
	// maxIdentities bounds the work on a client's tickets, as in crypto/tls.
	maxIdentities = 5

	// maxTicketLifetime is the most that a NewSessionTicket may say (RFC 8446
	// §4.6.1).
	maxTicketLifetime = 7 * 24 * time.Hour

	// maxEarlyData is how many bytes of early data are dropped, with their
	// records: more than servers usually allow their clients.
	maxEarlyData = 64 << 10
)

// negotiate decides what does not depend on whether a session is resumed.
func (hs *handshake13) negotiate() error {
	hello, config := hs.hello, hs.conn.config
	// RFC 8446 §4.1.2.
	if !slices.Equal(hello.compressions, []byte{compressionNull}) {
		return refuse(alertIllegalParameter, "compression methods %x", hello.compressions)
	}
	for _, id := range config.suites() {
		if suite := suite13ByID(id); suite != nil && slices.Contains(hello.suites, id) {
			hs.suite = suite
			break
		}
	}
	if hs.suite == nil {
		return refuse(alertHandshakeFailure, "no suite in common: suites %x", hello.suites)
	}
	for _, group := range config.groups() {
		if supported13(group) && slices.Contains(hello.groups, group) {
			hs.group = group
			break
		}
	}
	if hs.group == 0 {
		return refuse(alertHandshakeFailure, "no group in common: groups %d", hello.groups)
	}
	var err error
	if hs.protocol, err = chooseProtocol(config.NextProtos, hello.protocols); err != nil {
		return err
	}
	hs.certificate, err = config.certificate(helloInfo(hello, hs.conn))
	return err
}

// resume looks for a session among the client's tickets (RFC 8446 §4.2.11), and
// takes the whole hello into the transcript. Without one the handshake is a full
// one. The error is a fault.
func (hs *handshake13) resume(hello []byte) error {
	c := hs.conn
	c.session = session{suite: hs.suite.id, created: c.config.time(), serverName: hs.hello.serverName}
	// What binders cover ends where their list begins (§4.2.11.2).
	truncated := hello[:len(hello)-hs.offer.bindersLen]
	hs.transcript.Write(truncated)
	found, err := hs.findSession()
	if err != nil {
		return err
	}
	if found == nil {
		err = hs.chooseScheme()
	} else {
		c.session, c.resumed = *found, true
		c.session.masterSecret = nil // the schedule has it
	}
	hs.transcript.Write(hello[len(truncated):])
	return err
}

// chooseScheme decides what CertificateVerify is signed with: the client's first
// that the certificate's key can do (RFC 8446 §4.2.3).
func (hs *handshake13) chooseScheme() error {
	if !hs.hello.offers(extSignatureAlgorithms) {
		return refuse(alertMissingExtension, "no signature_algorithms in ClientHello")
	}
	public, own := publicKeyOf(hs.certificate), hs.certificate.SupportedSignatureAlgorithms
	for _, id := range hs.hello.schemes {
		if fits13(id, public) && (own == nil || slices.Contains(own, id)) {
			hs.scheme = id
			return nil
		}
	}
	return refuse(alertHandshakeFailure, "no signature algorithm in common: %x", hs.hello.schemes)
}

// findSession returns the session of the first ticket that may be resumed, whose
// binder the client must have got right.
func (hs *handshake13) findSession() (*session, error) {
	if !slices.Contains(hs.offer.pskModes, pskWithDHE) {
		return nil, nil // without a key exchange there is no forward secrecy
	}
	for i, ticket := range hs.offer.identities[:min(len(hs.offer.identities), maxIdentities)] {
		s := hs.openTicket(ticket)
		if s == nil {
			continue
		}
		chains, ok := hs.conn.config.mayResume(s.peerCertificates)
		if !ok {
			continue
		}
		schedule := newKeySchedule(hs.deriver, s.masterSecret)
		want := hs.verifyData(schedule.derive("res binder", hs.empty()), hs.transcript.Sum(nil))
		if subtle.ConstantTimeCompare(hs.offer.binders[i], want) != 1 {
			return nil, refuse(alertDecryptError, "binder of pre-shared key %d is wrong", i)
		}
		hs.schedule, hs.identity, hs.conn.chains = schedule, i, chains
		return s, nil
	}
	return nil, nil
}

// openTicket returns the session in a ticket, nil if there is none that fits this
// handshake. It may have had another suite with the same hash (RFC 8446 §4.6.1).
func (hs *handshake13) openTicket(ticket []byte) *session {
	config := hs.conn.config
	state, _ := config.Tickets.open(ticket, config.context13())
	if state == nil {
		return nil
	}
	s, err := parseSession13(state)
	if err != nil {
		return nil // of TLS 1.2, or of another release
	}
	if suite13ByID(s.suite).hash != hs.suite.hash || s.serverName != hs.hello.serverName ||
		config.time().Sub(s.created) >= min(config.ticketLifetime(), maxTicketLifetime) {
		return nil
	}
	s.suite = hs.suite.id
	return s
}

// context13 is what tickets of TLS 1.3 are bound to: not to what those of TLS 1.2
// are, whose keys may be the same.
func (c *Config) context13() string { return "TLS 1.3 " + c.SessionContext }

// The contexts of signatures (RFC 8446 §4.4.3).
const (
	serverSignature = "TLS 1.3, server CertificateVerify"
	clientSignature = "TLS 1.3, client CertificateVerify"
)

// signed13 is what CertificateVerify signs: a context, and the transcript's hash
// (RFC 8446 §4.4.3).
func signed13(context string, sum []byte) []byte {
	const padding = "                                                                " // 64 spaces
	return slices.Concat([]byte(padding), []byte(context), []byte{0}, sum)
}
