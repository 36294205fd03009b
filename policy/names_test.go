package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseSuite(t *testing.T) {
	for _, want := range published {
		for _, name := range []string{
			want.iana, strings.ToLower(want.iana),
			want.openssl, strings.ToLower(want.openssl),
		} {
			if got, err := ParseSuite(name); err != nil || got.ID != want.id {
				t.Errorf("ParseSuite(%q) = 0x%04X, %v, want 0x%04X", name, got.ID, err, want.id)
			}
		}
	}
}

func TestParseSuiteErrors(t *testing.T) {
	for name, want := range map[string]string{
		// Slips of the pen.
		"ECDHE-RSA-AES256-GCM-SHA38":        `unknown cipher suite "ECDHE-RSA-AES256-GCM-SHA38"; did you mean "ECDHE-RSA-AES256-GCM-SHA384"?`,
		"ECDHE-RSA-AES265-GCM-SHA384":       `unknown cipher suite "ECDHE-RSA-AES265-GCM-SHA384"; did you mean "ECDHE-RSA-AES256-GCM-SHA384"?`,
		"ecdhe_rsa_with_aes_256_gcm_sha384": `unknown cipher suite "ecdhe_rsa_with_aes_256_gcm_sha384"; did you mean "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"?`,
		"SSL_RSA_WITH_AES_128_CBC_SHA":      `unknown cipher suite "SSL_RSA_WITH_AES_128_CBC_SHA"; did you mean "TLS_RSA_WITH_AES_128_CBC_SHA"?`,
		"TLS_AES_256_GCM":                   `unknown cipher suite "TLS_AES_256_GCM"; did you mean "TLS_AES_256_GCM_SHA384"?`,
		"AES257-SHA":                        `unknown cipher suite "AES257-SHA"; did you mean "AES256-SHA"?`,
		// Real suites that the registry does not have.
		"DHE-RSA-CHACHA20-POLY1305": `unknown cipher suite "DHE-RSA-CHACHA20-POLY1305"; did you mean "ECDHE-RSA-CHACHA20-POLY1305"?`,
		// Nothing like it.
		"":                         `unknown cipher suite ""`,
		"rabbitmq":                 `unknown cipher suite "rabbitmq"`,
		"HIGH:!aNULL":              `unknown cipher suite "HIGH:!aNULL"`,
		"\x1b[2J":                  `unknown cipher suite "\x1b[2J"`,
		strings.Repeat("TLS_", 20): `unknown cipher suite "` + strings.Repeat("TLS_", 20) + `"`,
		// Never.
		"RC4-SHA":                             `cipher suite "RC4-SHA" is never served: RC4 is broken (RFC 7465)`,
		"TLS_ECDHE_RSA_WITH_RC4_128_SHA":      `cipher suite "TLS_ECDHE_RSA_WITH_RC4_128_SHA" is never served: RC4 is broken (RFC 7465)`,
		"DES-CBC3-SHA":                        `cipher suite "DES-CBC3-SHA" is never served: DES and 3DES have blocks of 64 bits (CVE-2016-2183)`,
		"tls_rsa_with_3des_ede_cbc_sha":       `cipher suite "tls_rsa_with_3des_ede_cbc_sha" is never served: DES and 3DES have blocks of 64 bits (CVE-2016-2183)`,
		"TLS_RSA_WITH_IDEA_CBC_SHA":           `cipher suite "TLS_RSA_WITH_IDEA_CBC_SHA" is never served: IDEA has blocks of 64 bits (CVE-2016-2183)`,
		"NULL-SHA256":                         `cipher suite "NULL-SHA256" is never served: it does not encrypt`,
		"TLS_RSA_WITH_NULL_MD5":               `cipher suite "TLS_RSA_WITH_NULL_MD5" is never served: it does not encrypt`,
		"EXP-RC4-MD5":                         `cipher suite "EXP-RC4-MD5" is never served: export keys are short enough to be found by trying`,
		"TLS_RSA_EXPORT_WITH_RC2_CBC_40_MD5":  `cipher suite "TLS_RSA_EXPORT_WITH_RC2_CBC_40_MD5" is never served: export keys are short enough to be found by trying`,
		"ADH-AES256-SHA":                      `cipher suite "ADH-AES256-SHA" is never served: anonymous key exchange lets anyone stand in the middle`,
		"TLS_ECDH_anon_WITH_AES_128_CBC_SHA":  `cipher suite "TLS_ECDH_anon_WITH_AES_128_CBC_SHA" is never served: anonymous key exchange lets anyone stand in the middle`,
		"PSK-AES128-GCM-SHA256":               `cipher suite "PSK-AES128-GCM-SHA256" is never served: it needs a shared secret in place of a certificate`,
		"DHE-DSS-AES256-SHA":                  `cipher suite "DHE-DSS-AES256-SHA" is never served: DSA certificates are not supported`,
		"TLS_AES_128_CCM_SHA256":              `cipher suite "TLS_AES_128_CCM_SHA256" is never served: its cipher is not implemented`,
		"DHE-RSA-CAMELLIA256-SHA":             `cipher suite "DHE-RSA-CAMELLIA256-SHA" is never served: its cipher is not implemented`,
		"TLS_ECDH_RSA_WITH_AES_128_CBC_SHA":   `cipher suite "TLS_ECDH_RSA_WITH_AES_128_CBC_SHA" is never served: static Diffie-Hellman keys give no forward secrecy`,
		"TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8":  `cipher suite "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8" is never served: its cipher is not implemented`,
		"TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_S": `cipher suite "TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_S" is never served: export keys are short enough to be found by trying`,
	} {
		s, err := ParseSuite(name)
		checkUnknown(t, name, err, want)
		if s != (Suite{}) {
			t.Errorf("ParseSuite(%q) = %s beside its error", name, s)
		}
	}
}

func TestParseGroup(t *testing.T) {
	for group, names := range map[Group][]string{
		X25519MLKEM768: {"X25519MLKEM768", "x25519mlkem768"},
		X25519:         {"X25519", "x25519"},
		P256:           {"P-256", "p-256", "P256", "secp256r1", "prime256v1", "SECP256R1"},
		P384:           {"P-384", "P384", "secp384r1"},
		P521:           {"P-521", "P521", "secp521r1"},
		FFDHE2048:      {"ffdhe2048", "FFDHE2048"},
		FFDHE3072:      {"ffdhe3072"},
		FFDHE4096:      {"ffdhe4096"},
	} {
		for _, name := range names {
			if got, err := ParseGroup(name); err != nil || got != group {
				t.Errorf("ParseGroup(%q) = %s, %v, want %s", name, got, err, group)
			}
		}
	}
	for name, want := range map[string]string{
		"X25519MLKEM786": `unknown group "X25519MLKEM786"; did you mean "X25519MLKEM768"?`,
		"X25519MLKEM":    `unknown group "X25519MLKEM"; did you mean "X25519MLKEM768"?`,
		"secp256k1":      `unknown group "secp256k1"; did you mean "secp256r1"?`,
		"P-255":          `unknown group "P-255"; did you mean "P-256"?`,
		"X448":           `unknown group "X448"`,
		"ffdhe8192":      `unknown group "ffdhe8192"`,
		"":               `unknown group ""`,
	} {
		_, err := ParseGroup(name)
		checkUnknown(t, name, err, want)
	}
}

func checkUnknown(t *testing.T, name string, err error, want string) {
	t.Helper()
	var unknown *UnknownNameError
	if !errors.As(err, &unknown) {
		t.Errorf("%q: error %v is no *UnknownNameError", name, err)
		return
	}
	if got := err.Error(); got != want {
		t.Errorf("%q:\n got %s\nwant %s", name, got, want)
	}
	if unknown.Name != name {
		t.Errorf("%q: the error names %q", name, unknown.Name)
	}
}

func TestGroupNumbers(t *testing.T) {
	// IANA "TLS Supported Groups".
	want := []uint16{4588, 29, 23, 24, 25, 256, 257, 258}
	var got []uint16
	for _, g := range groups {
		got = append(got, uint16(g.group))
	}
	if !slices.Equal(got, want) {
		t.Errorf("groups %d, want %d", got, want)
	}
	if got, want := DefaultGroups(), []Group{4588, 29, 23, 24}; !slices.Equal(got, want) {
		t.Errorf("DefaultGroups() = %v, want %v", got, want)
	}
}

// FuzzParse holds that what parses is what was typed, and what does not is
// named in the error.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"AES128-SHA", "P-256", "RC4-SHA", "TLS_AES_256_GCM", "", "é", strings.Repeat("A", 100)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		s, err := ParseSuite(name)
		if err == nil && !strings.EqualFold(name, s.Name) && !strings.EqualFold(name, s.OpenSSLName) {
			t.Errorf("ParseSuite(%q) = %s", name, s)
		}
		if unknown := (*UnknownNameError)(nil); err != nil && (!errors.As(err, &unknown) || unknown.Name != name) {
			t.Errorf("ParseSuite(%q): %#v", name, err)
		}
		g, err := ParseGroup(name)
		if again, errAgain := ParseGroup(g.String()); err == nil && (errAgain != nil || again != g) {
			t.Errorf("ParseGroup(%q) = %s, which parses as %s, %v", name, g, again, errAgain)
		}
	})
}
