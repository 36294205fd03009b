package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	stompserver "github.com/go-stomp/stomp/v3/server"
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/suitegate/suitegate/bench/load"
)

// embeddedBrokers are an MQTT and a STOMP broker in this process, on loopback
// ports that the system chose. They keep everything in memory.
type embeddedBrokers struct {
	mqtt         *mqtt.Server
	mqttAddress  string
	stomp        net.Listener
	stompAddress string
}

func startBrokers() (*embeddedBrokers, error) {
	stomp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("STOMP broker: %w", err)
	}
	broker, address, err := startMQTT()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("MQTT broker: %w", err), stomp.Close())
	}
	server := &stompserver.Server{Log: load.SilentSTOMP{}}
	// Serve returns only with the process. Closing its listener ends the part
	// of it that holds a port.
	go server.Serve(stomp)
	return &embeddedBrokers{
		mqtt:         broker,
		mqttAddress:  address,
		stomp:        stomp,
		stompAddress: stomp.Addr().String(),
	}, nil
}

func startMQTT() (*mqtt.Server, string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	limits := mqtt.NewDefaultServerCapabilities()
	limits.MaximumPacketSize = 1 << 20 // bytes; there is no limit by default
	broker := mqtt.New(&mqtt.Options{Capabilities: limits, Logger: slog.New(slog.DiscardHandler)})
	// Everyone may publish and subscribe to everything: the broker can be
	// reached from this host alone, and so can the listeners in front of it
	// (reservation.pick sees to that).
	if err := broker.AddHook(new(auth.AllowHook), nil); err != nil {
		return nil, "", errors.Join(err, listener.Close())
	}
	if err := broker.AddListener(listeners.NewNet("demo", listener)); err != nil {
		return nil, "", errors.Join(err, listener.Close())
	}
	if err := broker.Serve(); err != nil {
		return nil, "", errors.Join(err, broker.Close())
	}
	return broker, listener.Addr().String(), nil
}

// Close ends both brokers.
func (b *embeddedBrokers) Close() error {
	return errors.Join(b.mqtt.Close(), b.stomp.Close())
}

// probeTimeout is enough for a broker on this host to say who it is.
const probeTimeout = time.Second

// probeAMQP says whether a broker at address answers the AMQP 0-9-1 protocol
// header: with Connection.Start, or with the header that it would rather have.
func probeAMQP(address string) bool {
	answer := probe(address, "AMQP\x00\x00\x09\x01", 8)
	// Frame type 1 (method) on channel 0: type, channel, four bytes of size.
	method := len(answer) == 8 && answer[0] == 1 && answer[1] == 0 && answer[2] == 0
	return method || bytes.HasPrefix(answer, []byte("AMQP"))
}

// probeOpenWire says whether a broker at address sends a WireFormatInfo, as
// both sides of an OpenWire connection do at once.
func probeOpenWire(address string) bool {
	answer := probe(address, "", 13)
	return len(answer) == 13 && binary.BigEndian.Uint32(answer) < 1<<16 &&
		answer[4] == 1 && string(answer[5:]) == "ActiveMQ"
}

// probe sends hello to address and returns the first n bytes of the answer, or
// nil if there is no such answer within probeTimeout.
func probe(address, hello string, n int) []byte {
	conn, err := net.DialTimeout("tcp", address, probeTimeout)
	if err != nil {
		return nil
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(probeTimeout)); err != nil {
		return nil
	}
	if _, err := io.WriteString(conn, hello); err != nil {
		return nil
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil
	}
	return answer
}
