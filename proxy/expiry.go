package proxy

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/proxy/metrics"
)

const day = 24 * time.Hour

// expirySteps are how long before the end of a certificate the log warns of it,
// once each, and at the end itself.
var expirySteps = [...]time.Duration{30 * day, 14 * day, 7 * day, day, 0}

// expiryStep is how many of the steps a certificate has behind it.
//
// Short-lived certificates have shorter steps, in proportion, so that the
// first comes when a third of the lifetime is left. It is a sixth for those
// that the gateway renews itself, which begins at a third: what is late by
// half of the time that there was for it is worth a warning.
func expiryStep(leaf *x509.Certificate, renewed bool, now time.Time) int {
	first := leaf.NotAfter.Sub(leaf.NotBefore) / 3
	if renewed {
		first /= 2
	}
	scale := min(1, float64(first)/float64(expirySteps[0]))
	left := leaf.NotAfter.Sub(now)
	for i, step := range expirySteps {
		if float64(left) > scale*float64(step) {
			return i
		}
	}
	return len(expirySteps)
}

// expired is what expiryStep says of a certificate at its end.
const expired = len(expirySteps)

// daysLeft are whole days until the end of a certificate, less than zero
// behind it.
func daysLeft(leaf *x509.Certificate, now time.Time) int {
	return int(math.Floor(leaf.NotAfter.Sub(now).Hours() / 24))
}

// servedCertificate is one that the gateway serves, and whether it renews it.
type servedCertificate struct {
	certs.Certificate
	renewed bool
}

// expiryWatch warns of certificates that are about to expire. It outlives
// reloads, so that nothing is said twice.
type expiryWatch struct {
	look   func() []servedCertificate // what is served now
	log    *slog.Logger
	warned map[[sha256.Size]byte]int // step by certificate; -1 if it is not valid yet
}

// expiryInterval is how often the certificates are looked at.
const expiryInterval = time.Minute

// watchExpiry starts the goroutine that warns of what expires, and shows the
// same certificates to the metrics, with the first configuration.
func (s *Server) watchExpiry() {
	if s.stopExpiry != nil {
		return
	}
	s.Metrics.ServeCertificates(func() []metrics.Certificate {
		var all []metrics.Certificate
		for _, cert := range s.served() {
			all = append(all, metrics.Certificate{Name: cert.Source, Key: cert.Key.String(), NotAfter: cert.Leaf.NotAfter})
		}
		return all
	})
	ctx, cancel := context.WithCancel(context.Background())
	s.stopExpiry = cancel
	s.departed.Go(func() { (&expiryWatch{look: s.served, log: s.log()}).run(ctx) })
}

// served are the certificates of the configuration that is in force.
func (s *Server) served() []servedCertificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil
	}
	files := make(map[string]bool)
	for _, c := range s.current.config.Certificates {
		files[c.Name] = c.Files != nil
	}
	var all []servedCertificate
	for _, cert := range s.current.store.Certificates() {
		all = append(all, servedCertificate{cert, !files[cert.Source]})
	}
	return all
}

// run looks at the certificates until ctx is done.
func (w *expiryWatch) run(ctx context.Context) {
	ticker := time.NewTicker(expiryInterval)
	defer ticker.Stop()
	for {
		w.check(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// check logs what is new about each certificate, and forgets those that are
// gone.
func (w *expiryWatch) check(now time.Time) {
	warned := make(map[[sha256.Size]byte]int)
	for _, cert := range w.look() {
		id := sha256.Sum256(append([]byte(cert.Source+"\x00"), cert.Leaf.Raw...))
		step := expiryStep(cert.Leaf, cert.renewed, now)
		if now.Before(cert.Leaf.NotBefore) {
			step = -1
		}
		if step != 0 && step != w.warned[id] {
			w.warn(cert, step, now)
		}
		warned[id] = step
	}
	w.warned = warned
}

func (w *expiryWatch) warn(cert servedCertificate, step int, now time.Time) {
	level, message := slog.LevelWarn, "certificate expires soon"
	switch {
	case step == expired:
		level, message = slog.LevelError, "certificate has expired"
	case step < 0:
		message = "certificate is not valid yet"
	case cert.renewed:
		message = "certificate expires soon, and its renewal is late"
	}
	w.log.Log(context.Background(), level, message, "certificate", cert.Source, "key", cert.Key.String(),
		"names", cert.ServerNames(), "serial", fmt.Sprintf("%x", cert.Leaf.SerialNumber),
		"not_before", cert.Leaf.NotBefore, "not_after", cert.Leaf.NotAfter, "days_left", daysLeft(cert.Leaf, now))
}
