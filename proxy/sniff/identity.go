package sniff

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Identity is what a client's first bytes tell about which one it is, in words
// that do not show what it is called: "mqtt 3.1.1, client id 5f70bf18a0860070",
// with the beginning of the SHA-256 of its client identifier. Where they tell no
// more than the protocol, that is all: "amqp 0-9-1". "" for no protocol.
func Identity(r Result) string {
	identity := string(r.Protocol)
	if r.Variant != "" {
		identity += " " + r.Variant
	}
	if r.Protocol == MQTT {
		if id := mqttClientID(r.Prefix); len(id) > 0 {
			sum := sha256.Sum256(id)
			identity += fmt.Sprintf(", client id %x", sum[:8])
		}
	}
	return identity
}

// mqttClientID is the client identifier in a CONNECT packet that detectMQTT
// knows (MQTT 3.1.1 §3.1.3.1, MQTT 5.0 §3.1.3.1), or nil if it is empty or has
// not arrived yet.
func mqttClientID(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	length, size, v := remainingLength(b[1:])
	if v != yes {
		return nil
	}
	b = b[1+size:]
	b = b[:min(len(b), length)] // what follows is of other packets
	name, b := mqttString(b)
	const flagsAndKeepAlive = 3
	if name == nil || len(b) < 1+flagsAndKeepAlive {
		return nil
	}
	level := b[0] &^ 0x80 // of a bridge
	if b = b[1+flagsAndKeepAlive:]; level == 5 {
		properties, size, v := remainingLength(b)
		if v != yes || len(b) < size+properties {
			return nil
		}
		b = b[size+properties:]
	}
	id, _ := mqttString(b)
	return id
}

// mqttString takes a string with its length in front from b, or nothing.
func mqttString(b []byte) (s, rest []byte) {
	if len(b) < 2 {
		return nil, nil
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; len(b) < n {
		return nil, nil
	}
	return b[:n], b[n:]
}
