package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/suitegate/suitegate/proxy/audit"
)

// An Action changes the gateway for an operator who may. What it returns is
// answered as JSON with 200 OK, and so is its error: with the status of a
// [Failure], or as 500 Internal Server Error.
//
// Values of the pattern that it stands under are in r.PathValue.
type Action func(r *http.Request, by audit.Operator) (any, error)

// Failure is an error of an [Action] that has a status of HTTP.
type Failure struct {
	Status   int
	Err      error
	Mistakes []string // in the configuration, each with its position
}

// Error implements error.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap implements errors.Unwrap.
func (f *Failure) Unwrap() error { return f.Err }

// refusal is what a request is told that was not done.
type refusal struct {
	Error    string   `json:"error"`
	Mistakes []string `json:"mistakes,omitempty"`
}

func (s *Source) addActions(mux *http.ServeMux) {
	guesses := newGuesses(s.Audit)
	for pattern, action := range s.Actions {
		mux.HandleFunc(pattern, s.change(pattern, action, guesses))
	}
	if s.HandOver != nil {
		mux.HandleFunc("/takeover", s.takeover)
	}
}

// change serves an action to those who may, by POST alone.
func (s *Source) change(pattern string, do Action, guesses *guesses) http.HandlerFunc {
	who := newAuthority(s.Token)
	return func(w http.ResponseWriter, r *http.Request) {
		by, err := who.judge(r)
		if err != nil {
			if errors.Is(err, errBadToken) {
				guesses.record(audit.Entry{Action: "admin_request", By: by, Err: fmt.Errorf("%s: %w", pattern, err)})
			}
			fail(w, err)
			return
		}
		answer, err := do(r, by)
		if err != nil {
			fail(w, err)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	}
}

// Switched is what the other side of a connection is told that HandOver gets.
const Switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: suitegate-takeover\r\n\r\n"

var errSocketOnly = errors.New("sockets are handed over through admin.socket alone")

// takeover gives the connection of a request to HandOver.
func (s *Source) takeover(w http.ResponseWriter, r *http.Request) {
	by, err := newAuthority(s.Token).judge(r)
	if err == nil && by.Via != audit.ViaSocket {
		err = &Failure{Status: http.StatusForbidden, Err: errSocketOnly}
	}
	if err != nil {
		fail(w, err)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		fail(w, err)
		return
	}
	unix, ok := conn.(*net.UnixConn)
	if _, err := conn.Write([]byte(Switched)); err != nil || !ok {
		_ = conn.Close() // the other side knows
		return
	}
	s.HandOver(unix, by)
}

func fail(w http.ResponseWriter, err error) {
	answer, status := refusal{Error: err.Error()}, http.StatusInternalServerError
	if f := (*Failure)(nil); errors.As(err, &f) {
		status, answer.Mistakes = f.Status, f.Mistakes
	}
	switch status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="suitegate"`)
	}
	writeJSON(w, status, answer)
}

func writeJSON(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false) // JSON is not shown as HTML, and arrows are
	_ = encoder.Encode(answer)   // the client went away: there is nobody to tell
}

// guard keeps pages of other sites from what the handler answers.
func guard(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rebound(r) {
			fail(w, &Failure{Status: http.StatusForbidden,
				Err: fmt.Errorf("the name %q is none of a loopback address: use localhost, or the address", r.Host)})
			return
		}
		handler.ServeHTTP(w, r)
	})
}
