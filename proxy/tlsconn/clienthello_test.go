package tlsconn

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/crypto/cryptobyte"
)

// Extensions whose inside is wrong. What is in those that this server does not
// know is of no account.
func TestBadExtensions(t *testing.T) {
	name := func(n int) string { return string(slices.Repeat([]byte("a"), n)) }
	sni := func(names ...string) string {
		var list []byte
		for _, name := range names {
			list = append(list, 0)
			list = binary.BigEndian.AppendUint16(list, uint16(len(name)))
			list = append(list, name...)
		}
		return string(binary.BigEndian.AppendUint16(nil, uint16(len(list)))) + string(list)
	}
	for _, tt := range []struct {
		extension uint16
		data      string
		want      alert // 0: none
	}{
		{extServerName, "", alertDecodeError},
		{extServerName, "\x00\x00", alertDecodeError},
		{extServerName, "\x00\x03\x00\x00\x00", alertDecodeError}, // an empty name
		{extServerName, sni("a") + "x", alertDecodeError},
		{extServerName, "\x00\x05\x00\x00\x03ab", alertDecodeError},
		{extServerName, sni("a"), 0},
		{extServerName, sni("a", "b"), alertIllegalParameter},
		{extServerName, "\x00\x04\x07\x00\x01a", 0}, // a name of another type
		{extServerName, sni("a."), alertIllegalParameter},
		{extServerName, sni(name(255)), 0},
		{extServerName, sni(name(256)), alertIllegalParameter},

		{extStatusRequest, "", alertDecodeError},
		{extStatusRequest, "\x01\x00\x00\x00", alertDecodeError},
		{extStatusRequest, "\x01\x00\x00\x00\x00\x00", alertDecodeError},
		{extStatusRequest, "\x01\x00\x00\x00\x00", 0},
		{extStatusRequest, "\x02\x00\x00\x00\x00", 0},

		{extSupportedGroups, "", alertDecodeError},
		{extSupportedGroups, "\x00\x00", alertDecodeError},
		{extSupportedGroups, "\x00\x01\x00", alertDecodeError},
		{extSupportedGroups, "\x00\x03\x00\x1d\x00", alertDecodeError},
		{extSupportedGroups, "\x00\x02\x00\x1d\x00", alertDecodeError},
		{extSupportedGroups, "\x00\x02\x00\x1d", 0},
		{extSignatureAlgorithms, "\x00\x00", alertDecodeError},
		{extSignatureAlgorithms, "\x00\x02\x08\x04", 0},

		{extECPointFormats, "", alertDecodeError},
		{extECPointFormats, "\x00", alertDecodeError},
		{extECPointFormats, "\x02\x00", alertDecodeError},
		{extECPointFormats, "\x01\x00\x00", alertDecodeError},
		{extECPointFormats, "\x01\x00", 0},

		{extALPN, "", alertDecodeError},
		{extALPN, "\x00\x00", alertDecodeError},
		{extALPN, "\x00\x01\x00", alertDecodeError}, // an empty protocol
		{extALPN, "\x00\x03\x03ab", alertDecodeError},
		{extALPN, "\x00\x03\x02abc", alertDecodeError},
		{extALPN, "\x00\x03\x02ab", 0},

		{extSupportedVersions, "", alertDecodeError},
		{extSupportedVersions, "\x00", alertDecodeError},
		{extSupportedVersions, "\x03\x03\x03\x03", alertDecodeError},
		{extSupportedVersions, "\x02\x03\x03", 0},

		{extRenegotiationInfo, "", alertDecodeError},
		{extRenegotiationInfo, "\x01", alertDecodeError},
		{extRenegotiationInfo, "\x00\x00", alertDecodeError},
		{extRenegotiationInfo, "\x00", 0},

		{extEncryptThenMAC, "\x00", alertDecodeError},
		{extExtendedMasterSecret, "\x00", alertDecodeError},
		{extSCT, "\x00", alertDecodeError},
		{extEncryptThenMAC, "", 0},
		{extExtendedMasterSecret, "", 0},
		{extSCT, "", 0},

		{extSessionTicket, "", 0},
		{extSessionTicket, "anything", 0},
		{0x0a0a, "anything", 0},
	} {
		t.Run(fmt.Sprintf("%d %q", tt.extension, tt.data[:min(len(tt.data), 20)]), func(t *testing.T) {
			hello := helloWith(func(b *cryptobyte.Builder) { addExtension(b, tt.extension, tt.data) })
			_, err := parseClientHello(hello)
			if tt.want == 0 && err != nil || tt.want != 0 && !isAlert(err, tt.want) {
				t.Errorf("error is %v, want %v", err, tt.want)
			}
		})
	}
}

// RFC 5246 §7.4.1.4, and bounds of the fields before the extensions.
func TestBadClientHello(t *testing.T) {
	twice := helloWith(func(b *cryptobyte.Builder) {
		addExtension(b, 0x0a0a, "a")
		addExtension(b, extSessionTicket, "")
		addExtension(b, 0x0a0a, "b")
	})
	if _, err := parseClientHello(twice); !isAlert(err, alertIllegalParameter) {
		t.Errorf("an extension twice: %v", err)
	}
	many := helloWith(func(b *cryptobyte.Builder) {
		for i := range 16000 {
			addExtension(b, uint16(i)+1000, "")
		}
	})
	if m, err := parseClientHello(many); err != nil || len(m.extensions) != 16000 {
		t.Errorf("16000 extensions: %v", err)
	}
	fixed := string(make([]byte, 2+randomLen))
	for name, rest := range map[string]string{
		"session ID of 33 bytes": "\x21" + string(make([]byte, 33)) + "\x00\x02\x00\x9f\x01\x00",
		"no suites":              "\x00" + "\x00\x00" + "\x01\x00",
		"half a suite":           "\x00" + "\x00\x03\x00\x9f\x00" + "\x01\x00",
		"no compression":         "\x00" + "\x00\x02\x00\x9f" + "\x00",
		"extensions cut":         "\x00" + "\x00\x02\x00\x9f" + "\x01\x00" + "\x00",
		"bytes behind":           "\x00" + "\x00\x02\x00\x9f" + "\x01\x00" + "\x00\x00" + "\x00",
		"half an extension":      "\x00" + "\x00\x02\x00\x9f" + "\x01\x00" + "\x00\x03\x00\x17\x00",
	} {
		if _, err := parseClientHello(cryptobyte.String(fixed + rest)); !isAlert(err, alertDecodeError) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// helloWith returns the body of a hello with the extensions that add writes.
func helloWith(add func(*cryptobyte.Builder)) []byte {
	return mustMarshal(func(b *cryptobyte.Builder) {
		b.AddBytes(make([]byte, 2+randomLen))
		b.AddBytes([]byte("\x00\x00\x02\x00\x9f\x01\x00"))
		b.AddUint16LengthPrefixed(add)
	})
}

func addExtension(b *cryptobyte.Builder, extension uint16, data string) {
	b.AddUint16(extension)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(data)) })
}
