package tlsconn

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestPRF has the vectors that were posted to the IETF's TLS list for the PRF
// with each hash.
func TestPRF(t *testing.T) {
	for _, test := range []struct {
		hash         crypto.Hash
		secret, seed string
		want         string
	}{
		{crypto.SHA256,
			"9bbe436ba940f017b17652849a71db35",
			"a0ba9f936cda311827a6f796ffd5198c",
			`e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a
			 6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab
			 4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701
			 87347b66`},
		{crypto.SHA384,
			"b80b733d6ceefcdc71566ea48e5567df",
			"cd665cf6a8447dd6ff8b27555edb7465",
			`7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cd
			 e9ca0faa60be9fe34f82b1233c9146a0e534cb400fed2700884f9dc236f80edd
			 8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d918425
			 9b5bf8cd4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee6
			 91c8f3a26854308d5eaa3be85e0990703d73e56f`},
	} {
		t.Run(test.hash.String(), func(t *testing.T) {
			secret, seed, want := unhex(t, test.secret), unhex(t, test.seed), unhex(t, test.want)
			// Every length is a prefix of the longest, however the seed is cut.
			for n := range len(want) + 1 {
				out := make([]byte, n)
				cut := n % len(seed)
				prf(test.hash, out, secret, "test label", seed[:cut], seed[cut:])
				if !bytes.Equal(out, want[:n]) {
					t.Fatalf("%d bytes: got %x, want %x", n, out, want[:n])
				}
			}
		})
	}
}

// TestSecrets compares with what OpenSSL's TLS1-PRF computes for the labels
// and seeds that the RFCs name.
func TestSecrets(t *testing.T) {
	repeated := func(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }
	premaster, master := repeated(1, 48), repeated(2, masterSecretLen)
	clientRandom, serverRandom := repeated(3, 32), repeated(4, 32)
	transcript := repeated(5, 32)
	suite := suiteByID(0xC027)
	keys := keysFromMaster(suite, master, clientRandom, serverRandom)
	wide := keysFromMaster(suiteByID(0x009F), master, clientRandom, serverRandom)
	export := func(context []byte) []byte {
		out, err := exportKeyingMaterial(suite.hash, master, clientRandom, serverRandom, "EXPORTER-test", context, 40)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}

	for _, test := range []struct {
		name string
		got  []byte
		want string
	}{
		{"master secret", masterSecret(suite.hash, premaster, clientRandom, serverRandom), `bcd61ee129c7d4270449e470d0309b9bf09a3ffce37072f63465c92796b03c29
			 31bcaa4cdbccc284e28e6439dc2b5b94`},
		{"extended master secret", extendedMasterSecret(suite.hash, premaster, transcript), `abc78edb0f1aefc729b11d7e52a378363fde6c1af28f98af31695cdb5b768e70
			 d2d49d0ffaadde9013f4faf1141f6ed3`},
		{"keys with MAC", slices.Concat(keys.clientMAC, keys.serverMAC, keys.clientKey, keys.serverKey, keys.clientIV, keys.serverIV), `7caae793359b720a2d3a2020d7d54fb019211fdb6e9e90eebff8877c4a25dde2
			 5b975e31c05df7515d847a841ccd1a9b0326f8c147fea0f6594bc5633a75a8d2
			 42770dffaf01b3af12ec0c71370bdfdc687654e650fc3eae07118ee30bc8b7be`},
		{"keys with IV", slices.Concat(wide.clientMAC, wide.serverMAC, wide.clientKey, wide.serverKey, wide.clientIV, wide.serverIV), `13824496db54e67637d67eb391120905a080dc5e8a327278eb2abeaa2b8341a6
			 c5d3504a93a42b5b24ca44dde3834a709a64747af92f7aa15f3af30e32898407
			 5627cfff991928de`},
		{"client finished", finishedSum(suite.hash, master, labelClientFinished, transcript), "e78682c61383405835f1a7f6"},
		{"server finished", finishedSum(suite.hash, master, labelServerFinished, transcript), "1edaa44747a94d7b736989a2"},
		{"exporter without context", export(nil), `7daaf69e4aff52d7b77af2dbbc3b0131527372cd9e704d8762ad3117faa73c48
			 516b985f64b388a4`},
		{"exporter with empty context", export([]byte{}), `7986a6e6aa559a5d54c05939ccc791c9eb3baccc0d855c6bb5b58da16ca53e26
			 67206ea70a002944`},
		{"exporter with context", export([]byte("context")), `af27b5f739f1762a66fb273ec6c83ff5a5ac305acba6108cdfdc13844cb46f7a
			 34a1845558b6df32`},
	} {
		if want := unhex(t, test.want); !bytes.Equal(test.got, want) {
			t.Errorf("%s: got %x, want %x", test.name, test.got, want)
		}
	}
	for _, part := range []struct {
		name string
		got  []byte
		want int
	}{
		{"client MAC key", keys.clientMAC, 32}, {"server MAC key", keys.serverMAC, 32},
		{"client key", keys.clientKey, 16}, {"server key", keys.serverKey, 16},
		{"client IV", keys.clientIV, 0}, {"server IV", keys.serverIV, 0},
		{"client MAC key of AES-GCM", wide.clientMAC, 0}, {"server MAC key of AES-GCM", wide.serverMAC, 0},
		{"client key of AES-GCM", wide.clientKey, 32}, {"server key of AES-GCM", wide.serverKey, 32},
		{"client IV of AES-GCM", wide.clientIV, 4}, {"server IV of AES-GCM", wide.serverIV, 4},
	} {
		if len(part.got) != part.want || cap(part.got) != part.want {
			t.Errorf("%s: length %d and capacity %d, want %d", part.name, len(part.got), cap(part.got), part.want)
		}
	}
}

func TestExporterRefusals(t *testing.T) {
	random := make([]byte, 32)
	for _, test := range []struct {
		label   string
		context []byte
		length  int
		want    string
	}{
		{"client finished", nil, 32, `tlsconn: exporter label "client finished" is reserved`},
		{"server finished", nil, 32, `tlsconn: exporter label "server finished" is reserved`},
		{"master secret", nil, 32, `tlsconn: exporter label "master secret" is reserved`},
		{"extended master secret", nil, 32, `tlsconn: exporter label "extended master secret" is reserved`},
		{"key expansion", nil, 32, `tlsconn: exporter label "key expansion" is reserved`},
		{"EXPORTER-x", make([]byte, 65536), 32, "tlsconn: exporter context of 65536 bytes is longer than 65535"},
		{"EXPORTER-x", nil, -1, "tlsconn: exporter length is negative"},
	} {
		out, err := exportKeyingMaterial(crypto.SHA256, make([]byte, masterSecretLen), random, random, test.label, test.context, test.length)
		if err == nil || err.Error() != test.want || out != nil {
			t.Errorf("%q: got %x, error %v, want error %s", test.label, out, err, test.want)
		}
	}
	if _, err := exportKeyingMaterial(crypto.SHA256, make([]byte, masterSecretLen), random, random, "EXPORTER-x", make([]byte, 65535), 32); err != nil {
		t.Errorf("longest context: %v", err)
	}
}

func TestCipherSuites(t *testing.T) {
	want := []uint16{0xC02C, 0xC030, 0xC02B, 0xC02F, 0xCCA9, 0xCCA8, 0x009F, 0x009E, 0xC028, 0xC027, 0xC00A, 0xC014, 0xC009, 0xC013,
		0x006B, 0x0067, 0x0039, 0x0033, 0x009D, 0x009C, 0x003D, 0x003C, 0x0035, 0x002F}
	got := CipherSuites()
	if !slices.Equal(got, want) {
		t.Errorf("CipherSuites() = %04X, want %04X", got, want)
	}
	for _, id := range got {
		suite := suiteByID(id)
		if suite == nil || suite.id != id {
			t.Fatalf("suiteByID(%04X) = %v", id, suite)
		}
		if suite.isCBC() && suite.macLen != suite.mac.Size() {
			t.Errorf("%04X: MAC key of %d bytes for %v", id, suite.macLen, suite.mac)
		}
	}
	for _, id := range []uint16{0, 0x0005, 0x000A, 0x006A, 0xC012, 0xC0AC, 0x1301, 0x5600, 0xFFFF} {
		if suite := suiteByID(id); suite != nil {
			t.Errorf("suiteByID(%04X) = %v, want none", id, suite)
		}
	}
}
