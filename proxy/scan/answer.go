package scan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"

	"github.com/suitegate/suitegate/policy"
)

// Alerts that mean more than a refusal (RFC 8446 §6).
const (
	alertLevelWarning     = 1
	alertCloseNotify      = 0
	alertIllegalParameter = 47
	alertDecodeError      = 50
	alertProtocolVersion  = 70
	alertInternalError    = 80
	alertMissingExtension = 109
)

// helloRetryRequest is the random of a ServerHello that is one (RFC 8446
// §4.1.3).
var helloRetryRequest = [32]byte{
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
}

// answer is what a server says to a hello, up to where it waits for the client,
// or, if the hello is not a whole one, goes on encrypted.
type answer struct {
	version    policy.Version
	suite      uint16
	extensions []uint16
	alpn       string       // the protocol that the server has chosen, or ""
	group      policy.Group // of TLS 1.3, or of an ECDHE key exchange; 0 otherwise
	retry      bool         // it is a HelloRetryRequest
	cookie     []byte       // that a second hello has to bring along
	share      []byte       // the server's
	raw        []byte       // the ServerHello's message, where handshakes are read on
	dheBits    int          // length of the prime of a DHE key exchange; 0 otherwise
	chain      [][]byte     // certificates in DER, the leaf first
	stapled    bool         // an OCSP response came with them
	asks       bool         // for a certificate of the client
}

// alertError is a server's refusal.
type alertError uint8

func (e alertError) Error() string { return fmt.Sprintf("the server answers alert %d", uint8(e)) }

// notTLSError is an answer in another protocol.
type notTLSError struct{ first []byte }

func (e *notTLSError) Error() string {
	return fmt.Sprintf("the server does not answer in TLS but with %q", e.first)
}

// errMalformed is that of every answer that TLS does not have.
var errMalformed = errors.New("malformed answer")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errMalformed}, args...)...)
}

// readAnswer reads what a server says to h. An alert is an alertError, and the
// end of the connection io.EOF, wherever it comes: nothing is accepted before
// the server has said all of its part.
func readAnswer(r io.Reader, h *hello) (*answer, error) {
	in := &messages{r: r}
	a := new(answer)
	for {
		kind, body, err := in.next()
		if err != nil {
			return nil, err
		}
		if (kind == typeServerHello) == (a.suite != 0) {
			return nil, malformed("message %d out of order", kind)
		}
		switch kind {
		case typeServerHello:
			err = a.readServerHello(body, h)
			if err == nil && a.version == policy.TLS13 {
				return a, nil
			}
		case typeCertificate:
			err = a.readCertificate(body)
		case typeCertificateStatus:
			a.stapled = true
		case typeCertificateRequest:
			a.asks = true
		case typeServerKeyExchange:
			err = a.readKeyExchange(body)
		case typeServerHelloDone:
			return a, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// readServerHello reads RFC 5246 §7.4.1.3, RFC 8446 §4.1.3.
func (a *answer) readServerHello(s cryptobyte.String, h *hello) error {
	var version uint16
	var random []byte
	var session, block cryptobyte.String
	var compression uint8
	if !s.ReadUint16(&version) || !s.ReadBytes(&random, 32) || !s.ReadUint8LengthPrefixed(&session) || len(session) > 32 ||
		!s.ReadUint16(&a.suite) || !s.ReadUint8(&compression) {
		return malformed("ServerHello")
	}
	a.version = policy.Version(version)
	if compression != 0 {
		return malformed("compression method %d, which was not offered", compression)
	}
	if !slices.Contains(h.suites, a.suite) {
		return malformed("suite %s, which was not offered", policy.SuiteName(a.suite))
	}
	a.retry = bytes.Equal(random, helloRetryRequest[:])
	if !s.Empty() && (!s.ReadUint16LengthPrefixed(&block) || !s.Empty()) {
		return malformed("extensions of ServerHello")
	}
	for !block.Empty() {
		var extension uint16
		var data cryptobyte.String
		if !block.ReadUint16(&extension) || !block.ReadUint16LengthPrefixed(&data) {
			return malformed("extensions of ServerHello")
		}
		unasked := extension == extCookie && a.retry // the only one that may be
		if slices.Contains(a.extensions, extension) || !h.offers(extension) && !unasked {
			return malformed("extension %d, which was not offered or is there twice", extension)
		}
		a.extensions = append(a.extensions, extension)
		if err := a.readExtension(extension, data, h); err != nil {
			return err
		}
	}
	if a.version < policy.SSL30 || a.version > h.version {
		return malformed("version %s, which was not offered", a.version)
	}
	if a.version == policy.TLS13 && a.group == 0 && len(a.cookie) == 0 {
		return malformed("no group")
	}
	return nil
}

func (a *answer) readExtension(extension uint16, data cryptobyte.String, h *hello) error {
	ok := true
	switch extension {
	case extSupportedVersions:
		var version uint16
		ok = data.ReadUint16(&version) && data.Empty() && version == uint16(policy.TLS13)
		a.version = policy.Version(version)
	case extKeyShare:
		var group uint16
		var share cryptobyte.String
		ok = data.ReadUint16(&group) && group != 0
		a.group = policy.Group(group)
		if ok && !a.retry {
			ok = h.share(a.group) != nil && data.ReadUint16LengthPrefixed(&share) && len(share) > 0
			a.share = share
		}
		ok = ok && data.Empty()
	case extCookie:
		var cookie cryptobyte.String
		ok = data.ReadUint16LengthPrefixed(&cookie) && data.Empty() && len(cookie) > 0
		a.cookie = cookie
	case extALPN:
		var list, protocol cryptobyte.String
		ok = data.ReadUint16LengthPrefixed(&list) && data.Empty() &&
			list.ReadUint8LengthPrefixed(&protocol) && list.Empty() && len(protocol) > 0
		a.alpn = string(protocol)
	}
	if !ok {
		return malformed("extension %d", extension)
	}
	return nil
}

// readCertificate reads RFC 5246 §7.4.2.
func (a *answer) readCertificate(s cryptobyte.String) error {
	var list cryptobyte.String
	if !s.ReadUint24LengthPrefixed(&list) || !s.Empty() {
		return malformed("Certificate")
	}
	for !list.Empty() {
		var der cryptobyte.String
		if !list.ReadUint24LengthPrefixed(&der) || der.Empty() {
			return malformed("Certificate")
		}
		a.chain = append(a.chain, der)
	}
	return nil
}

// readKeyExchange reads the parameters in front of the signature, of the
// exchanges that have a group (RFC 8422 §5.4, RFC 5246 §7.4.3, RFC 4279 §3).
func (a *answer) readKeyExchange(s cryptobyte.String) error {
	exchange, _, _ := strings.Cut(strings.TrimPrefix(policy.SuiteName(a.suite), "TLS_"), "_WITH_")
	if strings.Contains(exchange, "PSK") {
		var hint cryptobyte.String
		if !s.ReadUint16LengthPrefixed(&hint) {
			return malformed("hint of ServerKeyExchange")
		}
	}
	switch first, _, _ := strings.Cut(exchange, "_"); {
	case first == "ECDHE" || exchange == "ECDH_anon":
		const namedCurve = 3
		var kind uint8
		var group uint16
		if !s.ReadUint8(&kind) || kind != namedCurve || !s.ReadUint16(&group) || group == 0 {
			return malformed("curve of ServerKeyExchange")
		}
		a.group = policy.Group(group)
	case first == "DHE" || strings.HasPrefix(exchange, "DH_anon") || strings.HasPrefix(exchange, "PSK_DHE"):
		var prime cryptobyte.String
		if !s.ReadUint16LengthPrefixed(&prime) {
			return malformed("prime of ServerKeyExchange")
		}
		a.dheBits = new(big.Int).SetBytes(prime).BitLen()
	}
	return nil
}
