package main

import (
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// outsideOfTheModule is the cryptography that FIPS 140-3 does not approve or that
// is no part of Go's module, by the package that imports it, and why it is not
// reached in FIPS 140-3 mode.
var outsideOfTheModule = map[string]string{
	"certs crypto/des":                                    "for keys that are refused",
	"certs crypto/sha1":                                   "the same",
	"certs golang.org/x/crypto/scrypt":                    "the same",
	"certs software.sslmate.com/src/go-pkcs12":            "for bundles, which are refused",
	"certs golang.org/x/crypto/ocsp":                      "it parses, and verifies with crypto/x509",
	"proxy/scan golang.org/x/crypto/chacha20poly1305":     "it asks others, and protects nothing",
	"proxy/tlsconn crypto/sha1":                           "the package ends every handshake",
	"proxy/tlsconn golang.org/x/crypto/chacha20poly1305":  "the same",
	"proxy/tlsconn github.com/cloudflare/circl/dh/x25519": "the same",
	"proxy/tlsconn/ffdhe filippo.io/bigmod":               "the same",
}

// TestCryptographyOutsideOfTheModule holds that list: whoever imports more has to
// say what becomes of it in FIPS 140-3 mode.
func TestCryptographyOutsideOfTheModule(t *testing.T) {
	suspect := regexp.MustCompile(`^crypto/(des|dsa|md5|rc4|sha1)$|^(golang\.org/x/crypto|filippo\.io|github\.com/cloudflare/circl)/|pkcs12|ed25519|chacha|blake|argon|bcrypt`)
	harmless := regexp.MustCompile(`^crypto/ed25519$|^golang\.org/x/crypto/cryptobyte(/asn1)?$`)
	benches := regexp.MustCompile(`^bench($|/)`)
	got := make(map[string]string)
	for pkg, imports := range allImports(t) {
		for _, path := range imports {
			if suspect.MatchString(path) && !harmless.MatchString(path) && !benches.MatchString(pkg) {
				name := pkg + " " + path
				got[name] = outsideOfTheModule[name]
			}
		}
	}
	if diff := cmp.Diff(outsideOfTheModule, got); diff != "" {
		t.Errorf("cryptography outside of the module (-said +imported):\n%s", diff)
	}
}
