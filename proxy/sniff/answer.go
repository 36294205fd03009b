package sniff

import (
	"fmt"
	"strings"
)

// Protocol headers that a client may try instead of its own. AMQP 1.0 is
// answered with SASL (§5.3.1), which brokers want before anything else.
const (
	amqp091Header = "AMQP\x00\x00\x09\x01"
	amqp10Header  = "AMQP\x03\x01\x00\x00"
)

// answerFor is what a client of another protocol is told on a listener for
// want: nil where there is nothing that it could understand.
func answerFor(want Protocol, why string) []byte {
	switch want {
	case AMQP:
		return []byte(amqp091Header)
	case STOMP:
		return stompError("This port speaks STOMP", why)
	case WebSocket:
		return httpBadRequest(why)
	default:
		return nil
	}
}

// Unavailable is what a client of a recognised protocol is told when no broker
// can be reached: a CONNACK with "server unavailable", a STOMP ERROR frame, an
// HTTP status 503. It is nil for AMQP, where the broker has the first word that
// could say so, and for OpenWire.
func Unavailable(r Result) []byte {
	const message = "The broker is unavailable"
	switch {
	case r.Protocol == MQTT && strings.HasSuffix(r.Variant, "5.0"):
		return connack5(0x88)
	case r.Protocol == MQTT:
		return connack3(3)
	case r.Protocol == STOMP:
		return stompError(message, "Try again later.")
	case r.Protocol == WebSocket:
		return httpResponse("503 Service Unavailable", "Connection: close\r\nRetry-After: 5\r\n", message)
	default:
		return nil
	}
}

// connack3 refuses a CONNECT of MQTT 3.1 or 3.1.1 (§3.2.2.3).
func connack3(returnCode byte) []byte {
	return []byte{0x20, 2, 0, returnCode}
}

// connack5 refuses a CONNECT of MQTT 5.0 (§3.2.2.2), with no properties.
func connack5(reasonCode byte) []byte {
	return []byte{0x20, 3, 0, reasonCode, 0}
}

// stompError is an ERROR frame (STOMP 1.2). message goes into a header, and
// must hold nothing that is escaped there.
func stompError(message, body string) []byte {
	return fmt.Appendf(nil, "ERROR\nmessage:%s\ncontent-type:text/plain\ncontent-length:%d\n\n%s\x00", message, len(body), body)
}

func httpBadRequest(why string) []byte {
	return httpResponse("400 Bad Request", "Connection: close\r\n", why)
}

// httpUpgradeRequired names the protocol to upgrade to (RFC 9110 §15.5.22), and
// does so in Connection as well (§7.8).
func httpUpgradeRequired(why string) []byte {
	return httpResponse("426 Upgrade Required", "Connection: upgrade, close\r\nUpgrade: websocket\r\n", why)
}

// httpResponse is a whole response. The lines of header end in CRLF each.
func httpResponse(status, header, body string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 %s\r\n%sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s\n",
		status, header, len(body)+1, body)
}
