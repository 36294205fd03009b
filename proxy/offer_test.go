package proxy

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/clienthello"
)

func TestOffered(t *testing.T) {
	hello := func() *clienthello.Hello {
		return &clienthello.Hello{
			LegacyVersion: tls.VersionTLS12, SupportedVersions: []uint16{0x2a2a, 0x7f1c, 0x0304, 0x0303},
			CipherSuites:     []uint16{0x0a0a, 0x1301, 0xc02f, 0x000a, 0x00ff, 0xc0ff},
			Groups:           []uint16{0x1a1a, 29, 30},
			SignatureSchemes: []uint16{0x0403, 0x0102},
		}
	}
	const versions = `"versions_offered":["0x7f1c","TLSv1.3","TLSv1.2"]`
	const suites = `"suites_offered":["TLS_AES_128_GCM_SHA256","TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",` +
		`"TLS_RSA_WITH_3DES_EDE_CBC_SHA","TLS_EMPTY_RENEGOTIATION_INFO_SCSV","0xC0FF"]`
	for _, tt := range []struct {
		name   string
		err    error
		change func(*clienthello.Hello)
		want   string
	}{
		{"suites", &policy.Refusal{Cause: policy.NoCommonSuite}, nil, "{" + versions + "," + suites + "}"},
		{"wrapped", fmt.Errorf("for this name: %w", &policy.Refusal{Cause: policy.NoCommonSuite}), nil, "{" + versions + "," + suites + "}"},
		{"groups", &policy.Refusal{Cause: policy.NoCommonGroup}, nil, "{" + versions + "," + suites + `,"groups_offered":["X25519","0x001e"]}`},
		{"DHE groups", &policy.Refusal{Cause: policy.NoCommonDHEGroup}, nil, "{" + versions + "," + suites + `,"groups_offered":["X25519","0x001e"]}`},
		{"signatures", &policy.Refusal{Cause: policy.NoCommonSignatureAlgorithm}, nil,
			"{" + versions + "," + suites + `,"signature_algorithms_offered":["ecdsa_secp256r1_sha256","0x0102"]}`},
		{"what a version implies", &policy.Refusal{Cause: policy.UnsupportedVersion}, func(h *clienthello.Hello) {
			*h = clienthello.Hello{LegacyVersion: tls.VersionTLS11, CipherSuites: []uint16{0x0035}}
		}, `{"versions_offered":["TLSv1.1","TLSv1.0"],"suites_offered":["TLS_RSA_WITH_AES_256_CBC_SHA"]}`},
		{"too many to list", &policy.Refusal{Cause: policy.NoCommonSuite}, func(h *clienthello.Hello) {
			*h = clienthello.Hello{LegacyVersion: tls.VersionTLS10}
			for range maxOffered + 3 {
				h.CipherSuites = append(h.CipherSuites, 0x0a0a, 0x0005)
			}
		}, `{"versions_offered":["TLSv1.0"],"suites_offered":[` + strings.TrimSuffix(strings.Repeat(`"TLS_RSA_WITH_RC4_128_SHA",`, maxOffered), ",") + `],"suites_offered_more":3}`},
		{"no policy's refusal", errConnectionLimit, nil, "{}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := hello()
			if tt.change != nil {
				tt.change(h)
			}
			if got := asJSON(t, offered(h, tt.err)); got != tt.want {
				t.Errorf("%s\nwant\n%s", got, tt.want)
			}
		})
	}
	if attrs := offered(nil, &policy.Refusal{}); attrs != nil {
		t.Errorf("without a hello: %v", attrs)
	}
}

// asJSON is what attributes add to a log line.
func asJSON(t *testing.T, attrs []slog.Attr) string {
	t.Helper()
	var line bytes.Buffer
	handler := slog.NewJSONHandler(&line, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			return slog.Attr{}
		}
		return a
	}})
	slog.New(handler).LogAttrs(t.Context(), slog.LevelInfo, "", attrs...)
	if !json.Valid(line.Bytes()) {
		t.Fatalf("no JSON: %s", line.Bytes())
	}
	return strings.TrimSpace(line.String())
}

// TestOfferedOnTheLine: the line of a client that is refused says what it
// offers, and every line that a hello came for says whose it looks like.
func TestOfferedOnTheLine(t *testing.T) {
	g := start(t, one("amqp", "rabbitmq", broker(t, echo), ""))
	old := g.client()
	old.MaxVersion, old.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
	if _, err := g.connect("front", old); err == nil {
		t.Fatal("let in")
	}
	line := g.line(1)
	if line["reason"] != "no_common_suite" || fmt.Sprint(line["suites_offered"]) != "[TLS_RSA_WITH_AES_128_CBC_SHA]" ||
		fmt.Sprint(line["versions_offered"]) != "[TLSv1.2]" || !strings.HasPrefix(fmt.Sprint(line["ja4"]), "t12d01") {
		t.Errorf("%v", line)
	}
	conn, err := g.connect("front", g.client())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	line = g.line(2)
	if !strings.HasPrefix(fmt.Sprint(line["ja4"]), "t13d") || line["suites_offered"] != nil {
		t.Errorf("%v", line)
	}
}
