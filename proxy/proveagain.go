package proxy

import (
	"context"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/audit"
)

// proofInterval is how often it is looked whether what is proved is still what is
// in force.
const proofInterval = time.Minute

// watchProof starts the goroutine that does so with the first configuration.
func (s *Server) watchProof(previous *generation) {
	if previous != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stopProof = cancel
	s.departed.Go(func() {
		ticker := time.NewTicker(proofInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				s.proveAgain(ctx)
			}
		}
	})
}

// proveAgain proves the listeners once more if a certificate has come, or is
// another in its type of key or its names: it was obtained, issued or replaced.
// There is no configuration from before to go back to, so that a difference makes
// the gateway unready.
func (s *Server) proveAgain(ctx context.Context) {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	g := s.current
	s.mu.Unlock()
	if g == nil || g.config.Prove.Mode == configs.ProveOff || slices.Equal(g.proved, g.toProve()) {
		return
	}
	e, err := s.prove(ctx, g)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		s.log().Error("the gateway is no longer ready", "error", err)
	}
	s.proved(audit.Operator{Via: audit.ViaGateway}, g.config, e, false)
	s.mu.Lock()
	s.unproved = err
	s.mu.Unlock()
}

// toProve are the digests of what all answers come from now.
func (g *generation) toProve() (all [][sha256.Size]byte) {
	offers := storedOffers(g.store.Certificates())
	for _, r := range g.served() {
		kinds, _ := r.kindsNow(offers)
		all = append(all, r.provedContent(kinds))
	}
	return all
}
