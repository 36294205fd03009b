package engine

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/cryptobyte"
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
// is auth's, in a full handshake and on resumption alike, and so is the alert,
// for which crypto/tls has no choice to offer (see exactAlert).
func (c *pinnedConn) authenticated(config *tls.Config, auth ClientAuth) *tls.Config {
	config = config.Clone()
	config.ClientAuth = tls.RequestClientCert
	config.ClientCAs = auth.Authorities()
	if c.choice.Version == tls.VersionTLS13 && !fips140.Enabled() {
		config.KeyLogWriter = &c.exact
	}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if state.DidResume {
			return nil // judged in UnwrapSession
		}
		err := auth.Verify(state.Version, state.PeerCertificates)
		if err != nil {
			if alert := RefusalAlert(state.Version, err); alert != badCertificate[1] {
				c.exact.alert = alert
			}
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

// exactAlert makes the alert of a refused client the one that was decided on.
// crypto/tls sends bad_certificate whatever a callback says, in a record of its
// own: this puts another AlertDescription in its place, right above the
// connection. In TLS 1.2 the record is in the clear. In TLS 1.3 it is the first
// one under the server's application traffic secret (RFC 8446 §4.4.4), which
// the key log gives away; it is opened and sealed anew, and the one from
// crypto/tls never leaves, so that no nonce is seen twice. A record that is not
// what is expected goes out as it is.
//
// It is the writer of its connection's key log, and keeps one secret for as
// long as the handshake takes.
type exactAlert struct {
	secret []byte
	alert  uint8 // to send instead of the bad_certificate that comes next; 0 for nothing
}

// Write takes a line of the key log (draft-ietf-tls-keylogfile).
func (e *exactAlert) Write(line []byte) (int, error) {
	if fields := bytes.Fields(line); len(fields) == 3 && string(fields[0]) == "SERVER_TRAFFIC_SECRET_0" {
		secret := make([]byte, hex.DecodedLen(len(fields[2])))
		if _, err := hex.Decode(secret, fields[2]); err == nil {
			e.secret = secret
		}
	}
	return len(line), nil
}

// forget is called when the handshake is over.
func (e *exactAlert) forget() {
	clear(e.secret)
	*e = exactAlert{}
}

// badCertificate is a fatal alert of that description.
var badCertificate = [...]byte{2, 42}

// replace returns the record to send instead of one from crypto/tls, in a
// handshake of that version and suite.
func (e *exactAlert) replace(record []byte, version, suite uint16) []byte {
	const headerLen, typeAlert = 5, 21
	if len(record) < headerLen {
		return record
	}
	header, body := record[:headerLen], record[headerLen:]
	alert := []byte{badCertificate[0], e.alert}
	if version != tls.VersionTLS13 {
		if header[0] == typeAlert && bytes.Equal(body, badCertificate[:]) {
			return append(bytes.Clone(header), alert...)
		}
		return record
	}
	aead, iv, err := trafficCipher(suite, e.secret)
	if err != nil {
		return record
	}
	// RFC 8446 §5.2: the content type stands behind the content. §5.3: the
	// nonce of the first record is the IV.
	inner, err := aead.Open(nil, iv, body, header)
	if err != nil || !bytes.Equal(inner, append(badCertificate[:], typeAlert)) {
		return record
	}
	return aead.Seal(bytes.Clone(header), iv, append(alert, typeAlert), header)
}

// trafficCipher returns the cipher of a TLS 1.3 traffic secret and its IV (RFC
// 8446 §7.3).
func trafficCipher(suite uint16, secret []byte) (aead cipher.AEAD, iv []byte, err error) {
	hash, keyLen := crypto.SHA256, 16
	switch suite {
	case tls.TLS_AES_256_GCM_SHA384:
		hash, keyLen = crypto.SHA384, 32
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		keyLen = chacha20poly1305.KeySize
	}
	key, err := expandLabel(hash, secret, "key", keyLen)
	if err != nil {
		return nil, nil, err
	}
	if iv, err = expandLabel(hash, secret, "iv", 12); err != nil {
		return nil, nil, err
	}
	if suite == tls.TLS_CHACHA20_POLY1305_SHA256 {
		aead, err = chacha20poly1305.New(key)
		return aead, iv, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, err
	}
	aead, err = cipher.NewGCM(block)
	return aead, iv, err
}

// expandLabel is HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
func expandLabel(hash crypto.Hash, secret []byte, label string, length int) ([]byte, error) {
	var info cryptobyte.Builder
	info.AddUint16(uint16(length))
	info.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("tls13 " + label)) })
	info.AddUint8(0)
	encoded, err := info.Bytes()
	if err != nil {
		return nil, err
	}
	return hkdf.Expand(hash.New, secret, string(encoded), length)
}
