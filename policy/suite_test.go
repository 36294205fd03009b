package policy

import (
	"slices"
	"testing"
)

// published is every suite of the registry once more, typed from the IANA
// registry and from openssl-ciphers(1), so that a slip in either table shows.
var published = []struct {
	id            uint16
	iana, openssl string
	kx            KeyExchange
	auth          Auth
	cipher        Cipher
	mac           MAC
	forwardSecret bool
}{
	// Amazon MQ for ActiveMQ.
	{0xC030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384", ECDHE, AuthRSA, AES256GCM, AEAD, true},
	{0xC028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", "ECDHE-RSA-AES256-SHA384", ECDHE, AuthRSA, AES256CBC, SHA384, true},
	{0xC014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA", ECDHE, AuthRSA, AES256CBC, SHA1, true},
	{0x009F, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", "DHE-RSA-AES256-GCM-SHA384", DHE, AuthRSA, AES256GCM, AEAD, true},
	{0x006B, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256", "DHE-RSA-AES256-SHA256", DHE, AuthRSA, AES256CBC, SHA256, true},
	{0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA", "DHE-RSA-AES256-SHA", DHE, AuthRSA, AES256CBC, SHA1, true},
	{0x009D, "TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384", RSAKeyExchange, AuthRSA, AES256GCM, AEAD, false},
	{0x003D, "TLS_RSA_WITH_AES_256_CBC_SHA256", "AES256-SHA256", RSAKeyExchange, AuthRSA, AES256CBC, SHA256, false},
	{0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA", RSAKeyExchange, AuthRSA, AES256CBC, SHA1, false},
	{0xC02F, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", ECDHE, AuthRSA, AES128GCM, AEAD, true},
	{0xC027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256", ECDHE, AuthRSA, AES128CBC, SHA256, true},
	{0xC013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA", ECDHE, AuthRSA, AES128CBC, SHA1, true},
	{0x009E, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", "DHE-RSA-AES128-GCM-SHA256", DHE, AuthRSA, AES128GCM, AEAD, true},
	{0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256", "DHE-RSA-AES128-SHA256", DHE, AuthRSA, AES128CBC, SHA256, true},
	{0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA", "DHE-RSA-AES128-SHA", DHE, AuthRSA, AES128CBC, SHA1, true},
	{0x009C, "TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256", RSAKeyExchange, AuthRSA, AES128GCM, AEAD, false},
	{0x003C, "TLS_RSA_WITH_AES_128_CBC_SHA256", "AES128-SHA256", RSAKeyExchange, AuthRSA, AES128CBC, SHA256, false},
	{0x002F, "TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA", RSAKeyExchange, AuthRSA, AES128CBC, SHA1, false},
	// TLS 1.3.
	{0x1301, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", AnyKeyExchange, AnyAuth, AES128GCM, AEAD, true},
	{0x1302, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", AnyKeyExchange, AnyAuth, AES256GCM, AEAD, true},
	{0x1303, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", AnyKeyExchange, AnyAuth, ChaCha20Poly1305, AEAD, true},
	// What crypto/tls serves beside these.
	{0xCCA8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305", ECDHE, AuthRSA, ChaCha20Poly1305, AEAD, true},
	{0xC02B, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", ECDHE, AuthECDSA, AES128GCM, AEAD, true},
	{0xC02C, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", ECDHE, AuthECDSA, AES256GCM, AEAD, true},
	{0xCCA9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", ECDHE, AuthECDSA, ChaCha20Poly1305, AEAD, true},
	{0xC009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA", ECDHE, AuthECDSA, AES128CBC, SHA1, true},
	{0xC00A, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA-AES256-SHA", ECDHE, AuthECDSA, AES256CBC, SHA1, true},
}

func TestRegistry(t *testing.T) {
	if got := len(Suites()); got != len(published) {
		t.Errorf("%d suites in the registry, want %d", got, len(published))
	}
	for _, want := range published {
		suite := Suite{want.id, want.iana, want.openssl, want.kx, want.auth, want.cipher, want.mac}
		if got, ok := SuiteByID(want.id); !ok || got != suite {
			t.Errorf("SuiteByID(0x%04X) = %+v, %t, want %+v", want.id, got, ok, suite)
		}
		if got := suite.ForwardSecret(); got != want.forwardSecret {
			t.Errorf("%s: ForwardSecret() = %t", suite, got)
		}
		if got := suite.TLS13(); got != (want.id>>8 == 0x13) {
			t.Errorf("%s: TLS13() = %t", suite, got)
		}
		if !slices.Contains(Suites(), suite) {
			t.Errorf("Suites() lacks %s", suite)
		}
	}
	if s, ok := SuiteByID(0x0005); ok {
		t.Errorf("SuiteByID(0x0005) = %s, want none", s)
	}
}

func TestSuitesIsACopy(t *testing.T) {
	Suites()[0].Name = "changed"
	if got := Suites()[0].Name; got == "changed" {
		t.Error("the registry changed through Suites()")
	}
}

func TestStrings(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{SSL30.String(), "SSLv3"},
		{TLS10.String(), "TLSv1.0"},
		{TLS11.String(), "TLSv1.1"},
		{TLS12.String(), "TLSv1.2"},
		{TLS13.String(), "TLSv1.3"},
		{Version(0x7f1c).String(), "0x7f1c"},
		{AnyKeyExchange.String(), "any"},
		{ECDHE.String(), "ECDHE"},
		{DHE.String(), "DHE"},
		{RSAKeyExchange.String(), "RSA"},
		{KeyExchange(9).String(), "unknown(9)"},
		{AnyAuth.String(), "any"},
		{AuthRSA.String(), "RSA"},
		{AuthECDSA.String(), "ECDSA"},
		{AES128GCM.String(), "AES-128-GCM"},
		{AES256GCM.String(), "AES-256-GCM"},
		{AES128CBC.String(), "AES-128-CBC"},
		{AES256CBC.String(), "AES-256-CBC"},
		{ChaCha20Poly1305.String(), "CHACHA20-POLY1305"},
		{Cipher(0).String(), "unknown(0)"},
		{AEAD.String(), "AEAD"},
		{SHA1.String(), "SHA1"},
		{SHA256.String(), "SHA256"},
		{SHA384.String(), "SHA384"},
		{NoKey.String(), "none"},
		{RSA.String(), "RSA"},
		{ECDSAP256.String(), "ECDSA-P256"},
		{ECDSAP384.String(), "ECDSA-P384"},
		{Ed25519.String(), "Ed25519"},
		{X25519MLKEM768.String(), "X25519MLKEM768"},
		{X25519.String(), "X25519"},
		{P256.String(), "P-256"},
		{P384.String(), "P-384"},
		{P521.String(), "P-521"},
		{FFDHE2048.String(), "ffdhe2048"},
		{FFDHE3072.String(), "ffdhe3072"},
		{FFDHE4096.String(), "ffdhe4096"},
		{Group(30).String(), "0x001e"},
		{SignatureScheme(0x0403).String(), "ecdsa_secp256r1_sha256"},
		{SignatureScheme(0x0503).String(), "ecdsa_secp384r1_sha384"},
		{SignatureScheme(0x0603).String(), "ecdsa_secp521r1_sha512"},
		{SignatureScheme(0x0804).String(), "rsa_pss_rsae_sha256"},
		{SignatureScheme(0x0805).String(), "rsa_pss_rsae_sha384"},
		{SignatureScheme(0x0806).String(), "rsa_pss_rsae_sha512"},
		{SignatureScheme(0x0401).String(), "rsa_pkcs1_sha256"},
		{SignatureScheme(0x0501).String(), "rsa_pkcs1_sha384"},
		{SignatureScheme(0x0601).String(), "rsa_pkcs1_sha512"},
		{SignatureScheme(0x0201).String(), "rsa_pkcs1_sha1"},
		{SignatureScheme(0x0203).String(), "ecdsa_sha1"},
		{SignatureScheme(0x0807).String(), "ed25519"},
		{SignatureScheme(0x0809).String(), "0x0809"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
