package upstream

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

// start091 is what RabbitMQ says first, with less in it.
const start091 = "\x01\x00\x00\x00\x00\x00\x2b\x00\x0a\x00\x0a\x00\x09" +
	"\x00\x00\x00\x0d\x07productS\x00\x00\x00\x00" + "\x00\x00\x00\x05PLAIN" + "\x00\x00\x00\x07\x65n_US  " + "\xce"

func answerOf(protocol Protocol, answer string) error {
	return conversationOf(protocol).answer(bufio.NewReader(io.LimitReader(strings.NewReader(answer), maxAnswer)))
}

func TestAnswers(t *testing.T) {
	const well, wrong, early = "well", "wrong", "early"
	for _, test := range []struct {
		protocol Protocol
		answer   string
		want     string
	}{
		{TCP, "", well},
		{AMQP, start091, well},
		{AMQP, "AMQP\x00\x01\x00\x00", well},
		{AMQP, "AMQP\x00\x01\x00", early},
		{AMQP, start091[:len(start091)-1], early},
		{AMQP, start091[:len(start091)-1] + "\x00", wrong},
		{AMQP, strings.Replace(start091, "PLAIN", "PLAIN ", 1)[:len(start091)-1] + "\xce", wrong},
		{AMQP, strings.Replace(start091, "\x00\x0a\x00\x0a", "\x00\x0a\x00\x32", 1), wrong}, // Connection.Close
		{AMQP, "\x02" + start091[1:], wrong},
		{AMQP, "\x01\x00\x00\xff\xff\xff\xff", wrong},
		{AMQP, "HTTP/1.1 400 Bad Request\r\n\r\n", wrong},
		{AMQP, "", early},

		{MQTT, "\x20\x02\x00\x00", well},
		{MQTT, "\x20\x02\x00\x05", well},                  // not authorised
		{MQTT, "\x20\x03\x00\x84\x00", well},              // MQTT 5: unsupported version
		{MQTT, "\x20\x06\x00\x84\x03\x21\x00\x0a", well},  // with a property
		{MQTT, "\x20\x06\x00\x84\x04\x21\x00\x0a", wrong}, // whose length is another
		{MQTT, "\x20\x06\x00\x84\xff\xff\xff\xff", wrong}, // or none
		{MQTT, "\x20\x02\x00", early},
		{MQTT, "\x20\x01\x00", wrong},
		{MQTT, "\x20\x02\x02\x00", wrong},
		{MQTT, "\x20\xff\xff\xff\xff\x01", wrong},
		{MQTT, "\x20\xff\xff\xff\x7f", wrong},
		{MQTT, "\x30\x02\x00\x00", wrong}, // PUBLISH
		{MQTT, "", early},

		{STOMP, "CONNECTED\nversion:1.2\n\n\x00", well},
		{STOMP, "ERROR\r\nmessage:Bad CONNECT\r\n\r\nno", well},
		{STOMP, "CONNECTED\n\n", well},
		{STOMP, "CONNECTED\nversion", early},
		{STOMP, "CONNECTED\nversion\n\n", wrong},
		{STOMP, "CONNECTED\n:1.2\n\n", wrong},
		{STOMP, "MESSAGE\n\n", wrong},
		{STOMP, strings.Repeat("x", 5000), wrong},
		{STOMP, "CONNECTED\n" + strings.Repeat("a:b\n", maxAnswer), early},
		{STOMP, "", early},

		{OpenWire, openWireInfo, well},
		{OpenWire, "\x00\x00\x00\x0e\x01ActiveMQ\x00\x00\x00\x01\x00", well},
		{OpenWire, "\x00\x00\x00\x0e\x01ActiveMQ\x00\x00\x00\x00\x00", wrong},
		{OpenWire, "\x00\x00\x00\x0e\x01ActiveMQ\x00\x00\x00\x01\x01", wrong},
		{OpenWire, "\x00\x00\x00\x0e\x01ArtemiMQ\x00\x00\x00\x01\x00", wrong},
		{OpenWire, "\x00\x00\x00\x0d\x01ActiveMQ\x00\x00\x00\x01", wrong},
		{OpenWire, strings.Replace(openWireInfo, "\x00\x00\x00\x04", "\x00\x00\x00\x05", 1), wrong},
		{OpenWire, "\x00\x01\x00\x01\x01ActiveMQ", wrong},
		{OpenWire, openWireInfo[:20], early},
		{OpenWire, "", early},
	} {
		got := well
		switch err := answerOf(test.protocol, test.answer); {
		case errors.Is(err, errAnswer):
			got = wrong
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			got = early
		case err != nil:
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %.60q is %s, want %s", test.protocol, test.answer, got, test.want)
		}
	}
}

// What is asked is of the protocol, too, and a client identifier is new each
// time.
func TestQuestions(t *testing.T) {
	first, second := mqttConnect(), mqttConnect()
	if len(first) != 37 || first[1] != 35 || first[:14] != "\x10\x23\x00\x04MQTT\x04\x02\x00\x3c\x00\x17" || first == second {
		t.Errorf("CONNECT %q, then %q", first, second)
	}
	if err := answerOf(OpenWire, conversationOf(OpenWire).ask); err != nil {
		t.Errorf("our WireFormatInfo: %v", err)
	}
}

// No answer makes a check panic, read more than it may, or fail in another way
// than it says.
func FuzzAnswers(f *testing.F) {
	protocols := []Protocol{AMQP, MQTT, STOMP, OpenWire}
	for _, seed := range []string{start091, "AMQP\x00\x01\x00\x00", "\x20\x02\x00\x00", "\x20\x06\x00\x84\x03\x21\x00\x0a",
		"CONNECTED\nversion:1.2\n\n\x00", "ERROR\r\n\r\n", openWireInfo, "\x00\x00\x00\x0e\x01ActiveMQ\x00\x00\x00\x01\x00"} {
		for i := range protocols {
			f.Add(i, seed)
		}
	}
	f.Fuzz(func(t *testing.T, i int, answer string) {
		if i < 0 || i >= len(protocols) {
			return
		}
		err := answerOf(protocols[i], answer)
		if err != nil && !errors.Is(err, errAnswer) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", protocols[i], err)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%s: an error of %d bytes", protocols[i], len(err.Error()))
		}
		// What is well stays so when more comes, and was not when less had.
		if err == nil {
			if err := answerOf(protocols[i], answer+"more"); err != nil {
				t.Errorf("%s: with more behind it: %v", protocols[i], err)
			}
			if err := answerOf(protocols[i], ""); err == nil {
				t.Errorf("%s: nothing is an answer", protocols[i])
			}
		}
	})
}

// Checks take their leave, so that a broker's log is not full of failures.
func TestLeave(t *testing.T) {
	for protocol, answer := range map[Protocol]string{MQTT: "\x20\x02\x00\x00", STOMP: "CONNECTED\n\n\x00", OpenWire: openWireInfo} {
		c := conversationOf(protocol)
		conn := &script{Reader: strings.NewReader(answer)}
		if err := c.hold(conn); err != nil {
			t.Error(err)
		}
		if said := conn.said.String(); said != c.ask+c.leave || c.leave == "" {
			t.Errorf("%s: said %q", protocol, said)
		}
	}
}

// script is a connection to a broker that knows what to say.
type script struct {
	io.Reader
	said strings.Builder
}

func (s *script) Write(p []byte) (int, error) { return s.said.Write(p) }
