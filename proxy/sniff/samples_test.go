package sniff

import "strings"

// A sample is what a client may send first.
type sample struct {
	name     string
	sent     string
	protocol Protocol
	variant  string
	decides  int    // how many bytes tell
	fault    string // why a listener for the protocol refuses it all the same
}

const upgradeHead = "GET /ws HTTP/1.1\r\nHost: broker.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

// upgrade is a request for a WebSocket with more header lines.
func upgrade(lines ...string) string {
	return upgradeHead + strings.Join(append(lines, "\r\n"), "\r\n")
}

// samples has a row for every branch of the detectors.
func samples() []sample {
	eols := strings.Repeat("\n", 64)
	all := []sample{
		{"amqp 0-9-1", "AMQP\x00\x00\x09\x01", AMQP, "0-9-1", 8, ""},
		{"amqp 0-9", "AMQP\x01\x01\x00\x09", AMQP, "0-9", 8, ""},
		{"amqp 0-10", "AMQP\x01\x01\x00\x0a", AMQP, "0-10", 8, ""},
		{"amqp 1.0", "AMQP\x00\x01\x00\x00\x00\x00\x00\x3f", AMQP, "1.0", 8, ""},
		{"amqp 1.0 tls", "AMQP\x02\x01\x00\x00", AMQP, "1.0 TLS", 8, ""},
		{"amqp 1.0 sasl", "AMQP\x03\x01\x00\x00", AMQP, "1.0 SASL", 8, ""},
		{"amqp 0-8", "AMQP\x01\x01\x08\x00", AMQP, "", 8, "unsupported version 01 01 08 00"},
		{"amqp 0-9-2", "AMQP\x00\x00\x09\x02", AMQP, "", 8, "unsupported version 00 00 09 02"},
		{"amqp 1.1", "AMQP\x00\x01\x01\x00", AMQP, "", 8, "unsupported version 00 01 01 00"},
		{"amqp text", "AMQP/1.0\r\n", AMQP, "", 8, "unsupported version 2f 31 2e 30"},

		{"mqtt 3.1.1", "\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", MQTT, "3.1.1", 9, ""},
		{"mqtt 5.0", "\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00", MQTT, "5.0", 9, ""},
		{"mqtt 3.1", "\x10\x0e\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x00", MQTT, "3.1", 11, ""},
		{"mqtt bridge 3.1.1", "\x10\x0c\x00\x04MQTT\x84\x02\x00\x3c\x00\x00", MQTT, "bridge 3.1.1", 9, ""},
		{"mqtt bridge 3.1", "\x10\x0e\x00\x06MQIsdp\x83\x02\x00\x3c\x00\x00", MQTT, "bridge 3.1", 11, ""},
		{"mqtt length of 2 bytes", "\x10\xac\x02\x00\x04MQTT\x04", MQTT, "3.1.1", 10, ""},
		{"mqtt length of 3 bytes", "\x10\x80\x80\x01\x00\x04MQTT\x04", MQTT, "3.1.1", 11, ""},
		{"mqtt length of 4 bytes", "\x10\xff\xff\xff\x7f\x00\x06MQIsdp\x03", MQTT, "3.1", 14, ""},
		{"mqtt level 3", "\x10\x0c\x00\x04MQTT\x03", MQTT, "", 9, "unacceptable protocol level 3"},
		{"mqtt level 6", "\x10\x0c\x00\x04MQTT\x06", MQTT, "", 9, "unacceptable protocol level 6"},
		{"mqtt bridge level 6", "\x10\x0c\x00\x04MQTT\x86", MQTT, "", 9, "unacceptable protocol level 134"},
		{"mqisdp level 4", "\x10\x0e\x00\x06MQIsdp\x04", MQTT, "", 11, "unacceptable protocol level 4"},
		{"mqtt length of 5 bytes", "\x10\x80\x80\x80\x80\x00\x00\x04MQTT\x04", Unknown, "", 5, ""},
		{"mqtt too short", "\x10\x0b\x00\x04MQTT\x04", Unknown, "", 2, ""},
		{"mqtt other name", "\x10\x0c\x00\x04MQTX\x04", Unknown, "", 8, ""},
		{"mqtt other length of name", "\x10\x0c\x00\x05MQTT\x04", Unknown, "", 4, ""},
		{"mqtt publish", "\x30\x0c\x00\x04MQTT\x04", Unknown, "", 1, ""},

		{"stomp connect", "CONNECT\naccept-version:1.2\n\n\x00", STOMP, "", 8, ""},
		{"stomp connect crlf", "CONNECT\r\nhost:b\r\n\r\n\x00", STOMP, "", 8, ""},
		{"stomp", "STOMP\naccept-version:1.2\n\n\x00", STOMP, "", 6, ""},
		{"stomp crlf", "STOMP\r\nhost:b\r\n\r\n\x00", STOMP, "", 6, ""},
		{"stomp after an eol", "\nCONNECT\n\n\x00", STOMP, "", 9, ""},
		{"stomp after crlfs", "\r\n\r\nCONNECT\n\n\x00", STOMP, "", 12, ""},
		{"stomp after as many eols as may be", eols + "STOMP\n\n\x00", STOMP, "", 70, ""},
		{"stomp after too many eols", eols + "\nSTOMP\n\n\x00", Unknown, "", 65, ""},
		{"stomp after too many crlfs", strings.Repeat("\r\n", 33) + "STOMP\n", Unknown, "", 66, ""},
		{"stomp after a lone cr", "\rSTOMP\n", Unknown, "", 2, ""},
		{"stomp send", "SEND\n", Unknown, "", 2, ""},
		{"stomp connected", "CONNECTED\n", Unknown, "", 8, ""},
		{"stomp space", "STOMP \n", Unknown, "", 6, ""},

		{"openwire", "\x00\x00\x01\x5c\x01ActiveMQ\x00\x00\x00\x0c", OpenWire, "", 13, ""},
		{"openwire without size", "\x01ActiveMQ\x00\x00\x00\x0c", OpenWire, "no size prefix", 9, ""},
		{"openwire too short", "\x00\x00\x00\x0c\x01ActiveMQ", Unknown, "", 4, ""},
		{"openwire too long", "\x00\x01\x00\x00\x01ActiveMQ", Unknown, "", 2, ""},
		{"openwire other type", "\x00\x00\x01\x5c\x03ActiveMQ", Unknown, "", 5, ""},
		{"openwire other magic", "\x00\x00\x01\x5c\x01ActiveMX", Unknown, "", 13, ""},
		{"openwire other magic without size", "\x01ActiveMX", Unknown, "", 9, ""},

		{"http post", "POST / HTTP/1.1\r\n", HTTP, "", 5, faultUpgrade},
		{"http put", "PUT / HTTP/1.1\r\n", HTTP, "", 4, faultUpgrade},
		{"http connect", "CONNECT broker:5672 HTTP/1.1\r\n", HTTP, "", 8, faultUpgrade},
		{"http 2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP, "2", 4, faultUpgrade},
		{"http lower case", "get / HTTP/1.1\r\n", Unknown, "", 1, ""},
		{"http 1.0", "GET / HTTP/1.0\r\n\r\n", HTTP, "", 16, faultUpgrade},
		{"http 0.9", "GET /\r\n", HTTP, "", 7, faultMalformed},
		{"http 2 in words", "GET / HTTP/2.0\n", HTTP, "", 15, faultUpgrade},

		{"tls inside tls", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", TLS, "", 2, ""},
		{"proxy v1", "PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n", Proxy, "v1", 6, ""},
		{"proxy v2", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", Proxy, "v2", 12, ""},
		{"proxy v2 cut", "\r\n\r\n\x00\r\nQUI ", Unknown, "", 11, ""},
		{"ssh", "SSH-2.0-OpenSSH_9.2p1\r\n", SSH, "", 4, ""},
		{"text", "hello\n", Unknown, "", 1, ""},
		{"zero", "\x00", "", "", 0, ""}, // nothing yet
	}
	return append(all, httpSamples()...)
}

// httpSamples are GET requests. All of the header decides.
func httpSamples() []sample {
	long := "GET / HTTP/1.1\r\nCookie: "
	fill := strings.Repeat("x", maxHeader-len(long)-len("\r\n\r\n"))
	all := []sample{
		{name: "websocket", sent: upgrade(), protocol: WebSocket},
		{name: "websocket mqtt", sent: upgrade("Sec-WebSocket-Protocol: mqtt"), protocol: WebSocket, variant: "mqtt"},
		{name: "websocket mqtt 3.1", sent: upgrade("Sec-WebSocket-Protocol: mqttv3.1, mqtt"), protocol: WebSocket, variant: "mqttv3.1"},
		{name: "websocket stomp", sent: upgrade("sec-websocket-protocol:v10.stomp,\tv11.stomp ,v12.stomp"), protocol: WebSocket, variant: "v10.stomp"},
		{name: "websocket lists", sent: upgrade("Sec-WebSocket-Protocol: secret", "Sec-WebSocket-Protocol: other, v12.stomp"), protocol: WebSocket, variant: "v12.stomp"},
		{name: "websocket unknown", sent: upgrade("Sec-WebSocket-Protocol: bearer.secret"), protocol: WebSocket},
		{name: "websocket among others", sent: "GET / HTTP/1.1\r\nUpgrade: h2c, WebSocket\r\nConnection: keep-alive, UPGRADE\r\n\r\n", protocol: WebSocket},
		{name: "websocket bare line feeds", sent: "GET / HTTP/1.1\nUpgrade: websocket\nConnection: upgrade\n\n", protocol: WebSocket},
		{name: "http get", sent: "GET / HTTP/1.1\r\nHost: broker\r\n\r\n", protocol: HTTP, fault: faultUpgrade},
		{name: "http other upgrade", sent: "GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", protocol: HTTP, fault: faultUpgrade},
		{name: "http upgrade of no connection", sent: "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n", protocol: HTTP, fault: faultUpgrade},
		{name: "http malformed", sent: "GET / HTTP/1.1\r\nAuthorization secret\r\n\r\n", protocol: HTTP, fault: faultMalformed},
		{name: "http as large as may be", sent: long + fill + "\r\n\r\n", protocol: HTTP, fault: faultUpgrade},
		{name: "http too large", sent: long + fill + "x\r\n\r\n", protocol: HTTP, fault: faultTooLarge},
		{name: "http no end", sent: "GET /" + strings.Repeat("x", 2*maxHeader), protocol: HTTP, fault: faultTooLarge},
	}
	for i := range all {
		all[i].decides = min(len(all[i].sent), maxHeader)
	}
	return all
}
