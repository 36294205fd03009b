package sniff

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// maxHeader is the largest HTTP header that is waited for, in bytes, request
// line included, and so the most that is ever read before a decision.
const maxHeader = 8 << 10

// carriedBy is the protocol inside a WebSocket with that subprotocol, or "".
// MQTT 5.0 §6 and MQTT 3.1.1 §6 name "mqtt"; clients of 3.1 have a name of
// their own. Those of STOMP are registered with IANA.
func carriedBy(subprotocol string) Protocol {
	switch subprotocol {
	case "mqtt", "mqttv3.1":
		return MQTT
	case "v10.stomp", "v11.stomp", "v12.stomp":
		return STOMP
	default:
		return ""
	}
}

// Why a request is not passed on.
const (
	faultUpgrade   = "no upgrade to WebSocket"
	faultMalformed = "malformed header" // no more about it: it may hold a password
	faultTooLarge  = "header of more than 8 KiB"
)

// detectHTTP knows a request by its method. Only GET can lead to a WebSocket
// (RFC 6455 §4.1), so that the others are known for a mistake at once. PRI is
// the preface of HTTP/2 (RFC 9113 §3.4).
func detectHTTP(b []byte) (finding, verdict) {
	waiting := no
	for _, method := range [...]string{
		"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "CONNECT ", "OPTIONS ", "TRACE ", "PATCH ", "PRI ",
	} {
		switch v := begins(b, method); {
		case v == more:
			waiting = more
		case v == yes && method == "GET ":
			return detectUpgrade(b)
		case v == yes && method == "PRI ":
			return refused(faultUpgrade, "2"), yes
		case v == yes:
			return refused(faultUpgrade, ""), yes
		}
	}
	return finding{}, waiting
}

// detectUpgrade waits for the end of a GET request's header, or for a sign that
// it cannot be an upgrade to WebSocket (RFC 6455 §4.2.1).
func detectUpgrade(b []byte) (finding, verdict) {
	b = b[:min(len(b), maxHeader)]
	if line, _, ok := bytes.Cut(b, []byte("\n")); ok {
		version := bytes.TrimSuffix(line[bytes.LastIndexByte(line, ' ')+1:], []byte("\r"))
		major, minor, ok := http.ParseHTTPVersion(string(version))
		switch {
		case !ok:
			return refused(faultMalformed, ""), yes
		case major != 1 || minor < 1:
			return refused(faultUpgrade, ""), yes
		}
	}
	end := headerEnd(b)
	switch {
	case end < 0 && len(b) == maxHeader:
		return refused(faultTooLarge, ""), yes
	case end < 0:
		return finding{}, more
	}
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b[:end])))
	if err != nil {
		return refused(faultMalformed, ""), yes
	}
	if !httpguts.HeaderValuesContainsToken(request.Header["Upgrade"], "websocket") ||
		!httpguts.HeaderValuesContainsToken(request.Header["Connection"], "upgrade") {
		return refused(faultUpgrade, ""), yes
	}
	return finding{protocol: WebSocket, variant: knownSubprotocol(request.Header["Sec-Websocket-Protocol"])}, yes
}

// headerEnd is where the empty line that ends a header stops, or -1. Bare
// line feeds count, as they do for net/http (RFC 9112 §2.2). Each byte of a slow
// client has the header searched anew, so it is left to what is fast at that.
func headerEnd(b []byte) int {
	end := -1
	for _, empty := range [...]string{"\n\r\n", "\n\n"} {
		if i := bytes.Index(b, []byte(empty)); i >= 0 && (end < 0 || i+len(empty) < end) {
			end = i + len(empty)
		}
	}
	return end
}

// knownSubprotocol is the first that the client lists, in the order of its
// preference, which may be cut into several header lines (RFC 6455 §11.3.4). An
// unknown one stays out of it: tokens of access are smuggled in that place.
func knownSubprotocol(values []string) string {
	for _, value := range values {
		for name := range strings.SplitSeq(value, ",") {
			name = strings.Trim(name, " \t")
			if carriedBy(name) != "" {
				return name
			}
		}
	}
	return ""
}

// refused is an HTTP request that no broker is to see.
func refused(fault, variant string) finding {
	answer := httpUpgradeRequired
	if fault != faultUpgrade {
		answer = httpBadRequest
	}
	return finding{protocol: HTTP, variant: variant, fault: fault, answer: answer(fault)}
}
