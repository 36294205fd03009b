package scan

import (
	"io"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"github.com/suitegate/suitegate/policy"
)

// finish reads the answer to a whole hello, whose bytes are wire: as far as the
// certificate, which is encrypted in TLS 1.3. A HelloRetryRequest is followed,
// once.
func finish(conn io.ReadWriter, h *hello, wire []byte) (*answer, error) {
	in := &messages{r: conn, whole: true}
	transcript := wire[5:] // without the record's header
	a, err := readHello13(in, h)
	if err != nil || a.version != policy.TLS13 {
		return a, err
	}
	suite, known := ciphers13[a.suite]
	if !known {
		return nil, malformed("suite %s, which was not offered", policy.SuiteName(a.suite))
	}
	if a.retry {
		again, err := h.again(a, transcript)
		if err != nil {
			return nil, err
		}
		if wire, err = again.marshal(); err != nil {
			return nil, err
		}
		if _, err := conn.Write(wire); err != nil && !isClosed(err) { // there may be an alert to read
			return nil, err
		}
		// RFC 8446 §4.4.1
		transcript = slices.Concat(message(typeMessageHash, suite.sum(transcript)), a.raw, wire[5:])
		first := a
		if a, err = readHello13(in, again); err != nil {
			return nil, err
		}
		if a.retry || a.version != policy.TLS13 || a.suite != first.suite {
			return nil, malformed("second hello")
		}
	}
	secret, err := h.share(a.group).agree(a.share)
	if err != nil {
		return nil, err
	}
	if in.open, err = suite.opener(secret, slices.Concat(transcript, a.raw)); err != nil {
		return nil, err
	}
	return a, a.readFlight(in, h)
}

// again is the hello that answers a HelloRetryRequest to this one, whose message
// is sent.
func (h *hello) again(retry *answer, sent []byte) (*hello, error) {
	second := &second{cookie: retry.cookie}
	var session cryptobyte.String
	s := cryptobyte.String(sent)
	if !s.Skip(4+2) || !s.ReadBytes(&second.random, 32) || !s.ReadUint8LengthPrefixed(&session) {
		return nil, malformed("hello of our own")
	}
	second.session = session
	again := *h
	again.second = second
	if retry.group != 0 {
		share := h.share(retry.group)
		if share == nil {
			return nil, malformed("group %s, which was not offered", groupName(retry.group))
		}
		again.shares = []*keyShare{share}
	}
	return &again, nil
}

// readHello13 reads a ServerHello and nothing behind it. One of an older version
// is good for nothing but to say so.
func readHello13(in *messages, h *hello) (*answer, error) {
	kind, body, err := in.next()
	if err != nil {
		return nil, err
	}
	if kind != typeServerHello {
		return nil, malformed("message %d out of order", kind)
	}
	a := &answer{raw: message(kind, body)}
	if err := a.readServerHello(body, h); err != nil {
		return nil, err
	}
	if a.version == policy.TLS13 && len(in.pending) > 0 {
		return nil, malformed("message that goes on where the keys change") // RFC 8446 §5.1
	}
	return a, nil
}

// message is one as it is on the wire.
func message(kind uint8, body []byte) []byte {
	return append([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

// readFlight reads what comes after the ServerHello in a full handshake, up to
// the certificate (RFC 8446 §2).
func (a *answer) readFlight(in *messages, h *hello) error {
	previous := uint8(typeServerHello)
	for {
		kind, body, err := in.next()
		if err != nil {
			return err
		}
		switch {
		case kind == typeEncryptedExtensions && previous == typeServerHello:
			err = a.readEncryptedExtensions(body, h)
		case kind == typeCertificateRequest && previous == typeEncryptedExtensions:
			a.asks = true
			err = readCertificateRequest(body)
		case kind == typeCertificate && previous != typeServerHello:
			return a.readCertificate13(body)
		default:
			return malformed("message %d out of order", kind)
		}
		if err != nil {
			return err
		}
		previous = kind
	}
}

// readEncryptedExtensions reads RFC 8446 §4.3.1.
func (a *answer) readEncryptedExtensions(s cryptobyte.String, h *hello) error {
	var block cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&block) || !s.Empty() {
		return malformed("EncryptedExtensions")
	}
	var seen []uint16
	for !block.Empty() {
		var extension uint16
		var data cryptobyte.String
		if !block.ReadUint16(&extension) || !block.ReadUint16LengthPrefixed(&data) {
			return malformed("EncryptedExtensions")
		}
		here := extension == extServerName || extension == extSupportedGroups || extension == extALPN // RFC 8446 §4.2
		if !here || !h.offers(extension) || slices.Contains(seen, extension) {
			return malformed("extension %d, which was not offered, has no place here or is there twice", extension)
		}
		seen = append(seen, extension)
		if err := a.readExtension(extension, data, h); err != nil {
			return err
		}
	}
	return nil
}

// readCertificateRequest reads RFC 8446 §4.3.2.
func readCertificateRequest(s cryptobyte.String) error {
	var context, block cryptobyte.String
	if !s.ReadUint8LengthPrefixed(&context) || !context.Empty() || !s.ReadUint16LengthPrefixed(&block) || !s.Empty() {
		return malformed("CertificateRequest")
	}
	return nil
}

// readCertificate13 reads RFC 8446 §4.4.2.
func (a *answer) readCertificate13(s cryptobyte.String) error {
	var context, list cryptobyte.String
	if !s.ReadUint8LengthPrefixed(&context) || !context.Empty() || !s.ReadUint24LengthPrefixed(&list) || !s.Empty() || list.Empty() {
		return malformed("Certificate")
	}
	for !list.Empty() {
		var der, block cryptobyte.String
		if !list.ReadUint24LengthPrefixed(&der) || der.Empty() || !list.ReadUint16LengthPrefixed(&block) {
			return malformed("Certificate")
		}
		a.chain = append(a.chain, der)
		for !block.Empty() {
			var extension uint16
			var data cryptobyte.String
			if !block.ReadUint16(&extension) || !block.ReadUint16LengthPrefixed(&data) {
				return malformed("extensions of Certificate")
			}
			a.stapled = a.stapled || extension == extStatusRequest
		}
	}
	return nil
}
