package policy

import (
	"slices"
	"strings"
	"testing"
)

func TestSuiteName(t *testing.T) {
	for id, want := range map[uint16]string{
		0x1302: "TLS_AES_256_GCM_SHA384",
		0xC02F: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
		0x000A: "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
		0x5600: "TLS_FALLBACK_SCSV",
		0xC103: "TLS_GOSTR341112_256_WITH_KUZNYECHIK_MGM_L",
		0x00FE: "0x00FE",
		0xC0FF: "0xC0FF",
	} {
		if got := SuiteName(id); got != want {
			t.Errorf("%#04x: %s, want %s", id, got, want)
		}
	}
}

// A suite with two rows would be one that is named twice, or never shown.
func TestNeverNegotiated(t *testing.T) {
	ids := make(map[string]uint16)
	for id, name := range neverNegotiated {
		if s, ok := SuiteByID(id); ok {
			t.Errorf("%#04x is %s of the registry", id, s)
		}
		if _, err := ParseSuite(name); err == nil {
			t.Errorf("a policy can name %s", name)
		}
		if other, twice := ids[name]; twice {
			t.Errorf("%s is %#04x and %#04x", name, id, other)
		}
		ids[name] = id
		if !strings.HasPrefix(name, "TLS_") {
			t.Errorf("%#04x: %q", id, name)
		}
	}
}

func TestRegisteredSuites(t *testing.T) {
	ids := RegisteredSuites()
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Errorf("not in ascending order: %#04x", ids)
	}
	if len(ids) != 349 {
		t.Errorf("%d suites", len(ids))
	}
	for _, s := range Suites() {
		if !slices.Contains(ids, s.ID) {
			t.Errorf("%s is missing", s)
		}
	}
	for _, id := range ids {
		if SuiteName(id)[0] == '0' {
			t.Errorf("%#04x has no name", id)
		}
	}
	for _, id := range []uint16{0x0000, 0x00FF, 0x5600} {
		if slices.Contains(ids, id) {
			t.Errorf("%s is not to be negotiated", SuiteName(id))
		}
	}
}
