package clienthello

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// published is the hello that FoxIO's description of JA4 takes for its example.
func published() *Hello {
	return &Hello{
		LegacyVersion:     0x0303,
		SupportedVersions: []uint16{0x0304, 0x0303},
		CipherSuites: []uint16{0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
			0x009c, 0x009d, 0x002f, 0x0035},
		Extensions: []uint16{0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012,
			0x002b, 0xff01, 0x000b, 0x000a, 0x0015},
		SignatureSchemes: []uint16{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601},
		ALPN:             []string{"h2", "http/1.1"},
	}
}

func TestJA4(t *testing.T) {
	const suites, rest = "8daaf6152771", "e5627efa2ab1" // as published
	for _, tt := range []struct {
		name   string
		change func(*Hello)
		want   string
	}{
		{"the published example", func(*Hello) {}, "t13d1516h2_" + suites + "_" + rest},
		{"the order of suites and extensions does not matter", func(h *Hello) {
			slices.Reverse(h.CipherSuites)
			slices.Reverse(h.Extensions)
			slices.Reverse(h.SupportedVersions)
		}, "t13d1516h2_" + suites + "_" + rest},
		{"GREASE does not matter", func(h *Hello) {
			h.CipherSuites = append([]uint16{0x0a0a}, h.CipherSuites...)
			h.Extensions = append([]uint16{0x1a1a}, append(h.Extensions, 0xfafa)...)
			h.SignatureSchemes = append([]uint16{0x2a2a}, h.SignatureSchemes...)
			h.SupportedVersions = append([]uint16{0xdada}, h.SupportedVersions...)
		}, "t13d1516h2_" + suites + "_" + rest},
		{"server name and ALPN are in the first part alone", func(h *Hello) {
			h.Extensions = slices.DeleteFunc(h.Extensions, func(e uint16) bool { return e == extServerName || e == extALPN })
			h.ALPN = nil
		}, "t13i151400_" + suites + "_" + rest},
		{"no signature algorithms, as published", func(h *Hello) { h.SignatureSchemes = nil }, "t13d1516h2_" + suites + "_6d807ffa2a79"},
		{"signals count as suites", func(h *Hello) {
			h.CipherSuites = []uint16{suiteEmptyRenegotiationInfo, suiteFallback}
		}, "t13d0216h2_dd521c41064d_" + rest},
		{"nothing at all", func(h *Hello) { *h = Hello{LegacyVersion: 0x0301} }, "t10i000000_000000000000_000000000000"},
		{"nothing but GREASE", func(h *Hello) {
			*h = Hello{LegacyVersion: 0x0301, CipherSuites: []uint16{0x0a0a}, Extensions: []uint16{0x0a0a}}
		}, "t10i000000_000000000000_000000000000"},
		{"nothing but server name and ALPN", func(h *Hello) {
			h.Extensions, h.SignatureSchemes = []uint16{extServerName, extALPN}, nil
		}, "t13d1502h2_" + suites + "_000000000000"},
		{"no more than 99", func(h *Hello) {
			h.CipherSuites, h.Extensions = make([]uint16, 100), make([]uint16, 1000)
			h.SignatureSchemes = nil
		}, "t13d9999h2_046e6d3d3438_000000000000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := published()
			tt.change(h)
			if got := h.JA4(); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestJA4Version(t *testing.T) {
	for _, tt := range []struct {
		legacy    uint16
		supported []uint16
		want      string
	}{
		{0x0303, []uint16{0x0303, 0x0304}, "13"},
		{0x0304, nil, "13"},
		{0x0303, nil, "12"},
		{0x0302, nil, "11"},
		{0x0301, nil, "10"},
		{0x0300, nil, "s3"},
		{0x0002, nil, "s2"},
		{0x0303, []uint16{0x0302, 0x0301}, "11"},         // the legacy one does not count
		{0x0303, []uint16{0x4a4a}, "00"},                 // nor does it beside nothing but GREASE
		{0x0303, []uint16{0x7f1c, 0x0304, 0x0303}, "00"}, // a draft, which is the highest number
		{0x0305, nil, "00"},
	} {
		if got := (&Hello{LegacyVersion: tt.legacy, SupportedVersions: tt.supported}).ja4Version(); got != tt.want {
			t.Errorf("legacy %#x, supported %#x: %s, want %s", tt.legacy, tt.supported, got, tt.want)
		}
	}
}

// The values in hexadecimal are FoxIO's.
func TestJA4ALPN(t *testing.T) {
	for alpn, want := range map[string]string{
		"h2": "h2", "http/1.1": "h1", "x": "xx", "AMQP": "AP", "": "00",
		"\xab": "ab", " ": "20", "\xab\xcd": "ad", " a": "21", "0\xab": "3b", "a ": "60", "01\xab\xcd": "3d", "0\xab\xcd1": "01",
	} {
		if got := string((&Hello{ALPN: []string{alpn, "other"}}).appendJA4ALPN(nil)); got != want {
			t.Errorf("%q: %s, want %s", alpn, got, want)
		}
	}
	if got := string(new(Hello).appendJA4ALPN(nil)); got != "00" {
		t.Errorf("no ALPN: %s", got)
	}
}

// TestJA4OfOneClient: a browser permutes its extensions for each connection, and
// is the same browser.
func TestJA4OfOneClient(t *testing.T) {
	var seen []string
	for _, name := range []string{"chromium-default", "chromium-permuted"} {
		h, err := Read(bytes.NewReader(recording(t, name)), MaxSize)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, h.JA4())
	}
	if seen[0] != seen[1] || !strings.HasPrefix(seen[0], "t13d") {
		t.Errorf("JA4 of two connections: %q", seen)
	}
}

func TestJA4Allocates(t *testing.T) {
	h, err := Read(bytes.NewReader(recording(t, "chromium-default")), MaxSize)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _ = h.JA4() }); n > 1 {
		t.Errorf("%v allocations, want that of the string alone", n)
	}
}

func BenchmarkJA4(b *testing.B) {
	for _, name := range []string{"java-default", "chromium-default"} {
		h, err := Read(bytes.NewReader(recording(b, name)), MaxSize)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) { benchmarkJA4(b, h) })
	}
	full := new(Hello) // as many suites as the largest hello has, in no order
	for i := range MaxSize / 2 {
		full.CipherSuites = append(full.CipherSuites, uint16(i*40503))
	}
	b.Run("64KiB-of-suites", func(b *testing.B) { benchmarkJA4(b, full) })
}

func benchmarkJA4(b *testing.B, h *Hello) {
	b.ReportAllocs()
	for b.Loop() {
		_ = h.JA4()
	}
}
