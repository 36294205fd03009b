package admin

import (
	"encoding/json"
	"errors"
	"fmt"
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

// change serves an action to those who may, by POST alone.
func (s *Source) change(pattern string, do Action) http.HandlerFunc {
	who := newAuthority(s.Token)
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			fail(w, &Failure{Status: http.StatusMethodNotAllowed, Err: fmt.Errorf("this changes the gateway: it takes POST, not %q", r.Method)})
			return
		}
		by, err := who.judge(r)
		if err != nil {
			if errors.Is(err, errBadToken) {
				s.Audit.Record(audit.Entry{Action: "admin_request", By: by, Err: fmt.Errorf("%s: %w", pattern, err)})
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

func fail(w http.ResponseWriter, err error) {
	answer, status := refusal{Error: err.Error()}, http.StatusInternalServerError
	if f := (*Failure)(nil); errors.As(err, &f) {
		status, answer.Mistakes = f.Status, f.Mistakes
	}
	if status == http.StatusUnauthorized {
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
