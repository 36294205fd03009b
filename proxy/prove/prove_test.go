package prove

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/suitegate/suitegate/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask runs against a crypto/tls server, which is none of the gateway's.
func ask(t *testing.T, p *policy.Policy, change func(*tls.Config)) []Cell {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS12, CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256},
		CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
	}
	change(config)
	var servers sync.WaitGroup
	defer servers.Wait()
	bound, _ := p.Bind(policy.Have{Keys: []policy.KeyType{policy.RSA}})
	cells, err := Run(t.Context(), Target{ServerName: "localhost", Expect: Expect(bound), Dial: func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		servers.Go(func() {
			defer server.Close()
			_ = tls.Server(server, config).Handshake() // never ends well
		})
		return client, nil
	}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return cells
}

func differences(cells []Cell) (list []string) {
	for _, c := range cells {
		// crypto/tls blames the handshake for what is a matter of the version.
		if c.Differs() && !(strings.HasPrefix(c.Expected, "alert") && strings.HasPrefix(c.Got, "alert")) {
			list = append(list, c.String())
		}
	}
	return list
}

func strict(t *testing.T) *policy.Policy {
	t.Helper()
	p, err := policy.New("strict", []string{"ECDHE-RSA-AES128-GCM-SHA256"},
		[]string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}, []string{"X25519", "P-256"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRun(t *testing.T) {
	cells := ask(t, strict(t), func(*tls.Config) {})
	if got := differences(cells); len(got) > 0 || len(cells) < 500 {
		t.Errorf("%d cells, differences %q", len(cells), got)
	}

	// A server that admits more than the policy says.
	got := differences(ask(t, strict(t), func(c *tls.Config) {
		c.CipherSuites = append(c.CipherSuites, tls.TLS_RSA_WITH_AES_128_CBC_SHA)
	}))
	if want := "TLSv1.2, suites TLS_RSA_WITH_AES_128_CBC_SHA, groups X25519: expected alert 40 (handshake failure), got TLSv1.2 TLS_RSA_WITH_AES_128_CBC_SHA"; !strings.Contains(strings.Join(got, "\n"), want) {
		t.Errorf("%q, want %s", got, want)
	}

	// One that refuses what it has to admit: a group, in both versions.
	got = differences(ask(t, strict(t), func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} }))
	if len(got) != 4 || !strings.Contains(got[3], "expected TLSv1.2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 P-256, got alert 40") {
		t.Errorf("%q", got)
	}
}

// No answer is a difference, and the end of ctx an error.
func TestNoAnswer(t *testing.T) {
	shut := errors.New("shut")
	target := Target{Expect: Expect(strict(t)), Dial: func(context.Context) (net.Conn, error) { return nil, shut }}
	cells, err := Run(t.Context(), target, Options{Again: time.Nanosecond})
	if err != nil || len(cells) == 0 || cells[0].Got != "error: shut" {
		t.Errorf("%v, %v", cells, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(shut)
	if _, err := Run(ctx, target, Options{}); !errors.Is(err, shut) {
		t.Error(err)
	}
}

func TestEvidence(t *testing.T) {
	e := &Evidence{Suitegate: "v1", Time: time.Unix(1, 0).UTC(), Listeners: []Listener{{Name: "<a>", Clients: []Clients{{Cells: []Cell{
		{Version: "TLSv1.2", Expected: "a", Got: "a"}, {Version: "TLSv1.2", Expected: "a", Got: "b"},
	}}}}}}
	if err := e.Seal(); err != nil || e.Offers != 2 || e.Differences != 1 {
		t.Fatalf("%+v, %v", e, err)
	}
	path := filepath.Join(t.TempDir(), "evidence.json")
	if err := e.Write(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if read, err := Verify(text); err != nil || read.SHA256 != e.SHA256 {
		t.Errorf("%+v, %v", read, err)
	}
	if _, err := Verify([]byte(strings.Replace(string(text), `"got": "b"`, `"got": "a"`, 1))); !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
	for _, bad := range []string{"", "{}", `{"format": 2}`, `{"format": 1, "more": 1}`} {
		if _, err := Verify([]byte(bad)); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
	if err := e.Write(filepath.Join(path, "below")); err == nil {
		t.Error("written below a file")
	}
	if _, err := json.Marshal(e); err != nil {
		t.Error(err)
	}
}
