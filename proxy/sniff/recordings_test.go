package sniff

import (
	"bytes"
	"encoding/hex"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// recordings returns what real clients sent first, by name: testdata/README.md
// says which clients.
func recordings(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	all := make(map[string][]byte, len(files))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sent, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".hex")] = sent
	}
	return all
}

// TestRecordings reads them whole and byte by byte.
func TestRecordings(t *testing.T) {
	type reading struct {
		protocol Protocol
		variant  string
		decides  int // bytes; -1: all
	}
	want := map[string]reading{
		"mosquitto-3.1":          {MQTT, "3.1", 11},
		"mosquitto-3.1.1":        {MQTT, "3.1.1", 9},
		"mosquitto-5.0":          {MQTT, "5.0", 9},
		"mosquitto-will":         {MQTT, "5.0", 10},
		"mosquitto-bridge-3.1":   {MQTT, "bridge 3.1", 11},
		"mosquitto-bridge-3.1.1": {MQTT, "bridge 3.1.1", 9},
		"mosquitto-bridge-5.0":   {MQTT, "5.0", 9},
		"activemq":               {OpenWire, "", 13},
		"activemq-version-1":     {OpenWire, "", 13},
		"chromium-websocket":     {WebSocket, "mqtt", -1},
		"curl-get":               {HTTP, "", -1},
		"curl-http2":             {HTTP, "2", 4},
		"curl-h2c":               {HTTP, "", -1},
		"curl-connect":           {HTTP, "", 8},
		"openssh":                {SSH, "", 4},
		"openssl":                {TLS, "", 2},
		"go-amqp091":             {AMQP, "0-9-1", 8},
		"go-amqp10":              {AMQP, "1.0", 8},
		"go-amqp10-sasl":         {AMQP, "1.0 SASL", 8},
		"go-stomp":               {STOMP, "", 8},
		"go-stomp-command":       {STOMP, "", 6},
		"go-paho-3.1":            {MQTT, "3.1", 11},
		"go-paho-3.1.1":          {MQTT, "3.1.1", 9},
		"go-paho-5.0":            {MQTT, "5.0", 9},
		"go-websocket-mqtt":      {WebSocket, "mqtt", -1},
		"go-websocket-stomp":     {WebSocket, "v12.stomp", -1},
		"go-http":                {HTTP, "", -1},
		"go-tls":                 {TLS, "", 2},
	}
	all := recordings(t)
	if got, want := slices.Sorted(maps.Keys(all)), slices.Sorted(maps.Keys(want)); !slices.Equal(got, want) {
		t.Errorf("recordings %q, want %q", got, want)
	}
	for name, sent := range all {
		t.Run(name, func(t *testing.T) {
			want := want[name]
			if want.decides < 0 {
				want.decides = len(sent)
			}
			for _, r := range []io.Reader{bytes.NewReader(sent), iotest.OneByteReader(bytes.NewReader(sent))} {
				result, err := Read(r, Any)
				if result.Protocol != want.protocol || result.Variant != want.variant || (err == nil) != want.protocol.served() {
					t.Errorf("read %s %q, %v", result.Protocol, result.Variant, err)
				}
				if _, whole := r.(*bytes.Reader); !whole && len(result.Prefix) != want.decides {
					t.Errorf("decided on %d bytes, want %d", len(result.Prefix), want.decides)
				}
			}
		})
	}
}
