package certs

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/suitegate/suitegate/policy"
)

// responder is an OCSP responder and the authority that it speaks for.
type responder struct {
	*httptest.Server
	root  []byte
	key   crypto.Signer
	asked atomic.Int32
	down  atomic.Bool
	hold  chan struct{} // until it is closed, nobody gets an answer
	life  time.Duration
}

func newResponder(t *testing.T) *responder {
	t.Helper()
	r := &responder{key: newECDSA(elliptic.P256()), hold: make(chan struct{}), life: time.Hour}
	close(r.hold)
	r.root = issue(t, r.key, nil, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	})
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *responder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.asked.Add(1)
	<-r.hold
	body, err := io.ReadAll(request.Body)
	if err != nil || r.down.Load() {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	question, err := ocsp.ParseRequest(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	root, err := x509.ParseCertificate(r.root)
	if err != nil {
		panic(err)
	}
	answer, err := ocsp.CreateResponse(root, root, ocsp.Response{
		Status: ocsp.Good, SerialNumber: question.SerialNumber,
		ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(r.life),
	}, r.key)
	if err != nil {
		panic(err)
	}
	_, _ = w.Write(answer)
}

// source is one of files whose certificate names the responder.
func (r *responder) source(t *testing.T, serial int64, must bool) Source {
	t.Helper()
	key := newECDSA(elliptic.P256())
	der := issueBy(t, r.root, r.key, key, []string{"a.example"}, func(c *x509.Certificate) {
		c.SerialNumber = big.NewInt(serial)
		c.NotAfter = time.Now().AddDate(0, 1, 0) // of short-lived ones certmagic says nothing
		c.OCSPServer = []string{r.URL}
		if must {
			c.ExtraExtensions = []pkix.Extension{{Id: oidTLSFeature, Value: []byte{0x30, 3, 2, 1, 5}}}
		}
	})
	return Source{Name: "x", Files: &Files{
		Certificate: write(t, "tls.crt", certPEM(der, r.root)), Key: write(t, "tls.key", keyPEM(t, key)),
	}}
}

// selectStapled is what a store serves, nil if nothing.
func selectStapled(s *Store) *Certificate {
	cert, err := s.Select([]string{"x"}, "a.example", policy.ECDSAP256)
	if err != nil {
		return nil
	}
	return &cert
}

func TestStapled(t *testing.T) {
	r := newResponder(t)
	storage := filepath.Join(t.TempDir(), "storage")
	s := open(t, Config{Sources: []Source{r.source(t, 2, false)}, Storage: storage})
	cert := selectStapled(s)
	if cert == nil || len(cert.OCSPStaple) == 0 {
		t.Fatal("not stapled")
	}
	root, err := x509.ParseCertificate(r.root)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := ocsp.ParseResponseForCert(cert.OCSPStaple, cert.Leaf, root); err != nil || response.Status != ocsp.Good {
		t.Errorf("the staple: %v, %v", response, err)
	}
	if _, err := os.Stat(storage); err == nil {
		t.Error("the storage was touched for files alone")
	}
	if freshStaple(cert.OCSPStaple, time.Now().Add(r.life+time.Minute)) != nil {
		t.Error("an expired response is stapled")
	}
	if freshStaple([]byte("nonsense"), time.Now()) != nil {
		t.Error("nonsense is stapled")
	}
}

// A responder that is down costs the staple, and nothing else; one that does
// not answer costs a moment at the start as well.
func TestResponderFails(t *testing.T) {
	for name, fail := range map[string]func(*responder){
		"down":  func(r *responder) { r.down.Store(true) },
		"hangs": func(r *responder) { r.hold = make(chan struct{}) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newResponder(t)
			fail(r)
			var log logBuffer
			begin := time.Now()
			s := open(t, Config{Sources: []Source{r.source(t, 2, false)}, Logger: log.logger(slog.LevelInfo)})
			if d := time.Since(begin); d > staplePatience+2*time.Second {
				t.Errorf("Open took %v", d)
			}
			cert := selectStapled(s)
			if cert == nil || len(cert.OCSPStaple) > 0 {
				t.Fatalf("serves %v", cert)
			}
			if name == "down" {
				if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "stapling OCSP") {
					t.Errorf("logged %q", got)
				}
				return
			}
			close(r.hold)
			for deadline := time.Now().Add(10 * time.Second); len(selectStapled(s).OCSPStaple) == 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the late response is not stapled")
				}
			}
		})
	}
}

// What must be stapled is not served without, and does not take the place of
// what is.
func TestMustStaple(t *testing.T) {
	r := newResponder(t)
	r.down.Store(true)
	var log logBuffer
	s := open(t, Config{Sources: []Source{r.source(t, 2, true)}, Logger: log.logger(slog.LevelInfo)})
	if selectStapled(s) != nil {
		t.Error("served without a staple")
	}
	if !s.HeldBack([]string{"x"}, "A.example") || !s.HeldBack([]string{"x"}, "") || s.HeldBack([]string{"x"}, "b.example") || s.HeldBack([]string{"y"}, "a.example") {
		t.Error("HeldBack is wrong")
	}
	if n := strings.Count(log.String(), "certificate is held back"); n != 1 {
		t.Errorf("logged %d times in %s", n, log.String())
	}

	r.down.Store(false)
	s = open(t, Config{Sources: []Source{r.source(t, 3, true)}})
	first := selectStapled(s)
	if first == nil || len(first.OCSPStaple) == 0 || s.HeldBack([]string{"x"}, "") {
		t.Fatal("not served, or without its staple")
	}
	r.down.Store(true)
	f := s.sources[0].(*fileSource)
	replace := func(serial int64) {
		next, errs := readFiles("x", *r.source(t, serial, true).Files)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		if err := f.put(context.Background(), next); err != nil {
			t.Fatal(err)
		}
		s.staples.Wait()
		s.refresh()
	}
	if replace(4); selectStapled(s).Leaf.SerialNumber.Int64() != 3 {
		t.Error("an unstapled certificate took the place of a stapled one")
	}
	r.down.Store(false)
	if replace(5); selectStapled(s).Leaf.SerialNumber.Int64() != 5 {
		t.Error("a stapled certificate did not take the place of the other")
	}
}

func TestMustStapleExtension(t *testing.T) {
	for _, tt := range []struct {
		value []byte
		want  bool
	}{
		{[]byte{0x30, 3, 2, 1, 5}, true},
		{[]byte{0x30, 6, 2, 1, 17, 2, 1, 5}, true},
		{[]byte{0x30, 3, 2, 1, 17}, false}, // status_request_v2
		{[]byte{0x30, 0}, false},
		{[]byte{5, 0}, false},
		{nil, false},
	} {
		leaf := &x509.Certificate{Extensions: []pkix.Extension{{Id: oidTLSFeature, Value: tt.value}}}
		if got := mustStaple(leaf); got != tt.want {
			t.Errorf("% x: %v", tt.value, got)
		}
	}
	if mustStaple(&x509.Certificate{}) {
		t.Error("without the extension")
	}
}
