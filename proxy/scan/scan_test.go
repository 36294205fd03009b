package scan

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/suitegate/suitegate/proxy/clienthello"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// certificate makes a self-signed one.
func certificate(t testing.TB, key crypto.Signer) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "scanned"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func rsaCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	return certificate(t, key)
}

func ecdsaCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return certificate(t, key)
}

// serve gives every connection to handle until the test ends, and returns the
// address.
func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var connections sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		connections.Wait()
	})
	connections.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	return listener.Addr().String()
}

func serveTLS(t *testing.T, config *tls.Config) string {
	t.Helper()
	return serve(t, func(conn net.Conn) {
		_ = tls.Server(conn, config).Handshake() // never ends well
	})
}

func scanned(t *testing.T, address string, options Options) *Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := Scan(ctx, address, options)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// summary is what tests compare of a report.
func summary(r *Report) (lines []string) {
	for _, v := range r.Versions {
		line := fmt.Sprintf("%s by %s:", v.Version, v.Preference)
		for _, s := range v.Suites {
			line += " " + s.Name
		}
		line += "; groups"
		for _, g := range v.Groups {
			line += " " + g.Name
		}
		if v.GroupsHiddenBehind != "" {
			line += ", some hidden behind " + v.GroupsHiddenBehind
		}
		if x := v.Extensions; x != nil {
			line += fmt.Sprintf("; dhe %d, alpn %v, etm %t, ems %t, renegotiation %t, tickets %t",
				v.DHEBits, v.ALPN, x.EncryptThenMAC, x.ExtendedMasterSecret, x.SecureRenegotiation, x.SessionTickets)
		} else {
			line += fmt.Sprintf("; alpn %v", v.ALPN)
		}
		if v.AsksClient {
			line += ", client certificates"
		}
		lines = append(lines, line)
	}
	for _, c := range r.Certificates {
		lines = append(lines, fmt.Sprintf("%s %s of %d in %v", c.Key, c.Subject, c.Chain, c.Versions))
	}
	if r.OCSPStapled {
		lines = append(lines, "OCSP")
	}
	return append(lines, r.Notes...)
}

func TestCryptoTLS(t *testing.T) {
	stapled := rsaCertificate(t)
	stapled.OCSPStaple = []byte("response")
	stapled.Certificate = append(stapled.Certificate, stapled.Certificate[0]) // a chain of two
	for name, test := range map[string]struct {
		config *tls.Config
		want   []string
	}{
		"TLS 1.3 only": {
			&tls.Config{MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.CurveP384, tls.X25519}},
			[]string{"TLSv1.3 by server: TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256; groups X25519 P-384; alpn []", "RSA-2048 CN=scanned of 1 in [TLSv1.3]"},
		},
		"old": {
			&tls.Config{
				MinVersion:       tls.VersionTLS10,
				MaxVersion:       tls.VersionTLS12,
				CipherSuites:     []uint16{tls.TLS_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA},
				CurvePreferences: []tls.CurveID{tls.CurveP521},
				NextProtos:       []string{"mqtt"},
				ClientAuth:       tls.RequestClientCert,
			},
			[]string{
				"TLSv1.2 by server: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 TLS_RSA_WITH_3DES_EDE_CBC_SHA TLS_RSA_WITH_RC4_128_SHA; groups P-521; dhe 0, alpn [mqtt], etm false, ems true, renegotiation true, tickets true, client certificates",
				"TLSv1.1 by server: TLS_RSA_WITH_3DES_EDE_CBC_SHA TLS_RSA_WITH_RC4_128_SHA; groups; dhe 0, alpn [mqtt], etm false, ems true, renegotiation true, tickets true, client certificates",
				"TLSv1.0 by server: TLS_RSA_WITH_3DES_EDE_CBC_SHA TLS_RSA_WITH_RC4_128_SHA; groups; dhe 0, alpn [mqtt], etm false, ems true, renegotiation true, tickets true, client certificates",
				"RSA-2048 CN=scanned of 1 in [TLSv1.2 TLSv1.1 TLSv1.0]",
			},
		},
		"ECDSA and RSA": {
			&tls.Config{
				MinVersion:             tls.VersionTLS12,
				MaxVersion:             tls.VersionTLS12,
				CipherSuites:           []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA},
				CurvePreferences:       []tls.CurveID{tls.X25519, tls.CurveP256},
				SessionTicketsDisabled: true,
				Certificates:           []tls.Certificate{ecdsaCertificate(t), stapled},
			},
			[]string{
				"TLSv1.2 by server: TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA; groups X25519 P-256; dhe 0, alpn [], etm false, ems true, renegotiation true, tickets false",
				"ECDSA-P-256 CN=scanned of 1 in [TLSv1.2]",
				"RSA-2048 CN=scanned of 2 in [TLSv1.2]",
				"OCSP",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.config.Certificates == nil {
				test.config.Certificates = []tls.Certificate{rsaCertificate(t)}
			}
			r := scanned(t, serveTLS(t, test.config), Options{ServerName: "localhost"})
			if diff := cmp.Diff(test.want, summary(r)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A server that limits its clients is asked again, once, and what stays
// unanswered is told.
func TestLimits(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{rsaCertificate(t)}, MinVersion: tls.VersionTLS13}
	internalError := []byte{recordAlert, 3, 1, 0, 2, 2, alertInternalError}
	var mu sync.Mutex
	turn := 0
	limited := serve(t, func(conn net.Conn) {
		mu.Lock()
		turn++
		now := turn
		mu.Unlock()
		switch now % 4 {
		case 1:
			_, _ = conn.Write(internalError)
		case 3: // nothing: it is closed
		default:
			_ = tls.Server(conn, config).Handshake()
		}
	})
	// One at a time, so that every second try is let in.
	r := scanned(t, limited, Options{Parallel: 1, Pause: time.Nanosecond})
	want := []string{"TLSv1.3 by server: TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256; groups X25519MLKEM768 SecP256r1MLKEM768 SecP384r1MLKEM1024 X25519 P-256 P-384 P-521; alpn []", "RSA-2048 CN=scanned of 1 in [TLSv1.3]"}
	if diff := cmp.Diff(want, summary(r)); diff != "" {
		t.Errorf("let in at the second try: -want +got:\n%s", diff)
	}

	hellos := 0
	shut := serve(t, func(conn net.Conn) { _, _ = conn.Write(internalError) })
	r = scanned(t, shut, Options{Pause: time.Nanosecond, Progress: func(n int) { hellos = n }})
	want = []string{"hellos that were answered by alert internal_error, twice: 30; they count as refused, but a limit on clients would look the same"}
	if diff := cmp.Diff(want, summary(r)); diff != "" {
		t.Errorf("never let in: -want +got:\n%s", diff)
	}
	if r.Hellos != 30 || hellos != 30 {
		t.Errorf("%d hellos, the last progress says %d", r.Hellos, hellos)
	}
}

// A server may say nothing to what it does not know.
func TestSilence(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{rsaCertificate(t)}, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}
	address := serve(t, func(conn net.Conn) {
		hello, err := clienthello.Read(conn, clienthello.MaxSize)
		if err != nil || slices.Contains(hello.Versions(), tls.VersionTLS13) {
			_, _ = io.Copy(io.Discard, conn)
			return
		}
		_ = tls.Server(hello.Replay(conn), config).Handshake()
	})
	want := []string{
		"TLSv1.2 by : TLS_RSA_WITH_AES_128_CBC_SHA; groups; dhe 0, alpn [], etm false, ems true, renegotiation true, tickets true",
		"RSA-2048 CN=scanned of 1 in [TLSv1.2]",
		"hellos that were answered by silence, twice: 1; they count as refused, but a limit on clients would look the same",
	}
	r := scanned(t, address, Options{Timeout: 300 * time.Millisecond, Pause: time.Nanosecond})
	if diff := cmp.Diff(want, summary(r)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A server may blame the version when it has run out of suites.
func TestBlame(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{rsaCertificate(t)}, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
	address := serve(t, func(conn net.Conn) {
		hello, err := clienthello.Read(conn, clienthello.MaxSize)
		if err != nil || hello.Versions()[0] != tls.VersionTLS12 || !slices.Contains(hello.CipherSuites, config.CipherSuites[0]) {
			_, _ = conn.Write([]byte{recordAlert, 3, 1, 0, 2, 2, alertProtocolVersion})
			return
		}
		_ = tls.Server(hello.Replay(conn), config).Handshake()
	})
	r := scanned(t, address, Options{})
	if len(r.Versions) != 1 || len(r.Versions[0].Suites) != 1 || r.Versions[0].Suites[0].ID != config.CipherSuites[0] {
		t.Errorf("%+v", r.Versions)
	}
}

// However a server behaves, a scan comes to an end.
func TestNoScan(t *testing.T) {
	for name, test := range map[string]struct {
		handle  func(net.Conn)
		options Options
		want    string
	}{
		"silence": {
			handle:  func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) },
			options: Options{Timeout: 50 * time.Millisecond, Pause: time.Nanosecond},
			want:    "gives no answer within 50ms",
		},
		"plaintext": {
			handle: func(conn net.Conn) { _, _ = conn.Write([]byte("AMQP\x00\x00\x09\x01")) },
			want:   `does not answer in TLS but with "AMQP\x00"`,
		},
		"two bytes": {
			handle: func(conn net.Conn) { _, _ = conn.Write([]byte("OK")) },
			want:   `does not answer in TLS but with "OK"`,
		},
		"endless": {
			handle: func(conn net.Conn) {
				for {
					if _, err := conn.Write([]byte{recordHandshake, 3, 3, 0, 1, 0}); err != nil {
						return
					}
				}
			},
			want: "message 0 out of order",
		},
		"endless message": {
			handle: func(conn net.Conn) {
				_, err := conn.Write([]byte{recordHandshake, 3, 3, 0, 4, typeServerHello, 0xff, 0xff, 0xff})
				for err == nil {
					_, err = conn.Write(append([]byte{recordHandshake, 3, 3, 0x40, 0}, make([]byte, 1<<14)...))
				}
			},
			want: "malformed answer: more than 131072 bytes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Scan(t.Context(), serve(t, test.handle), test.options)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "scan: ") {
				t.Errorf("%v, %v; want %s", r, err, test.want)
			}
		})
	}
	t.Run("nobody", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listener.Close()
		if _, err := Scan(t.Context(), listener.Addr().String(), Options{Pause: time.Nanosecond}); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Error(err)
		}
	})
	t.Run("time", func(t *testing.T) {
		late := errors.New("too late")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, late)
		defer cancel()
		silent := serve(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
		if _, err := Scan(ctx, silent, Options{}); !errors.Is(err, late) {
			t.Error(err)
		}
	})
}
