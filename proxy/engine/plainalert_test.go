package engine

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"
)

func TestAlertWatch(t *testing.T) {
	const (
		hello     = "\x16\x03\x01\x00\x04\x15\x03\x03\x00" // whose body looks like a header
		ccs       = "\x14\x03\x03\x00\x01\x01"
		encrypted = "\x17\x03\x03\x00\x07\x15\x03\x03\x00\x02\x02\x30"
		unknownCA = "\x15\x03\x03\x00\x02\x02\x30"
		rest      = "\x15\x03\x03\x00\x02\x01\x00"
	)
	for _, tt := range []struct {
		name, stream string
		seen         bool
	}{
		{"none", hello + ccs + encrypted, false},
		{"an alert", hello + ccs + unknownCA + rest, true},
		{"half an alert", hello + unknownCA[:6], false},
		{"an encrypted one, of an older version", hello + "\x15\x03\x03\x00\x1a" + unknownCA, false},
		{"an empty record", hello + "\x17\x03\x03\x00\x00" + unknownCA, true},
	} {
		for _, size := range []int{1, 2, 3, 7, 1000} {
			var w alertWatch
			for rest := []byte(tt.stream); len(rest) > 0; rest = rest[min(size, len(rest)):] {
				w.see(rest[:min(size, len(rest))])
			}
			if w.seen != tt.seen || tt.seen && w.alert != 48 {
				t.Errorf("%s, %d bytes at a time: seen %t, alert %d", tt.name, size, w.seen, w.alert)
			}
		}
	}
}

// TestAlertInTheClear is what OpenSSL does about a certificate that it does not
// trust, in TLS 1.3.
func TestAlertInTheClear(t *testing.T) {
	for _, engines := range []func(Config) Dispatcher{ownEngines, standardEngines} {
		e := engines(Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13}).For(aes128)
		t.Run(e.Name(), func(t *testing.T) { testAlertInTheClear(t, e) })
	}
}

func testAlertInTheClear(t *testing.T, e Engine) {
	choice := Choice{Version: tls.VersionTLS13, Suite: aes128, Group: tls.X25519, Certificate: testCertificates().rsa}
	for sent, reason := range map[string]string{
		"\x15\x03\x03\x00\x02\x02\x30": ReasonClientAlert,
		"\x17\x03\x03\x00\x02\x02\x30": ReasonHandshakeFailed, // any other record that is not encrypted
	} {
		near, far := connect(t)
		_ = near.SetDeadline(time.Now().Add(20 * time.Second))
		hello := recordHello(t, clientConfig())
		go func(far net.Conn) {
			_, _ = far.Write(hello)
			_, _ = io.ReadFull(far, make([]byte, 5)) // the server's answer
			_, _ = far.Write([]byte(sent))
			_, _ = io.Copy(io.Discard, far)
		}(far)
		err := NewHandshakeError(e.Server(near, choice).HandshakeContext(context.Background()))
		alert, ok := ClientAlert(err)
		if err.Reason() != reason || ok != (reason == ReasonClientAlert) || ok && AlertName(alert) != "unknown_ca" {
			t.Errorf("%q: reason %s, alert %d: %v", sent, err.Reason(), alert, err)
		}
		near.Close()
		far.Close()
	}
}
