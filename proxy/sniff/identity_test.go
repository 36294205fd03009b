package sniff

import (
	"strings"
	"testing"
)

func TestIdentity(t *testing.T) {
	connect3 := "\x10\x14\x00\x04MQTT\x04\x02\x00\x3c\x00\x08sensor-1"
	connect5 := "\x10\x1a\x00\x04MQTT\x05\x02\x00\x3c\x05\x11\x00\x00\x00\x0a\x00\x08sensor-1"
	old := "\x10\x16\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x08sensor-1"
	idOf := func(b string) string {
		r, _, err := judge([]byte(b), Any)
		if err != nil {
			t.Fatal(err)
		}
		r.Prefix = []byte(b)
		return Identity(r)
	}
	_, want, ok := strings.Cut(idOf(connect3), ", client id ")
	if !ok || len(want) != 16 || strings.Contains(want, "sensor") {
		t.Fatalf("%q", idOf(connect3))
	}
	for bytes, identity := range map[string]string{
		connect3: "mqtt 3.1.1, client id " + want,
		connect5: "mqtt 5.0, client id " + want,
		old:      "mqtt 3.1, client id " + want,
		// It has not arrived, is empty, or stands in the next packet.
		connect3[:15]: "mqtt 3.1.1",
		"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00":                 "mqtt 3.1.1",
		"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x08sensor-1":         "mqtt 3.1.1",
		"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\xff\xff\xff\xff\x00\x00": "mqtt 5.0",
		"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x7f\x00\x00\x00":         "mqtt 5.0",
		"AMQP\x00\x00\x09\x01":                                         "amqp 0-9-1",
		"CONNECT\n":                                                    "stomp",
	} {
		if got := idOf(bytes); got != identity {
			t.Errorf("%q: %q, want %q", bytes, got, identity)
		}
	}
	if got := Identity(Result{}); got != "" {
		t.Errorf("nothing: %q", got)
	}
}

func FuzzIdentity(f *testing.F) {
	f.Add([]byte("\x10\x14\x00\x04MQTT\x04\x02\x00\x3c\x00\x08sensor-1"))
	f.Add([]byte("\x10\x1a\x00\x04MQTT\x05\x02\x00\x3c\x05\x11\x00\x00\x00\x0a\x00\x08sensor-1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id := mqttClientID(b)
		if !strings.Contains(string(b), string(id)) {
			t.Errorf("%q is not in %q", id, b)
		}
		if got := Identity(Result{Protocol: MQTT, Variant: "5.0", Prefix: b}); len(got) > 64 {
			t.Errorf("%q", got)
		}
	})
}
