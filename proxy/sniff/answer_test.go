package sniff

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-stomp/stomp/v3/frame"
)

// Answers whose every byte counts; the others are parsed.
const (
	nothing     = ""
	anError     = "STOMP ERROR"
	badRequest  = "400"
	needUpgrade = "426"
)

// TestMismatch has one client of each kind on each listener.
func TestMismatch(t *testing.T) {
	const post = "POST / HTTP/1.1\r\n"
	garbage := "\xff\xfe\xfd\xfc" + strings.Repeat("x", 50)
	for _, test := range []struct {
		sent   string
		want   Protocol
		error  string
		answer string
	}{
		{"\x10\x0c\x00\x04MQTT\x04secret", AMQP, "MQTT on the AMQP listener", amqp091Header},
		{"CONNECT\npasscode:secret", AMQP, "STOMP on the AMQP listener", amqp091Header},
		{"\x01ActiveMQ", AMQP, "OpenWire on the AMQP listener", amqp091Header},
		{upgrade(), AMQP, "WebSocket on the AMQP listener", amqp091Header},
		{post, AMQP, "HTTP on the AMQP listener", amqp091Header},
		{"\x16\x03", AMQP, "TLS inside TLS on the AMQP listener", amqp091Header},
		{"PROXY TCP4", AMQP, "PROXY protocol on the AMQP listener", amqp091Header},
		{"SSH-2.0", AMQP, "SSH on the AMQP listener", amqp091Header},
		{"AMQP\x01\x01\x08\x00", AMQP, "AMQP on the AMQP listener: unsupported version 01 01 08 00", amqp091Header},
		{"AMQP\x00\x00\x08\x00", AMQP, "AMQP on the AMQP listener: unsupported version 00 00 08 00", amqp091Header},
		{"AMQP\x00\x01\x01\x00", AMQP, "AMQP on the AMQP listener: unsupported version 00 01 01 00", amqp10Header},
		{"AMQP\x03\x02\x00\x00", AMQP, "AMQP on the AMQP listener: unsupported version 03 02 00 00", amqp10Header},

		{"AMQP\x00\x00\x09\x01", MQTT, "AMQP on the MQTT listener", nothing},
		{upgrade("Sec-WebSocket-Protocol: mqtt"), MQTT, "WebSocket on the MQTT listener", nothing},
		{"\x10\x0c\x00\x04MQTT\x03", MQTT, "MQTT on the MQTT listener: unacceptable protocol level 3", "\x20\x02\x00\x01"},
		{"\x10\x0e\x00\x06MQIsdp\x05", MQTT, "MQTT on the MQTT listener: unacceptable protocol level 5", "\x20\x02\x00\x01"},
		{"\x10\x0c\x00\x04MQTT\x06", MQTT, "MQTT on the MQTT listener: unacceptable protocol level 6", "\x20\x03\x00\x84\x00"},
		{"\x10\x0c\x00\x04MQTT\x06", STOMP, "MQTT on the STOMP listener", anError},

		{"AMQP\x00\x00\x09\x01", STOMP, "AMQP on the STOMP listener", anError},
		{post, STOMP, "HTTP on the STOMP listener", anError},
		{"AMQP\x00\x00\x09\x01", OpenWire, "AMQP on the OpenWire listener", nothing},
		{post, OpenWire, "HTTP on the OpenWire listener", nothing},

		{post, WebSocket, "HTTP on the WebSocket listener: no upgrade to WebSocket", needUpgrade},
		{"GET / HTTP/1.0\r\n", WebSocket, "HTTP on the WebSocket listener: no upgrade to WebSocket", needUpgrade},
		{"GET /\r\n", WebSocket, "HTTP on the WebSocket listener: malformed header", badRequest},
		{"GET / HTTP/1.1\r\nsecret\r\n\r\n", WebSocket, "HTTP on the WebSocket listener: malformed header", badRequest},
		{"GET /" + strings.Repeat("x", maxHeader), WebSocket, "HTTP on the WebSocket listener: header of more than 8 KiB", badRequest},
		{"AMQP\x00\x00\x09\x01", WebSocket, "AMQP on the WebSocket listener", badRequest},

		{post, Any, "HTTP on the auto listener: no upgrade to WebSocket", needUpgrade},
		{"\x10\x0c\x00\x04MQTT\x03", Any, "MQTT on the auto listener: unacceptable protocol level 3", "\x20\x02\x00\x01"},
		{"AMQP\x01\x01\x08\x00", Any, "AMQP on the auto listener: unsupported version 01 01 08 00", amqp091Header},
		{"\x16\x03", Any, "TLS inside TLS on the auto listener", nothing},
		{"SSH-2.0", "", "SSH on the auto listener", nothing},

		{garbage, AMQP, `unknown protocol on the AMQP listener: begins with "\xff\xfe\xfd\xfc"`, amqp091Header},
		{garbage, STOMP, `unknown protocol on the STOMP listener: begins with "\xff\xfe\xfd\xfc"`, anError},
		{"\n\n\x1b[31m", Any, `unknown protocol on the auto listener: begins with "\n\n\x1b["`, nothing},
		{"x", WebSocket, `unknown protocol on the WebSocket listener: begins with "x"`, badRequest},
	} {
		t.Run(test.error, func(t *testing.T) {
			_, err := Read(strings.NewReader(test.sent), test.want)
			var mismatch *MismatchError
			if !errors.As(err, &mismatch) {
				t.Fatal(err)
			}
			if got := err.Error(); got != "sniff: "+test.error {
				t.Errorf("error %s", got)
			}
			if mismatch.Reason() != "wrong_protocol" {
				t.Errorf("reason %s", mismatch.Reason())
			}
			if strings.Contains(err.Error()+string(mismatch.Answer()), "secret") {
				t.Errorf("error or answer %q gives a password away", mismatch.Answer())
			}
			checkAnswer(t, mismatch.Answer(), test.answer)
		})
	}
}

func checkAnswer(t *testing.T, answer []byte, want string) {
	t.Helper()
	switch want {
	case anError:
		checkErrorFrame(t, answer, "This port speaks STOMP")
	case badRequest:
		checkResponse(t, answer, http.StatusBadRequest)
	case needUpgrade:
		header := checkResponse(t, answer, http.StatusUpgradeRequired)
		if header.Get("Upgrade") != "websocket" || !bytes.Contains(answer, []byte("\r\nConnection: upgrade, close\r\n")) {
			t.Errorf("answer %q", answer)
		}
	default:
		if string(answer) != want {
			t.Errorf("answer %q, want %q", answer, want)
		}
	}
}

// checkErrorFrame has go-stomp read the frame, which checks content-length.
func checkErrorFrame(t *testing.T, answer []byte, message string) {
	t.Helper()
	r := bytes.NewReader(answer)
	f, err := frame.NewReader(r).Read()
	if err != nil {
		t.Fatalf("%q: %v", answer, err)
	}
	if f.Command != frame.ERROR || f.Header.Get(frame.Message) != message {
		t.Errorf("%s frame %v", f.Command, f.Header)
	}
	if f.Header.Get(frame.ContentLength) != fmt.Sprint(len(f.Body)) || len(f.Body) == 0 {
		t.Errorf("body %q of %v", f.Body, f.Header)
	}
	if !bytes.HasSuffix(answer, []byte(string(f.Body)+"\x00")) {
		t.Errorf("answer %q goes on after its frame", answer)
	}
}

// checkResponse has net/http read the response, and returns its header.
func checkResponse(t *testing.T, answer []byte, status int) http.Header {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(answer))
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("%q: %v", answer, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || len(body) == 0 || r.Buffered() > 0 {
		t.Errorf("body %q, %v, and %d bytes behind it", body, err, r.Buffered())
	}
	if response.StatusCode != status || !response.Close || int(response.ContentLength) != len(body) {
		t.Errorf("status %s, closes: %t, length %d", response.Status, response.Close, response.ContentLength)
	}
	return response.Header
}

func TestUnavailable(t *testing.T) {
	for _, test := range []struct {
		result Result
		want   string
	}{
		{Result{Protocol: MQTT, Variant: "3.1"}, "\x20\x02\x00\x03"},
		{Result{Protocol: MQTT, Variant: "bridge 3.1.1"}, "\x20\x02\x00\x03"},
		{Result{Protocol: MQTT, Variant: "5.0"}, "\x20\x03\x00\x88\x00"},
		{Result{Protocol: MQTT, Variant: "bridge 5.0"}, "\x20\x03\x00\x88\x00"},
		{Result{Protocol: AMQP, Variant: "0-9-1"}, nothing},
		{Result{Protocol: OpenWire}, nothing},
		{Result{}, nothing},
	} {
		if got := Unavailable(test.result); string(got) != test.want {
			t.Errorf("%v: %q, want %q", test.result, got, test.want)
		}
	}
	checkErrorFrame(t, Unavailable(Result{Protocol: STOMP}), "The broker is unavailable")
	header := checkResponse(t, Unavailable(Result{Protocol: WebSocket, Variant: "mqtt"}), http.StatusServiceUnavailable)
	if header.Get("Retry-After") != "5" {
		t.Errorf("header %v", header)
	}
}
