package engine

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// verdict is a ClientAuth that says the same of everyone, and remembers whom it
// was asked about.
type verdict struct {
	err      error
	versions []uint16
	chains   [][]*x509.Certificate
}

func (v *verdict) Authorities() *x509.CertPool { return testCertificates().roots }

func (v *verdict) Verify(version uint16, chain []*x509.Certificate) error {
	v.versions, v.chains = append(v.versions, version), append(v.chains, chain)
	return v.err
}

// refused is an error of ClientAuth.Verify.
type refused uint8

func (r refused) Error() string  { return fmt.Sprintf("alert %d, please", uint8(r)) }
func (r refused) Reason() string { return "not_today" }
func (r refused) Alert() uint8   { return uint8(r) }

// A kind is one of the ways in which clients are asked for certificates. crypto/tls
// has the suite of TLS 1.3 that it chooses by itself.
type kind struct {
	name           string
	version, suite uint16
	group          tls.CurveID
	standard       bool
}

var kinds = []kind{
	{"TLS 1.2", tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.X25519, false},
	{"TLS 1.2 with RSA key exchange", tls.VersionTLS12, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, 0, false},
	{"TLS 1.3", tls.VersionTLS13, aes256, tls.X25519, false},
	{"TLS 1.3 after a HelloRetryRequest", tls.VersionTLS13, chacha, tls.CurveP384, false},
	{"TLS 1.2 by crypto/tls", tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.X25519, true},
	{"TLS 1.2 with RSA key exchange by crypto/tls", tls.VersionTLS12, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, 0, true},
	{"TLS 1.3 by crypto/tls", tls.VersionTLS13, aes128, tls.X25519, true},
}

func (k kind) choice() Choice {
	return Choice{Version: k.version, Suite: k.suite, Group: k.group, Certificate: testCertificates().rsa}
}

// engine returns one for the kind with tickets.
func (k kind) engine(auth ClientAuth) Engine {
	config := Config{MinVersion: tls.VersionTLS12, MaxVersion: k.version, ClientAuth: auth}
	engines := New(config, []uint16{k.suite})
	if k.standard {
		engines = Dispatcher{NewStandard(config)}
	}
	engines.SetTicketKeys([][32]byte{{1}})
	return engines.For(k.suite)
}

// client is a configuration that sends a certificate, if there is one, and
// keeps its sessions.
func (k kind) client(certificate *tls.Certificate) *tls.Config {
	config := clientConfig()
	config.MaxVersion = k.version
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	return config
}

// meet runs a handshake and an echo. A side that fails leaves the other the
// time to read why.
func meet(t *testing.T, e Engine, choice Choice, config *tls.Config) (state tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	near, far := connect(t)
	defer far.Close()
	deadline := time.Now().Add(20 * time.Second)
	_ = near.SetDeadline(deadline)
	_ = far.SetDeadline(deadline)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer near.Close()
		conn := e.Server(near, choice)
		if serverErr = conn.HandshakeContext(context.Background()); serverErr == nil {
			state = conn.ConnectionState()
			_, serverErr = io.CopyN(conn, conn, 4)
		}
		_ = near.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, near)
	}()
	conn := tls.Client(far, config)
	// In TLS 1.3 the client hears of a refusal when it reads.
	if _, clientErr = conn.Write([]byte("ping")); clientErr == nil {
		_, clientErr = io.ReadFull(conn, make([]byte, 4))
	}
	far.Close()
	<-done
	return state, serverErr, clientErr
}

// A refused client gets the alert that was named, and no other, of whatever
// version, suite and engine, but for TLS 1.3 of crypto/tls, which has its own.
func TestClientAuthAlerts(t *testing.T) {
	for _, k := range kinds {
		for _, tt := range []struct {
			err   error
			alert uint8
		}{
			{refused(43), 43}, {refused(44), 44}, {refused(45), 45}, {refused(46), 46}, {refused(48), 48}, {refused(49), 49},
			{fmt.Errorf("wrapped: %w", refused(116)), 116}, {errors.New("no alert"), 42},
		} {
			t.Run(fmt.Sprintf("%s: %v", k.name, tt.err), func(t *testing.T) {
				if k.standard && k.version == tls.VersionTLS13 {
					tt.alert = 42
				}
				for _, certificate := range []*tls.Certificate{testCertificates().ecdsa, nil} {
					_, serverErr, clientErr := meet(t, k.engine(&verdict{err: tt.err}), k.choice(), k.client(certificate))
					if !errors.Is(serverErr, tt.err) {
						t.Errorf("server: %v", serverErr)
					}
					if want := "remote error: " + tls.AlertError(tt.alert).Error(); clientErr == nil || clientErr.Error() != want {
						t.Errorf("client: %v, want %s", clientErr, want)
					}
					if _, named := errors.AsType[refused](tt.err); named && NewHandshakeError(serverErr).Reason() != "not_today" {
						t.Errorf("reason %s", NewHandshakeError(serverErr).Reason())
					}
				}
			})
		}
	}
}

// A client that is let in brings its certificate along when it resumes, and is
// judged again: a session that is not good any more is none, and what the
// client shows instead counts.
func TestClientAuthResumption(t *testing.T) {
	for _, k := range kinds {
		for _, certificate := range []*tls.Certificate{testCertificates().ecdsa, testCertificates().rsa, nil} {
			name := "without certificate"
			if certificate != nil {
				name = certificate.Leaf.PublicKeyAlgorithm.String()
			}
			t.Run(k.name+" "+name, func(t *testing.T) {
				auth := new(verdict)
				e, client := k.engine(auth), k.client(certificate)
				for i, resumed := range []bool{false, true, true} {
					state, serverErr, clientErr := meet(t, e, k.choice(), client)
					if serverErr != nil || clientErr != nil {
						t.Fatal(serverErr, clientErr)
					}
					if state.DidResume != resumed || len(auth.chains) != i+1 || auth.versions[i] != k.version {
						t.Errorf("resumed %t, judged %d times, for versions %x", state.DidResume, len(auth.chains), auth.versions)
					}
					if certificate == nil && len(auth.chains[i])+len(state.PeerCertificates) > 0 {
						t.Error("a certificate out of nowhere")
					}
					if certificate != nil && (!bytes.Equal(auth.chains[i][0].Raw, certificate.Certificate[0]) || !state.PeerCertificates[0].Equal(auth.chains[i][0])) {
						t.Error("another certificate")
					}
				}
				auth.err = refused(44)
				if _, serverErr, clientErr := meet(t, e, k.choice(), client); !errors.Is(serverErr, auth.err) || clientErr == nil {
					t.Errorf("judged otherwise, and resumed: %v, %v", serverErr, clientErr)
				}
			})
		}
	}
}

// fickle refuses what is not the one certificate.
type fickle struct {
	verdict
	one []byte
}

func (f *fickle) Verify(_ uint16, chain []*x509.Certificate) error {
	if len(chain) == 0 || !bytes.Equal(chain[0].Raw, f.one) {
		return refused(44)
	}
	return nil
}

// A client that has got a new certificate since gets in with it, although its
// session has the old one.
func TestClientAuthRenewed(t *testing.T) {
	old, renewed := testCertificates().rsa, testCertificates().ecdsa
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			auth := &fickle{one: old.Certificate[0]}
			e, client := k.engine(auth), k.client(old)
			if _, serverErr, clientErr := meet(t, e, k.choice(), client); serverErr != nil || clientErr != nil {
				t.Fatal(serverErr, clientErr)
			}
			auth.one = renewed.Certificate[0]
			client.Certificates = []tls.Certificate{*renewed}
			state, serverErr, clientErr := meet(t, e, k.choice(), client)
			if serverErr != nil || clientErr != nil || state.DidResume {
				t.Error(serverErr, clientErr, state.DidResume)
			}
		})
	}
}

// The request names the authorities.
func TestClientAuthRequest(t *testing.T) {
	for _, k := range kinds {
		var named [][]byte
		client := k.client(nil)
		client.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			named = info.AcceptableCAs
			return testCertificates().ecdsa, nil
		}
		if _, serverErr, clientErr := meet(t, k.engine(new(verdict)), k.choice(), client); serverErr != nil || clientErr != nil {
			t.Fatal(serverErr, clientErr)
		}
		if len(named) == 0 || !bytes.Equal(named[0], testCertificates().rsa.Leaf.RawSubject) {
			t.Errorf("%s: authorities %q", k.name, named)
		}
	}
}

// What is not the alert that was expected goes out untouched.
func TestExactAlertLeavesOthersAlone(t *testing.T) {
	for _, record := range [][]byte{nil, {21}, {21, 3, 3, 0, 2, 2, 40}, {22, 3, 3, 0, 2, 2, 42}, {23, 3, 3, 0, 3, 1, 2, 3}} {
		if got := exactAlert(record, 44); !bytes.Equal(got, record) {
			t.Errorf("%x became %x", record, got)
		}
	}
}
