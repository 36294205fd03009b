package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/proxy/upstream"
)

// serve answers one request with a Status.
func serve(t *testing.T, status Status, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h := Handler(Source{Status: func() Status { return status }, Ready: func() error { return nil }})
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	return w
}

// full is a Status with something everywhere. What clients or files can word
// would be markup, or a script, wherever it is not escaped.
func full() Status {
	const evil = `<script>alert("x")</script>' onerror=alert(1) x='`
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return Status{
		Host: evil, Version: "v1.2.3", GoVersion: "go1.26", State: "draining", StartedAt: at, ConfigFile: evil, LoadedAt: at,
		ReloadFailure: &ReloadFailure{At: at, Error: "gateway.yml:1:2: " + evil + "\ngateway.yml:3:4: twice"},
		Listeners: []Listener{{
			Name: evil, State: "draining", Address: "127.0.0.1:5671", Protocol: "auto", Policy: "rabbitmq",
			TLS13: []string{"TLS_AES_256_GCM_SHA384"}, TLS12: []string{"TLS_RSA_WITH_AES_128_CBC_SHA"}, Groups: []string{"X25519"},
			Unserved: []Unserved{{"TLS_X", evil}}, Certificates: []string{evil}, Clients: "require",
			Upstreams: map[string]string{"amqp": evil, "mqtt": "mosquitto"}, Limits: map[string]string{"max_connections": "7"},
			ConnectionsActive: 12345, ConnectionsTotal: 1234567, BytesFromClient: 1234567, BytesFromBackend: 9,
		}},
		Policies:   []Policy{{Name: evil, TLS13: []string{"TLS_AES_256_GCM_SHA384"}, Groups: []string{"P-256"}, Listeners: []string{evil}}},
		Handshakes: []Handshakes{{Listener: evil, Version: "TLSv1.3", Suite: "TLS_AES_256_GCM_SHA384", Count: 3}},
		Refusals:   []Refusals{{Listener: evil, Reason: "no_common_suite", Count: 2, LastAt: at, Client: evil, Error: evil}},
		Upstreams: []upstream.Status{{Name: "rabbit", Nodes: []upstream.NodeStatus{
			{Address: "127.0.0.1:5672", State: upstream.StateUp, Since: at, Connections: 3},
			{Name: evil, State: upstream.StateUnresolved, Since: at, Reason: "upstream_dns", Error: evil, Draining: true},
		}}},
		Certificates: []Certificate{{Name: evil, State: "expired", Key: "RSA", Names: []string{evil}, Issuer: evil, NotAfter: at}},
	}
}

// What is on the page was worded by clients and by whoever issues
// certificates. All of it is text.
func TestPageEscapes(t *testing.T) {
	page := serve(t, full(), "/").Body.String()
	quoted := regexp.MustCompile(`"[^"]*"`)
	for _, tag := range regexp.MustCompile(`<[^>]*>`).FindAllString(page, -1) {
		if strings.Contains(quoted.ReplaceAllString(tag, ""), "onerror") || strings.HasPrefix(tag, "<script") && tag != `<script src="/page/page.js" defer>` {
			t.Errorf("tag %s", tag)
		}
	}
	if n := strings.Count(page, "alert("); n < 15 {
		t.Errorf("%d of the texts are shown", n)
	}
	for _, want := range []string{"12\u202f345", "1\u202f234\u202f567", "1.23\u00a0MB", "no_<wbr>common_<wbr>suite", "amqp → ", "expired"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// TestPageOfNothing is what there is to see before the first client.
func TestPageOfNothing(t *testing.T) {
	page := serve(t, Status{State: "ready"}, "/").Body.String()
	for _, want := range []string{"Nobody was refused.", "None yet.", ">ready</span>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// Nothing on the page comes from anywhere else, nothing in it is inline, and
// browsers are told to hold it to that.
func TestPageIsSelfContained(t *testing.T) {
	for path, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/status": "application/json",
		"/page/page.css": "text/css; charset=utf-8", "/page/page.js": "text/javascript; charset=utf-8", "/page/icon.svg": "image/svg+xml",
	} {
		w := serve(t, full(), path)
		for name, want := range map[string]string{
			"Content-Type": kind, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if policy := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: Content-Security-Policy %q", path, policy)
		}
		text := strings.ReplaceAll(w.Body.String(), `xmlns="http://www.w3.org/2000/svg"`, "")
		if strings.Contains(text, "http://") || strings.Contains(text, "https://") || strings.Contains(text, "//cdn") {
			t.Errorf("%s names another host:\n%s", path, text)
		}
	}
	page := serve(t, Status{}, "/").Body.String()
	for _, inline := range []string{"<style", " style=", " onclick=", "javascript:"} {
		if strings.Contains(page, inline) {
			t.Errorf("the page has %s", inline)
		}
	}
}

// /status has all that the page shows, and its lists are lists.
func TestStatusJSON(t *testing.T) {
	w := serve(t, full(), "/status")
	var got Status
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full(), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Those that expire first are shown, and no more than a screen or two.
func TestCertificateRows(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var status Status
	for i := range maxRows + 7 {
		status.Certificates = append(status.Certificates, Certificate{Name: fmt.Sprintf("number-%d", i), NotAfter: at.Add(-time.Duration(i) * time.Hour)})
	}
	status.Awaited = []string{"public"}
	page := serve(t, status, "/").Body.String()
	for text, want := range map[string]bool{
		"number-106 ": true, "number-7 ": true, "number-6 ": false, "And 7 more": true, "obtained for public": true,
	} {
		if strings.Contains(page, text) != want {
			t.Errorf("shows %q: %t", text, !want)
		}
	}
}

func TestShares(t *testing.T) {
	v := newView(Status{
		Listeners: []Listener{{Name: "a", ConnectionsActive: 1, ConnectionsTotal: 9, BytesFromClient: 5}, {Name: "b", ConnectionsActive: 2, ConnectionsTotal: 4, BytesFromBackend: 6}},
		Handshakes: []Handshakes{
			{Listener: "a", Version: "TLSv1.2", Suite: "OLD", Count: 1},
			{Listener: "a", Version: "TLSv1.3", Suite: "NEW", Group: "X25519", Count: 3},
			{Listener: "a", Version: "TLSv1.3", Suite: "NEW", Group: "P-256", Resumed: true, Count: 2},
			{Listener: "b", Version: "TLSv1.3", Suite: "NEW", Count: 1},
		},
		Refusals: []Refusals{{Count: 2}, {Count: 3}},
	})
	want := []share{{"a", "TLSv1.3", "NEW", 5, 2, 83}, {"a", "TLSv1.2", "OLD", 1, 0, 17}, {"b", "TLSv1.3", "NEW", 1, 0, 100}}
	if diff := cmp.Diff(want, v.Shares); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if v.ConnectionsActive != 3 || v.ConnectionsTotal != 13 || v.HandshakeTotal != 7 || v.RefusalTotal != 5 || v.BytesFromClient != 5 || v.BytesFromBackend != 6 {
		t.Errorf("%+v", v)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 seconds", time.Second: "1 second", 90 * time.Second: "90 seconds", 2 * time.Minute: "2 minutes", 100 * time.Minute: "100 minutes",
		2 * time.Hour: "2 hours", 25 * time.Hour: "1 day", 89 * 24 * time.Hour: "89 days", 1234 * 24 * time.Hour: "1\u202f234 days",
	} {
		if got := roughly(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	for n, want := range map[uint64]string{
		0: "0 B", 999: "999 B", 1000: "1.00 kB", 1234: "1.23 kB", 9994: "9.99 kB", 9996: "10.0 kB", 12345: "12.3 kB", 99960: "100 kB", 999499: "999 kB", 999500: "1.00 MB",
		1 << 40: "1.10 TB", 1<<64 - 1: "18.4 EB",
	} {
		if got := sizeOf(n); strings.ReplaceAll(got, "\u00a0", " ") != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1 000", 1234567: "1 234 567"} {
		if got := grouped(n); strings.ReplaceAll(got, "\u202f", " ") != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
