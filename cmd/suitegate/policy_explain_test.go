package main

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/clienthello"
	"github.com/suitegate/suitegate/proxy/engine"
)

// recordedHello is one of the hellos that package clienthello keeps.
func recordedHello(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("../../proxy/clienthello/testdata/" + name + ".hex")
	if err != nil {
		t.Fatal(err)
	}
	wire, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// readHello reads the only hello of an input.
func readHello(input io.Reader) (*clienthello.Hello, error) {
	found, _, err := findHello("-", clientPick{}, input)
	if err == nil && found.Err != nil {
		err = found.Err
	}
	return found.Hello, err
}

// TestHelloDumps reads one hello as the tools print it.
func TestHelloDumps(t *testing.T) {
	wire := recordedHello(t, "gnutls-no-extensions")
	stream := hex.EncodeToString(wire)
	tests := []struct{ name, dump string }{
		{"bytes", string(wire)},
		{"bytes, and what came next", string(wire) + "\x14\x03\x01\x00\x01\x01"},
		{"hex stream", stream},
		{"upper case", strings.ToUpper(stream)},
		{"one number", "0x" + stream},
		{"colons", colons(wire)},
		{"lines", stream[:50] + "\r\n  " + stream[50:] + "\n"},
		{"xxd", xxdDump},
		{"xxd of CRLF", strings.ReplaceAll(xxdDump, "\n", "\r\n")},
		{"xxd, one byte in the last line", xxdDump + "00000040: 14                                       .\n"},
		{"hexdump", hexdumpDump},
		{"Wireshark", wiresharkDump},
		{"Wireshark's C array", cArrayDump},
		{"Wireshark's escaped string", escapedDump},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := wireBytes([]byte(test.dump))
			if err != nil || !bytes.HasPrefix(got, wire) || len(got) > len(wire)+6 {
				t.Fatalf("got %x, %v\nwant %x", got, err, wire)
			}
			hello, err := readHello(strings.NewReader(test.dump))
			if err != nil || hello.LegacyVersion != tls.VersionTLS10 || len(hello.CipherSuites) != 8 {
				t.Errorf("%+v, %v", hello, err)
			}
		})
	}
}

func colons(wire []byte) string {
	var pairs []string
	for _, b := range wire {
		pairs = append(pairs, hex.EncodeToString([]byte{b}))
	}
	return strings.Join(pairs, ":")
}

// TestHelloMessages reads every recorded hello with and without its record.
func TestHelloMessages(t *testing.T) {
	for _, name := range []string{"openssl-default", "openssl-early-data", "java-default", "chromium-default", "go-psk", "mosquitto-ip"} {
		wire := recordedHello(t, name)
		whole, err := readHello(bytes.NewReader(wire))
		if err != nil {
			t.Fatal(err)
		}
		message, err := readHello(bytes.NewReader(wire[5:]))
		if err != nil || message.JA4() != whole.JA4() || !slices.Equal(message.CipherSuites, whole.CipherSuites) {
			t.Errorf("%s: the message alone gives %+v, %v", name, message, err)
		}
	}
}

func TestHelloInputMistakes(t *testing.T) {
	wire := recordedHello(t, "openssl-tls12")
	tests := []struct{ name, input, want string }{
		{"nothing", "", "the input is empty"},
		{"blank", "  \n", "neither a TLS hello nor hexadecimal"},
		{"text", "GET / HTTP/1.1", "neither a TLS hello nor hexadecimal"},
		{"odd digits", "160", "neither a TLS hello nor hexadecimal"},
		{"cut record", string(wire[:60]), "cut short: it goes on after the 60 bytes"},
		{"cut message", string(wire[5:60]), "cut short: it goes on after the 55 bytes"},
		{"cut header", "0100", "cut short: it goes on after the 2 bytes"},
		{"another protocol", "414d5150 00000901", "not TLS"},
		{"lines missing", strings.Replace(xxdDump, "00000010", "00000020", 1), "neither a TLS hello nor hexadecimal"},
		{"too long", strings.Repeat("16", maxHelloInput), "more than 1048576 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if hello, err := readHello(strings.NewReader(test.input)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%+v, %v, want %q", hello, err, test.want)
			}
		})
	}
}

// FuzzHelloInput holds that no input brings the reader down, and that what is
// spelled in hexadecimal is read like the bytes.
func FuzzHelloInput(f *testing.F) {
	for _, dump := range []string{xxdDump, hexdumpDump, wiresharkDump, cArrayDump, escapedDump, ">>> a\n01\n<<< b"} {
		f.Add([]byte(dump))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		hello, err := readHello(bytes.NewReader(input))
		if (hello == nil) == (err == nil) {
			t.Fatalf("%v, %v", hello, err)
		}
		if len(input) > 0 && (input[0] == typeClientHello || input[0] == recordHandshake) && len(input) < maxHelloInput/2 {
			spelled, errSpelled := readHello(strings.NewReader(hex.EncodeToString(input)))
			if (err == nil) != (errSpelled == nil) || err == nil && spelled.JA4() != hello.JA4() {
				t.Fatalf("as bytes %v, spelled %v", err, errSpelled)
			}
		}
	})
}

// TestEveryNamedSuiteIsServed is why explain asks no engine.
func TestEveryNamedSuiteIsServed(t *testing.T) {
	for _, suite := range policy.Suites() {
		if !engine.NewTLS12(engine.Config{}).Serves(suite.ID) && !engine.NewTLS13(engine.Config{}).Serves(suite.ID) {
			t.Errorf("no engine serves %s", suite)
		}
	}
}

func TestTypedOffer(t *testing.T) {
	c := policyExplainCommand{
		Offer:      "AES128-SHA:TLS_AES_128_GCM_SHA256,0xC02F:TLS_RSA_WITH_RC4_128_SHA",
		Versions:   "1.3,TLSv1.2:tls1.1,0x0a0a",
		Groups:     "P-521,secp256r1,0x001e",
		Signatures: "rsa_pss_rsae_sha256,0x0201",
	}
	o, err := c.typedOffer()
	if err != nil {
		t.Fatal(err)
	}
	if want := []uint16{0x002F, 0x1301, 0xC02F, 0x0005}; !slices.Equal(o.Suites, want) {
		t.Errorf("suites %04x", o.Suites)
	}
	if want := []policy.Version{policy.TLS13, policy.TLS12, policy.TLS11, 0x0A0A}; !slices.Equal(o.Versions, want) {
		t.Errorf("versions %v", o.Versions)
	}
	if want := []policy.Group{policy.P521, policy.P256, 30}; !slices.Equal(o.Groups, want) || !slices.Equal(o.KeyShares, want[:1]) {
		t.Errorf("groups %v, key shares %v", o.Groups, o.KeyShares)
	}
	if want := []policy.SignatureScheme{0x0804, 0x0201}; !slices.Equal(o.Signatures, want) {
		t.Errorf("signatures %v", o.Signatures)
	}
	none := policyExplainCommand{Offer: "AES128-SHA", Groups: "none", Signatures: "none"}
	o, err = none.typedOffer()
	if err != nil || len(o.Groups)+len(o.Signatures)+len(o.KeyShares) != 0 || !slices.Equal(o.Versions, []policy.Version{policy.TLS12}) {
		t.Errorf("%+v, %v", o, err)
	}
	wrong := policyExplainCommand{Offer: "AES129-SHA:RC4-SHA", Versions: "2.0", Groups: "X25518", Signatures: "sha256"}
	_, err = wrong.typedOffer()
	for _, want := range []string{`"AES129-SHA"; did you mean "AES128-SHA"?`, "RC4 is broken", `version "2.0"`, `"X25518"; did you mean "X25519"?`, `signature algorithm "sha256"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// The recording gnutls-no-extensions as the tools print it.
const (
	xxdDump = `00000000: 1603 0100 3b01 0000 3703 01ce 4adb 5dfe  ....;...7...J.].
00000010: d2f5 edac c1f9 7ce0 a66a 51f6 6248 6261  ......|..jQ.bHba
00000020: 3cb4 69b1 683b 64d2 4942 7100 0010 c00a  <.i.h;d.IBq.....
00000030: c009 c014 c013 0035 002f 0039 0033 0100  .......5./.9.3..
`
	hexdumpDump = `00000000  16 03 01 00 3b 01 00 00  37 03 01 ce 4a db 5d fe  |....;...7...J.].|
00000010  d2 f5 ed ac c1 f9 7c e0  a6 6a 51 f6 62 48 62 61  |......|..jQ.bHba|
00000020  3c b4 69 b1 68 3b 64 d2  49 42 71 00 00 10 c0 0a  |<.i.h;d.IBq.....|
00000030  c0 09 c0 14 c0 13 00 35  00 2f 00 39 00 33 01 00  |.......5./.9.3..|
00000040
`
	wiresharkDump = `0000   16 03 01 00 3b 01 00 00 37 03 01 ce 4a db 5d fe   ....;...7...J.].
0010   d2 f5 ed ac c1 f9 7c e0 a6 6a 51 f6 62 48 62 61   ......|..jQ.bHba
0020   3c b4 69 b1 68 3b 64 d2 49 42 71 00 00 10 c0 0a   <.i.h;d.IBq.....
0030   c0 09 c0 14 c0 13 00 35 00 2f 00 39 00 33 01 00   .......5./.9.3..
`
	cArrayDump = `/* Frame (64 bytes) */
static const unsigned char pkt1[64] = {
0x16, 0x03, 0x01, 0x00, 0x3b, 0x01, 0x00, 0x00, /* ....;... */
0x37, 0x03, 0x01, 0xce, 0x4a, 0xdb, 0x5d, 0xfe,
0xd2, 0xf5, 0xed, 0xac, 0xc1, 0xf9, 0x7c, 0xe0,
0xa6, 0x6a, 0x51, 0xf6, 0x62, 0x48, 0x62, 0x61,
0x3c, 0xb4, 0x69, 0xb1, 0x68, 0x3b, 0x64, 0xd2,
0x49, 0x42, 0x71, 0x00, 0x00, 0x10, 0xc0, 0x0a,
0xc0, 0x09, 0xc0, 0x14, 0xc0, 0x13, 0x00, 0x35,
0x00, 0x2f, 0x00, 0x39, 0x00, 0x33, 0x01, 0x00
};
`
	escapedDump = `"\x16\x03\x01\x00\x3b\x01\x00\x00\x37\x03\x01\xce\x4a\xdb\x5d\xfe\xd2\xf5\xed\xac\xc1\xf9\x7c\xe0\xa6\x6a\x51\xf6\x62\x48\x62\x61" \
"\x3c\xb4\x69\xb1\x68\x3b\x64\xd2\x49\x42\x71\x00\x00\x10\xc0\x0a\xc0\x09\xc0\x14\xc0\x13\x00\x35\x00\x2f\x00\x39\x00\x33\x01\x00"
`
)
