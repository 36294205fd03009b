package admin

import (
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/suitegate/suitegate/proxy/audit"
)

// Whoever can reach the admin address can send wrong tokens, and every entry of
// the audit log is kept and synced: guesses in a row are written down ten at
// once, then one every six seconds.
const (
	guessesAtOnce = 10
	guessesEvery  = 6 * time.Second
)

// guesses writes down requests with a wrong token.
type guesses struct {
	log     *audit.Log
	limiter *rate.Limiter

	mu   sync.Mutex
	left int // that are not written down
}

func newGuesses(log *audit.Log) *guesses {
	return &guesses{log: log, limiter: rate.NewLimiter(rate.Every(guessesEvery), guessesAtOnce)}
}

// record writes an entry, or counts it for the next one that is written.
func (g *guesses) record(e audit.Entry) {
	g.mu.Lock()
	if !g.limiter.Allow() {
		g.left++
		g.mu.Unlock()
		return
	}
	if g.left > 0 {
		e.More = append(e.More, slog.Int("not_recorded_before", g.left))
		g.left = 0
	}
	g.mu.Unlock()
	g.log.Record(e)
}
