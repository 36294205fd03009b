package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/proxy/audit"
)

var token = strings.Repeat("t0", MinToken/2)

// Who may change the gateway, and what all the others are told.
func TestAuthority(t *testing.T) {
	right := "Bearer " + token
	for _, test := range []struct {
		name    string
		token   string // of the server
		method  string
		path    string
		header  map[string]string
		status  int
		answer  string
		entries int // of the audit log
	}{
		{"the token", token, "POST", "/nodes/a/drain", map[string]string{"Authorization": right}, 200, `"drained": "a"`, 0},
		{"in another spelling of the scheme", token, "POST", "/nodes/a/drain", map[string]string{"Authorization": "bearer  " + token}, 200, `"drained": "a"`, 0},
		{"a page of the same origin", token, "POST", "/nodes/a/drain", map[string]string{"Authorization": right, "Sec-Fetch-Site": "same-origin"}, 200, `"drained": "a"`, 0},
		{"a page of another site", token, "POST", "/nodes/a/drain", map[string]string{"Authorization": right, "Sec-Fetch-Site": "cross-site"}, 403, "cross-origin", 0},
		{"a page of another origin", token, "POST", "/nodes/a/drain", map[string]string{"Authorization": right, "Origin": "http://evil.example"}, 403, "cross-origin", 0},
		{"no token", token, "POST", "/nodes/a/drain", nil, 401, errNoToken.Error(), 0},
		{"no scheme", token, "POST", "/nodes/a/drain", map[string]string{"Authorization": token}, 401, errNoToken.Error(), 0},
		{"another scheme", token, "POST", "/nodes/a/drain", map[string]string{"Authorization": "Basic " + token}, 401, errNoToken.Error(), 0},
		{"another token", token, "POST", "/nodes/a/drain", map[string]string{"Authorization": right + "0"}, 401, errBadToken.Error(), 1},
		{"an empty token", token, "POST", "/nodes/a/drain", map[string]string{"Authorization": "Bearer "}, 401, errNoToken.Error(), 0},
		{"read-only", "", "POST", "/nodes/a/drain", map[string]string{"Authorization": right}, 403, errReadOnly.Error(), 0},
		{"read-only, and an empty token", "", "POST", "/nodes/a/drain", map[string]string{"Authorization": "Bearer "}, 403, errReadOnly.Error(), 0},
		{"GET", token, "GET", "/nodes/a/drain", map[string]string{"Authorization": right}, 405, `it takes POST, not \"GET\"`, 0},
		{"a failure", token, "POST", "/nodes/none/drain", map[string]string{"Authorization": right}, 404, `"error": "no node none"`, 0},
		{"a defect", token, "POST", "/nodes/bad/drain", map[string]string{"Authorization": right}, 500, `"error": "bad"`, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			var book bytes.Buffer
			var operators []audit.Operator
			h := Handler(Source{
				Token: []byte(test.token), Audit: &audit.Log{Fallback: slog.New(slog.NewTextHandler(&book, nil))},
				Actions: map[string]Action{"/nodes/{node}/drain": func(r *http.Request, by audit.Operator) (any, error) {
					operators = append(operators, by)
					switch node := r.PathValue("node"); node {
					case "none":
						return nil, &Failure{Status: http.StatusNotFound, Err: errors.New("no node none")}
					case "bad":
						return nil, errors.New("bad")
					default:
						return map[string]string{"drained": node}, nil
					}
				}},
			})
			r := httptest.NewRequest(test.method, test.path, nil)
			for name, value := range test.header {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.answer) {
				t.Errorf("%d %s, want %d with %s", w.Code, w.Body, test.status, test.answer)
			}
			if !json.Valid(w.Body.Bytes()) {
				t.Errorf("not JSON: %s", w.Body)
			}
			if got := w.Header().Get("WWW-Authenticate") != ""; got != (test.status == 401) {
				t.Errorf("WWW-Authenticate: %t", got)
			}
			if w.Code == 405 && w.Header().Get("Allow") != "POST" {
				t.Errorf("Allow: %q", w.Header().Get("Allow"))
			}
			acted := test.status == 200 || test.status == 404 || test.status == 500
			if want := (audit.Operator{Via: audit.ViaToken, Address: r.RemoteAddr}); acted && (len(operators) != 1 || operators[0] != want) || !acted && len(operators) > 0 {
				t.Errorf("done for %v", operators)
			}
			if n := strings.Count(book.String(), "log=audit"); n != test.entries || strings.Contains(book.String(), token) {
				t.Errorf("audit log:\n%s", &book)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	h := Handler(Source{Token: []byte(token), Actions: map[string]Action{"/reload": func(*http.Request, audit.Operator) (any, error) {
		return nil, &Failure{Status: 422, Err: errors.New("refused"), Mistakes: []string{"a.yml:1:2: → <this>"}}
	}}})
	r := httptest.NewRequest("POST", "/reload", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	want := "{\n  \"error\": \"refused\",\n  \"mistakes\": [\n    \"a.yml:1:2: → <this>\"\n  ]\n}\n"
	if diff := cmp.Diff(want, w.Body.String()); diff != "" || w.Code != 422 {
		t.Errorf("%d (-want +got):\n%s", w.Code, diff)
	}
}

// A page whose name leads to this host reads nothing of it.
func TestRebinding(t *testing.T) {
	h := Handler(Source{Ready: func() error { return nil }})
	for _, test := range []struct {
		local, host string
		status      int
	}{
		{"127.0.0.1", "127.0.0.1:9090", 200},
		{"127.0.0.1", "localhost:9090", 200},
		{"127.0.0.1", "LocalHost.", 200},
		{"127.0.0.1", "gateway.localhost:9090", 200},
		{"127.0.0.1", "[::1]:9090", 200},
		{"::1", "[::1]", 200},
		{"127.0.0.1", "192.0.2.1:9090", 200}, // a forwarded port: no name
		{"127.0.0.1", "evil.example:9090", 403},
		{"127.0.0.1", "evil.example", 403},
		{"::1", "localhost.evil.example:9090", 403},
		{"192.0.2.1", "gateway.example:9090", 200}, // not loopback: names lead there
	} {
		r := httptest.NewRequest("GET", "/readyz", nil)
		r.Host = test.host
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(test.local), Port: 9090}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != test.status {
			t.Errorf("%s asked for as %s: %d %s, want %d", test.local, test.host, w.Code, w.Body, test.status)
		}
	}
}

// Who comes through the Unix socket needs no token, and the kernel says who.
func TestSocketContext(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "admin.sock"))
	if err != nil {
		t.Fatal(err)
	}
	var by audit.Operator
	server := &http.Server{ConnContext: SocketContext, Handler: Handler(Source{Actions: map[string]Action{
		"/reload": func(_ *http.Request, who audit.Operator) (any, error) { by = who; return nil, nil },
	}})}
	done := make(chan error)
	go func() { done <- server.Serve(l) }()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", l.Addr().String())
	}}}
	response, err := client.Post("http://localhost/reload", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	server.Close()
	<-done
	if response.StatusCode != 200 || by.Via != audit.ViaSocket || by.Peer == nil || by.Peer.PID == 0 {
		t.Errorf("%s, done for %+v", response.Status, by)
	}
}
