package tlsconn

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"slices"

	"github.com/suitegate/suitegate/proxy/tlsconn/ffdhe"
)

// negotiate decides what does not depend on whether a session is resumed, and
// begins the ServerHello.
func (hs *handshake) negotiate() error {
	hello, config := hs.hello, hs.conn.config
	if err := checkVersion(hello, config.MaxVersion); err != nil {
		return err
	}
	// RFC 5246 §7.4.1.2.
	if !slices.Contains(hello.compressions, compressionNull) {
		return refuse(alertIllegalParameter, "compression methods %x lack null", hello.compressions)
	}
	// RFC 8422 §5.1.2.
	if hello.offers(extECPointFormats) && !slices.Contains(hello.pointFormats, pointFormatUncompressed) {
		return refuse(alertIllegalParameter, "point formats %x lack uncompressed", hello.pointFormats)
	}
	// RFC 5746 §3.6: nothing was negotiated before.
	if len(hello.renegotiationInfo) > 0 {
		return refuse(alertHandshakeFailure, "renegotiation_info of %d bytes in the first handshake", len(hello.renegotiationInfo))
	}
	var err error
	if hs.reply.protocol, err = chooseProtocol(config.NextProtos, hello.protocols); err != nil {
		return err
	}
	if hs.certificate, err = config.certificate(helloInfo(hello, hs.conn)); err != nil {
		return err
	}

	hs.reply.random = serverRandom(config.MaxVersion)
	hs.reply.renegotiationInfo = hello.offers(extRenegotiationInfo) || slices.Contains(hello.suites, suiteRenegotiationInfo)
	hs.reply.extendedMasterSecret = hello.extendedMasterSecret
	return nil
}

// checkVersion sees to it that TLS 1.2 is what the client wants.
func checkVersion(hello *clientHello, best uint16) error {
	if hello.offers(extSupportedVersions) {
		// RFC 8446 §4.2.1: nothing else counts then.
		if !slices.Contains(hello.versions, tls.VersionTLS12) {
			return refuse(alertProtocolVersion, "versions %x", hello.versions)
		}
		if err := hello.checkLegacyVersion(); err != nil {
			return err
		}
	} else if hello.version < tls.VersionTLS12 {
		// Whatever is above TLS 1.2 implies it (RFC 5246 appendix E.1).
		return refuse(alertProtocolVersion, "version %#04x", hello.version)
	}
	// RFC 7507 §3.
	if best > tls.VersionTLS12 && slices.Contains(hello.suites, suiteFallback) {
		return refuse(alertInappropriateFallback, "client fell back to TLS 1.2")
	}
	return nil
}

// serverRandom returns a fresh random, marked where the listener could do
// better than TLS 1.2 (RFC 8446 §4.1.3).
func serverRandom(best uint16) (random [randomLen]byte) {
	const downgradeToTLS12 = "DOWNGRD\x01"
	rand.Read(random[:]) // never fails
	if best > tls.VersionTLS12 {
		copy(random[randomLen-len(downgradeToTLS12):], downgradeToTLS12)
	}
	return random
}

// chooseProtocol returns our first protocol that the client has too (RFC 7301
// §3.2), and none where one side knows none.
func chooseProtocol(ours, theirs []string) (string, error) {
	if len(ours) == 0 || len(theirs) == 0 {
		return "", nil
	}
	for _, protocol := range ours {
		if slices.Contains(theirs, protocol) {
			return protocol, nil
		}
	}
	return "", refuse(alertNoApplicationProtocol, "application protocols %q", theirs)
}

// helloInfo is what a GetCertificate is told of the client.
func helloInfo(hello *clientHello, c *Conn) *tls.ClientHelloInfo {
	versions := hello.versions
	if !hello.offers(extSupportedVersions) {
		versions = []uint16{tls.VersionTLS12}
	}
	return &tls.ClientHelloInfo{
		CipherSuites:      hello.suites,
		ServerName:        hello.serverName,
		SupportedCurves:   hello.groups,
		SupportedPoints:   hello.pointFormats,
		SignatureSchemes:  hello.schemes,
		SupportedProtos:   hello.protocols,
		SupportedVersions: versions,
		Extensions:        hello.extensions,
		Conn:              c.below,
	}
}

// chooseSuite takes the first of our suites that the client offers and that its
// groups and signature algorithms, and our certificate, allow (RFC 5246
// §7.4.1.3).
func (hs *handshake) chooseSuite() error {
	config := hs.conn.config
	scheme, canSign := config.serverScheme(hs.hello, hs.certificate)
	_, isRSA := publicKeyOf(hs.certificate).(*rsa.PublicKey)
	ecdhe := hs.curve()
	dhe, dheRefused := hs.finiteField()

	failure := alertHandshakeFailure
	for _, id := range config.suites() {
		suite := suiteByID(id)
		if suite == nil || !slices.Contains(hs.hello.suites, id) {
			continue
		}
		var group tls.CurveID
		switch suite.kx {
		case kxDHE:
			if dheRefused {
				failure = alertInsufficientSecurity
			}
			group = dhe
		case kxECDHE:
			group = ecdhe
		}
		if suite.ecdsa == isRSA || suite.kx != kxRSA && (group == 0 || !canSign) {
			continue
		}
		hs.suite, hs.group, hs.scheme = suite, group, scheme
		return nil
	}
	return refuse(failure, "no suite in common: suites %x, groups %d, signatures %x", hs.hello.suites, hs.hello.groups, hs.hello.schemes)
}

// curve returns the group for ECDHE, or 0. A client that lists no groups gets
// none: it could be anything that it does not know (RFC 8422 §4 leaves us the
// choice).
func (hs *handshake) curve() tls.CurveID {
	for _, group := range hs.conn.config.groups() {
		if curveOf(group) != nil && slices.Contains(hs.hello.groups, group) {
			return group
		}
	}
	return 0
}

// finiteField returns the group for DHE, or 0. refused says that the client's
// list of finite field groups, if it has one, is the reason (RFC 7919 §4): the
// failure has its own alert then. A client that lists none gets the first of
// ours.
func (hs *handshake) finiteField() (group tls.CurveID, refused bool) {
	listed := slices.ContainsFunc(hs.hello.groups, func(g tls.CurveID) bool { return 256 <= g && g <= 511 })
	for _, group := range hs.conn.config.groups() {
		if ffdhe.Supported(uint16(group)) && (!listed || slices.Contains(hs.hello.groups, group)) {
			return group, false
		}
	}
	return 0, listed
}

// resumable returns the session in the client's ticket, if it is one that can
// be resumed (RFC 5077 §3.1). current says that its ticket need not be renewed.
// The error is a fault.
func (hs *handshake) resumable() (s *session, current bool, err error) {
	config := hs.conn.config
	state, current := config.Tickets.open(hs.hello.ticket, config.SessionContext)
	if state == nil {
		return nil, false, nil
	}
	s, err = parseSession(state)
	if err != nil {
		return nil, false, nil // of another release, say
	}
	suite := suiteByID(s.suite)
	switch {
	case config.time().Sub(s.created) >= config.ticketLifetime(),
		suite == nil || !slices.Contains(config.suites(), s.suite) || !slices.Contains(hs.hello.suites, s.suite),
		s.group != 0 && !slices.Contains(config.groups(), s.group),
		s.serverName != hs.hello.serverName: // RFC 6066 §3
		return nil, false, nil
	}
	chains, ok := config.mayResume(s.peerCertificates)
	if !ok {
		return nil, false, nil
	}
	// RFC 7627 §5.3.
	if !s.extendedMasterSecret && hs.hello.extendedMasterSecret {
		return nil, false, nil
	}
	if s.extendedMasterSecret && !hs.hello.extendedMasterSecret {
		return nil, false, refuse(alertHandshakeFailure, "session with extended_master_secret, hello without")
	}
	hs.suite, hs.group = suite, s.group
	hs.conn.chains = chains
	return s, current, nil
}
