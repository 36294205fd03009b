package tlsconn

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
)

// The messages of RFC 8448 §3.
const (
	rfcClientHello = `010000c00303cb34ecb1e78163ba1c38c6dacb196a6dffa21a8d9912ec18a2ef6283024dece7000006130113031302010000910000000b0009000006736572766572
		ff01000100000a00140012001d0017001800190100010101020103010400230000003300260024001d002099381de560e4bd43d23d8e435a7dbafeb3c06e51c1
		3cae4d5413691e529aaf2c002b0003020304000d0020001e040305030603020308040805080604010501060102010402050206020202002d00020101001c0002
		4001`
	rfcServerHello = `020000560303a6af06a4121860dc5e6e60249cd34c95930c8ac5cb1434dac155772ed3e2692800130100002e00330024001d0020c9828876112095fe66762bdb
		f7c672e156d6cc253b833df1dd69b1b04e751f0f002b00020304`
	rfcExtensions  = `080000240022000a00140012001d00170018001901000101010201030104001c0002400100000000`
	rfcCertificate = `0b0001b9000001b50001b0308201ac30820115a003020102020102300d06092a864886f70d01010b0500300e310c300a06035504031303727361301e170d3136
		303733303031323335395a170d3236303733303031323335395a300e310c300a0603550403130372736130819f300d06092a864886f70d010101050003818d00
		30818902818100b4bb498f8279303d980836399b36c6988c0c68de55e1bdb826d3901a2461eafd2de49a91d015abbc9a95137ace6c1af19eaa6af98c7ced4312
		0998e187a80ee0ccb0524b1b018c3e0b63264d449a6d38e22a5fda430846748030530ef0461c8ca9d9efbfae8ea6d1d03e2bd193eff0ab9a8002c47428a6d35a
		8d88d79f7f1e3f0203010001a31a301830090603551d1304023000300b0603551d0f0404030205a0300d06092a864886f70d01010b05000381810085aad2a0e5
		b9276b908c65f73a7267170618a54c5f8a7b337d2df7a594365417f2eae8f8a58c8f8172f9319cf36b7fd6c55b80f21a03015156726096fd335e5e67f2dbf102
		702e608ccae6bec1fc63a42a99be5c3eb7107c3c54e9b9eb2bd5203b1c3b84e0a8b2f759409ba3eac9d91d402dcc0cc8f8961229ac9187b42b4de10000`
	rfcCertificateVerify = `0f000084080400805a747c5d88fa9bd2e55ab085a61015b7211f824cd484145ab3ff52f1fda8477b0b7abc90db78e2d33a5c141a078653fa6bef780c5ea248ee
		aaa785c4f394cab6d30bbe8d4859ee511f602957b15411ac027671459e46445c9ea58c181e818e95b8c3fb0bf3278409d3be152a3da5043e063dda65cdf5aea2
		0d53dfacd42f74f3`
	rfcServerFinished = `140000209b9b141d906337fbd2cbdce71df4deda4ab42c309572cb7fffee5454b78f0718`
	rfcClientFinished = `14000020a8ec436d677634ae525ac1fcebe11a039ec17694fac6e98527b642f2edd5ce61`
)

// The secrets of its traffic.
const (
	rfcClientHandshakeTraffic = "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21"
	rfcServerHandshakeTraffic = "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38"
	rfcClientTraffic          = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"
	rfcServerTraffic          = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"
)

// TestSchedule13 has the secrets of RFC 8448: those of §3, a handshake, those of §4,
// which resumes its session, and those of §5, whose key exchange is on P-256.
func TestSchedule13(t *testing.T) {
	d := newDeriver(crypto.SHA256)
	var transcript []byte
	sumWith := func(messages ...string) []byte {
		for _, m := range messages {
			transcript = append(transcript, unhex(t, m)...)
		}
		return digest(crypto.SHA256, transcript)
	}
	check := func(name string, got []byte, want string) {
		t.Helper()
		if !bytes.Equal(got, unhex(t, want)) {
			t.Errorf("%s: got %x, want %s", name, got, want)
		}
	}

	s := newKeySchedule(d, nil)
	check("early secret", s.secret, "33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a")
	check("derived", s.derive("derived", s.empty()), "6f2615a108c702c5678f54fc9dbab69716c076189c48250cebeac3576c3611ba")
	s.advance(unhex(t, "8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d"))
	check("handshake secret", s.secret, "1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac")
	sum := sumWith(rfcClientHello, rfcServerHello)
	check("hash of the hellos", sum, "860c06edc07858ee8e78f0e7428c58edd6b43f2ca3e6e95f02ed063cf0e1cad8")
	client, server := s.derive("c hs traffic", sum), s.derive("s hs traffic", sum)
	check("client's handshake traffic", client, rfcClientHandshakeTraffic)
	check("server's handshake traffic", server, rfcServerHandshakeTraffic)
	for _, keys := range []struct{ name, secret, key, iv string }{
		{"client's handshake", rfcClientHandshakeTraffic, "dbfaa693d1762c5b666af5d950258d01", "5bd3c71b836e0b76bb73265f"},
		{"server's handshake", rfcServerHandshakeTraffic, "3fce516009c21727d0f2e4e86ee403bc", "5d313eb2671276ee13000b30"},
		{"client's", rfcClientTraffic, "17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9"},
		{"server's", rfcServerTraffic, "9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984"},
	} {
		check(keys.name+" key", d.expand(unhex(t, keys.secret), "key", nil, 16), keys.key)
		check(keys.name+" IV", d.expand(unhex(t, keys.secret), "iv", nil, 12), keys.iv)
	}

	sum = sumWith(rfcExtensions, rfcCertificate)
	signature := unhex(t, rfcCertificateVerify)[messageHeaderLen+4:]
	leaf, err := x509.ParseCertificate(unhex(t, rfcCertificate)[messageHeaderLen+7:][:432])
	must(err)
	if err := verify(leaf.PublicKey, tls.PSSWithSHA256, signed13(serverSignature, sum), signature); err != nil {
		t.Errorf("CertificateVerify: %v", err)
	}
	check("server's Finished", d.verifyData(server, sumWith(rfcCertificateVerify)), rfcServerFinished[8:])
	sum = sumWith(rfcServerFinished)
	check("client's Finished", d.verifyData(client, sum), rfcClientFinished[8:])
	s.advance(nil)
	check("master secret", s.secret, "18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919")
	check("client's traffic", s.derive("c ap traffic", sum), rfcClientTraffic)
	check("server's traffic", s.derive("s ap traffic", sum), rfcServerTraffic)
	check("exporter", s.derive("exp master", sum), "fe22f881176eda18eb8f44529e6792c50c9a3f89452f68d8ae311b4309d3cf50")
	resumption := s.derive("res master", sumWith(rfcClientFinished))
	check("resumption", resumption, "7df235f2031d2a051287d02b0241b0bfdaf86cc856231f2d5aba46c434ec196c")
	psk := d.derive(resumption, "resumption", []byte{0, 0}) // its ticket has that nonce
	check("ticket's secret", psk, "4ecd0eb6ec3b4d87f5d6028f922ca4c5851a277fd41311c9e62d2c9492e1c4f3")

	s = newKeySchedule(d, psk)
	check("early secret, resumed", s.secret, "9b2188e9b2fc6d64d71dc329900e20bb41915000f678aa839cbb797cb7d8332c")
	binder := s.derive("res binder", s.empty())
	check("binder key", binder, "69fe131a3bbad5d63c64eebcc30e395b9d8107726a13d074e389dbc8a4e47256")
	check("binder", d.verifyData(binder, unhex(t, "63224b2e4573f2d3454ca84b9d009a04f6be9e05711a8396473aefa01e924a14")),
		"3add4fb2d8fdf822a0ca3cf7678ef5e88dae990141c5924d57bb6fa31b9e5f9d")

	s = newKeySchedule(d, nil)
	s.advance(unhex(t, "c142ce13ca11b5c2233652e63ad3d97844f1621fbfb9de69d547dc8fedeabeb4"))
	check("handshake secret after retry", s.secret, "ce022e5e6e81e50736d773f2d3adfce8220d049bf510f0dbfac927ef4243b148")
	sum = unhex(t, "8aa8e828ec2f8a884fec95a3139de01c15a3daa7ff5bfc3f4bfcc21b438d7bf8")
	check("client's handshake traffic after retry", s.derive("c hs traffic", sum), "158aa7ab8855073582b41d674b4055cabcc534728f659314861b4e08e2011566")
	check("server's handshake traffic after retry", s.derive("s hs traffic", sum), "3403e781e2af7b6508da28574f6e95a1abf162de83a97927c37672a4a0cef8a1")
	s.advance(nil)
	check("master secret after retry", s.secret, "1131545d0baf79ddce9b87f06945781a57dd18ef378dcd2060f8f9a569027ed8")
}

// The key exchange of RFC 8448 §3, from both sides, and what its ClientHello says.
func TestHello13(t *testing.T) {
	clientHello := unhex(t, rfcClientHello)
	hello, err := parseClientHello(body(clientHello))
	must(err)
	offer, err := parseHello13(body(clientHello), hello)
	must(err)
	if hello.serverName != "server" || !slices.Equal(hello.suites, []uint16{0x1301, 0x1303, 0x1302}) || !slices.Equal(offer.pskModes, []byte{pskWithDHE}) ||
		len(offer.shares) != 1 || offer.earlyData || len(offer.identities) != 0 || offer.bindersLen != 0 {
		t.Errorf("hello %+v, %+v", hello, offer)
	}
	share, own := offer.share(tls.X25519), unhex(t, rfcServerHello)[52:][:32]
	want := unhex(t, "8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d")
	for _, side := range []struct {
		private     string
		public, get []byte
	}{
		{"49af42ba7f7994852d713ef2784bcbcaa7911de26adc5642cb634540e7ea5005", share, own},
		{"b1580eeadf6dd589b8ef4f2d5652578cc810e9980191ec8d058308cea216a21e", own, share},
	} {
		private, err := ecdh.X25519().NewPrivateKey(unhex(t, side.private))
		must(err)
		for _, key := range []ephemeral{ecdhKey{private}, x25519KeyOf(unhex(t, side.private))} {
			secret, err := key.shared(side.get)
			if err != nil || !bytes.Equal(secret, want) || !bytes.Equal(key.public(), side.public) {
				t.Errorf("%T: public %x, secret %x, %v", key, key.public(), secret, err)
			}
		}
	}
}

// expandLabel is HKDF-Expand-Label from the RFC's text and the standard library.
func expandLabel(hash crypto.Hash, secret []byte, label string, context []byte, length int) []byte {
	var b cryptobyte.Builder
	b.AddUint16(uint16(length))
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("tls13 " + label)) })
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(context) })
	out, err := hkdf.Expand(hash.New, secret, string(b.BytesOrPanic()), length)
	must(err)
	return out
}

// A deriver is crypto/hmac and crypto/hkdf, whatever it did before.
func TestDeriver(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	n := rand.New(random)
	some := func(most int) []byte {
		b := make([]byte, n.IntN(most+1))
		random.Read(b)
		return b
	}
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384} {
		d := newDeriver(hash)
		for range 500 {
			key, data := some(hash.New().BlockSize()), some(300)
			mac := hmac.New(hash.New, key)
			mac.Write(data)
			if got, want := d.mac(key, data), mac.Sum(nil); !bytes.Equal(got, want) {
				t.Fatalf("%v: mac %x, want %x", hash, got, want)
			}

			salt := some(hash.Size())
			want, err := hkdf.Extract(hash.New, data, salt)
			must(err)
			if got := d.extract(salt, data); !bytes.Equal(got, want) {
				t.Fatalf("%v: extract %x, want %x", hash, got, want)
			}

			secret := make([]byte, hash.Size())
			random.Read(secret)
			label, context, length := strings.Repeat("x", n.IntN(30)), some(hash.Size()), n.IntN(hash.Size()+1)
			if got, want := d.expand(secret, label, context, length), expandLabel(hash, secret, label, context, length); !bytes.Equal(got, want) {
				t.Fatalf("%v: expand %x, want %x", hash, got, want)
			}
		}
		want, err := hkdf.Extract(hash.New, make([]byte, hash.Size()), nil)
		must(err)
		if got := d.extract(nil, nil); !bytes.Equal(got, want) {
			t.Errorf("%v: extract of nothing %x, want %x", hash, got, want)
		}
		if got, want := d.empty(), digest(hash); !bytes.Equal(got, want) {
			t.Errorf("%v: empty %x, want %x", hash, got, want)
		}
		for name, f := range map[string]func(){
			"a longer key than a block": func() { d.mac(make([]byte, hash.New().BlockSize()+1), nil) },
			"more than a hash":          func() { d.expand(make([]byte, hash.Size()), "x", nil, hash.Size()+1) },
		} {
			if func() (panicked any) { defer func() { panicked = recover() }(); f(); return nil }() == nil {
				t.Errorf("%v: %s: no panic", hash, name)
			}
		}
	}
}

func TestExporter13(t *testing.T) {
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384} {
		secret, size := payloadOf(hash.Size()), hash.Size()
		most := 255 * size
		for _, tt := range []struct {
			label   string
			context []byte
			length  int
		}{
			{"EXPORTER-x", nil, 0}, {"EXPORTER-x", nil, 1}, {"EXPORTER-x", nil, size}, {"EXPORTER-x", []byte("context"), size + 1},
			{"EXPORTER-x", []byte{}, 2 * size}, {"", nil, 2*size + 1}, {strings.Repeat("l", 249), make([]byte, 70000), most},
		} {
			want := expandLabel(hash, expandLabel(hash, secret, tt.label, digest(hash), size), "exporter", digest(hash, tt.context), tt.length)
			got, err := exportKeyingMaterial13(hash, secret, tt.label, tt.context, tt.length)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v, %d bytes for %.20q: got %x, %v, want %x", hash, tt.length, tt.label, got, err, want)
			}
		}
		for _, tt := range []struct {
			label  string
			length int
			want   string
		}{
			{"x", -1, "tlsconn: exporter length of -1 bytes"},
			{"x", most + 1, fmt.Sprintf("tlsconn: exporter length of %d bytes", most+1)},
			{strings.Repeat("l", 250), 1, "tlsconn: exporter label of 250 bytes is longer than 249"},
		} {
			if out, err := exportKeyingMaterial13(hash, secret, tt.label, nil, tt.length); err == nil || err.Error() != tt.want || out != nil {
				t.Errorf("%v: %x, %v, want %s", hash, out, err, tt.want)
			}
		}
	}
}
