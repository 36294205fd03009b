package admin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/suitegate/suitegate/proxy/metrics"
)

func TestHandler(t *testing.T) {
	var ready error
	source := Source{
		Metrics: metrics.New(),
		Ready:   func() error { return ready },
		Status: func() Status {
			return Status{
				ConfigFile: "gateway.yml", LoadedAt: time.Unix(1700000000, 0).UTC(),
				Listeners: []Listener{{Name: "amqps", Address: "127.0.0.1:5671", Protocol: "amqp", Policy: "rabbitmq",
					TLS13: []string{"TLS_AES_256_GCM_SHA384"}, ConnectionsActive: 3}},
			}
		},
	}
	get := func(h http.Handler, method, path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w.Code, w.Body.String()
	}
	h := Handler(source)
	for _, tt := range []struct {
		method, path string
		ready        error
		code         int
		contains     string
	}{
		{"GET", "/healthz", nil, 200, "ok\n"},
		{"GET", "/healthz", errors.New("draining"), 200, "ok\n"},
		{"GET", "/readyz", nil, 200, "ready\n"},
		{"GET", "/readyz", errors.New("draining"), 503, "draining\n"},
		{"GET", "/status", nil, 200, `"name": "amqps"`},
		{"GET", "/status", nil, 200, `"connections_active": 3`},
		{"GET", "/metrics", nil, 200, "go_goroutines"},
		{"POST", "/readyz", nil, 405, "Method Not Allowed"},
		{"GET", "/debug/pprof/", nil, 404, "not found"},
	} {
		ready = tt.ready
		code, body := get(h, tt.method, tt.path)
		if code != tt.code || !strings.Contains(body, tt.contains) {
			t.Errorf("%s %s (ready: %v) = %d %q, want %d with %q", tt.method, tt.path, tt.ready, code, body, tt.code, tt.contains)
		}
	}
	source.Pprof = true
	if code, body := get(Handler(source), "GET", "/debug/pprof/"); code != 200 || !strings.Contains(body, "goroutine") {
		t.Errorf("pprof asked for: %d %q", code, body)
	}
}
