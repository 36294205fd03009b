package engine

import (
	"bytes"
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// ClientAuth judges the certificates of clients.
type ClientAuth interface {
	// Authorities are those to name in the request to the client, nil for
	// none. They may change from one connection to the next.
	Authorities() *x509.CertPool

	// Verify judges the chain that a client has sent, its own certificate
	// first, or that a session brings which it wants to resume; the chain is
	// empty if the client has none. After an error the handshake ends with the
	// alert that the error's method Alert() uint8 names, or bad_certificate; a
	// session is not resumed, and a full handshake takes place.
	//
	// That the client has the key is seen to by the engine.
	Verify(version uint16, chain []*x509.Certificate) error
}

// RefusalAlert is the alert for an error of [ClientAuth.Verify]. In FIPS 140-3
// mode TLS 1.3 has crypto/tls's own: another would have to be encrypted by us, and
// not by the module.
func RefusalAlert(version uint16, err error) uint8 {
	var named interface{ Alert() uint8 }
	if errors.As(err, &named) && !(version == tls.VersionTLS13 && fips140.Enabled()) {
		return named.Alert()
	}
	return badCertificate[1]
}

// authenticated returns a copy of config for one connection, whose client is
// asked for a certificate. crypto/tls is to accept whatever comes: the verdict
// is auth's, in a full handshake and on resumption alike, and so is the alert in
// TLS 1.2, for which crypto/tls has no choice to offer (see exactAlert).
func (c *standardBelow) authenticated(config *tls.Config, auth ClientAuth) *tls.Config {
	config = config.Clone()
	config.ClientAuth = tls.RequestClientCert
	config.ClientCAs = auth.Authorities()
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if state.DidResume {
			return nil // judged in UnwrapSession
		}
		err := auth.Verify(state.Version, state.PeerCertificates)
		if err != nil && state.Version == tls.VersionTLS12 {
			c.alert = RefusalAlert(state.Version, err)
		}
		return err
	}
	wrap, unwrap := config.WrapSession, config.UnwrapSession
	// A ticket has the client's certificates, but shows them to crypto/tls
	// alone: a second copy is there to be judged.
	config.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		for _, certificate := range state.PeerCertificates {
			session.Extra = append(session.Extra, append([]byte(chainExtra), certificate.Raw...))
		}
		return wrap(state, session)
	}
	config.UnwrapSession = func(identity []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := unwrap(identity, state)
		if session == nil || err != nil {
			return nil, err
		}
		var chain []*x509.Certificate
		for _, extra := range session.Extra {
			der, found := bytes.CutPrefix(extra, []byte(chainExtra))
			if !found {
				continue
			}
			certificate, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, nil // of another release, say
			}
			chain = append(chain, certificate)
		}
		if auth.Verify(state.Version, chain) != nil {
			return nil, nil
		}
		return session, nil
	}
	return config
}

// chainExtra marks a certificate of the client's in [tls.SessionState.Extra].
const chainExtra = "suitegate client certificate "

// badCertificate is a fatal alert of that description.
var badCertificate = [...]byte{2, 42}

// exactAlert returns the record to send instead of one from crypto/tls in TLS 1.2.
// It says bad_certificate whatever a callback has said, in the clear and in a record
// of its own: another AlertDescription is put in its place. A record that is not
// what is expected goes out as it is.
func exactAlert(record []byte, alert uint8) []byte {
	const headerLen, typeAlert = 5, 21
	if len(record) < headerLen || record[0] != typeAlert || !bytes.Equal(record[headerLen:], badCertificate[:]) {
		return record
	}
	return append(bytes.Clone(record[:headerLen]), badCertificate[0], alert)
}
