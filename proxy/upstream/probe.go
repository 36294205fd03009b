package upstream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"
)

// Protocol is what a health check speaks.
type Protocol string

// The protocols of checks. A node is well when it answers as the protocol says,
// even if that is no: what a check is not allowed to do, clients may be.
const (
	// TCP is content with a connection.
	TCP Protocol = "tcp"

	// AMQP sends the protocol header of 0-9-1 and wants Connection.Start, or a
	// protocol header, with which a broker names what it speaks instead: 1.0.
	AMQP Protocol = "amqp"

	// MQTT sends CONNECT with a clean session and a client identifier that nobody
	// has, wants CONNACK with any code, and takes its leave.
	MQTT Protocol = "mqtt"

	// STOMP sends CONNECT, wants a CONNECTED or ERROR frame, and takes its leave.
	STOMP Protocol = "stomp"

	// OpenWire sends WireFormatInfo, wants the broker's, and takes its leave.
	OpenWire Protocol = "openwire"
)

// maxAnswer is how many bytes of an answer are read: more than any broker says
// before it knows whom it talks to.
const maxAnswer = 64 << 10

// errAnswer is what every answer is that is not of the protocol.
var errAnswer = errors.New("not an answer of this protocol")

// conversation is one check: what is said, what has to be heard, and what is
// said then so that the broker does not take the close for a failure.
type conversation struct {
	ask    string
	answer func(*bufio.Reader) error
	leave  string
}

// conversationOf is the check of a protocol.
func conversationOf(protocol Protocol) conversation {
	switch protocol {
	case AMQP: // 0-9-1 has nothing to leave with before the client has logged in
		return conversation{ask: "AMQP\x00\x00\x09\x01", answer: readAMQP}
	case MQTT:
		return conversation{ask: mqttConnect(), answer: readMQTT, leave: "\xe0\x00"} // DISCONNECT
	case STOMP:
		return conversation{ask: "CONNECT\naccept-version:1.0,1.1,1.2\nhost:/\nheart-beat:0,0\n\n\x00", answer: readSTOMP,
			leave: "DISCONNECT\n\n\x00"}
	case OpenWire:
		return conversation{ask: openWireInfo, answer: readOpenWire, leave: openWireShutdown}
	default:
		return conversation{answer: func(*bufio.Reader) error { return nil }}
	}
}

// probe checks a node, until ctx is done.
func (p *Pool) probe(ctx context.Context, b *Backend, protocol Protocol, settings *Settings) error {
	conn, err := p.open(ctx, b, settings, time.Now().Add(settings.connectTimeout()))
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	header, err := settings.ProxyProtocol.Own(conn)
	if err != nil {
		return err
	}
	c := conversationOf(protocol)
	if c.ask = string(header) + c.ask; c.ask == "" {
		return nil // the connection is all
	}
	if err := c.hold(conn); err != nil {
		return newCheckError(protocol, err)
	}
	return nil
}

func (c conversation) hold(conn io.ReadWriter) error {
	if _, err := io.WriteString(conn, c.ask); err != nil {
		return err
	}
	if err := c.answer(bufio.NewReader(io.LimitReader(conn, maxAnswer))); err != nil {
		return err
	}
	_, _ = io.WriteString(conn, c.leave) // it has answered, whatever comes now
	return nil
}

// wrong is an error about an answer. What it holds comes from the broker, so it
// is quoted.
func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errAnswer, fmt.Sprintf(format, args...))
}

// readAMQP reads a protocol header, or the frame of Connection.Start (AMQP 0-9-1
// sections 2.3.5 and 1.4.2.1): type 1, channel 0, size, class 10, method 10, version 0-9,
// the server's properties, mechanisms and locales, end 0xCE.
func readAMQP(r *bufio.Reader) error {
	head := make([]byte, 7)
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	if bytes.HasPrefix(head, []byte("AMQP")) {
		_, err := r.ReadByte()
		return err
	}
	size := binary.BigEndian.Uint32(head[3:])
	if !bytes.HasPrefix(head, []byte{1, 0, 0}) || size > maxAnswer {
		return wrong("frame %q", head)
	}
	payload := make([]byte, size+1)
	if _, err := io.ReadFull(r, payload); err != nil {
		return err
	}
	rest, ok := bytes.CutPrefix(payload[:size], []byte{0, 10, 0, 10, 0, 9})
	if !ok || payload[size] != 0xce {
		return wrong("method %q", payload[:min(size, 4)])
	}
	for range 3 { // each has its length before it
		if len(rest) < 4 || uint64(binary.BigEndian.Uint32(rest)) > uint64(len(rest)-4) {
			return wrong("Connection.Start of %d bytes", size)
		}
		rest = rest[4+binary.BigEndian.Uint32(rest):]
	}
	if len(rest) > 0 {
		return wrong("Connection.Start with %d bytes behind it", len(rest))
	}
	return nil
}

// mqttConnect is CONNECT of MQTT 3.1.1 (section 3.1): clean session, no user, no
// will, 60 s keep-alive. The client identifier is new each time, because a
// broker ends the session of whoever has the same, and has the 23 characters
// that all brokers take (section 3.1.3.1).
func mqttConnect() string {
	id := fmt.Sprintf("suitegate%014x", rand.Uint64()>>8)
	return "\x10" + string(rune(12+len(id))) + "\x00\x04MQTT\x04\x02\x00\x3c\x00" + string(rune(len(id))) + id
}

// readMQTT reads CONNACK of MQTT 3.1.1 or 5 (section 3.2): 0x20, the length of
// the rest, the flag of a present session, the code, and in MQTT 5 properties
// behind their length.
func readMQTT(r *bufio.Reader) error {
	kind, err := r.ReadByte()
	if err != nil {
		return err
	}
	if kind != 0x20 {
		return wrong("packet type %#02x", kind)
	}
	size, err := readVariable(r)
	if err != nil {
		return err
	}
	if size < 2 || size > maxAnswer {
		return wrong("CONNACK of %d bytes", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	if body[0] > 1 {
		return wrong("CONNACK with flags %#02x", body[0])
	}
	if size == 2 {
		return nil
	}
	properties := bufio.NewReader(bytes.NewReader(body[2:]))
	size, err = readVariable(properties)
	if rest, _ := io.Copy(io.Discard, properties); err != nil || int64(size) != rest {
		return wrong("CONNACK with properties of %d bytes", len(body)-2)
	}
	return nil
}

// readVariable reads a number of at most four bytes, seven bits in each, lowest
// first (MQTT 3.1.1 section 2.2.3).
func readVariable(r io.ByteReader) (int, error) {
	value := 0
	for shift := 0; shift < 28; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		value |= int(b&0x7f) << shift
		if b < 0x80 {
			return value, nil
		}
	}
	return 0, wrong("length of more than four bytes")
}

// readSTOMP reads the command and the headers of a CONNECTED or ERROR frame
// (STOMP 1.2, Frames): lines that end with LF or CR LF, the last one empty. What
// the body of an ERROR says is for people.
func readSTOMP(r *bufio.Reader) error {
	command, err := readLine(r)
	if err != nil {
		return err
	}
	if command != "CONNECTED" && command != "ERROR" {
		return wrong("frame %.20q", command)
	}
	for {
		header, err := readLine(r)
		if err != nil {
			return err
		}
		if header == "" {
			return nil
		}
		if name, _, ok := strings.Cut(header, ":"); !ok || name == "" {
			return wrong("header %.20q", header)
		}
	}
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n') // at most the buffer's 4096 bytes
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", wrong("line of more than %d bytes", len(line))
	}
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(string(line[:len(line)-1]), "\r"), nil
}

// WireFormatInfo is the size of the rest, data type 1, "ActiveMQ", a version,
// and the properties as a map that is there (1) and has its size before it; ours
// says nothing (0 entries), which is the loosest of formats.
const (
	openWireMagic    = "\x01ActiveMQ"
	openWireInfo     = "\x00\x00\x00\x16" + openWireMagic + "\x00\x00\x00\x0c" + "\x01\x00\x00\x00\x04\x00\x00\x00\x00"
	openWireShutdown = "\x00\x00\x00\x06\x0b\x00\x00\x00\x01\x00" // ShutdownInfo: type 11, command 1, no response wanted
)

// readOpenWire reads WireFormatInfo.
func readOpenWire(r *bufio.Reader) error {
	var size uint32
	if err := binary.Read(r, binary.BigEndian, &size); err != nil {
		return err
	}
	if size < uint32(len(openWireMagic)+5) || size > maxAnswer {
		return wrong("command of %d bytes", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	rest, ok := bytes.CutPrefix(body, []byte(openWireMagic))
	if !ok {
		return wrong("command %.9q", body)
	}
	version, properties := binary.BigEndian.Uint32(rest), rest[4:]
	switch {
	case version == 0:
		return wrong("WireFormatInfo of version 0")
	case properties[0] == 0 && len(properties) == 1: // none
	case properties[0] != 1 || len(properties) < 5 || int64(binary.BigEndian.Uint32(properties[1:])) != int64(len(properties)-5):
		return wrong("WireFormatInfo with properties of %d bytes", len(properties))
	}
	return nil
}
