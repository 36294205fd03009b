package policy

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// Suites by their OpenSSL names, to keep the tables below readable.
const (
	rsaGCM256      = 0xC030 // ECDHE-RSA-AES256-GCM-SHA384
	rsaGCM128      = 0xC02F // ECDHE-RSA-AES128-GCM-SHA256
	rsaChaCha      = 0xCCA8 // ECDHE-RSA-CHACHA20-POLY1305
	ecdsaGCM256    = 0xC02C // ECDHE-ECDSA-AES256-GCM-SHA384
	ecdsaGCM128    = 0xC02B // ECDHE-ECDSA-AES128-GCM-SHA256
	dheGCM256      = 0x009F // DHE-RSA-AES256-GCM-SHA384
	plainGCM256    = 0x009D // AES256-GCM-SHA384
	plainSHA128    = 0x002F // AES128-SHA
	tls13AES128    = 0x1301
	tls13AES256    = 0x1302
	tls13ChaCha    = 0x1303
	emptyRenegSCSV = 0x00FF
	greaseValue    = 0x2A2A
)

// modern is what a present-day client offers.
func modern() Offer {
	return Offer{
		Versions:      []Version{greaseValue, TLS13, TLS12},
		LegacyVersion: TLS12,
		Suites: []uint16{greaseValue, tls13ChaCha, tls13AES128, tls13AES256,
			rsaChaCha, ecdsaGCM128, ecdsaGCM256, rsaGCM128, rsaGCM256, plainGCM256, plainSHA128, emptyRenegSCSV},
		Groups:       []Group{greaseValue, X25519MLKEM768, X25519, P256, P384},
		KeyShares:    []Group{greaseValue, X25519MLKEM768, X25519},
		PointFormats: []uint8{0},
		Signatures: []SignatureScheme{greaseValue, ecdsaP256, rsaPSSSHA256, rsaPKCS1SHA256,
			ecdsaP384, rsaPSSSHA384, rsaPKCS1SHA384, rsaPSSSHA512, rsaPKCS1SHA512, 0x0201},
		ServerName: "broker.example",
	}
}

// tls12Only is the same client before it learned TLS 1.3.
func tls12Only(suites ...uint16) Offer {
	o := modern()
	o.Versions, o.KeyShares = []Version{TLS12, TLS11, TLS10}, nil
	o.Groups = []Group{X25519, P256, P384}
	o.Suites = suites
	return o
}

func with(o Offer, change func(*Offer)) Offer {
	change(&o)
	return o
}

func mustNew(t testing.TB, tls12, tls13, groups []string) *Policy {
	t.Helper()
	p, err := New("test", tls12, tls13, groups)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustBuiltin(t testing.TB, name string) *Policy {
	t.Helper()
	p, ok := Builtin(name)
	if !ok {
		t.Fatalf("no built-in policy %q", name)
	}
	return p
}

func bind(p *Policy, keys ...KeyType) *Policy {
	bound, _ := p.Bind(Have{Keys: keys})
	return bound
}

// accepted is a decision in the way that the tables write it.
type accepted struct {
	version Version
	suite   uint16
	group   Group
	key     KeyType
}

func TestSelectAccepts(t *testing.T) {
	both := []KeyType{RSA, ECDSAP256}
	rabbitmq, activemq := bind(mustBuiltin(t, "rabbitmq"), both...), bind(mustBuiltin(t, "activemq"), both...)
	tls13 := []string{"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"}
	mixed := mustNew(t, []string{"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384", "AES128-SHA"}, tls13, nil)
	dhe := bind(mustNew(t, []string{"DHE-RSA-AES256-GCM-SHA384", "AES128-SHA"}, nil, nil), RSA)
	tests := []struct {
		name   string
		policy *Policy
		offer  Offer
		want   accepted
	}{
		// Version and suite.
		{"TLS 1.3 before the suite", rabbitmq, modern(), accepted{TLS13, tls13AES256, X25519MLKEM768, ECDSAP256}},
		{"TLS 1.2 for a client without 1.3", rabbitmq, tls12Only(rsaGCM128, rsaGCM256), accepted{TLS12, rsaGCM256, X25519, RSA}},
		{"our order, not the client's", activemq, tls12Only(plainSHA128, plainGCM256, rsaGCM128), accepted{TLS12, rsaGCM128, X25519, RSA}},
		{"order as written in a policy of the user's", bind(mustNew(t, []string{"AES128-SHA", "ECDHE-RSA-AES256-GCM-SHA384"}, nil, nil), RSA),
			tls12Only(rsaGCM256, plainSHA128), accepted{TLS12, plainSHA128, 0, RSA}},
		{"TLS 1.3 order as written", bind(mustNew(t, nil, []string{"TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384"}, nil), RSA),
			with(modern(), func(o *Offer) { o.Suites = []uint16{tls13AES256, tls13ChaCha} }), accepted{TLS13, tls13ChaCha, X25519MLKEM768, RSA}},
		{"TLS 1.3 when ChaCha20 is offered first", rabbitmq,
			with(modern(), func(o *Offer) { o.Suites = []uint16{tls13ChaCha, tls13AES128} }), accepted{TLS13, tls13AES128, X25519MLKEM768, ECDSAP256}},
		{"policy without TLS 1.3", bind(mustNew(t, []string{"ECDHE-RSA-AES256-GCM-SHA384"}, nil, nil), RSA), modern(), accepted{TLS12, rsaGCM256, X25519, RSA}},
		{"legacy version alone", rabbitmq, with(tls12Only(rsaGCM256), func(o *Offer) { o.Versions = nil }), accepted{TLS12, rsaGCM256, X25519, RSA}},
		{"legacy version of TLS 1.3 means TLS 1.2", rabbitmq, with(modern(), func(o *Offer) { o.Versions, o.LegacyVersion = nil, TLS13 }), accepted{TLS12, rsaGCM256, X25519, RSA}},
		{"legacy version from the future means TLS 1.2", rabbitmq, with(modern(), func(o *Offer) { o.Versions, o.LegacyVersion = nil, 0x0400 }), accepted{TLS12, rsaGCM256, X25519, RSA}},
		{"fallback signal at our best version", rabbitmq, with(modern(), func(o *Offer) { o.Suites = append(o.Suites, fallbackSCSV) }), accepted{TLS13, tls13AES256, X25519MLKEM768, ECDSAP256}},
		{"fallback signal, policy ends at TLS 1.2", bind(mustNew(t, []string{"AES128-SHA"}, nil, nil), RSA), tls12Only(fallbackSCSV, plainSHA128), accepted{TLS12, plainSHA128, 0, RSA}},

		// Groups in TLS 1.2.
		{"policy's order of groups", bind(mustNew(t, []string{"ECDHE-RSA-AES256-GCM-SHA384"}, nil, []string{"P-384", "P-256"}), RSA),
			tls12Only(rsaGCM256), accepted{TLS12, rsaGCM256, P384, RSA}},
		{"hybrid group is passed over", rabbitmq, with(tls12Only(rsaGCM256), func(o *Offer) { o.Groups = []Group{X25519MLKEM768, P256} }), accepted{TLS12, rsaGCM256, P256, RSA}},
		{"unknown curves: on to RSA", activemq, with(tls12Only(rsaGCM256, plainGCM256), func(o *Offer) { o.Groups = []Group{30, 14} }), accepted{TLS12, plainGCM256, 0, RSA}},
		{"no groups at all: on to RSA", activemq, with(tls12Only(rsaGCM256, plainGCM256), func(o *Offer) { o.Groups = nil }), accepted{TLS12, plainGCM256, 0, RSA}},
		{"hybrid group alone: on to RSA", activemq, with(tls12Only(rsaGCM256, plainGCM256), func(o *Offer) { o.Groups = []Group{X25519MLKEM768} }), accepted{TLS12, plainGCM256, 0, RSA}},
		{"point formats absent", rabbitmq, with(tls12Only(rsaGCM256), func(o *Offer) { o.PointFormats = nil }), accepted{TLS12, rsaGCM256, X25519, RSA}},
		{"uncompressed among others", rabbitmq, with(tls12Only(rsaGCM256), func(o *Offer) { o.PointFormats = []uint8{1, 2, 0} }), accepted{TLS12, rsaGCM256, X25519, RSA}},

		// Signature algorithms and keys in TLS 1.2.
		{"no signature_algorithms: RSA key exchange", activemq, with(tls12Only(rsaGCM256, plainGCM256), func(o *Offer) { o.Signatures = nil }), accepted{TLS12, plainGCM256, 0, RSA}},
		{"SHA-1 only: RSA key exchange", activemq, with(tls12Only(rsaGCM256, plainGCM256), func(o *Offer) { o.Signatures = []SignatureScheme{0x0201, 0x0203} }), accepted{TLS12, plainGCM256, 0, RSA}},
		{"PKCS#1 is enough", rabbitmq, with(tls12Only(rsaGCM256), func(o *Offer) { o.Signatures = []SignatureScheme{rsaPKCS1SHA512} }), accepted{TLS12, rsaGCM256, X25519, RSA}},
		{"ECDSA suite with its key", bind(mixed, both...), tls12Only(rsaGCM256, ecdsaGCM256), accepted{TLS12, ecdsaGCM256, X25519, ECDSAP256}},
		{"ECDSA suite without its key", bind(mixed, RSA), tls12Only(rsaGCM256, ecdsaGCM256), accepted{TLS12, rsaGCM256, X25519, RSA}},
		{"ECDSA suite that the client cannot check", bind(mixed, both...),
			with(tls12Only(rsaGCM256, ecdsaGCM256), func(o *Offer) { o.Signatures = []SignatureScheme{rsaPSSSHA256} }), accepted{TLS12, rsaGCM256, X25519, RSA}},
		{"ECDSA hash is not tied to the curve", bind(mixed, ECDSAP256),
			with(tls12Only(ecdsaGCM256), func(o *Offer) { o.Signatures = []SignatureScheme{ecdsaP521} }), accepted{TLS12, ecdsaGCM256, X25519, ECDSAP256}},
		{"Ed25519 serves ECDSA suites", bind(mixed, Ed25519),
			with(tls12Only(ecdsaGCM256), func(o *Offer) { o.Signatures = []SignatureScheme{eddsaEd25519} }), accepted{TLS12, ecdsaGCM256, X25519, Ed25519}},
		{"key in a curve that the client lists", bind(mixed, ECDSAP256, ECDSAP384),
			with(tls12Only(ecdsaGCM256), func(o *Offer) { o.Groups = []Group{P384} }), accepted{TLS12, ecdsaGCM256, P384, ECDSAP384}},
		{"key in an unlisted curve gives way to RSA", bind(mixed, both...),
			with(tls12Only(ecdsaGCM256, rsaGCM256), func(o *Offer) { o.Groups = []Group{X25519} }), accepted{TLS12, rsaGCM256, X25519, RSA}},
		{"key in an unlisted curve is better than none", bind(mixed, both...),
			with(tls12Only(ecdsaGCM256), func(o *Offer) { o.Groups = []Group{X25519} }), accepted{TLS12, ecdsaGCM256, X25519, ECDSAP256}},

		// Groups in TLS 1.3.
		{"post-quantum first, without its key share", rabbitmq, with(modern(), func(o *Offer) { o.KeyShares = []Group{X25519} }), accepted{TLS13, tls13AES256, X25519MLKEM768, ECDSAP256}},
		{"post-quantum first, though last in the policy", bind(mustNew(t, nil, tls13, []string{"P-256", "X25519MLKEM768"}), RSA),
			with(modern(), func(o *Offer) { o.KeyShares = []Group{P256} }), accepted{TLS13, tls13AES256, X25519MLKEM768, RSA}},
		{"a key share that is here", rabbitmq, with(modern(), func(o *Offer) { o.Groups, o.KeyShares = []Group{X25519, P256, P384}, []Group{P384, P256} }), accepted{TLS13, tls13AES256, P256, ECDSAP256}},
		{"no key share of ours", rabbitmq, with(modern(), func(o *Offer) { o.Groups, o.KeyShares = []Group{30, P384, P256}, []Group{30} }), accepted{TLS13, tls13AES256, P256, ECDSAP256}},
		{"no key share at all", rabbitmq, with(modern(), func(o *Offer) { o.Groups, o.KeyShares = []Group{P384, X25519}, nil }), accepted{TLS13, tls13AES256, X25519, ECDSAP256}},
		{"key share of an unlisted group", rabbitmq, with(modern(), func(o *Offer) { o.Groups, o.KeyShares = []Group{P384, X25519}, []Group{P256} }), accepted{TLS13, tls13AES256, X25519, ECDSAP256}},
		{"point formats do not matter", rabbitmq, with(modern(), func(o *Offer) { o.PointFormats = []uint8{1} }), accepted{TLS13, tls13AES256, X25519MLKEM768, ECDSAP256}},

		// Keys in TLS 1.3.
		{"RSA where ECDSA cannot be checked", rabbitmq, with(modern(), func(o *Offer) { o.Signatures = []SignatureScheme{rsaPKCS1SHA256, rsaPSSSHA512} }), accepted{TLS13, tls13AES256, X25519MLKEM768, RSA}},
		{"a curve's own hash", bind(mixed, RSA, ECDSAP256, ECDSAP384), with(modern(), func(o *Offer) { o.Signatures = []SignatureScheme{ecdsaP384, rsaPSSSHA256} }), accepted{TLS13, tls13AES256, X25519MLKEM768, ECDSAP384}},
		{"Ed25519 before RSA", bind(mixed, RSA, Ed25519), with(modern(), func(o *Offer) { o.Signatures = []SignatureScheme{rsaPSSSHA256, eddsaEd25519} }), accepted{TLS13, tls13AES256, X25519MLKEM768, Ed25519}},
		{"not bound: every kind of key", mixed, modern(), accepted{TLS13, tls13AES256, X25519MLKEM768, ECDSAP256}},

		// Finite field groups.
		{"DHE with a group of both", dhe, with(tls12Only(dheGCM256), func(o *Offer) { o.Groups = []Group{X25519, FFDHE4096, FFDHE3072} }), accepted{TLS12, dheGCM256, FFDHE3072, RSA}},
		{"DHE for a client that lists no finite field", dhe, tls12Only(dheGCM256), accepted{TLS12, dheGCM256, FFDHE2048, RSA}},
		{"DHE for a client that lists no group", dhe, with(tls12Only(dheGCM256), func(o *Offer) { o.Groups = nil }), accepted{TLS12, dheGCM256, FFDHE2048, RSA}},
		{"DHE with the policy's own group", bind(mustNew(t, []string{"DHE-RSA-AES256-GCM-SHA384"}, nil, []string{"X25519", "ffdhe4096"}), RSA),
			tls12Only(dheGCM256), accepted{TLS12, dheGCM256, FFDHE4096, RSA}},
		{"foreign finite field groups: on to RSA", dhe, with(tls12Only(dheGCM256, plainSHA128), func(o *Offer) { o.Groups = []Group{259} }), accepted{TLS12, plainSHA128, 0, RSA}},
		{"DHE without signature_algorithms: on to RSA", dhe, with(tls12Only(dheGCM256, plainSHA128), func(o *Offer) { o.Signatures = nil }), accepted{TLS12, plainSHA128, 0, RSA}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d, err := test.policy.Select(test.offer)
			if err != nil {
				t.Fatal(err)
			}
			if got := (accepted{d.Version, d.Suite.ID, d.Group, d.Key}); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestSelectRefuses(t *testing.T) {
	rabbitmq := bind(mustBuiltin(t, "rabbitmq"), RSA, ECDSAP256)
	activemq := bind(mustBuiltin(t, "activemq"), RSA)
	only13 := bind(mustNew(t, nil, []string{"TLS_AES_128_GCM_SHA256"}, nil), RSA)
	ecdsa := bind(mustNew(t, []string{"ECDHE-ECDSA-AES256-GCM-SHA384"}, nil, nil), ECDSAP256)
	const allows = "; policy rabbitmq allows ECDHE-RSA-AES256-GCM-SHA384, ECDHE-RSA-AES128-GCM-SHA256"
	tests := []struct {
		name   string
		policy *Policy
		offer  Offer
		cause  Reason
		alert  uint8
		detail string
	}{
		// Versions.
		{"TLS 1.1 and 1.0", rabbitmq, with(tls12Only(rsaGCM256), func(o *Offer) { o.Versions = []Version{greaseValue, TLS11, TLS10} }),
			"unsupported_version", 70, "client offers TLSv1.1, TLSv1.0; policy rabbitmq allows TLSv1.3, TLSv1.2"},
		{"SSL 3.0 in the legacy field", rabbitmq, with(tls12Only(rsaGCM256), func(o *Offer) { o.Versions, o.LegacyVersion = nil, SSL30 }),
			"unsupported_version", 70, "client offers SSLv3; policy rabbitmq allows TLSv1.3, TLSv1.2"},
		{"TLS 1.2 where 1.3 is asked for", only13, tls12Only(rsaGCM256),
			"unsupported_version", 70, "client offers TLSv1.2, TLSv1.1, TLSv1.0; policy test allows TLSv1.3"},
		{"a legacy field cannot say TLS 1.3", only13, with(modern(), func(o *Offer) { o.Versions, o.LegacyVersion = nil, TLS13 }),
			"unsupported_version", 70, "client offers TLSv1.2; policy test allows TLSv1.3"},
		{"TLS 1.3 where 1.2 is asked for", ecdsa, with(modern(), func(o *Offer) { o.Versions = []Version{TLS13} }),
			"unsupported_version", 70, "client offers TLSv1.3; policy test allows TLSv1.2"},
		{"nothing said", rabbitmq, Offer{}, "unsupported_version", 70, "client offers none; policy rabbitmq allows TLSv1.3, TLSv1.2"},
		{"empty policy", &Policy{Name: "empty"}, modern(), "unsupported_version", 70, "client offers TLSv1.3, TLSv1.2; policy empty allows none"},
		{"fallback below our best", rabbitmq, tls12Only(rsaGCM256, fallbackSCSV),
			"inappropriate_fallback", 86, "client fell back to TLSv1.2 after a failed first try; policy rabbitmq allows TLSv1.3"},
		{"fallback from a version that nobody has", rabbitmq, with(tls12Only(rsaGCM256, fallbackSCSV), func(o *Offer) { o.Versions = []Version{0x0305, TLS12} }),
			"inappropriate_fallback", 86, "client fell back to TLSv1.2 after a failed first try; policy rabbitmq allows TLSv1.3"},

		// Suites.
		{"no common suite", rabbitmq, tls12Only(rsaChaCha), "no_common_suite", 40,
			"TLSv1.2: client offers ECDHE-RSA-CHACHA20-POLY1305" + allows},
		{"suites without a name, signals and GREASE", rabbitmq, tls12Only(greaseValue, 0x0005, emptyRenegSCSV, tls13AES128), "no_common_suite", 40,
			"TLSv1.2: client offers 0x0005" + allows},
		{"no suite at all", rabbitmq, tls12Only(), "no_common_suite", 40, "TLSv1.2: client offers none" + allows},
		{"many suites", rabbitmq, tls12Only(1, 2, 3, 4, 5, 6, 7, 8, 9, 10), "no_common_suite", 40,
			"TLSv1.2: client offers 0x0001, 0x0002, 0x0003, 0x0004, 0x0005, 0x0006, 0x0007, 0x0008 and 2 more" + allows},
		{"no way back to TLS 1.2 for want of a TLS 1.3 suite", rabbitmq, with(modern(), func(o *Offer) { o.Suites = []uint16{tls13ChaCha, rsaGCM256} }),
			"no_common_suite", 40, "TLSv1.3: client offers TLS_CHACHA20_POLY1305_SHA256; policy rabbitmq allows TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256"},

		// Groups.
		{"ECDHE without a common group", rabbitmq, with(tls12Only(rsaGCM256), func(o *Offer) { o.Groups = []Group{greaseValue, P521, 30} }),
			"no_common_group", 40, "TLSv1.2: client offers groups P-521, 0x001e; policy rabbitmq allows X25519, P-256, P-384"},
		{"hybrid group alone in TLS 1.2", rabbitmq, with(tls12Only(rsaGCM256), func(o *Offer) { o.Groups = []Group{X25519MLKEM768} }),
			"no_common_group", 40, "TLSv1.2: client offers groups X25519MLKEM768; policy rabbitmq allows X25519, P-256, P-384"},
		{"ECDHE and no groups", rabbitmq, with(tls12Only(rsaGCM256), func(o *Offer) { o.Groups = nil }),
			"no_common_group", 40, "TLSv1.2: client offers groups none; policy rabbitmq allows X25519, P-256, P-384"},
		{"TLS 1.3 without a common group", rabbitmq, with(modern(), func(o *Offer) { o.Groups = []Group{P521} }),
			"no_common_group", 40, "TLSv1.3: client offers groups P-521; policy rabbitmq allows X25519MLKEM768, X25519, P-256, P-384"},
		{"finite field groups are not for TLS 1.3", bind(mustNew(t, nil, []string{"TLS_AES_128_GCM_SHA256"}, []string{"X25519", "ffdhe2048"}), RSA),
			with(modern(), func(o *Offer) { o.Groups = []Group{FFDHE2048} }),
			"no_common_group", 40, "TLSv1.3: client offers groups ffdhe2048; policy test allows X25519"},
		{"foreign finite field groups", activemq, with(tls12Only(dheGCM256), func(o *Offer) { o.Groups = []Group{X25519, 259, 511} }),
			"no_common_dhe_group", 71, "TLSv1.2: client offers groups X25519, 0x0103, 0x01ff; policy activemq allows ffdhe2048, ffdhe3072, ffdhe4096"},
		{"foreign finite field groups after foreign curves", activemq, with(tls12Only(rsaGCM256, dheGCM256), func(o *Offer) { o.Groups = []Group{30, 256 + 4} }),
			"no_common_dhe_group", 71, "TLSv1.2: client offers groups 0x001e, 0x0104; policy activemq allows ffdhe2048, ffdhe3072, ffdhe4096"},
		{"compressed points only", activemq, with(tls12Only(rsaGCM256, plainSHA128), func(o *Offer) { o.PointFormats = []uint8{1, 2} }),
			"incompatible_point_formats", 47, "TLSv1.2: client excludes uncompressed elliptic curve points"},

		// Signature algorithms.
		{"no signature_algorithms in TLS 1.2", rabbitmq, with(tls12Only(rsaGCM256), func(o *Offer) { o.Signatures = nil }),
			"no_common_signature_algorithm", 40, "TLSv1.2: client checks signatures none; the certificates have keys ECDSA-P256, RSA"},
		{"SHA-1 in TLS 1.2", rabbitmq, with(tls12Only(rsaGCM256), func(o *Offer) { o.Signatures = []SignatureScheme{0x0201} }),
			"no_common_signature_algorithm", 40, "TLSv1.2: client checks signatures rsa_pkcs1_sha1; the certificates have keys ECDSA-P256, RSA"},
		{"PKCS#1 in TLS 1.3", only13, with(modern(), func(o *Offer) { o.Signatures = []SignatureScheme{rsaPKCS1SHA256, ecdsaP256} }),
			"no_common_signature_algorithm", 40, "TLSv1.3: client checks signatures rsa_pkcs1_sha256, ecdsa_secp256r1_sha256; the certificates have keys RSA"},
		{"a foreign curve's hash in TLS 1.3", bind(mustNew(t, nil, []string{"TLS_AES_128_GCM_SHA256"}, nil), ECDSAP256),
			with(modern(), func(o *Offer) { o.Signatures = []SignatureScheme{ecdsaP384} }),
			"no_common_signature_algorithm", 40, "TLSv1.3: client checks signatures ecdsa_secp384r1_sha384; the certificates have keys ECDSA-P256"},
		{"DHE without signature_algorithms", activemq, with(tls12Only(dheGCM256), func(o *Offer) { o.Signatures = nil }),
			"no_common_signature_algorithm", 40, "TLSv1.2: client checks signatures none; the certificates have keys RSA"},
		{"no signature_algorithms in TLS 1.3", rabbitmq, with(modern(), func(o *Offer) { o.Signatures = nil }),
			"missing_extension", 109, "TLSv1.3: client sends no signature_algorithms"},
		{"no groups in TLS 1.3", rabbitmq, with(modern(), func(o *Offer) { o.Groups = nil }),
			"missing_extension", 109, "TLSv1.3: client sends no supported_groups"},
		{"not bound, unheard-of scheme", mustBuiltin(t, "rabbitmq"), with(tls12Only(rsaGCM256), func(o *Offer) { o.Signatures = []SignatureScheme{0x0904} }),
			"no_common_signature_algorithm", 40, "TLSv1.2: client checks signatures 0x0904; the certificates have keys ECDSA-P256, ECDSA-P384, Ed25519, RSA"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d, err := test.policy.Select(test.offer)
			var refusal *Refusal
			if !errors.As(err, &refusal) {
				t.Fatalf("got %+v, %v, want a *Refusal", d, err)
			}
			if d != (Decision{}) {
				t.Errorf("a decision came with the refusal: %+v", d)
			}
			if refusal.Cause != test.cause || refusal.Alert != test.alert || refusal.Detail != test.detail {
				t.Errorf("\n got %s, alert %d: %s\nwant %s, alert %d: %s", refusal.Cause, refusal.Alert, refusal.Detail, test.cause, test.alert, test.detail)
			}
			if refusal.Reason() != string(test.cause) || err.Error() != "policy: "+string(test.cause)+": "+test.detail {
				t.Errorf("Reason() = %q, Error() = %q", refusal.Reason(), err)
			}
		})
	}
}

// TestServerNameDoesNotMatter holds that no SNI reaches another decision.
func TestServerNameDoesNotMatter(t *testing.T) {
	p := mustBuiltin(t, "activemq")
	for _, o := range []Offer{modern(), tls12Only(plainSHA128), tls12Only(5)} {
		want, wantErr := p.Select(o)
		for _, name := range []string{"", "other.example", "\x00"} {
			o.ServerName = name
			got, err := p.Select(o)
			if got != want || (err == nil) != (wantErr == nil) {
				t.Errorf("ServerName %q: %+v, %v, want %+v, %v", name, got, err, want, wantErr)
			}
		}
	}
}

// checkSelect holds what must be true of every policy and every offer.
func checkSelect(t *testing.T, p *Policy, keys []KeyType, o Offer) {
	t.Helper()
	d, err := p.Select(o)
	if err != nil {
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Detail == "" || refusal.Alert == 0 || d != (Decision{}) {
			t.Fatalf("refused with %#v and %+v", err, d)
		}
		return
	}
	suites, versions := p.TLS12, o.Versions
	if d.Version == TLS13 {
		suites = p.TLS13
	} else if len(versions) == 0 && o.LegacyVersion >= TLS12 {
		versions = []Version{TLS12}
	}
	if !slices.Contains(versions, d.Version) || !slices.Contains(suites, d.Suite) || d.Suite.TLS13() != (d.Version == TLS13) {
		t.Fatalf("decided on %s with %s; offer %+v", d.Version, d.Suite, o)
	}
	if !slices.Contains(o.Suites, d.Suite.ID) {
		t.Fatalf("%s was not offered: %04x", d.Suite, o.Suites)
	}
	if !slices.Contains(keys, d.Key) {
		t.Fatalf("key %s is not among %v", d.Key, keys)
	}
	switch d.Suite.KeyExchange {
	case RSAKeyExchange:
		if d.Group != 0 || d.Key != RSA {
			t.Fatalf("%s with group %s and key %s", d.Suite, d.Group, d.Key)
		}
	case DHE:
		if d.Group.kind() != finiteField || !slices.Contains(o.Groups, d.Group) && slices.ContainsFunc(o.Groups, Group.inFFDHERange) {
			t.Fatalf("%s with group %s; offered %v", d.Suite, d.Group, o.Groups)
		}
	default:
		if !slices.Contains(o.Groups, d.Group) || !slices.Contains(p.Groups, d.Group) {
			t.Fatalf("group %s; policy %v, offered %v", d.Group, p.Groups, o.Groups)
		}
	}
}

// anyPolicy makes a bound policy out of the registry.
func anyPolicy(r *rand.Rand) (*Policy, []KeyType) {
	p, keys := anyUnboundPolicy(r)
	return bind(p, keys...), keys
}

// anyUnboundPolicy makes a policy out of the registry, and keys to bind it to.
func anyUnboundPolicy(r *rand.Rand) (*Policy, []KeyType) {
	p := &Policy{Name: "any"}
	for _, s := range registry {
		switch {
		case r.IntN(3) > 0:
		case s.TLS13():
			p.TLS13 = append(p.TLS13, s)
		default:
			p.TLS12 = append(p.TLS12, s)
		}
	}
	for _, g := range groups {
		if r.IntN(2) == 0 {
			p.Groups = append(p.Groups, g.group)
		}
	}
	var keys []KeyType
	for _, k := range keyPreference {
		if r.IntN(2) == 0 {
			keys = append(keys, k)
		}
	}
	r.Shuffle(len(p.TLS12), func(i, j int) { p.TLS12[i], p.TLS12[j] = p.TLS12[j], p.TLS12[i] })
	r.Shuffle(len(p.Groups), func(i, j int) { p.Groups[i], p.Groups[j] = p.Groups[j], p.Groups[i] })
	return p, keys
}

func some[T any](r *rand.Rand, values ...T) []T {
	var chosen []T
	for range r.IntN(len(values) + 1) {
		chosen = append(chosen, values[r.IntN(len(values))])
	}
	return chosen
}

func anyOffer(r *rand.Rand) Offer {
	var ids []uint16
	for _, s := range registry {
		ids = append(ids, s.ID)
	}
	ids = append(ids, greaseValue, 5, emptyRenegSCSV)
	if r.IntN(8) == 0 {
		ids = append(ids, fallbackSCSV)
	}
	allGroups := []Group{greaseValue, X25519MLKEM768, X25519, P256, P384, P521, FFDHE2048, FFDHE3072, 260, 30}
	return Offer{
		Versions:      some(r, TLS13, TLS12, TLS12, TLS11, greaseValue),
		LegacyVersion: Version(0x0300 + r.IntN(6)),
		Suites:        some(r, ids...),
		Groups:        some(r, allGroups...),
		KeyShares:     some(r, allGroups...),
		PointFormats:  some[uint8](r, 0, 0, 1),
		Signatures: some[SignatureScheme](r, greaseValue, 0x0201, 0x0203, rsaPKCS1SHA256, rsaPKCS1SHA512,
			ecdsaP256, ecdsaP384, ecdsaP521, rsaPSSSHA256, rsaPSSSHA384, eddsaEd25519),
	}
}

func TestSelectStaysInside(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	decided := 0
	for range 5000 {
		p, keys := anyPolicy(r)
		o := anyOffer(r)
		checkSelect(t, p, keys, o)
		if _, err := p.Select(o); err == nil {
			decided++
		}
	}
	if decided < 500 {
		t.Errorf("only %d of 5000 offers were let in: the generator tests too little", decided)
	}
}

// FuzzSelect reads lists of 16-bit values, each after a byte with its length.
func FuzzSelect(f *testing.F) {
	encode := func(o Offer) []byte {
		data := []byte{0, 1}
		data = appendList(data, o.Versions)
		data = appendList(data, o.Suites)
		data = appendList(data, o.Groups)
		data = appendList(data, o.KeyShares)
		data = appendList(data, o.Signatures)
		return append(data, o.PointFormats...)
	}
	f.Add(uint64(1), encode(modern()))
	f.Add(uint64(2), encode(tls12Only(rsaGCM256, dheGCM256, plainSHA128)))
	f.Add(uint64(3), []byte{})
	f.Fuzz(func(t *testing.T, seed uint64, data []byte) {
		p, keys := anyPolicy(rand.New(rand.NewPCG(seed, 0)))
		var o Offer
		if len(data) >= 2 {
			o.LegacyVersion, data = Version(binary.BigEndian.Uint16(data)), data[2:]
		}
		o.Versions, data = cutList[Version](data)
		o.Suites, data = cutList[uint16](data)
		o.Groups, data = cutList[Group](data)
		o.KeyShares, data = cutList[Group](data)
		o.Signatures, data = cutList[SignatureScheme](data)
		o.PointFormats = data
		checkSelect(t, p, keys, o)
	})
}

func appendList[T ~uint16](data []byte, values []T) []byte {
	data = append(data, byte(len(values)))
	for _, v := range values {
		data = binary.BigEndian.AppendUint16(data, uint16(v))
	}
	return data
}

func cutList[T ~uint16](data []byte) ([]T, []byte) {
	if len(data) == 0 {
		return nil, nil
	}
	n := int(data[0])
	data = data[1:]
	var values []T
	for ; n > 0 && len(data) >= 2; n-- {
		values, data = append(values, T(binary.BigEndian.Uint16(data))), data[2:]
	}
	return values, data
}

func TestSelectAllocatesNothing(t *testing.T) {
	p := bind(mustBuiltin(t, "activemq"), RSA, ECDSAP256)
	for _, o := range []Offer{modern(), tls12Only(plainSHA128)} {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := p.Select(o); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v allocations for a client that is let in", n)
		}
	}
}

func BenchmarkSelect(b *testing.B) {
	p := bind(mustBuiltin(b, "activemq"), RSA, ECDSAP256)
	// The worst of a real client: an old Java's list, everything legacy, of
	// which the policy's last suite fits.
	old := tls12Only()
	for id := range uint16(60) {
		old.Suites = append(old.Suites, 0xC0A0+id)
	}
	old.Suites = append(old.Suites, plainSHA128)
	for _, bench := range []struct {
		name  string
		offer Offer
	}{
		{"TLS13", modern()},
		{"TLS12", tls12Only(rsaGCM128, rsaGCM256)},
		{"TLS12LastOfMany", old},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Select(bench.offer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("Refused", func(b *testing.B) {
		b.ReportAllocs()
		o := tls12Only(rsaChaCha)
		for b.Loop() {
			if _, err := p.Select(o); err == nil {
				b.Fatal("not refused")
			}
		}
	})
}
