package sniff

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// A finding is what the first bytes turned out to be.
type finding struct {
	protocol Protocol
	variant  string

	// fault says why no broker is to see it even so, in words for the log, and
	// answer what the client is owed for that in its own protocol.
	fault  string
	answer []byte
}

// A verdict is what a detector makes of the bytes so far.
type verdict int

const (
	no   verdict = iota // not this protocol, whatever follows
	more                // too early to say
	yes                 // this protocol, whatever follows
)

// detectors recognise one protocol each. The first that does not say no has the
// word, which makes the outcome the same however the bytes arrive. No two may
// fit the bytes that decide for one of them: the one which still wants more
// would keep the other waiting.
var detectors = [...]func([]byte) (finding, verdict){
	detectAMQP,
	detectMQTT,
	detectOpenWire,
	detectSTOMP,
	detectHTTP,
	detectMistake,
}

// detect names the protocol that b begins with. done is false while more bytes
// could name one.
func detect(b []byte) (found finding, done bool) {
	for _, detector := range detectors {
		switch found, verdict := detector(b); verdict {
		case yes:
			return found, true
		case more:
			return finding{}, false
		}
	}
	return finding{protocol: Unknown}, true
}

// begins says whether b begins with what.
func begins(b []byte, what string) verdict {
	n := min(len(b), len(what))
	switch {
	case string(b[:n]) != what[:n]:
		return no
	case n < len(what):
		return more
	default:
		return yes
	}
}

// detectAMQP knows the protocol header: the name, and four bytes that mean
// something else in each generation. AMQP 1.0 §2.2 has protocol ID, major, minor
// and revision, with the IDs of §5.2.1 and §5.3.1; AMQP 0-9-1 §4.2.2 has 0,
// major, minor and revision; those before it have class, instance, major and
// minor.
func detectAMQP(b []byte) (finding, verdict) {
	const size = 8
	if v := begins(b, "AMQP"); v != yes {
		return finding{}, v
	}
	if len(b) < size {
		return finding{}, more
	}
	version := [4]byte(b[4:size])
	switch version {
	case [4]byte{0, 0, 9, 1}:
		return finding{protocol: AMQP, variant: "0-9-1"}, yes
	case [4]byte{1, 1, 0, 9}:
		return finding{protocol: AMQP, variant: "0-9"}, yes
	case [4]byte{1, 1, 0, 10}:
		return finding{protocol: AMQP, variant: "0-10"}, yes
	case [4]byte{0, 1, 0, 0}:
		return finding{protocol: AMQP, variant: "1.0"}, yes
	case [4]byte{2, 1, 0, 0}:
		return finding{protocol: AMQP, variant: "1.0 TLS"}, yes
	case [4]byte{3, 1, 0, 0}:
		return finding{protocol: AMQP, variant: "1.0 SASL"}, yes
	}
	// Both specifications answer with a header that the client may try next, so
	// it should be of the client's own generation.
	answer := amqp091Header
	if class, major := version[0], version[1]; major > 0 && class != 1 {
		answer = amqp10Header
	}
	return finding{protocol: AMQP, fault: fmt.Sprintf("unsupported version % x", version), answer: []byte(answer)}, yes
}

// detectMQTT knows a CONNECT packet: its type, its length, and the protocol's
// name and level (MQTT 3.1.1 §3.1.2, MQTT 5.0 §3.1.2). Brokers that connect to
// another set the highest bit of the level.
func detectMQTT(b []byte) (finding, verdict) {
	const shortest = 12 // name, level, flags, keep-alive and an empty client identifier
	if v := begins(b, "\x10"); v != yes {
		return finding{}, v
	}
	length, size, v := remainingLength(b[1:])
	if v != yes {
		return finding{}, v
	}
	if length < shortest {
		return finding{}, no
	}
	b = b[1+size:]
	waiting := no
	for _, name := range [...]string{"\x00\x04MQTT", "\x00\x06MQIsdp"} {
		switch begins(b, name) {
		case more:
			waiting = more
		case yes:
			if len(b) == len(name) {
				return finding{}, more
			}
			return mqttOf(name[2:], b[len(name)]), yes
		}
	}
	return finding{}, waiting
}

// remainingLength is MQTT's variable byte integer (§1.5.5 of MQTT 5.0): seven
// bits in each of at most four bytes, the lowest ones first. size is how many
// bytes it takes.
func remainingLength(b []byte) (length, size int, v verdict) {
	const longest = 4
	for i, digit := range b[:min(len(b), longest)] {
		length |= int(digit&0x7f) << (7 * i)
		if digit&0x80 == 0 {
			return length, i + 1, yes
		}
	}
	if len(b) < longest {
		return 0, 0, more
	}
	return 0, 0, no
}

// mqttOf tells the version. A level that nobody should speak gets the CONNACK
// of its time: return code 1 (MQTT 3.1.1 §3.1.2.2) or reason code 0x84 (MQTT 5.0
// §3.1.2.2), which came with level 5.
func mqttOf(name string, level byte) finding {
	const bridge = 0x80
	found := finding{protocol: MQTT}
	if level&bridge != 0 {
		found.variant = "bridge "
	}
	plain := level &^ bridge
	switch {
	case name == "MQIsdp" && plain == 3:
		found.variant += "3.1"
	case name == "MQTT" && plain == 4:
		found.variant += "3.1.1"
	case name == "MQTT" && plain == 5:
		found.variant += "5.0"
	case name == "MQTT" && plain > 5:
		return finding{protocol: MQTT, fault: fmt.Sprintf("unacceptable protocol level %d", level), answer: connack5(0x84)}
	default:
		return finding{protocol: MQTT, fault: fmt.Sprintf("unacceptable protocol level %d", level), answer: connack3(1)}
	}
	return found
}

// detectOpenWire knows a WireFormatInfo: the size of the command, which a
// client may be told to leave out, its type, which is 1, and its magic.
func detectOpenWire(b []byte) (finding, verdict) {
	const (
		info     = "\x01ActiveMQ"
		shortest = len(info) + 4 // the version follows

		// The size may be more in theory. Real ones are a few hundred, and the
		// upper half of zeros tells OpenWire from a first byte of anything else.
		upper = "\x00\x00"
	)
	if v := begins(b, info); v != no {
		return finding{protocol: OpenWire, variant: "no size prefix"}, v
	}
	if v := begins(b, upper); v != yes {
		return finding{}, v
	}
	if len(b) < 4 {
		return finding{}, more
	}
	if int(binary.BigEndian.Uint16(b[2:])) < shortest {
		return finding{}, no
	}
	return finding{protocol: OpenWire}, begins(b[4:], info)
}

// detectSTOMP knows a frame that opens a connection: CONNECT, or STOMP since
// version 1.1, with the end of a line right behind it, because HTTP has a
// method of the first name. Brokers skip line ends in front of a frame, so some
// are let pass here.
func detectSTOMP(b []byte) (finding, verdict) {
	const maxEOLs = 64 // bytes
	frame := b
	for {
		if string(frame) == "\r" {
			return finding{}, more
		}
		rest, cut := bytes.CutPrefix(frame, []byte("\r\n"))
		if !cut {
			rest, cut = bytes.CutPrefix(frame, []byte("\n"))
		}
		if !cut {
			break
		}
		if frame = rest; len(b)-len(frame) > maxEOLs {
			return finding{}, no
		}
	}
	waiting := no
	for _, command := range [...]string{"CONNECT", "STOMP"} {
		switch begins(frame, command) {
		case more:
			waiting = more
		case yes:
			if len(frame) == len(command) {
				return finding{}, more
			}
			if end := frame[len(command)]; end == '\n' || end == '\r' {
				return finding{protocol: STOMP}, yes
			}
			return finding{}, no
		}
	}
	return finding{}, waiting
}

// detectMistake knows what has no business inside TLS on any listener.
func detectMistake(b []byte) (finding, verdict) {
	waiting := no
	for _, mistake := range [...]struct {
		first string
		finding
	}{
		{"\x16\x03", finding{protocol: TLS}}, // a handshake record of SSL 3.0 to TLS 1.3
		{"PROXY ", finding{protocol: Proxy, variant: "v1"}},
		{"\r\n\r\n\x00\r\nQUIT\n", finding{protocol: Proxy, variant: "v2"}},
		{"SSH-", finding{protocol: SSH}},
	} {
		switch begins(b, mistake.first) {
		case more:
			waiting = more
		case yes:
			return mistake.finding, yes
		}
	}
	return finding{}, waiting
}
