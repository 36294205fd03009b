package policy

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"testing"

	"golang.org/x/crypto/cryptobyte"
)

// This file asks crypto/tls about hellos that its own client never sends:
// without signature_algorithms, with odd point formats, with fallback signals.

// clientHello writes an offer as a record (RFC 8446 §4.1.2).
func clientHello(o Offer) []byte {
	legacy := o.LegacyVersion
	if len(o.Versions) > 0 {
		legacy = TLS12
	}
	var b cryptobyte.Builder
	b.AddUint8(22)
	b.AddUint16(uint16(TLS10))
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(1)
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint16(uint16(legacy))
			b.AddBytes(make([]byte, 32))
			b.AddUint8(0) // session ID
			add16s(b, o.Suites)
			b.AddBytes([]byte{1, 0}) // compression methods
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { addExtensions(b, o) })
		})
	})
	return b.BytesOrPanic()
}

func addExtensions(b *cryptobyte.Builder, o Offer) {
	extension := func(kind uint16, present bool, body func(b *cryptobyte.Builder)) {
		if present {
			b.AddUint16(kind)
			b.AddUint16LengthPrefixed(body)
		}
	}
	extension(10, len(o.Groups) > 0, func(b *cryptobyte.Builder) { add16s(b, o.Groups) })
	extension(11, len(o.PointFormats) > 0, func(b *cryptobyte.Builder) {
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(o.PointFormats) })
	})
	extension(13, len(o.Signatures) > 0, func(b *cryptobyte.Builder) { add16s(b, o.Signatures) })
	extension(43, len(o.Versions) > 0, func(b *cryptobyte.Builder) {
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, v := range o.Versions {
				b.AddUint16(uint16(v))
			}
		})
	})
	extension(51, true, func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, g := range o.KeyShares {
				b.AddUint16(uint16(g))
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(publicKey(g)) })
			}
		})
	})
}

func add16s[T ~uint16](b *cryptobyte.Builder, values []T) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, v := range values {
			b.AddUint16(uint16(v))
		}
	})
}

// publicKey is a valid key share for a group, or some bytes for an unknown one.
func publicKey(g Group) []byte {
	curve := map[Group]ecdh.Curve{X25519: ecdh.X25519(), X25519MLKEM768: ecdh.X25519(), P256: ecdh.P256(), P384: ecdh.P384(), P521: ecdh.P521()}[g]
	if curve == nil {
		return []byte{1}
	}
	key, err := curve.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	share := key.PublicKey().Bytes()
	if g == X25519MLKEM768 {
		kem, err := mlkem.GenerateKey768()
		if err != nil {
			panic(err)
		}
		share = append(kem.EncapsulationKey().Bytes(), share...)
	}
	return share
}

// answer is what a server's first flight says.
type answer struct {
	alert   uint8 // 0 if there is none
	version Version
	suite   uint16
	group   Group
	key     KeyType // TLS 1.2 only: TLS 1.3 encrypts the certificate
	retry   bool    // HelloRetryRequest
}

// ask sends an offer to a server of crypto/tls and reads its first flight.
func ask(t *testing.T, o Offer, config *tls.Config) answer {
	t.Helper()
	near, far := connection()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer far.Close()
		tls.Server(far, config).Handshake()
	}()
	defer func() {
		near.Close()
		<-done
	}()
	if _, err := near.Write(clientHello(o)); err != nil {
		t.Fatal(err)
	}
	a, err := readFlight(near)
	if err != nil {
		t.Fatalf("reading the server's flight: %v after %+v; offer %+v", err, a, o)
	}
	return a
}

// readFlight reads plaintext records up to an alert, a TLS 1.3 ServerHello, or
// a ServerHelloDone.
func readFlight(conn net.Conn) (answer, error) {
	var a answer
	var messages []byte
	for {
		header := make([]byte, 5)
		if _, err := io.ReadFull(conn, header); err != nil {
			return a, err
		}
		body := make([]byte, binary.BigEndian.Uint16(header[3:]))
		if _, err := io.ReadFull(conn, body); err != nil {
			return a, err
		}
		if header[0] == 21 {
			return answer{alert: body[1]}, nil
		}
		messages = append(messages, body...)
		for len(messages) >= 4 {
			end := 4 + int(binary.BigEndian.Uint32(messages)&0xFFFFFF)
			if len(messages) < end {
				break
			}
			if finished, err := a.read(messages[0], messages[4:end]); finished || err != nil {
				return a, err
			}
			messages = messages[end:]
		}
	}
}

// read takes in one handshake message.
func (a *answer) read(kind byte, body []byte) (finished bool, err error) {
	switch kind {
	case 2:
		return a.readServerHello(body)
	case 11: // Certificate (RFC 5246 §7.4.2): two lengths, then the leaf
		length := int(body[3])<<16 | int(body[4])<<8 | int(body[5])
		leaf, err := x509.ParseCertificate(body[6 : 6+length])
		if err != nil {
			return false, err
		}
		a.key = keyOf(leaf)
	case 12: // ServerKeyExchange (RFC 8422 §5.4): named_curve, then which
		a.group = Group(binary.BigEndian.Uint16(body[1:]))
	case 14:
		return true, nil
	}
	return false, nil
}

func (a *answer) readServerHello(body []byte) (finished bool, err error) {
	s := cryptobyte.String(body)
	var version uint16
	var random []byte
	var sessionID, extensions cryptobyte.String
	if !s.ReadUint16(&version) || !s.ReadBytes(&random, 32) || !s.ReadUint8LengthPrefixed(&sessionID) ||
		!s.ReadUint16(&a.suite) || !s.Skip(1) || !s.Empty() && !s.ReadUint16LengthPrefixed(&extensions) {
		return false, fmt.Errorf("malformed ServerHello %x", body)
	}
	a.retry = random[0] == 0xCF && random[1] == 0x21 && random[2] == 0xAD // RFC 8446 §4.1.3
	for !extensions.Empty() {
		var kind uint16
		var extension cryptobyte.String
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&extension) {
			return false, fmt.Errorf("malformed ServerHello %x", body)
		}
		switch kind {
		case 43:
			extension.ReadUint16(&version)
		case 51:
			extension.ReadUint16((*uint16)(&a.group))
		}
	}
	a.version = Version(version)
	return a.version == TLS13, nil
}

// TestAgainstCryptoTLSServer asks about random hellos.
func TestAgainstCryptoTLSServer(t *testing.T) {
	r := mathrand.New(mathrand.NewPCG(5, 6))
	decided, refused := make(map[string]int), make(map[Reason]int)
	for i := range 1500 {
		o := anyOffer(r)
		if len(o.Suites) == 0 {
			continue // not a valid hello
		}
		if len(o.Versions) == 0 && o.LegacyVersion > TLS12 {
			// Not a fallback to RFC 7507's letter, which looks at the legacy
			// field; Select looks at the version that comes of it.
			o.Suites = slices.DeleteFunc(o.Suites, func(id uint16) bool { return id == fallbackSCSV })
		}
		o.KeyShares = slices.Compact(slices.Sorted(slices.Values(o.KeyShares)))
		p, keys := anyPolicyOfCryptoTLS(r, o.Suites, asIs)
		if len(p.TLS12)+len(p.TLS13) == 0 {
			continue
		}
		where := fmt.Sprintf("case %d: offer %+v, policy %s, TLS 1.3 %s, groups %v, keys %v", i, o, p.Preference(), p.TLS13, p.Groups, keys)
		d, err := p.Select(o)
		if err != nil {
			refusal := err.(*Refusal)
			refused[refusal.Cause]++
			if unableToRefuse(refusal, o) {
				continue
			}
			got := ask(t, o, unnarrowed(p, keys))
			// crypto/tls asks for another key share before it looks at the
			// signature algorithms.
			later := got.retry && (refusal.Cause == NoCommonSignatureAlgorithm || refusal.Cause == MissingExtension)
			if !later && !slices.Contains(alertsOfCryptoTLS(refusal.Cause), got.alert) {
				t.Errorf("%s\nrefused: %v, alert %d\nbut crypto/tls said %+v", where, err, refusal.Alert, got)
			}
			continue
		}
		decided[d.Version.String()+" "+d.Suite.KeyExchange.String()]++
		want := answer{version: d.Version, suite: d.Suite.ID, group: d.Group, key: d.Key}
		got := ask(t, o, narrowed(p, d))
		if d.Version == TLS13 {
			want.key, want.retry = NoKey, !slices.Contains(o.KeyShares, d.Group)
			if d.Suite.ID != fixedTLS13(o.Suites, aesHardware()) {
				got.suite = want.suite
			}
		}
		if got != want {
			t.Errorf("%s\ndecided: %+v\ncrypto/tls did: %+v", where, want, got)
		}
	}
	t.Logf("decided %v, refused %v", decided, refused)
	for _, kind := range []string{"TLSv1.2 ECDHE", "TLSv1.2 RSA", "TLSv1.3 any"} {
		if decided[kind] < 20 {
			t.Errorf("only %d decisions for %s", decided[kind], kind)
		}
	}
	for _, cause := range []Reason{UnsupportedVersion, InappropriateFallback, NoCommonSuite, NoCommonGroup, NoCommonSignatureAlgorithm, IncompatiblePointFormats, MissingExtension} {
		if refused[cause] < 5 {
			t.Errorf("only %d refusals for %s", refused[cause], cause)
		}
	}
}

// alertsOfCryptoTLS are the alerts with which crypto/tls refuses what Select
// refuses for a cause: Select's own, and where the two look at things in
// another order, or crypto/tls's alert is not the RFC's, others.
func alertsOfCryptoTLS(cause Reason) []uint8 {
	const handshakeFailure, missingExtension = 40, 109
	alerts := []uint8{cause.alert()}
	switch cause {
	case InappropriateFallback:
		// It looks for the signal last.
		alerts = append(alerts, handshakeFailure, missingExtension)
	case IncompatiblePointFormats:
		// RFC 8422 §5.1.2 asks for illegal_parameter.
		alerts = append(alerts, missingExtension)
	case MissingExtension:
		// It takes missing groups for groups that do not fit, and looks at
		// the suite first.
		alerts = append(alerts, handshakeFailure)
	}
	return alerts
}
