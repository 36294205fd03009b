package scan

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/cryptobyte"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/clienthello"
)

// manyCertificates has one for each kind of keys that crypto/tls serves.
func manyCertificates(t *testing.T) []tls.Certificate {
	t.Helper()
	list := []tls.Certificate{rsaCertificate(t)}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, certificate(t, key))
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return append(list, certificate(t, crypto.Signer(key)))
}

// What a TLS 1.3 server says encrypted is seen, for each group that is calculated.
func TestEncrypted(t *testing.T) {
	certificates := manyCertificates(t)
	// A chain of more than one record, with an OCSP response.
	long := &certificates[0]
	for range 40 {
		long.Certificate = append(long.Certificate, long.Certificate[0])
	}
	long.OCSPStaple = []byte("response")
	for _, group := range []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521, tls.X25519MLKEM768} {
		t.Run(groupName(policy.Group(group)), func(t *testing.T) {
			config := &tls.Config{
				MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{group}, Certificates: certificates,
				NextProtos: []string{"stomp", "mqtt"}, ClientAuth: tls.RequireAnyClientCert,
			}
			want := []string{
				"TLSv1.3 by server: TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256; groups " + groupName(policy.Group(group)) + "; alpn [mqtt stomp], client certificates",
				"ECDSA-P-256 CN=scanned of 1 in [TLSv1.3]", "ECDSA-P-384 CN=scanned of 1 in [TLSv1.3]", "ECDSA-P-521 CN=scanned of 1 in [TLSv1.3]",
				"Ed25519 CN=scanned of 1 in [TLSv1.3]", "RSA-2048 CN=scanned of 41 in [TLSv1.3]", "OCSP",
			}
			got := summary(scanned(t, serveTLS(t, config), Options{ServerName: "localhost"}))
			got[0] = strings.Replace(got[0], "[stomp mqtt]", "[mqtt stomp]", 1) // whose order counts is not said
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// Each suite is decrypted, and a HelloRetryRequest that wants nothing but its
// cookie back is followed.
func TestEncryptedOpenSSL(t *testing.T) {
	for _, suite := range []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"} {
		for _, more := range [][]string{nil, {"-stateless"}} {
			t.Run(suite+strings.Join(more, " "), func(t *testing.T) {
				args := append([]string{"-tls1_3", "-ciphersuites", suite, "-groups", "P-384:X25519", "-alpn", "mqtt"}, more...)
				r := scanned(t, startBoth(t, args...), Options{})
				keys := make([]string, 0, 2)
				for _, c := range r.Certificates {
					keys = append(keys, c.Key)
				}
				if !slices.Equal(keys, []string{"ECDSA-P-256", "RSA-2048"}) || len(r.Notes) > 0 || !slices.Equal(r.Versions[0].ALPN, []string{"mqtt"}) {
					t.Errorf("certificates %v, notes %q, ALPN %v", keys, r.Notes, r.Versions[0].ALPN)
				}
			})
		}
	}
	// What cannot be read on is told.
	for _, test := range []struct{ option, value, want string }{
		{"-ciphersuites", "TLS_AES_128_CCM_SHA256", "none of its suites is one that scan can decrypt"},
		{"-groups", "X448", "none of its groups is one that scan can calculate in"},
	} {
		r := scanned(t, startBoth(t, "-tls1_3", test.option, test.value), Options{})
		if len(r.Versions) != 1 || len(r.Certificates) > 0 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], test.want) {
			t.Errorf("%s: %q", test.value, summary(r))
		}
	}
}

// A server may take a hello without any share for a mistake.
func TestSharesWanted(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{rsaCertificate(t)}, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.CurveP384, tls.X25519}}
	openssl := startBoth(t, "-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256", "-groups", "X448:P-256")
	for _, alert := range []uint8{alertIllegalParameter, alertDecodeError, alertMissingExtension} {
		for name, server := range map[string]struct {
			serve func(*clienthello.Hello, net.Conn)
			want  string
		}{
			"crypto/tls": {
				func(hello *clienthello.Hello, conn net.Conn) { _ = tls.Server(hello.Replay(conn), config).Handshake() },
				"groups X25519 P-384;",
			},
			// None of its shares is for a group of which the server does not ask for
			// one: it is left with X448, which is not calculated here.
			"OpenSSL": {
				func(hello *clienthello.Hello, conn net.Conn) { relayTo(openssl, hello.Replay(conn)) },
				"groups P-256 X448;",
			},
		} {
			t.Run(fmt.Sprintf("%s alert %d", name, alert), func(t *testing.T) {
				address := serve(t, func(conn net.Conn) {
					hello, err := clienthello.Read(conn, clienthello.MaxSize)
					if err == nil && slices.Contains(hello.Versions(), tls.VersionTLS13) && len(hello.KeyShares) == 0 {
						_, _ = conn.Write([]byte{recordAlert, 3, 3, 0, 2, 2, alert})
						return
					}
					if err == nil {
						server.serve(hello, conn)
					}
				})
				r := scanned(t, address, Options{})
				got := summary(r)
				if len(r.Versions) != 1 || !strings.Contains(got[0], server.want) || len(r.Certificates) == 0 || len(r.Notes) > 0 {
					t.Errorf("%q, want %s", got, server.want)
				}
			})
		}
	}
}

// relayTo joins a connection to a server until either ends.
func relayTo(address string, conn net.Conn) {
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(conn, server)
		conn.Close()
	}()
	_, _ = io.Copy(server, conn)
	server.Close()
	<-done
}

// A server that says nonsense where encryption has begun leaves the rest known.
func TestNotDecrypted(t *testing.T) {
	address := serve(t, func(conn net.Conn) {
		hello, err := clienthello.Read(conn, clienthello.MaxSize)
		if err != nil || !slices.Contains(hello.Versions(), tls.VersionTLS13) || !slices.Contains(hello.CipherSuites, 0x1301) || !slices.Contains(hello.Groups, 29) {
			_, _ = conn.Write([]byte{recordAlert, 3, 3, 0, 2, 2, alertProtocolVersion})
			return
		}
		extensions := "\x00\x2b\x00\x02\x03\x04\x00\x33\x00\x02\x00\x1d"
		nonce := helloRetryRequest[:]
		if len(hello.KeyShares) > 0 {
			extensions = "\x00\x2b\x00\x02\x03\x04\x00\x33\x00\x24\x00\x1d\x00\x20" + "9" + strings.Repeat("\x00", 31)
			nonce = make([]byte, 32)
		}
		_, _ = conn.Write(append(wireHello(serverHello(0x0303, 0x1301, nonce, 0, extensions)), append([]byte{recordApplicationData, 3, 3, 0, 32}, make([]byte, 32)...)...))
		_, _ = io.Copy(io.Discard, conn)
	})
	r := scanned(t, address, Options{})
	if len(r.Versions) != 1 || len(r.Versions[0].Suites) != 1 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "record that does not decrypt") {
		t.Errorf("%q", summary(r))
	}
}

// flightRecord is one as it is on the wire, with a cipher that does nothing.
func flightRecord(kind uint8, contents []byte) []byte {
	var b cryptobyte.Builder
	b.AddBytes([]byte{recordApplicationData, 3, 3})
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddBytes(contents)
		b.AddBytes([]byte{kind, 0, 0}) // and some padding
	})
	return b.BytesOrPanic()
}

func flightMessages(r io.Reader) *messages {
	return &messages{r: r, started: true, whole: true, open: func(_, sealed []byte) ([]byte, error) { return sealed, nil }}
}

func TestReadFlight(t *testing.T) {
	h := &hello{version: policy.TLS13, suites: []uint16{0x1301}, groups: allGroups(), alpn: []string{"mqtt"}, whole: true}
	extensions := message(typeEncryptedExtensions, []byte{0, 11, 0, 16, 0, 7, 0, 5, 4, 'm', 'q', 't', 't'})
	request := message(typeCertificateRequest, []byte{0, 0, 0})
	shown := message(typeCertificate, []byte{0, 0, 0, 12, 0, 0, 1, 'c', 0, 6, 0, 5, 0, 2, 1, 0})
	compatible := []byte{recordChangeCipherSpec, 3, 3, 0, 1, 1}
	for name, test := range map[string]struct {
		wire []byte
		want string // of an error
	}{
		"one record":              {flightRecord(recordHandshake, slices.Concat(extensions, request, shown)), ""},
		"many records":            {slices.Concat(compatible, flightRecord(recordHandshake, extensions[:3]), flightRecord(recordHandshake, append(extensions[3:], request[:2]...)), flightRecord(recordHandshake, append(request[2:], shown...))), ""},
		"an alert":                {flightRecord(recordAlert, []byte{2, 40}), "alert 40"},
		"an alert in the clear":   {[]byte{recordAlert, 3, 3, 0, 2, 2, 40}, "alert 40"},
		"an end":                  {flightRecord(recordHandshake, extensions), "EOF"},
		"in the clear":            {wireHello(extensions), "where encryption has begun"},
		"no extensions":           {flightRecord(recordHandshake, shown), "message 11 out of order"},
		"a late request":          {flightRecord(recordHandshake, slices.Concat(extensions, request, request)), "message 13 out of order"},
		"a Finished":              {flightRecord(recordHandshake, slices.Concat(extensions, message(20, nil))), "message 20 out of order"},
		"no type":                 {[]byte{recordApplicationData, 3, 3, 0, 2, 0, 0}, "record without a type"},
		"nothing":                 {flightRecord(recordHandshake, nil), "empty record of type 22"},
		"application data":        {flightRecord(recordApplicationData, []byte("x")), "record of type 23"},
		"another protocol":        {flightRecord(recordHandshake, message(typeEncryptedExtensions, []byte{0, 4, 0, 16, 0, 0})), "extension 16"},
		"what was not offered":    {flightRecord(recordHandshake, message(typeEncryptedExtensions, []byte{0, 4, 0, 42, 0, 0})), "extension 42"},
		"what has no place":       {flightRecord(recordHandshake, message(typeEncryptedExtensions, []byte{0, 6, 0, 51, 0, 2, 0, 29})), "extension 51"},
		"a context":               {flightRecord(recordHandshake, slices.Concat(extensions, message(typeCertificate, []byte{1, 0, 0, 0, 0}))), "Certificate"},
		"no certificate":          {flightRecord(recordHandshake, slices.Concat(extensions, message(typeCertificate, []byte{0, 0, 0, 0}))), "Certificate"},
		"half an extension":       {flightRecord(recordHandshake, slices.Concat(extensions, message(typeCertificate, []byte{0, 0, 0, 7, 0, 0, 1, 'c', 0, 1, 0}))), "extensions of Certificate"},
		"a request with a remark": {flightRecord(recordHandshake, slices.Concat(extensions, message(typeCertificateRequest, []byte{0, 0, 0, 0}))), "CertificateRequest"},
		"a message without end":   {bytes.Repeat(flightRecord(recordHandshake, append([]byte{typeEncryptedExtensions, 255, 255, 255}, make([]byte, 1<<13)...)), 20), "more than 131072 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			var a answer
			err := a.readFlight(flightMessages(iotest.OneByteReader(bytes.NewReader(test.wire))), h)
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %v, want %q", err, test.want)
				}
				return
			}
			if err != nil || a.alpn != "mqtt" || !a.asks || !a.stapled || len(a.chain) != 1 || string(a.chain[0]) != "c" {
				t.Errorf("%v, %+v", err, a)
			}
		})
	}
}

// FuzzReadFlight holds that what is read of an encrypted flight does not depend
// on how it arrives, and is all of it in the flight.
func FuzzReadFlight(f *testing.F) {
	extensions := message(typeEncryptedExtensions, []byte{0, 11, 0, 16, 0, 7, 0, 5, 4, 'm', 'q', 't', 't'})
	request := message(typeCertificateRequest, []byte{0, 0, 0})
	shown := message(typeCertificate, []byte{0, 0, 0, 12, 0, 0, 1, 'c', 0, 6, 0, 5, 0, 2, 1, 0})
	f.Add(flightRecord(recordHandshake, slices.Concat(extensions, request, shown)))
	f.Add(slices.Concat(flightRecord(recordHandshake, extensions[:7]), flightRecord(recordHandshake, append(extensions[7:], shown...))))
	f.Add(flightRecord(recordAlert, []byte{2, 40}))
	h := &hello{version: policy.TLS13, suites: []uint16{0x1301}, groups: allGroups(), serverName: "localhost", alpn: []string{"mqtt"}, whole: true}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var a, again answer
		err := a.readFlight(flightMessages(bytes.NewReader(wire)), h)
		errAgain := again.readFlight(flightMessages(iotest.OneByteReader(bytes.NewReader(wire))), h)
		if (err == nil) != (errAgain == nil) || err != nil && err.Error() != errAgain.Error() {
			t.Fatalf("%v at once, %v byte by byte", err, errAgain)
		}
		if err != nil {
			return
		}
		size := 0
		for _, der := range a.chain {
			size += len(der)
		}
		if len(a.chain) == 0 || size > len(wire) || a.alpn != again.alpn || a.asks != again.asks || len(a.chain) != len(again.chain) {
			t.Errorf("%+v, %+v", a, again)
		}
	})
}
