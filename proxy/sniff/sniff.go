// Package sniff tells from a client's first bytes which protocol it speaks, and
// what it is owed when that is not the one the listener is for.
//
// [Read] is for protocols whose client speaks first. It decides on as few bytes
// as the protocols allow, however they are cut into segments, and reads no more
// once it has: the longest wait is for the end of an HTTP header, which is
// capped at 8 KiB. [Guard] is for OpenWire, whose two sides speak at once, so
// that the broker's bytes must flow while the client's first ones are awaited.
//
// Recognising is not validating. What a protocol's name or magic stands in
// front of is the broker's to judge, and all of it is passed on to the broker
// as it came.
//
// Sources: AMQP 0-9-1 §4.2.2, AMQP 1.0 §2.2 and §5.2.1, MQTT 3.1.1 and 5.0 §3.1,
// STOMP 1.2, the OpenWire wire format of ActiveMQ, RFC 6455 §4 (WebSocket),
// RFC 9110 and RFC 9112 (HTTP), RFC 4253 §4.2 (SSH), RFC 8446 §5.1 (TLS) and
// the PROXY protocol of HAProxy.
package sniff

import (
	"io"
	"strings"
)

// Protocol is a protocol that a listener can be for, or another one that
// clients are known to speak by mistake.
type Protocol string

// What a listener can be for.
const (
	AMQP      Protocol = "amqp" // 0-9, 0-9-1, 0-10 and 1.0
	MQTT      Protocol = "mqtt" // 3.1, 3.1.1 and 5.0
	STOMP     Protocol = "stomp"
	OpenWire  Protocol = "openwire"
	WebSocket Protocol = "websocket"

	// Any is the protocol of a listener that takes all of the above. The empty
	// Protocol means the same.
	Any Protocol = "auto"
)

// Mistakes that are worth a name.
const (
	HTTP    Protocol = "http"  // a request that is no upgrade to WebSocket
	TLS     Protocol = "tls"   // a TLS record inside TLS
	Proxy   Protocol = "proxy" // a PROXY protocol header inside TLS
	SSH     Protocol = "ssh"
	Unknown Protocol = "unknown"
)

// title is how a person calls the protocol.
func (p Protocol) title() string {
	switch p {
	case OpenWire:
		return "OpenWire"
	case WebSocket:
		return "WebSocket"
	case AMQP, MQTT, STOMP, HTTP, SSH:
		return strings.ToUpper(string(p))
	case TLS:
		return "TLS inside TLS"
	case Proxy:
		return "PROXY protocol"
	case Unknown:
		return "unknown protocol"
	default:
		return string(p)
	}
}

// served says whether a listener can be for the protocol.
func (p Protocol) served() bool {
	switch p {
	case AMQP, MQTT, STOMP, OpenWire, WebSocket:
		return true
	default:
		return false
	}
}

// Result is what a client's first bytes say.
type Result struct {
	// Protocol is empty while the bytes are too few to tell.
	Protocol Protocol

	// Variant is what more the bytes tell about the protocol, for a log:
	//
	//	amqp       "0-9-1", "0-9", "0-10", "1.0", "1.0 SASL" or "1.0 TLS" (which asks for TLS inside TLS)
	//	mqtt       "3.1", "3.1.1" or "5.0", with "bridge " in front for a broker that connects as one
	//	openwire   "no size prefix" without the usual one
	//	websocket  the subprotocol: the first of those that the client lists which [Result.Subprotocol] knows
	//	http       "2" for HTTP/2's preface
	//	proxy      "v1" or "v2"
	//
	// It is empty otherwise. Nothing of it is the client's own words.
	Variant string

	// Prefix is every byte that was read, to be written to the broker before
	// anything else. It is at most 8 KiB.
	Prefix []byte
}

// Subprotocol is the protocol inside a WebSocket: "mqtt" for the subprotocols
// mqtt and mqttv3.1, "stomp" for v10.stomp, v11.stomp and v12.stomp, and "" for
// others, for none, and for what is no WebSocket.
func (r Result) Subprotocol() string {
	if r.Protocol != WebSocket {
		return ""
	}
	return string(carriedBy(r.Variant))
}

// firstRead is the size of the first read in bytes. What clients of a broker
// begin with fits, and the Result may be kept as long as its connection; the
// requests of browsers are larger, and grow it.
const firstRead = 512

// Read reads from r until the client is known to speak want ([Any]: one of the
// protocols that a listener can be for), or not to. It does not read again
// after that. The Result holds what was read, whatever the error.
//
// The error is a *[MismatchError] for a client that speaks something else, and
// a *[PartialError] when r failed before that was clear. Deadlines are the
// caller's.
func Read(r io.Reader, want Protocol) (Result, error) {
	const patience = 100 // reads in a row that neither bring nor fail anything, as in bufio
	buf := make([]byte, 0, firstRead)
	for fruitless := 0; ; {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, min(2*cap(buf), maxHeader)), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n > 0 {
			fruitless = 0
			if result, done, mismatch := judge(buf, want); done {
				result.Prefix = buf
				return result, mismatch
			}
		} else if fruitless++; err == nil && fruitless == patience {
			err = io.ErrNoProgress
		}
		if err != nil {
			return Result{Prefix: buf}, &PartialError{Received: len(buf), Err: err}
		}
	}
}

// judge says what a client's first bytes mean on a listener for want: a nil
// error if the client is in the right place. done is false while b is too short
// to tell.
func judge(b []byte, want Protocol) (result Result, done bool, mismatch error) {
	found, done := detect(b)
	if !done {
		return Result{}, false, nil
	}
	if want == "" {
		want = Any
	}
	result = Result{Protocol: found.protocol, Variant: found.variant}
	if found.fault == "" && (want == found.protocol || want == Any && found.protocol.served()) {
		return result, true, nil
	}
	return result, true, newMismatch(found, want, b)
}
