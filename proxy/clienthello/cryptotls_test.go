package clienthello

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// stricter is where Read refuses what crypto/tls takes, or takes until it has
// negotiated: the list of the package's documentation, by Detail.
func stricter() []string {
	return []string{
		"message of ", // up to 4 bytes over the limit
		"major record version ",
		"more than 131072 bytes with its record headers",
		"alert record before the hello",
		"alert record inside the hello",
		"more handshake bytes behind the hello",
		"length of session_id",
		"length of cipher_suites",
		"length of compression_methods",
		"compression methods without null",
		"server name ",
		"two server names of type ",
		"responder ID in status_request",
		"length of encrypt_then_mac",
		"ec_point_formats without uncompressed",
		"renegotiation_info is not empty",
		"length of psk_key_exchange_modes",
		"binder in pre_shared_key",
		"binders for ",
		"two key shares for group ",
		"key share for group ",
		"length of encrypted_client_hello",
		"legacy version ",
		"compression methods beside TLS 1.3",
		"pre_shared_key without psk_key_exchange_modes",
		"supported_groups without key_share",
		"key_share without supported_groups",
		"TLS 1.3 without supported_groups",
		"TLS 1.3 without signature_algorithms",
	}
}

// compareWithCryptoTLS holds that whatever Read accepts, crypto/tls reads the
// same, and that what only crypto/tls accepts breaks a documented rule.
func compareWithCryptoTLS(t testing.TB, wire []byte) {
	t.Helper()
	ours, err := Read(bytes.NewReader(wire), MaxSize)
	theirs, theirErr := readWithCryptoTLS(wire)
	switch {
	case err != nil && theirs == nil: // both refuse
	case err == nil && theirs == nil:
		t.Errorf("crypto/tls refuses what we accept: %v\n% x", theirErr, wire)
	case err != nil:
		if !documented(err) {
			t.Errorf("crypto/tls accepts what we refuse without a documented rule: %v\n% x", err, wire)
		}
	default:
		compareInfo(t, ours, theirs)
	}
}

func documented(err error) bool {
	var notTLS *NotTLSError
	if errors.As(err, &notTLS) {
		// A record version other than 3.x.
		return notTLS.Protocol == Unknown && notTLS.first[0] >= recordChangeCipherSpec && notTLS.first[0] <= recordHeartbeat
	}
	var refusal *ParseError
	return errors.As(err, &refusal) && slices.ContainsFunc(stricter(), func(rule string) bool {
		return strings.Contains(refusal.Detail, rule)
	})
}

func compareInfo(t testing.TB, h *Hello, info *tls.ClientHelloInfo) {
	t.Helper()
	type offer struct {
		Suites, Versions, Extensions []uint16
		Groups                       []tls.CurveID
		Points                       []uint8
		Schemes                      []tls.SignatureScheme
		ALPN                         []string
		ServerName                   string
	}
	ours := offer{
		Suites:     h.CipherSuites,
		Versions:   h.Versions(),
		Extensions: h.Extensions,
		Points:     h.PointFormats,
		ALPN:       h.ALPN,
		ServerName: h.ServerName,
	}
	for _, g := range h.Groups {
		ours.Groups = append(ours.Groups, tls.CurveID(g))
	}
	for _, s := range h.SignatureSchemes {
		ours.Schemes = append(ours.Schemes, tls.SignatureScheme(s))
	}
	theirs := offer{
		Suites:     info.CipherSuites,
		Versions:   info.SupportedVersions,
		Extensions: info.Extensions,
		Groups:     info.SupportedCurves,
		Points:     info.SupportedPoints,
		Schemes:    info.SignatureSchemes,
		ALPN:       info.SupportedProtos,
		ServerName: info.ServerName,
	}
	if h.SupportedVersions == nil {
		// crypto/tls says nothing of SSL 3.0, and takes a legacy version of
		// TLS 1.3 for an offer of it in ClientHelloInfo (not in negotiation).
		old := func(v uint16) bool { return v < versionTLS10 }
		ours.Versions = slices.DeleteFunc(slices.Clone(ours.Versions), old)
		theirs.Versions = slices.DeleteFunc(slices.Clone(theirs.Versions), func(v uint16) bool { return v > versionTLS12 })
	}
	if diff := cmp.Diff(theirs, ours, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("hello (-crypto/tls +ours):\n%s", diff)
	}
}

var errSeen = errors.New("hello seen")

// readWithCryptoTLS has a crypto/tls server read the hello.
func readWithCryptoTLS(wire []byte) (info *tls.ClientHelloInfo, err error) {
	server := tls.Server(&memoryConn{Reader: bytes.NewReader(wire)}, &tls.Config{
		GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
			info = i
			return nil, errSeen
		},
	})
	err = server.Handshake()
	return info, err
}

// memoryConn is a connection on which everything has come already.
type memoryConn struct{ io.Reader }

func (*memoryConn) Write(p []byte) (int, error)      { return len(p), nil }
func (*memoryConn) Close() error                     { return nil }
func (*memoryConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*memoryConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*memoryConn) SetDeadline(time.Time) error      { return nil }
func (*memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (*memoryConn) SetWriteDeadline(time.Time) error { return nil }

func TestAgreesWithCryptoTLS(t *testing.T) {
	for name, wire := range recordings(t) {
		t.Run(name, func(t *testing.T) {
			compareWithCryptoTLS(t, wire)
			if info, err := readWithCryptoTLS(wire); info == nil {
				t.Errorf("crypto/tls refuses it: %v", err)
			}
			compareWithCryptoTLS(t, records(messageOf(t, wire), 100))
		})
	}
}

// TestAgreesWithCryptoTLSClient compares hellos that crypto/tls writes.
func TestAgreesWithCryptoTLSClient(t *testing.T) {
	protocols := [][]string{nil, {"amqp"}, {"mqtt", "h2", strings.Repeat("x", 255)}}
	curves := [][]tls.CurveID{nil, {tls.X25519}, {tls.X25519MLKEM768}, {tls.CurveP521, tls.CurveP384, tls.CurveP256}}
	for _, low := range []uint16{tls.VersionTLS10, tls.VersionTLS12, tls.VersionTLS13} {
		for _, high := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
			for _, alpn := range protocols {
				for _, groups := range curves {
					if low > high || slices.Contains(groups, tls.X25519MLKEM768) && low < tls.VersionTLS13 {
						continue
					}
					wire := clientBytes(t, &tls.Config{
						ServerName:       "broker.example.com",
						MinVersion:       low,
						MaxVersion:       high,
						NextProtos:       alpn,
						CurvePreferences: groups,
					})
					compareWithCryptoTLS(t, wire)
					mustRead(t, bytes.NewReader(wire))
				}
			}
		}
	}
}

// clientBytes is the hello that crypto/tls writes with this configuration.
func clientBytes(t *testing.T, config *tls.Config) []byte {
	t.Helper()
	var wire bytes.Buffer
	client := tls.Client(&writeConn{memoryConn{Reader: strings.NewReader("")}, &wire}, config)
	if err := client.Handshake(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return wire.Bytes()
}

type writeConn struct {
	memoryConn
	written *bytes.Buffer
}

func (c *writeConn) Write(p []byte) (int, error) { return c.written.Write(p) }
