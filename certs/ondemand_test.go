package certs

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestOnDemandAllows(t *testing.T) {
	o := &OnDemand{Allow: []string{"a.example", "*.Tenants.example"}}
	for name, want := range map[string]bool{
		"a.example": true, "A.example": true, "x.tenants.example": true, "X.TENANTS.example": true,
		"b.example": false, "tenants.example": false, "x.y.tenants.example": false, "*.tenants.example": false,
		"": false, "192.0.2.1": false, "::1": false, "../x.tenants.example": false, ".tenants.example": false,
	} {
		if got := o.allows(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	if all := (&OnDemand{Ask: "x"}); !all.allows("b.example") || all.allows("192.0.2.1") || all.allows("a b") {
		t.Error("without patterns")
	}
}

// A client waits for its own name and for as long as it can, orders are bounded,
// and a no is remembered.
func TestDemand(t *testing.T) {
	var asked atomic.Int32
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if strings.HasPrefix(r.URL.Query().Get("domain"), "no.") {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer gate.Close()
	source, orders := silentCA(t)
	source.ACME.OnDemand = &OnDemand{Allow: []string{"*.tenants.example"}, Ask: gate.URL + "/ask?token=1"}
	cfg := Config{Sources: []Source{source}, Storage: filepath.Join(t.TempDir(), "storage"), Issuances: new(Issuances)}
	s := open(t, cfg)
	sources := []string{"public"}
	demand := func(s *Store, name string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		return s.Demand(ctx, sources, name)
	}

	for range 2 {
		if err := demand(s, "no.tenants.example"); !errors.Is(err, ErrNotDemanded) {
			t.Errorf("refused by the gate: %v", err)
		}
	}
	if err := demand(s, "elsewhere.example"); !errors.Is(err, ErrNotDemanded) || s.Demands(sources, "elsewhere.example") || s.Demands([]string{"x"}, "a.tenants.example") {
		t.Errorf("no pattern: %v", err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the gate was asked %d times", n)
	}
	for range 2 {
		if err := demand(s, "a.tenants.example"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("under way: %v", err)
		}
	}
	if path := <-orders; path != "/dir" {
		t.Errorf("the authority was asked for %s", path)
	}
	if !s.Pending(sources, "a.tenants.example") || s.Pending(sources, "b.tenants.example") {
		t.Error("Pending is wrong")
	}

	second := open(t, cfg) // as a reload does
	s.Close()
	if !second.Pending(sources, "a.tenants.example") {
		t.Error("the order is lost in the reload")
	}
	select {
	case what := <-orders:
		t.Errorf("the order: %s", what)
	default:
	}
	for i := range demandsPerMinute {
		if err := second.acme[0].demands.order(time.Now()); err != nil {
			t.Fatalf("order %d: %v", i, err)
		}
	}
	if err := demand(second, "b.tenants.example"); !errors.Is(err, errDemandRate) {
		t.Errorf("beyond the rate: %v", err)
	}
	if err := second.acme[0].demands.order(time.Now().Add(61 * time.Second)); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}
