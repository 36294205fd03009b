package clienthello

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

type malformedHello struct {
	name    string
	message []byte
	alert   uint8
	detail  string
}

// malformed is a table of hellos that break one rule each.
func malformed() []malformedHello {
	return slices.Concat(malformedFrames(), malformedNames(), malformedLists(), malformedKeys(), malformedBetween(), malformedTLS13())
}

func malformedFrames() []malformedHello {
	good := new(builder).message()
	return []malformedHello{
		{"nothing", nil, alertDecodeError, "empty message"},
		{"other type", append([]byte{2}, good[1:]...), alertUnexpectedMessage, "handshake message of type 2, not a ClientHello"},
		{"half a header", []byte{1, 0}, alertDecodeError, "length of the message does not fit"},
		{"a byte less", good[:len(good)-1], alertDecodeError, "length of the message does not fit"},
		{"a byte more", append(slices.Clone(good), 0), alertDecodeError, "length of the message does not fit"},
		{"ends in version", []byte{1, 0, 0, 1, 3}, alertDecodeError, "truncated in version or random"},
		{"ends in random", append([]byte{1, 0, 0, 33}, good[4:37]...), alertDecodeError, "truncated in version or random"},
		{"ends before session ID", append([]byte{1, 0, 0, 34}, good[4:38]...), alertDecodeError, "length of session_id"},
		{"session ID of 33 bytes", (&builder{sessionID: make([]byte, 33)}).message(), alertDecodeError, "length of session_id"},
		{"ends before suites", append([]byte{1, 0, 0, 35}, good[4:39]...), alertDecodeError, "length of cipher_suites"},
		{"no suites", (&builder{suites: []byte{}}).message(), alertDecodeError, "length of cipher_suites"},
		{"odd suites", (&builder{suites: []byte{0xc0, 0x2f, 0xc0}}).message(), alertDecodeError, "length of cipher_suites"},
		{"ends before compression", append([]byte{1, 0, 0, 39}, good[4:43]...), alertDecodeError, "length of compression_methods"},
		{"no compression methods", (&builder{compression: []byte{}}).message(), alertDecodeError, "length of compression_methods"},
		{"compression without null", (&builder{compression: []byte{1}}).message(), alertIllegalParameter, "compression methods without null"},
		{"one byte of extensions", (&builder{none: true, behind: []byte{0}}).message(), alertDecodeError, "length of extensions"},
		{"extensions cut", (&builder{none: true, behind: []byte{0, 4, 0, 0, 0}}).message(), alertDecodeError, "length of extensions"},
		{"bytes behind extensions", (&builder{behind: []byte{0, 0}}).message(), alertDecodeError, "2 bytes behind the extensions"},
		{"extension type cut", (&builder{extensions: []byte{0, 22, 0, 0, 0}}).message(), alertDecodeError, "truncated in extension 2"},
		{"extension data cut", (&builder{extensions: []byte{0, 99, 0, 2, 0}}).message(), alertDecodeError, "truncated in extension 1"},
	}
}

// malformedExtension is a hello with nothing but this extension.
type malformedExtension struct {
	name      string
	extension uint16
	data      []byte
	alert     uint8
	detail    string
}

func hellosWith(extensions []malformedExtension) []malformedHello {
	var tests []malformedHello
	for _, e := range extensions {
		message := new(builder).extension(e.extension, e.data).message()
		tests = append(tests, malformedHello{extensionNames()[e.extension] + ", " + e.name, message, e.alert, e.detail})
	}
	return tests
}

func malformedNames() []malformedHello {
	const decode, illegal = alertDecodeError, alertIllegalParameter
	name := func(nameType byte, name string) []byte {
		return append([]byte{nameType}, vector16([]byte(name))...)
	}
	names := func(entries ...[]byte) []byte { return vector16(slices.Concat(entries...)) }
	return hellosWith([]malformedExtension{
		{"empty", extServerName, nil, decode, "length of server_name"},
		{"empty list", extServerName, []byte{0, 0}, decode, "length of server_name"},
		{"more behind", extServerName, append(names(name(0, "a")), 0), decode, "length of server_name"},
		{"entry cut", extServerName, vector16([]byte{0, 0, 9, 'a'}), decode, "length of server_name"},
		{"empty name", extServerName, names(name(0, "")), decode, "length of server_name"},
		{"two host names", extServerName, names(name(0, "a"), name(0, "b")), illegal, "two server names of type 0"},
		{"two of another type", extServerName, names(name(7, "a"), name(7, "b")), illegal, "two server names of type 7"},
		{"trailing dot", extServerName, names(name(0, "a.")), illegal, `server name "a."`},
		{"NUL", extServerName, names(name(0, "a\x00b")), illegal, `server name "a\x00b"`},
		{"line end", extServerName, names(name(0, "a\nb")), illegal, `server name "a\nb"`},
		{"not ASCII", extServerName, names(name(0, "bröker")), illegal, `server name "br\u00f6ker"`},
		{"long", extServerName, names(name(0, strings.Repeat("a", 256))), illegal, `server name "` + strings.Repeat("a", 255) + `"`},
	})
}

func malformedLists() []malformedHello {
	const decode = alertDecodeError
	return hellosWith([]malformedExtension{
		{"empty", extStatusRequest, nil, decode, "length of status_request"},
		{"no extensions", extStatusRequest, []byte{1, 0, 0}, decode, "length of status_request"},
		{"more behind", extStatusRequest, []byte{1, 0, 0, 0, 0, 0}, decode, "length of status_request"},
		{"empty responder", extStatusRequest, []byte{1, 0, 2, 0, 0, 0, 0}, decode, "length of responder ID in status_request"},
		{"empty list", extSupportedGroups, []byte{0, 0}, decode, "length of supported_groups"},
		{"odd", extSupportedGroups, []byte{0, 3, 0, 29, 0}, decode, "length of supported_groups"},
		{"more behind", extSupportedGroups, []byte{0, 2, 0, 29, 0}, decode, "length of supported_groups"},
		{"cut", extSupportedGroups, []byte{0, 4, 0, 29}, decode, "length of supported_groups"},
		{"empty list", extECPointFormats, []byte{0}, decode, "length of ec_point_formats"},
		{"more behind", extECPointFormats, []byte{1, 0, 0}, decode, "length of ec_point_formats"},
		{"empty list", extSignatureAlgorithms, []byte{0, 0}, decode, "length of signature_algorithms"},
		{"odd", extSignatureAlgorithms, []byte{0, 1, 4}, decode, "length of signature_algorithms"},
		{"odd", extSignatureAlgsCert, []byte{0, 1, 4}, decode, "length of signature_algorithms_cert"},
		{"empty list", extALPN, []byte{0, 0}, decode, "length of application_layer_protocol_negotiation"},
		{"empty name", extALPN, []byte{0, 1, 0}, decode, "length of application_layer_protocol_negotiation"},
		{"name cut", extALPN, []byte{0, 2, 2, 'h'}, decode, "length of application_layer_protocol_negotiation"},
		{"contents", extSCT, []byte{0}, decode, "length of signed_certificate_timestamp"},
		{"contents", extEncryptThenMAC, []byte{0}, decode, "length of encrypt_then_mac"},
		{"contents", extExtendedMasterSecret, []byte{0}, decode, "length of extended_master_secret"},
		{"empty list", extSupportedVersions, []byte{0}, decode, "length of supported_versions"},
		{"odd", extSupportedVersions, []byte{3, 3, 3, 3}, decode, "length of supported_versions"},
		{"more behind", extSupportedVersions, []byte{2, 3, 3, 3}, decode, "length of supported_versions"},
		{"empty", extCookie, []byte{0, 0}, decode, "length of cookie"},
	})
}

func malformedKeys() []malformedHello {
	const decode, illegal = alertDecodeError, alertIllegalParameter
	shares := func(data ...byte) []byte { return vector16(data) }
	ech := func(tail ...byte) []byte { return append([]byte{0, 0, 1, 0, 1, 7}, tail...) }
	return hellosWith([]malformedExtension{
		{"contents", extEarlyData, []byte{0}, decode, "length of early_data"},
		{"empty list", extPSKModes, []byte{0}, decode, "length of psk_key_exchange_modes"},
		{"empty", extKeyShare, nil, decode, "length of key_share"},
		{"empty key", extKeyShare, shares(0, 29, 0, 0), decode, "length of key_share"},
		{"key cut", extKeyShare, shares(0, 29, 0, 2, 0), decode, "length of key_share"},
		{"twice", extKeyShare, shares(0, 29, 0, 1, 0, 0, 29, 0, 1, 0), illegal, "two key shares for group 29"},
		{"empty", extPreSharedKey, nil, decode, "length of pre_shared_key"},
		{"no identity", extPreSharedKey, preSharedKey(nil, []int{32}), decode, "length of pre_shared_key"},
		{"no binder", extPreSharedKey, preSharedKey([]string{"a"}, nil), decode, "length of pre_shared_key"},
		{"empty identity", extPreSharedKey, preSharedKey([]string{""}, []int{32}), decode, "length of identity in pre_shared_key"},
		{"short binder", extPreSharedKey, preSharedKey([]string{"a"}, []int{31}), decode, "length of binder in pre_shared_key"},
		{"binder missing", extPreSharedKey, preSharedKey([]string{"a", "b"}, []int{32}), illegal, "1 binders for 2 pre-shared keys"},
		{"length cut", extRenegotiationInfo, nil, decode, "length of renegotiation_info"},
		{"contents", extRenegotiationInfo, []byte{1, 0}, alertHandshakeFailure, "renegotiation_info is not empty"},
		{"empty", extEncryptedClientHello, nil, decode, "length of encrypted_client_hello"},
		{"unknown type", extEncryptedClientHello, []byte{2}, illegal, "encrypted_client_hello of type 2"},
		{"inner with contents", extEncryptedClientHello, []byte{1, 0}, decode, "length of encrypted_client_hello"},
		{"cut", extEncryptedClientHello, ech(0), decode, "length of encrypted_client_hello"},
		{"no payload", extEncryptedClientHello, ech(0, 0, 0, 0), decode, "length of encrypted_client_hello"},
		{"more behind", extEncryptedClientHello, ech(0, 0, 0, 1, 9, 0), decode, "length of encrypted_client_hello"},
	})
}

// malformedBetween breaks rules between extensions.
func malformedBetween() []malformedHello {
	const illegal = alertIllegalParameter
	psk := preSharedKey([]string{"a"}, []int{32})
	return []malformedHello{
		{"extension twice", new(builder).extension(99, nil).extension(22, nil).extension(99, nil).message(),
			illegal, "extension 99 twice"},
		{"PSK not last", new(builder).extension(extPreSharedKey, psk).extension(99, nil).message(),
			illegal, "pre_shared_key is not the last extension"},
		{"only compressed points", new(builder).extension(extECPointFormats, []byte{2, 1, 2}).extension(extSupportedGroups, uint16list(23)).message(),
			illegal, "ec_point_formats without uncompressed"},
		{"share for another group", new(builder).extension(extSupportedGroups, uint16list(23)).extension(extKeyShare, []byte{0, 5, 0, 29, 0, 1, 0}).message(),
			illegal, "key share for group 29, which is not in supported_groups"},
	}
}

func malformedTLS13() []malformedHello {
	compressed := tls13(withGroups(29), withShares(29), withSchemes)
	compressed.compression = []byte{1, 0}
	old := tls13(withGroups(29), withShares(29), withSchemes)
	old.version = versionSSL30
	return []malformedHello{
		{"TLS 1.3 with compression", compressed.message(), alertIllegalParameter, "compression methods beside TLS 1.3"},
		{"TLS 1.3 with SSL 3.0", old.message(), alertProtocolVersion, "legacy version 0x0300 beside TLS 1.3"},
		{"PSK without modes", tls13(withGroups(29), withShares(29), withPSK).message(),
			alertMissingExtension, "pre_shared_key without psk_key_exchange_modes"},
		{"groups without shares", tls13(withGroups(29), withSchemes).message(),
			alertMissingExtension, "supported_groups without key_share"},
		{"shares without groups", tls13(withShares(29), withSchemes).message(),
			alertMissingExtension, "key_share without supported_groups"},
		{"no groups", tls13(withSchemes).message(),
			alertMissingExtension, "TLS 1.3 without supported_groups"},
		{"no schemes", tls13(withGroups(29), withShares(29)).message(),
			alertMissingExtension, "TLS 1.3 without signature_algorithms"},
	}
}

func TestParseRefuses(t *testing.T) {
	for _, test := range malformed() {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse(test.message)
			var refusal *ParseError
			if !errors.As(err, &refusal) {
				t.Fatalf("accepted, or: %v", err)
			}
			if refusal.Alert() != test.alert || refusal.Detail != test.detail {
				t.Errorf("alert %d, %q; want %d, %q", refusal.Alert(), refusal.Detail, test.alert, test.detail)
			}
			if refusal.Reason() != "malformed_hello" {
				t.Error(refusal.Reason())
			}
			if want := "clienthello: malformed hello: " + test.detail; refusal.Error() != want {
				t.Errorf("%q, want %q", refusal.Error(), want)
			}
			if len(test.message) > handshakeHeaderLen {
				compareWithCryptoTLS(t, record(recordHandshake, test.message))
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	name := func(s string) []byte { return vector16(append([]byte{0}, vector16([]byte(s))...)) }
	tests := []struct {
		name  string
		hello *builder
		check func(*Hello) bool
	}{
		{"no extensions at all", &builder{none: true}, func(h *Hello) bool { return h.Extensions == nil }},
		{"an empty block", new(builder), func(h *Hello) bool { return len(h.Extensions) == 0 }},
		{"compression methods of TLS 1.2", &builder{compression: []byte{1, 0}}, func(h *Hello) bool { return len(h.CompressionMethods) == 2 }},
		{"session ID of 32 bytes", &builder{sessionID: make([]byte, 32)}, func(h *Hello) bool { return len(h.SessionID) == 32 }},
		{"unknown extension", new(builder).extension(0x1234, []byte("anything")), func(h *Hello) bool { return h.has(0x1234) }},
		{"IPv4 name", new(builder).extension(extServerName, name("192.0.2.1")), func(h *Hello) bool { return h.ServerName == "192.0.2.1" }},
		{"IPv6 name", new(builder).extension(extServerName, name("fe80::1%eth0")), func(h *Hello) bool { return h.ServerName == "fe80::1%eth0" }},
		{"container's name", new(builder).extension(extServerName, name("Rabbit_1-a")), func(h *Hello) bool { return h.ServerName == "Rabbit_1-a" }},
		{"name of 255 bytes", new(builder).extension(extServerName, name(strings.Repeat("a", 255))), func(h *Hello) bool { return len(h.ServerName) == 255 }},
		{"name of another type", new(builder).extension(extServerName, vector16([]byte("\x07\x00\x01\xff\x00\x00\x01a"))), func(h *Hello) bool { return h.ServerName == "a" }},
		{"only compressed points, no curve", new(builder).extension(extECPointFormats, []byte{1, 1}).extension(extSupportedGroups, uint16list(256)), func(h *Hello) bool { return len(h.PointFormats) == 1 }},
		{"OCSP responder", new(builder).extension(extStatusRequest, []byte{1, 0, 3, 0, 1, 9, 0, 0}), func(h *Hello) bool { return h.StatusRequest }},
		{"status other than OCSP", new(builder).extension(extStatusRequest, []byte{2, 0, 0, 0, 0}), func(h *Hello) bool { return !h.StatusRequest }},
		{"cookie", new(builder).extension(extCookie, []byte{0, 1, 9}), func(h *Hello) bool { return h.has(extCookie) }},
		{"inner encrypted hello", new(builder).extension(extEncryptedClientHello, []byte{1}), func(h *Hello) bool { return h.has(extEncryptedClientHello) }},
		{"renegotiation_info", new(builder).extension(extRenegotiationInfo, []byte{0}), func(h *Hello) bool { return h.SecureRenegotiation }},
		{"its suite", &builder{suites: []byte{0, 0x2f, 0, 0xff}}, func(h *Hello) bool { return h.SecureRenegotiation && !h.FallbackSCSV }},
		{"fallback suite", &builder{suites: []byte{0, 0x2f, 0x56, 0}}, func(h *Hello) bool { return h.FallbackSCSV && !h.SecureRenegotiation }},
		{"empty ticket", new(builder).extension(extSessionTicket, nil), func(h *Hello) bool { return h.SessionTicket && !h.SessionTicketData }},
		{"ticket", new(builder).extension(extSessionTicket, []byte("t")), func(h *Hello) bool { return h.SessionTicket && h.SessionTicketData }},
		{"TLS 1.3 without a share yet", tls13(withGroups(29), withShares(), withSchemes), func(h *Hello) bool { return h.KeyShares == nil }},
		{"TLS 1.3 with PSK alone", tls13(withPSKModes, withPSK), func(h *Hello) bool { return h.PreSharedKey && h.Groups == nil }},
		{"TLS 1.2 that knows key shares", new(builder).extension(extKeyShare, []byte{0, 0}), func(h *Hello) bool { return h.has(extKeyShare) }},
		{"SSL 3.0", &builder{version: versionSSL30, none: true}, func(h *Hello) bool { return slices.Equal(h.Versions(), []uint16{versionSSL30}) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			msg := test.hello.message()
			h, err := Parse(msg)
			if err != nil {
				t.Fatal(err)
			}
			if !test.check(h) {
				t.Errorf("read as:\n%s", describe(h))
			}
			compareWithCryptoTLS(t, record(recordHandshake, msg))
		})
	}
}

// TestParseKeepsNoReference lets a caller use its buffer again.
func TestParseKeepsNoReference(t *testing.T) {
	for name, wire := range recordings(t) {
		msg := messageOf(t, wire)
		h, err := Parse(msg)
		if err != nil {
			t.Fatal(err)
		}
		before := describe(h) + string(h.SessionID)
		for i := range msg {
			msg[i] = 0xff
		}
		if describe(h)+string(h.SessionID) != before {
			t.Errorf("%s: changed with the message", name)
		}
	}
}

func TestVersions(t *testing.T) {
	tests := []struct {
		legacy    uint16
		supported []uint16
		want      []uint16
	}{
		{0x0304, nil, []uint16{0x0303, 0x0302, 0x0301}},
		{0x0303, nil, []uint16{0x0303, 0x0302, 0x0301}},
		{0x0302, nil, []uint16{0x0302, 0x0301}},
		{0x0301, nil, []uint16{0x0301}},
		{0x0300, nil, []uint16{0x0300}},
		{0x0002, nil, []uint16{0x0002}},
		{0xffff, nil, []uint16{0x0303, 0x0302, 0x0301}},
		{0x0301, []uint16{0x1a1a, 0x0304}, []uint16{0x1a1a, 0x0304}},
	}
	for _, test := range tests {
		h := &Hello{LegacyVersion: test.legacy, SupportedVersions: test.supported}
		if got := h.Versions(); !slices.Equal(got, test.want) {
			t.Errorf("%#04x, %#04x: %#04x, want %#04x", test.legacy, test.supported, got, test.want)
		}
	}
}

func TestIsGREASE(t *testing.T) {
	var all []byte
	for v := range 1 << 16 {
		if IsGREASE(uint16(v)) {
			all = append(all, byte(v>>8), byte(v))
		}
	}
	var want []byte // RFC 8701 §2: {0x0A,0x0A} to {0xFA,0xFA}
	for b := 0x0a; b <= 0xfa; b += 0x10 {
		want = append(want, byte(b), byte(b))
	}
	if !bytes.Equal(all, want) {
		t.Errorf("% x, want % x", all, want)
	}
}
