package certs

import (
	"context"
	"crypto/fips140"
	"crypto/x509"
	"encoding/asn1"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"golang.org/x/crypto/ocsp"
)

// stapling has certmagic fetch OCSP responses (RFC 6960), and refresh them when
// half of their time is over. Its client has a timeout, of 30 seconds, only
// when it is told of a proxy.
func stapling(off bool) certmagic.OCSPConfig {
	return certmagic.OCSPConfig{DisableStapling: off, HTTPProxy: http.ProxyFromEnvironment}
}

// staplePatience is how long a start waits for responders. What comes later is
// taken over when it comes: a responder that is down must keep nobody from
// starting.
const staplePatience = 2 * time.Second

// namesResponder says whether there is something to staple.
func namesResponder(leaf *x509.Certificate) bool { return len(leaf.OCSPServer) > 0 }

// oidTLSFeature is id-pe-tlsfeature (RFC 7633 section 6).
var oidTLSFeature = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

// statusRequest is the TLS extension (RFC 6066 section 8) that a certificate
// with it as a feature must come with.
const statusRequest = 5

// mustStaple says whether a certificate is no good without a stapled OCSP
// response.
func mustStaple(leaf *x509.Certificate) bool {
	for _, extension := range leaf.Extensions {
		if !extension.Id.Equal(oidTLSFeature) {
			continue
		}
		var features []int
		_, err := asn1.Unmarshal(extension.Value, &features)
		return err == nil && slices.Contains(features, statusRequest)
	}
	return false
}

// freshStaple returns a staple if it is still good at a moment. certmagic keeps
// one that it cannot replace, and clients take an old one worse than none.
func freshStaple(staple []byte, now time.Time) []byte {
	if len(staple) == 0 {
		return nil
	}
	// certmagic has verified it when it was new.
	response, err := ocsp.ParseResponse(staple, nil)
	if err != nil || !response.NextUpdate.IsZero() && now.After(response.NextUpdate) {
		return nil
	}
	return staple
}

// Unstapled reports a certificate that is held back: it must not be served
// without a stapled OCSP response (RFC 7633), and there is none.
func (c Certificate) Unstapled() bool { return len(c.OCSPStaple) == 0 && mustStaple(c.Leaf) }

// HeldBack says whether one of the named sources has a certificate for
// serverName, or any, if that is empty, that is not served for want of a
// stapled OCSP response.
func (s *Store) HeldBack(sources []string, serverName string) bool {
	held := s.held.Load()
	if held == nil {
		return false
	}
	name, parent := lookup(serverName)
	for _, source := range sources {
		for _, key := range selectable {
			ix := (*held)[offer{source, key}]
			if ix != nil && (name == "" || ix.exact[name] != nil || ix.wildcard[parent] != nil) {
				return true
			}
		}
	}
	return false
}

// hold logs what is held back now and was not before.
func (s *Store) hold(held []*Certificate) {
	var next *snapshot
	if len(held) > 0 {
		next = &snapshot{}
	}
	for _, cert := range held {
		next.add(cert)
		if !slices.Contains(s.holding, cert) {
			s.logger.Warn("certificate is held back: it needs a stapled OCSP response, and there is none",
				"certificate", cert.Source, "names", cert.ServerNames(), "key", cert.Key.String())
		}
	}
	s.holding = held
	s.held.Store(next)
}

// staple begins to fetch an OCSP response for a certificate in the background.
// again has to put the certificate into the cache anew, with what it gets:
// certmagic changes none that is there.
func (s *Store) staple(cache *certmagic.Cache, hash string, again func() error) {
	s.staples.Go(func() {
		cache.Remove([]string{hash}) // it goes on being served: see cached.find
		var err error
		withSHA1Names(func() { err = again() })
		if err != nil {
			s.logger.Error("certificate is no longer looked after", "error", err) // not for want of a response
			return
		}
		s.refresh()
	})
}

// withSHA1Names lets certmagic ask a responder about a certificate, which it names
// by SHA-1 of its issuer, as responders expect (RFC 6960 section 4.1.1), where
// Go's FIPS 140-3 module is told to do nothing that it does not approve. The name
// protects nothing: what the responder says is signed.
func withSHA1Names(f func()) { fips140.WithoutEnforcement(f) }

// stapleStorage keeps OCSP responses for the next start where a storage is
// there for the gateway to write to. A response is good without being kept.
type stapleStorage struct {
	certmagic.Storage
	keep bool
}

const staplesPrefix = "ocsp/" // of certmagic's keys

func (s stapleStorage) Load(ctx context.Context, key string) ([]byte, error) {
	if !s.keep {
		return nil, fs.ErrNotExist
	}
	return s.Storage.Load(ctx, key)
}

func (s stapleStorage) Store(ctx context.Context, key string, value []byte) error {
	if s.keep {
		_ = s.Storage.Store(ctx, key, value) // a full or read-only storage is told of by what needs it
	}
	return nil
}

func isStaple(key string) bool { return strings.HasPrefix(key, staplesPrefix) }
