package tlsconn

import (
	"crypto"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
)

// Names as they are in the RFC, and no number has two.
func TestAlertNames(t *testing.T) {
	for a, want := range map[alert]string{
		0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow", 40: "handshake_failure",
		42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired",
		46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error",
		51: "decrypt_error", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error",
		86: "inappropriate_fallback", 90: "user_canceled", 100: "no_renegotiation", 109: "missing_extension",
		110: "unsupported_extension", 112: "unrecognized_name", 113: "bad_certificate_status_response",
		120: "no_application_protocol", 255: "alert 255",
	} {
		if got := a.String(); got != want {
			t.Errorf("alert %d is %q, want %q", uint8(a), got, want)
		}
		if got := a.Error(); got != "tlsconn: "+want {
			t.Errorf("alert %d has the error %q", uint8(a), got)
		}
	}
}

// What a client sends does not reach an error, and so a log, as it is.
func TestErrorsAreEscaped(t *testing.T) {
	config := testConfig()
	config.NextProtos = []string{"amqp"}
	c := newClient(t, config)
	c.hello.offer(extALPN)
	c.hello.protocols = []string{"evil\nline\x1b[31m"}
	_ = c.handshake()
	err := c.server.Handshake()
	if err == nil || strings.ContainsAny(err.Error(), "\n\x1b") || !strings.Contains(err.Error(), `evil\nline`) {
		t.Errorf("error is %v", err)
	}
}

// Faults of ours are internal errors to the client, and come back whole.
func TestOwnFaults(t *testing.T) {
	broken := errors.New("module is gone")
	for name, change := range map[string]func(*Config){
		"signature fails": func(c *Config) { c.Certificates[0].PrivateKey = failingKey{testPKI().small.PrivateKey, broken} },
		"no chain":        func(c *Config) { c.Certificates[0].Certificate = nil },
		"no key":          func(c *Config) { c.Certificates[0].PrivateKey = nil },
		"key of no use":   func(c *Config) { c.Certificates[0].PrivateKey = publicOnlyKey{testPKI().small.PrivateKey} },
		"chain too long":  func(c *Config) { c.Certificates[0].Certificate = [][]byte{make([]byte, 1<<24)} },
		"staple too long": func(c *Config) { c.Certificates[0].OCSPStaple = make([]byte, 1<<24) },
		"no decryption": func(c *Config) {
			c.Certificates[0].PrivateKey = publicOnlyKey{testPKI().small.PrivateKey}
			c.CipherSuites = []uint16{0x003C}
		},
		"timestamp is long": func(c *Config) { c.Certificates[0].SignedCertificateTimestamps = [][]byte{make([]byte, 1<<16)} },
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			certificate := *testPKI().small
			config.Certificates = []tls.Certificate{certificate}
			change(config)
			c := newClient(t, config)
			c.hello.offer(extStatusRequest, extSCT)
			_ = c.handshake()
			checkRefused(t, c, alertInternalError)
			if err := c.server.Handshake(); name == "signature fails" && !errors.Is(err, broken) {
				t.Error(err)
			}
		})
	}
}

// A Reader that brings nothing, again and again, is broken.
func TestNoProgress(t *testing.T) {
	c := newClient(t, testConfig())
	c.server.below = idleReader{c.conn}
	if err := c.server.Handshake(); err != io.ErrNoProgress {
		t.Error(err)
	}
}

type idleReader struct{ *memConn }

func (idleReader) Read([]byte) (int, error) { return 0, nil }

// A permanent error is one in all respects but its cause.
func TestPermanentError(t *testing.T) {
	var err error = permanent{os.ErrDeadlineExceeded.(net.Error)}
	if e := err.(net.Error); !e.Timeout() || isTemporary(e) || e.Error() != os.ErrDeadlineExceeded.Error() || !errors.Is(e, os.ErrDeadlineExceeded) {
		t.Errorf("%#v", err)
	}
}

// failingKey signs nothing.
type failingKey struct {
	crypto.PrivateKey
	err error
}

func (k failingKey) Public() crypto.PublicKey { return k.PrivateKey.(crypto.Signer).Public() }

func (k failingKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, k.err }

// publicOnlyKey cannot even be asked.
type publicOnlyKey struct{ crypto.PrivateKey }

func (k publicOnlyKey) Public() crypto.PublicKey { return k.PrivateKey.(crypto.Signer).Public() }
