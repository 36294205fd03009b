package clienthello

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Protocol is what a client that does not speak TLS was found to speak.
type Protocol string

// The protocols that are worth a name in a log.
const (
	AMQP     Protocol = "amqp" // 0-9-1, 0-10 and 1.0
	MQTT     Protocol = "mqtt"
	STOMP    Protocol = "stomp"
	OpenWire Protocol = "openwire"
	HTTP     Protocol = "http"
	SSH      Protocol = "ssh"
	SSLv2    Protocol = "sslv2" // a hello in SSL 2.0's format, whatever version it offers
	ProxyV1  Protocol = "proxy_v1"
	ProxyV2  Protocol = "proxy_v2"
	Unknown  Protocol = "unknown"
)

// NotTLSError refuses a client whose first bytes cannot be TLS.
//
// It comes with the first byte that shows it, so the protocol is named from
// what arrived together with that byte: a client that sends its first bytes one
// by one is Unknown.
type NotTLSError struct {
	Protocol Protocol

	first  []byte // the first bytes of an unknown protocol, for the log
	answer []byte
}

// maxQuoted bounds what of an unknown protocol goes into the error: enough to
// recognise one, and short of where the known ones carry names and passwords.
const maxQuoted = 8

func (e *NotTLSError) Error() string {
	switch e.Protocol {
	case Unknown:
		return fmt.Sprintf("clienthello: not TLS: begins with %+q", e.first)
	case SSLv2:
		return "clienthello: not TLS: SSLv2 hello"
	case ProxyV1, ProxyV2:
		return fmt.Sprintf("clienthello: not TLS: PROXY protocol header (%s)", e.Protocol)
	default:
		return fmt.Sprintf("clienthello: not TLS: plaintext %s", e.Protocol)
	}
}

// Reason is "not_tls".
func (e *NotTLSError) Reason() string { return "not_tls" }

// Alert is protocol_version for SSLv2 and what is unknown, and 0 for clients
// that would not understand it.
func (e *NotTLSError) Alert() uint8 {
	if e.Protocol == SSLv2 || e.Protocol == Unknown {
		return alertProtocolVersion
	}
	return 0
}

// Answer is what tells the client of its mistake in its own protocol, as far
// as that has the words: a TLS alert for SSLv2 and what is unknown, and nil for
// OpenWire and for a proxy, which have none.
func (e *NotTLSError) Answer() []byte { return e.answer }

// A signature recognises one protocol by the first bytes of a client, and says
// what to answer. ok is false for bytes that are not the protocol's, or not
// enough to tell.
type signature struct {
	protocol Protocol
	match    func(b []byte) (answer []byte, ok bool)
}

// signatures in the order in which they are tried. The header of PROXY v2 begins
// with line ends, which STOMP allows too, and so does HTTP's CONNECT method
// with STOMP's command.
func signatures() []signature {
	return []signature{
		{ProxyV2, prefix("\r\n\r\n\x00\r\nQUIT\n", nil)},
		{ProxyV1, prefix("PROXY ", nil)},
		// The one way in which AMQP speaks of TLS is the protocol header of
		// AMQP 1.0 §5.2.1. To answer with a header and to close is what 0-9-1
		// (§4.2.2) and 1.0 (§2.2) both do with a header they do not support.
		{AMQP, prefix("AMQP", []byte("AMQP\x02\x01\x00\x00"))},
		{SSH, prefix("SSH-", []byte("This port speaks TLS, not SSH.\r\n"))}, // RFC 4253 §4.2
		{HTTP, matchHTTP},
		{STOMP, matchSTOMP},
		{MQTT, matchMQTT},
		{OpenWire, matchOpenWire},
		{SSLv2, matchSSLv2},
	}
}

// identify names what b is the beginning of, when that is not TLS.
func identify(b []byte) *NotTLSError {
	for _, s := range signatures() {
		if answer, ok := s.match(b); ok {
			return &NotTLSError{Protocol: s.protocol, answer: answer}
		}
	}
	return &NotTLSError{
		Protocol: Unknown,
		first:    bytes.Clone(b[:min(len(b), maxQuoted)]),
		answer:   AlertRecord(unknownVersion, alertProtocolVersion),
	}
}

func prefix(p string, answer []byte) func([]byte) ([]byte, bool) {
	return func(b []byte) ([]byte, bool) {
		return answer, bytes.HasPrefix(b, []byte(p))
	}
}

const httpAnswer = "HTTP/1.1 400 Bad Request\r\n" +
	"Connection: close\r\n" +
	"Content-Type: text/plain\r\n" +
	"Content-Length: 39\r\n" +
	"\r\n" +
	"This port speaks TLS, not plain HTTP.\r\n"

// matchHTTP knows a request by its method. PRI is HTTP/2's preface (RFC 9113
// §3.4).
func matchHTTP(b []byte) ([]byte, bool) {
	for _, method := range []string{
		"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "CONNECT ", "OPTIONS ", "TRACE ", "PATCH ", "PRI ",
	} {
		if bytes.HasPrefix(b, []byte(method)) {
			return []byte(httpAnswer), true
		}
	}
	return nil, false
}

const stompAnswer = "ERROR\n" +
	"message:This port speaks TLS\n" +
	"content-length:0\n" +
	"\n\x00\n"

// matchSTOMP skips line ends before the command, as brokers do, and demands one
// behind it, for HTTP has a method of the same name.
func matchSTOMP(b []byte) ([]byte, bool) {
	b = bytes.TrimLeft(b, "\r\n")
	rest, ok := bytes.CutPrefix(b, []byte("CONNECT"))
	if !ok {
		rest, ok = bytes.CutPrefix(b, []byte("STOMP"))
	}
	if !ok || len(rest) == 0 || rest[0] != '\n' && rest[0] != '\r' {
		return nil, false
	}
	return []byte(stompAnswer), true
}

// matchMQTT knows a CONNECT packet by the protocol's name, and answers with the
// CONNACK of the version that stands behind it: "server unavailable" up to
// 3.1.1 (§3.2.2.3), which has nothing closer, and an error with its reason in
// words in 5.0 (§3.2.2).
func matchMQTT(b []byte) ([]byte, bool) {
	const connect = 0x10
	if len(b) == 0 || b[0] != connect {
		return nil, false
	}
	_, n := binary.Uvarint(b[1:]) // MQTT's lengths are at most 4 such bytes
	if n <= 0 || n > 4 {
		return nil, false
	}
	b = b[1+n:]
	level, ok := bytes.CutPrefix(b, []byte("\x00\x04MQTT"))
	if !ok {
		level, ok = bytes.CutPrefix(b, []byte("\x00\x06MQIsdp"))
	}
	switch {
	case !ok:
		return nil, false
	case len(level) > 0 && level[0] == 5:
		const connack, notAccepted, reasonString = "\x20", "\x83", "\x1f"
		const reason = "\x00\x14This port speaks TLS"
		return []byte(connack + "\x1a\x00" + notAccepted + "\x17" + reasonString + reason), true
	default:
		return []byte("\x20\x02\x00\x03"), true
	}
}

// matchOpenWire knows a WireFormatInfo (type 1) by its magic, with or without
// the length of the frame in front.
func matchOpenWire(b []byte) ([]byte, bool) {
	const info = "\x01ActiveMQ"
	return nil, bytes.HasPrefix(b, []byte(info)) || len(b) > 4 && bytes.HasPrefix(b[4:], []byte(info))
}

// matchSSLv2 knows a CLIENT-HELLO with a two-byte header, the one that clients
// sent (RFC 5246 appendix E.2), by its type and the major version it offers:
// 0 for SSL 2.0, 3 for SSL 3.0 and TLS.
func matchSSLv2(b []byte) ([]byte, bool) {
	const hello = 1
	ok := len(b) >= 5 && b[0]&0x80 != 0 && b[2] == hello && (b[3] == 0 && b[4] == 2 || b[3] == 3)
	return AlertRecord(unknownVersion, alertProtocolVersion), ok
}
