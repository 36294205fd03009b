package clienthello

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

type plaintext struct {
	name     string
	first    string
	protocol Protocol
	message  string
	answer   string
}

// plaintexts is what clients send that forgot TLS, or never knew of it.
func plaintexts() []plaintext {
	const (
		amqp    = "AMQP\x02\x01\x00\x00"
		alert   = "\x15\x03\x01\x00\x02\x02\x46"
		connack = "\x20\x02\x00\x03"
	)
	return []plaintext{
		{"AMQP 0-9-1", "AMQP\x00\x00\x09\x01", AMQP, "plaintext amqp", amqp},
		{"AMQP 0-10", "AMQP\x01\x01\x00\x0a", AMQP, "plaintext amqp", amqp},
		{"AMQP 1.0 SASL", "AMQP\x03\x01\x00\x00", AMQP, "plaintext amqp", amqp},
		{"MQTT 3.1", "\x10\x12\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x04name", MQTT, "plaintext mqtt", connack},
		{"MQTT 3.1.1", "\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04name", MQTT, "plaintext mqtt", connack},
		{"MQTT bridge", "\x10\x10\x00\x04MQTT\x84\x02\x00\x3c\x00\x04name", MQTT, "plaintext mqtt", connack},
		{"MQTT 5", "\x10\xff\x01\x00\x04MQTT\x05\x02\x00\x3c", MQTT, "plaintext mqtt",
			"\x20\x1a\x00\x83\x17\x1f\x00\x14This port speaks TLS"},
		{"MQTT, level to come", "\x10\x10\x00\x04MQTT", MQTT, "plaintext mqtt", connack},
		{"STOMP CONNECT", "CONNECT\nlogin:guest\n", STOMP, "plaintext stomp", stompAnswer},
		{"STOMP CR LF", "STOMP\r\naccept-version:1.2\r\n", STOMP, "plaintext stomp", stompAnswer},
		{"STOMP behind line ends", "\n\r\n\nCONNECT\n", STOMP, "plaintext stomp", stompAnswer},
		{"OpenWire", "\x00\x00\x00\xf0\x01ActiveMQ\x00\x00\x00\x0c", OpenWire, "plaintext openwire", ""},
		{"OpenWire without size", "\x01ActiveMQ\x00", OpenWire, "plaintext openwire", ""},
		{"HTTP", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP, "plaintext http", httpAnswer},
		{"HTTP CONNECT", "CONNECT a:443 HTTP/1.1\r\n\r\n", HTTP, "plaintext http", httpAnswer},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP, "plaintext http", httpAnswer},
		{"SSH", "SSH-2.0-OpenSSH_9.2p1\r\n", SSH, "plaintext ssh", "This port speaks TLS, not SSH.\r\n"},
		{"SSLv2", "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", SSLv2, "SSLv2 hello", alert},
		{"SSLv2 offering TLS 1.0", "\x80\x67\x01\x03\x01\x00\x4e\x00\x00\x00\x10", SSLv2, "SSLv2 hello", alert},
		{"PROXY v1", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", ProxyV1, "PROXY protocol header (proxy_v1)", ""},
		{"PROXY v2", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", ProxyV2, "PROXY protocol header (proxy_v2)", ""},

		{"garbage", "\xff\xfe\xfd\x0a\x0d\x22\\89", Unknown, `begins with "\xff\xfe\xfd\n\r\"\\8"`, alert},
		{"a zero", "\x00", Unknown, `begins with "\x00"`, alert},
		{"not quite a record", "\x16\x02\x00\x00\x10", Unknown, `begins with "\x16\x02\x00\x00\x10"`, alert},
		{"not quite an alert", "\x15.", Unknown, `begins with "\x15."`, alert},
		{"first byte of AMQP", "A", Unknown, `begins with "A"`, alert},
		{"half of MQTT", "\x10\x10\x00\x04MQ", Unknown, `begins with "\x10\x10\x00\x04MQ"`, alert},
		{"MQTT, endless length", "\x10\xff\xff\xff\xff\x01\x00\x04MQTT", Unknown, `begins with "\x10\xff\xff\xff\xff\x01\x00\x04"`, alert},
		{"STOMP, no line end", "CONNECTED\n", Unknown, `begins with "CONNECTE"`, alert},
		{"only line ends", "\r\n\r\n", Unknown, `begins with "\r\n\r\n"`, alert},
		{"SSLv2 without its bit", "\x00\x2e\x01\x00\x02", Unknown, `begins with "\x00.\x01\x00\x02"`, alert},
		{"SSLv2 of no version", "\x80\x2e\x01\x00\x03", Unknown, `begins with "\x80.\x01\x00\x03"`, alert},
	}
}

func TestNotTLS(t *testing.T) {
	for _, test := range plaintexts() {
		t.Run(test.name, func(t *testing.T) {
			r := io.MultiReader(strings.NewReader(test.first), blocked{t})
			_, err := Read(r, MaxSize)
			var refusal *NotTLSError
			if !errors.As(err, &refusal) {
				t.Fatal(err)
			}
			if refusal.Protocol != test.protocol || refusal.Reason() != "not_tls" {
				t.Errorf("%s, %s", refusal.Protocol, refusal.Reason())
			}
			if alert := refusal.Alert(); (alert == alertProtocolVersion) != (test.answer == string(AlertRecord(unknownVersion, alert))) {
				t.Errorf("alert %d with answer %q", alert, test.answer)
			}
			if want := "clienthello: not TLS: " + test.message; refusal.Error() != want {
				t.Errorf("%q, want %q", refusal.Error(), want)
			}
			if got := string(refusal.Answer()); got != test.answer {
				t.Errorf("answer %q, want %q", got, test.answer)
			}
		})
	}
}

// TestNotTLSAtOnce holds that a client which sends a byte and waits is refused
// for that byte, if it is no TLS, and for the second at the latest.
func TestNotTLSAtOnce(t *testing.T) {
	for first := range 256 {
		begin := []byte{byte(first)}
		if first >= recordChangeCipherSpec && first <= recordHeartbeat {
			begin = append(begin, 2)
		}
		_, err := Read(io.MultiReader(iotest.OneByteReader(bytes.NewReader(begin)), blocked{t}), MaxSize)
		if reasonOf(err) != "not_tls" {
			t.Errorf("% x: %v", begin, err)
		}
	}
}

func TestHTTPAnswer(t *testing.T) {
	response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(httpAnswer)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusBadRequest || !response.Close {
		t.Errorf("%v, %+v", err, response)
	}
	if want := "This port speaks TLS, not plain HTTP.\r\n"; string(body) != want {
		t.Errorf("%q, want %q", body, want)
	}
}
