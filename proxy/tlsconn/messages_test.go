package tlsconn

import (
	"bytes"
	"crypto/tls"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/cryptobyte"
)

// generate makes messages out of random numbers.
type generate struct{ *rand.Rand }

func (g generate) bytes(most int) []byte {
	b := make([]byte, g.IntN(most+1))
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	if len(b) == 0 {
		return nil
	}
	return b
}

func (g generate) some(most int) []byte { return append(g.bytes(most-1), byte(g.Uint32())) }

func (g generate) bool() bool { return g.IntN(2) == 1 }

func (g generate) lists(most, size int) (lists [][]byte) {
	for range g.IntN(most + 1) {
		lists = append(lists, g.some(size))
	}
	return lists
}

func uint16sOf[T ~uint16](g generate, most int) []T {
	list := []T{T(g.Uint32())}
	for range g.IntN(most) {
		list = append(list, T(g.Uint32()))
	}
	return list
}

func (g generate) clientHello() *clientHello {
	m := &clientHello{version: uint16(g.Uint32()), sessionID: g.bytes(maxSessionID), suites: uint16sOf[uint16](g, 40), compressions: g.some(3)}
	copy(m.random[:], g.bytes(randomLen))
	known := []uint16{extServerName, extStatusRequest, extSupportedGroups, extECPointFormats, extSignatureAlgorithms, extALPN, extSCT,
		extEncryptThenMAC, extExtendedMasterSecret, extSessionTicket, extSupportedVersions, extRenegotiationInfo, 0x0a0a, 51}
	g.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	if n := g.IntN(len(known) + 1); n > 0 {
		m.extensions = known[:n]
	}
	if m.offers(extServerName) {
		m.serverName = string(bytes.ReplaceAll(g.some(255), []byte{'.'}, []byte{'-'}))
	}
	if m.offers(extSupportedGroups) {
		m.groups = uint16sOf[tls.CurveID](g, 12)
	}
	if m.offers(extECPointFormats) {
		m.pointFormats = g.some(3)
	}
	if m.offers(extSignatureAlgorithms) {
		m.schemes = uint16sOf[tls.SignatureScheme](g, 20)
	}
	if m.offers(extALPN) {
		for range 1 + g.IntN(3) {
			m.protocols = append(m.protocols, string(g.some(255)))
		}
	}
	if m.offers(extSessionTicket) {
		m.ticket = g.bytes(300)
	}
	if m.offers(extSupportedVersions) {
		m.versions = uint16sOf[uint16](g, 5)
	}
	if m.offers(extRenegotiationInfo) {
		m.renegotiationInfo = g.bytes(24)
	}
	m.statusRequest, m.timestamps = m.offers(extStatusRequest), m.offers(extSCT)
	m.encryptThenMAC, m.extendedMasterSecret = m.offers(extEncryptThenMAC), m.offers(extExtendedMasterSecret)
	m.ticketExtension = m.offers(extSessionTicket)
	return m
}

func (g generate) serverHello() *serverHello {
	m := &serverHello{
		sessionID: g.bytes(maxSessionID), suite: uint16(g.Uint32()), serverName: g.bool(), statusRequest: g.bool(), pointFormats: g.bool(),
		protocol: string(g.bytes(255)), timestamps: g.lists(3, 100), encryptThenMAC: g.bool(), extendedMasterSecret: g.bool(),
		ticket: g.bool(), renegotiationInfo: g.bool(),
	}
	copy(m.random[:], g.bytes(randomLen))
	return m
}

// Every message comes back as it went. What is parsed differs from what was
// marshalled in nothing but empty slices for nil ones.
func TestMessageRoundTrips(t *testing.T) {
	g := generate{rand.New(rand.NewPCG(1, 2))}
	type marshaler interface{ marshal(*cryptobyte.Builder) }
	for _, tt := range []struct {
		name     string
		generate func() marshaler
		parse    func(cryptobyte.String) (any, error)
	}{
		{"ClientHello", func() marshaler { return g.clientHello() }, func(s cryptobyte.String) (any, error) { return parseClientHello(s) }},
		{"ServerHello", func() marshaler { return g.serverHello() }, func(s cryptobyte.String) (any, error) { m, err := parseServerHello(s); return &m, err }},
		{"Certificate", func() marshaler { return certificates(g.lists(5, 2000)) }, func(s cryptobyte.String) (any, error) { return parseCertificates(s) }},
		{"CertificateStatus", func() marshaler { return certificateStatus(g.bytes(3000)) }, func(s cryptobyte.String) (any, error) {
			m, err := parseCertificateStatus(s)
			return certificateStatus(m), err
		}},
		{"CertificateRequest", func() marshaler {
			return &certificateRequest{uint16sOf[tls.SignatureScheme](g, 12), g.lists(5, 200)}
		}, func(s cryptobyte.String) (any, error) { m, err := parseCertificateRequest(s); return &m, err }},
		{"NewSessionTicket", func() marshaler { return &newSessionTicket{g.Uint32(), g.bytes(2000)} }, func(s cryptobyte.String) (any, error) { m, err := parseNewSessionTicket(s); return &m, err }},
		{"CertificateVerify", func() marshaler { return &certificateVerify{tls.SignatureScheme(g.Uint32()), g.bytes(600)} }, func(s cryptobyte.String) (any, error) { m, err := parseCertificateVerify(s); return &m, err }},
		{"Finished", func() marshaler { return finished(append(g.some(1), make([]byte, verifyDataLen-1)...)) }, func(s cryptobyte.String) (any, error) { return parseFinished(s) }},
		{"ServerKeyExchange", func() marshaler {
			point := g.some(133)
			params := append([]byte{3, 0, 23, byte(len(point))}, point...)
			return &serverKeyExchange{params, tls.SignatureScheme(g.Uint32()), g.bytes(600)}
		}, func(s cryptobyte.String) (any, error) { m, err := parseServerKeyExchange(s, kxECDHE); return &m, err }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 200 {
				want := tt.generate()
				message, err := appendMessage(nil, 99, want.marshal)
				if err != nil {
					t.Fatal(err)
				}
				got, err := tt.parse(body(message))
				if err != nil {
					t.Fatalf("%v: %+v", err, want)
				}
				if diff := cmp.Diff(any(want), got, cmp.Exporter(func(reflect.Type) bool { return true }), cmp.Transformer("nil", nilIfEmpty)); diff != "" {
					t.Fatalf("-marshalled +parsed:\n%s", diff)
				}
			}
		})
	}
}

func nilIfEmpty(b []byte) string { return string(b) }

// No message is taken if it lacks a byte, or has one too many, at its end.
func TestMessagesAreNotTakenInPart(t *testing.T) {
	g := generate{rand.New(rand.NewPCG(3, 4))}
	for _, tt := range []struct {
		name    string
		message []byte
		parse   func(cryptobyte.String) error
	}{
		{"ClientHello", mustMarshal(g.clientHello().marshal), func(s cryptobyte.String) error { _, err := parseClientHello(s); return err }},
		{"Certificate", mustMarshal(certificates{{1, 2, 3}, {4, 5}}.marshal), func(s cryptobyte.String) error { _, err := parseCertificates(s); return err }},
		{"CertificateVerify", mustMarshal((&certificateVerify{1, []byte{1, 2, 3}}).marshal), func(s cryptobyte.String) error { _, err := parseCertificateVerify(s); return err }},
		{"Finished", mustMarshal(finished{}.marshal), func(s cryptobyte.String) error { _, err := parseFinished(s); return err }},
	} {
		if err := tt.parse(tt.message); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err := tt.parse(append(slices.Clone(tt.message), 0)); !isAlert(err, alertDecodeError) {
			t.Errorf("%s with a byte too many: %v", tt.name, err)
		}
		for n := range tt.message {
			if hello := tt.name == "ClientHello"; hello && endsBeforeExtensions(tt.message, n) {
				continue
			}
			if err := tt.parse(tt.message[:n]); !isAlert(err, alertDecodeError) {
				t.Errorf("%s of %d bytes: %v", tt.name, n, err)
			}
		}
	}
}

// endsBeforeExtensions says whether the first n bytes of a ClientHello are one
// without extensions.
func endsBeforeExtensions(hello []byte, n int) bool {
	s := cryptobyte.String(hello)
	var skipped []byte
	return s.Skip(2+randomLen) && readVector8(&s, &skipped) && readVector16(&s, &skipped) && readVector8(&s, &skipped) && len(hello)-len(s) == n
}

func mustMarshal(add func(*cryptobyte.Builder)) []byte {
	message, err := appendMessage(nil, 0, add)
	if err != nil {
		panic(err)
	}
	return body(message)
}

// isAlert says whether err is a fault with this alert.
func isAlert(err error, a alert) bool {
	f, ok := err.(*fault)
	return ok && f.alert == a
}
