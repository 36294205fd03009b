package clienthello

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

// recordings returns what clients sent on the wire, by name: testdata/README.md
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
		wire, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".hex")] = wire
	}
	return all
}

// recording returns one of them.
func recording(t testing.TB, name string) []byte {
	t.Helper()
	wire, ok := recordings(t)[name]
	if !ok {
		t.Fatalf("no recording %q", name)
	}
	return wire
}

// TestRecordings shows what real clients offer: each recording's text stands
// beside it.
func TestRecordings(t *testing.T) {
	for name, wire := range recordings(t) {
		t.Run(name, func(t *testing.T) {
			h, err := Read(bytes.NewReader(wire), MaxSize)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".txt")
			got := describe(h)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v (run with -update to write it)", err)
			}
			if got != string(want) {
				t.Errorf("%s differs (run with -update after a look at it); got:\n%s", file, got)
			}
			if !bytes.Equal(h.raw, wire) {
				t.Errorf("%d bytes to replay, of %d", len(h.raw), len(wire))
			}
		})
	}
}

// describe writes out everything that a Hello holds.
func describe(h *Hello) string {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-22s %s\n", label, fmt.Sprintf(format, args...))
	}
	line("record version", "%s", versionName(h.RecordVersion))
	line("legacy version", "%s", versionName(h.LegacyVersion))
	line("JA4", "%s", h.JA4())
	line("session ID", "%d bytes", len(h.SessionID))
	line("server name", "%q", h.ServerName)
	line("ALPN", "%q", h.ALPN)
	list(&b, "versions", h.Versions(), versionName)
	list(&b, "cipher suites", h.CipherSuites, name(suiteNames()))
	line("compression methods", "%d", h.CompressionMethods)
	list(&b, "extensions", h.Extensions, name(extensionNames()))
	list(&b, "groups", h.Groups, name(groupNames()))
	list(&b, "key shares", h.KeyShares, name(groupNames()))
	line("point formats", "%d", h.PointFormats)
	list(&b, "signature schemes", h.SignatureSchemes, name(schemeNames()))
	list(&b, "for certificates", h.SignatureSchemesCert, name(schemeNames()))
	line("PSK modes", "%d", h.PSKModes)
	var flags []string
	for _, f := range []struct {
		set  bool
		name string
	}{
		{h.PreSharedKey, "pre-shared key"},
		{h.EarlyData, "early data"},
		{h.ExtendedMasterSecret, "extended master secret"},
		{h.EncryptThenMAC, "encrypt-then-MAC"},
		{h.StatusRequest, "OCSP status request"},
		{h.SessionTicket, "session ticket"},
		{h.SessionTicketData, "session ticket data"},
		{h.SecureRenegotiation, "secure renegotiation"},
		{h.FallbackSCSV, "fallback SCSV"},
	} {
		if f.set {
			flags = append(flags, f.name)
		}
	}
	line("flags", "%s", strings.Join(flags, ", "))
	return b.String()
}

func list(b *strings.Builder, label string, values []uint16, name func(uint16) string) {
	if values == nil {
		fmt.Fprintf(b, "%-22s none\n", label)
	}
	for _, v := range values {
		if IsGREASE(v) {
			fmt.Fprintf(b, "%-22s GREASE (0x%04x)\n", label, v)
		} else {
			fmt.Fprintf(b, "%-22s %s (0x%04x)\n", label, name(v), v)
		}
		label = ""
	}
}
