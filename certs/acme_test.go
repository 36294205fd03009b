package certs

import (
	"context"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/policy"
)

// silentCA is an authority that takes requests and answers none until the test
// ends: an order with it stays under way.
func silentCA(t *testing.T) (source Source, asked chan string) {
	t.Helper()
	asked = make(chan string, 100)
	end := make(chan struct{})
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		select {
		case <-end:
		case <-r.Context().Done():
			asked <- "broken off"
		}
	}))
	t.Cleanup(func() {
		close(end)
		server.Close()
	})
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return Source{Name: "public", ACME: &ACME{
		Names: []string{"a.example"}, Email: "ops@example.com", KeyTypes: []policy.KeyType{policy.RSA},
		Directory: server.URL + "/dir", Root: write(t, "root.pem", string(root)),
	}}, asked
}

// A store that is opened before the one before it is closed takes over its
// orders; the last one that is closed breaks them off.
func TestOrdersOutliveAStore(t *testing.T) {
	source, asked := silentCA(t)
	cfg := Config{Sources: []Source{source}, Storage: filepath.Join(t.TempDir(), "storage"), Issuances: new(Issuances)}
	first := open(t, cfg)
	first.Start()
	if path := <-asked; path != "/dir" {
		t.Fatalf("the authority was asked for %s", path)
	}
	second := open(t, cfg)
	second.Start()
	first.Close()
	third := open(t, cfg)
	third.Start()
	second.Close()
	changed := source
	changed.ACME = new(*source.ACME)
	changed.ACME.Email = "other@example.com"
	other := open(t, Config{Sources: []Source{changed}, Storage: cfg.Storage, Issuances: cfg.Issuances})
	if other.acme[0].issuances[0] == third.acme[0].issuances[0] {
		t.Error("other settings have the same order")
	}
	other.Close()
	select {
	case what := <-asked:
		t.Fatalf("the authority was asked again, or the order %s", what)
	default:
	}
	if !third.Pending([]string{"public"}, "A.example") || third.Pending([]string{"public"}, "b.example") || third.Pending([]string{"x"}, "a.example") {
		t.Error("Pending is wrong")
	}
	if _, err := third.Select([]string{"public"}, "a.example", policy.RSA); err == nil {
		t.Error("something is served")
	}
	third.Close()
	if what := <-asked; what != "broken off" {
		t.Errorf("the authority was asked for %s", what)
	}
	if len(cfg.Issuances.lines) > 0 {
		t.Error("something is left")
	}
}

// Nobody gets an answer to a challenge that is not open.
func TestNoChallenge(t *testing.T) {
	source, _ := silentCA(t)
	source.ACME.Challenges = []string{TLSALPN01, HTTP01}
	source.ACME.Names = []string{"a.example", "127.0.0.1"}
	var log logBuffer
	s := open(t, Config{Sources: []Source{source}, Storage: filepath.Join(t.TempDir(), "storage"), Logger: log.logger(slog.LevelInfo)})
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	if !s.SolvesTLSALPN() {
		t.Error("tls-alpn-01 is not solved")
	}
	for _, name := range []string{"a.example", "b.example", "", "1.0.0.127.in-addr.arpa", "../../x"} {
		if _, err := s.Challenge(server, name); !errors.Is(err, ErrNoChallenge) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, target := range []string{"/", "/.well-known/acme-challenge/token", "/metrics"} {
		for _, host := range []string{"a.example", "a.example:80", "b.example", "127.0.0.1"} {
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, target, nil)
			r.Host = host
			if s.ServeHTTP(w, r); w.Code != http.StatusNotFound {
				t.Errorf("%s%s: %d", host, target, w.Code)
			}
		}
	}
	if log.String() != "" {
		t.Errorf("strangers can write to the log: %s", log.String())
	}
}

func TestACMEMistakes(t *testing.T) {
	t.Setenv("SUITEGATE_TEST_MAC", "not base64url!")
	good := ACME{Names: []string{"a.example"}, Email: "ops@example.com"}
	for want, change := range map[string]func(*ACME){
		`acme.names: no name is set`:                                                    func(a *ACME) { a.Names = nil },
		`acme.names: "not ok" is neither a DNS name`:                                    func(a *ACME) { a.Names = []string{"not ok"} },
		`acme.names: "*.a.example" is a wildcard, which needs the challenge dns-01`:     func(a *ACME) { a.Names = []string{"*.a.example"} },
		`acme.email: no address is set`:                                                 func(a *ACME) { a.Email = "" },
		`acme.directory: "http://ca.example" is not an https URL`:                       func(a *ACME) { a.Directory = "http://ca.example" },
		`acme.root: open nowhere.pem`:                                                   func(a *ACME) { a.Root = "nowhere.pem" },
		`acme.key_types: neither RSA nor ECDSA P-256`:                                   func(a *ACME) { a.KeyTypes = []policy.KeyType{policy.Ed25519} },
		`acme.external_account: the environment variable SUITEGATE_NOTHING is not set,`: func(a *ACME) { a.ExternalAccount = &ExternalAccount{"k", Secret{Env: "SUITEGATE_NOTHING"}} },
		`acme.external_account: the MAC key is not base64url`:                           func(a *ACME) { a.ExternalAccount = &ExternalAccount{"k", Secret{Env: "SUITEGATE_TEST_MAC"}} },
	} {
		settings := good
		change(&settings)
		_, err := Check(Config{Sources: []Source{{Name: "x", ACME: &settings}}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		} else if strings.Contains(err.Error(), "base64url!") {
			t.Errorf("the key is in %v", err)
		}
	}
	if _, err := Check(Config{Sources: []Source{{Name: "x", ACME: &good}}}); err != nil {
		t.Error(err)
	}
}

// The variants of a certificate have places and locks of their own; accounts and
// challenges are shared, and a name has one order at a time.
func TestSiteStorage(t *testing.T) {
	plain := newFileStorage(t.TempDir())
	ctx := context.Background()
	newOrders := func() *orders {
		return &orders{storage: plain, logger: slog.New(slog.DiscardHandler), open: make(map[string]bool)}
	}
	rsa, ecdsa := siteStorage{plain, "rsa2048", newOrders()}, siteStorage{plain, "p256", newOrders()}
	for _, key := range []string{"certificates/ca/a.example/a.example.crt", "acme/ca/users/ops/ops.key"} {
		for storage, value := range map[siteStorage]string{rsa: "rsa", ecdsa: "ecdsa"} {
			if err := storage.Store(ctx, key, []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
	}
	keys, err := plain.List(ctx, "", true)
	if err != nil {
		t.Fatal(err)
	}
	keys = slices.DeleteFunc(keys, func(key string) bool { info, err := plain.Stat(ctx, key); return err != nil || !info.IsTerminal })
	slices.Sort(keys)
	want := []string{"acme/ca/users/ops/ops.key", "certificates/ca-p256/a.example/a.example.crt", "certificates/ca-rsa2048/a.example/a.example.crt"}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Error(diff)
	}
	if got, err := rsa.Load(ctx, "certificates/ca/a.example/a.example.crt"); err != nil || string(got) != "rsa" {
		t.Errorf("%s, %v", got, err)
	}
	if err := rsa.Delete(ctx, "certificates/ca/a.example"); err != nil || rsa.Exists(ctx, "certificates/ca/a.example/a.example.crt") || !ecdsa.Exists(ctx, "certificates/ca/a.example/a.example.crt") {
		t.Error("the wrong one is deleted", err)
	}
	const lock = "issue_cert_a.example"
	for _, storage := range []siteStorage{rsa, ecdsa} {
		if ok, err := storage.TryLock(ctx, lock); !ok || err != nil {
			t.Fatalf("the lock of another kind of key: %t, %v", ok, err)
		}
	}
	begins := func(storage siteStorage, want bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if err := storage.orders.begin(ctx, "a.example"); (err == nil) != want {
			t.Errorf("an order begins: %v, want %t", err, want)
		}
	}
	begins(rsa, true)
	begins(ecdsa, false) // two challenges for one name would be open at once
	rsa.orders.end(ctx, "a.example")
	begins(ecdsa, true)
	if err := ecdsa.RenewLockLease(ctx, lock, time.Hour); err != nil { // it has failed without a word, and is tried again
		t.Fatal(err)
	}
	begins(rsa, true)
	for _, storage := range []siteStorage{rsa, ecdsa} {
		if err := storage.Unlock(ctx, lock); err != nil {
			t.Error(err)
		}
	}
	begins(ecdsa, true)
	ecdsa.orders.end(ctx, "a.example")
}

// One kind of key that cannot be had keeps no other from being tried.
func TestKindsFailApart(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "out of order", http.StatusInternalServerError)
	}))
	t.Cleanup(server.Close)
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	failed := make(chan policy.KeyType, 10)
	s := open(t, Config{
		Storage: filepath.Join(t.TempDir(), "storage"),
		Sources: []Source{{Name: "public", ACME: &ACME{
			Names: []string{"a.example"}, Email: "ops@example.com", Directory: server.URL + "/dir", Root: write(t, "root.pem", string(root)),
		}}},
		Ordered: func(_ string, key policy.KeyType, _, ok bool) {
			if !ok {
				failed <- key
			}
		},
	})
	s.Start()
	seen := make(map[policy.KeyType]bool)
	for deadline := time.After(20 * time.Second); len(seen) < 2; {
		select {
		case key := <-failed:
			seen[key] = true
		case <-deadline:
			t.Fatalf("tried were %v alone", seen)
		}
	}
}
