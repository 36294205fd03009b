package policy

import "testing"

func TestAssessRFC9325(t *testing.T) {
	for name, want := range map[string]string{
		"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256":         "RECOMMENDED, §4.2",
		"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384":       "RECOMMENDED, §4.2",
		"TLS_AES_128_GCM_SHA256":                        "RECOMMENDED, §4.3",
		"TLS_CHACHA20_POLY1305_SHA256":                  "RECOMMENDED, §4.3",
		"TLS_AES_128_CCM_SHA256":                        "allowed",
		"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256":   "allowed",
		"TLS_ECDHE_ECDSA_WITH_AES_128_CCM":              "allowed",
		"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384":         "SHOULD NOT, §4.2: CBC unless with encrypt-then-MAC",
		"TLS_DHE_RSA_WITH_AES_256_GCM_SHA384":           "SHOULD NOT, §4.1: finite-field DHE",
		"TLS_DHE_RSA_WITH_AES_128_CBC_SHA":              "SHOULD NOT, §4.1, 4.2: finite-field DHE; CBC unless with encrypt-then-MAC",
		"TLS_RSA_WITH_AES_128_GCM_SHA256":               "SHOULD NOT, §4.1: static RSA",
		"TLS_RSA_WITH_AES_128_CBC_SHA":                  "SHOULD NOT, §4.1, 4.2: static RSA; CBC unless with encrypt-then-MAC",
		"TLS_DH_*":                                      "SHOULD NOT, §4.1: static Diffie-Hellman",
		"TLS_ECDH_*":                                    "SHOULD NOT, §4.1: static Diffie-Hellman",
		"TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA":           "SHOULD NOT, §4.1, 4.2: less than 128 bits of security; CBC unless with encrypt-then-MAC",
		"TLS_ECDHE_RSA_WITH_NULL_SHA":                   "MUST NOT, §4.1: no encryption",
		"TLS_RSA_WITH_RC4_128_SHA":                      "MUST NOT, §4.1: RC4",
		"TLS_RSA_WITH_DES_CBC_SHA":                      "MUST NOT, §4.1: less than 112 bits of security",
		"TLS_RSA_EXPORT_WITH_RC4_40_MD5":                "MUST NOT, §4.1: RC4; less than 112 bits of security",
		"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "allowed",
	} {
		if got := AssessRFC9325(name).String(); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// A suite that the RFC forbids is in no policy, and what is recommended is.
func TestRFC9325OfRegistry(t *testing.T) {
	for _, s := range Suites() {
		if a := AssessRFC9325(s.Name); a.Standing == MustNot {
			t.Errorf("%s: %v", s, a)
		}
	}
	for _, r := range rfc9325Recommended {
		if _, err := ParseSuite(r.name); err != nil {
			t.Error(err)
		}
	}
	if _, err := (MustNot + 1).MarshalText(); err == nil {
		t.Error("a standing that does not exist has a name")
	}
}
