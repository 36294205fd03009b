package admin

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suitegate/suitegate/proxy/audit"
)

// Who guesses tokens can neither fill the audit log nor keep out of it.
func TestGuessesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var book bytes.Buffer
		g := newGuesses(&audit.Log{Fallback: slog.New(slog.NewTextHandler(&book, nil))})
		guess := func(n int) (entries []string) {
			book.Reset()
			for range n {
				g.record(audit.Entry{Action: "admin_request", By: audit.Operator{Via: audit.ViaToken}, Err: errors.New("wrong")})
			}
			for line := range strings.Lines(book.String()) {
				entries = append(entries, line)
			}
			return entries
		}
		if n := len(guess(1000)); n != guessesAtOnce {
			t.Errorf("%d entries for 1000 guesses at once, want %d", n, guessesAtOnce)
		}
		time.Sleep(guessesEvery)
		after := guess(5)
		if len(after) != 1 || !strings.Contains(after[0], "not_recorded_before=990") {
			t.Errorf("then %q, want one entry that tells of 990 before", after)
		}
		time.Sleep(time.Hour)
		calm := guess(2)
		if len(calm) != 2 || !strings.Contains(calm[0], "not_recorded_before=4") || strings.Contains(calm[1], "not_recorded_before") {
			t.Errorf("an hour later %q, want two entries, the first of which tells of 4 before", calm)
		}
	})
}
