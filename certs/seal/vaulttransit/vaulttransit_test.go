package vaulttransit_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/suitegate/suitegate/certs/seal"
	"github.com/suitegate/suitegate/certs/seal/sealtest"
	"github.com/suitegate/suitegate/certs/seal/vaulttest"
	"github.com/suitegate/suitegate/certs/seal/vaulttransit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var site = seal.Context{"suitegate:storage": "test", "suitegate:principal": "certificates/mq.example"}

const keyPath = "transit/suitegate"

// newServer has a key, and a token that seals and opens with it.
func newServer(t *testing.T) (server *vaulttest.Server, token string) {
	t.Helper()
	server = vaulttest.NewServer()
	t.Cleanup(server.Close)
	server.CreateKey(keyPath)
	return server, server.CreateToken("transit/encrypt/suitegate", "transit/decrypt/suitegate")
}

func always(token string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(token), nil }
}

func newKey(t *testing.T, c vaulttransit.Config) *vaulttransit.Key {
	t.Helper()
	if c.Name == "" {
		c.Name = "suitegate"
	}
	k, err := vaulttransit.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// wantCause fails the test unless err is a *seal.KeyError of this key and cause.
func wantCause(t *testing.T, err error, k seal.Key, cause string) {
	t.Helper()
	keyErr, ok := err.(*seal.KeyError)
	if !ok || keyErr.Cause != cause || keyErr.Key != k.ID() {
		t.Errorf("error %v, want %s of %s", err, cause, k.ID())
	}
}

func TestRoundTrip(t *testing.T) {
	server, token := newServer(t)
	k := newKey(t, vaulttransit.Config{Address: server.URL, Token: always(token)})
	if k.ID() != "vault:transit/suitegate" {
		t.Errorf("ID %s", k.ID())
	}
	plain, wrapped, err := k.GenerateDataKey(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := k.Decrypt(t.Context(), wrapped, site)
	if err != nil {
		t.Fatal(err)
	}
	if len(plain) != seal.DataKeySize || !bytes.Equal(plain, opened) {
		t.Errorf("a data key of %d bytes came back as one of %d", len(plain), len(opened))
	}
	another, _, err := k.GenerateDataKey(t.Context(), site)
	if err != nil || bytes.Equal(another, plain) {
		t.Errorf("the next data key is the same one, error %v", err)
	}
	const want = `{"suitegate:principal":"certificates/mq.example","suitegate:storage":"test"}`
	for _, call := range server.Calls() {
		if call.Status != http.StatusOK || call.Key != keyPath || call.AssociatedData != want {
			t.Errorf("%+v", call)
		}
	}
	server.RotateKey(keyPath, 1)
	if opened, err := k.Decrypt(t.Context(), wrapped, site); err != nil || !bytes.Equal(plain, opened) {
		t.Errorf("after a rotation: %v", err)
	}
	server.RotateKey(keyPath, 2)
	_, err = k.Decrypt(t.Context(), wrapped, site)
	wantCause(t, err, k, seal.KeyDenied)
}

// Every fault at every operation has its cause, and each is one request.
func TestFaults(t *testing.T) {
	server, token := newServer(t)
	k := newKey(t, vaulttransit.Config{Address: server.URL, Token: always(token)})
	good, wrapped, err := k.GenerateDataKey(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	operations := map[string]func(context.Context) ([]byte, error){
		vaulttest.Encrypt: func(ctx context.Context) ([]byte, error) {
			plain, _, err := k.GenerateDataKey(ctx, site)
			return plain, err
		},
		vaulttest.Decrypt: func(ctx context.Context) ([]byte, error) { return k.Decrypt(ctx, wrapped, site) },
	}
	for _, fault := range vaulttest.Faults {
		for operation, do := range operations {
			t.Run(fmt.Sprint(operation, "/", fault), func(t *testing.T) {
				before := len(server.Calls())
				server.Fail(operation, 1, fault)
				timeout := time.Minute
				if fault == sealtest.Slow {
					timeout = 50 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				plain, err := do(ctx)
				if fault.Cause() == "" || fault == sealtest.ShortPlaintext && operation == vaulttest.Encrypt {
					// What was wrapped is another key than what is here: to open it shows that.
					if err != nil || bytes.Equal(plain, good) {
						t.Errorf("error %v; want another data key", err)
					}
					return
				}
				wantCause(t, err, k, fault.Cause())
				if plain != nil {
					t.Error("there is a data key beside the error")
				}
				for shown := err; shown != nil; shown = errors.Unwrap(shown) {
					text := fmt.Sprintf("%+v", shown)
					if strings.Contains(text, base64.StdEncoding.EncodeToString(good)) || strings.Contains(text, token) {
						t.Errorf("the error shows a secret: %s", text)
					}
				}
				if n := len(server.Calls()) - before; n != 1 {
					t.Errorf("%d requests", n)
				}
				if _, err := do(t.Context()); err != nil {
					t.Errorf("when the fault is gone: %v", err)
				}
			})
		}
	}
}

func TestUnreachable(t *testing.T) {
	server, token := newServer(t)
	k := newKey(t, vaulttransit.Config{Address: server.URL, Token: always(token)})
	server.Seal(true)
	_, _, err := k.GenerateDataKey(t.Context(), site)
	wantCause(t, err, k, seal.KeyUnreachable)
	server.Seal(false)
	if _, _, err := k.GenerateDataKey(t.Context(), site); err != nil {
		t.Errorf("unsealed: %v", err)
	}
	server.Close()
	_, _, err = k.GenerateDataKey(t.Context(), site)
	wantCause(t, err, k, seal.KeyUnreachable)
}

// A token is read for each request, so that one that was replaced is used at once.
func TestTokens(t *testing.T) {
	server, first := newServer(t)
	second := server.CreateToken("transit/encrypt/suitegate")
	current, failure := first, error(nil)
	k := newKey(t, vaulttransit.Config{Address: server.URL, Token: func() ([]byte, error) { return []byte(current), failure }})
	_, wrapped, err := k.GenerateDataKey(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	caller := k.Caller(t.Context())
	server.RevokeToken(first)
	_, _, err = k.GenerateDataKey(t.Context(), site)
	wantCause(t, err, k, seal.KeyCredentials)

	current = second
	if _, _, err := k.GenerateDataKey(t.Context(), site); err != nil {
		t.Errorf("with the new token: %v", err)
	}
	_, err = k.Decrypt(t.Context(), wrapped, site)
	wantCause(t, err, k, seal.KeyDenied)
	if now := k.Caller(t.Context()); now == caller || !strings.HasPrefix(now, "token-sha256:") || strings.Contains(now, second) {
		t.Errorf("caller %q, and before %q", now, caller)
	}

	for _, current = range []string{"", "two words", "a\nline", "umläut"} {
		_, _, err = k.GenerateDataKey(t.Context(), site)
		wantCause(t, err, k, seal.KeyCredentials)
		if current != "" && strings.Contains(err.Error(), current) {
			t.Errorf("the error shows the token: %v", err)
		}
	}
	failure = errors.New("no such file")
	_, _, err = k.GenerateDataKey(t.Context(), site)
	wantCause(t, err, k, seal.KeyCredentials)
	if k.Caller(t.Context()) != "" {
		t.Errorf("caller %q without a token", k.Caller(t.Context()))
	}
}

// What was wrapped opens with the same key and context, and no other.
func TestContext(t *testing.T) {
	server, _ := newServer(t)
	server.CreateKey("transit/other")
	token := always(server.CreateToken("transit/encrypt/suitegate", "transit/decrypt/suitegate", "transit/decrypt/other"))
	k := newKey(t, vaulttransit.Config{Address: server.URL, Token: token})
	other := newKey(t, vaulttransit.Config{Address: server.URL, Token: token, Name: "other"})
	_, wrapped, err := k.GenerateDataKey(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	for name, ec := range map[string]seal.Context{
		"none":    nil,
		"less":    {"suitegate:storage": "test"},
		"another": {"suitegate:storage": "test", "suitegate:principal": "certificates/other.example"},
	} {
		if _, err := k.Decrypt(t.Context(), wrapped, ec); err == nil {
			t.Errorf("%s: opened", name)
		} else {
			wantCause(t, err, k, seal.KeyInvalidValue)
		}
	}
	_, err = other.Decrypt(t.Context(), wrapped, site)
	wantCause(t, err, other, seal.KeyInvalidValue)
	_, err = k.Decrypt(t.Context(), []byte("not from Vault"), site)
	wantCause(t, err, k, seal.KeyInvalidValue)

	server.DeleteKey(keyPath)
	_, err = k.Decrypt(t.Context(), wrapped, site)
	wantCause(t, err, k, seal.KeyNotFound)
	_, _, err = k.GenerateDataKey(t.Context(), site) // a token without create cannot make it anew
	wantCause(t, err, k, seal.KeyDenied)
}

// A server that cannot bind a data key to its context is not used.
func TestWithoutAssociatedData(t *testing.T) {
	server, _ := newServer(t)
	server.CreateRSAKey("transit/rsa")
	token := always(server.CreateToken("transit/encrypt/suitegate", "transit/encrypt/rsa"))
	rsa := newKey(t, vaulttransit.Config{Address: server.URL, Token: token, Name: "rsa"})
	_, _, err := rsa.GenerateDataKey(t.Context(), site)
	wantCause(t, err, rsa, seal.KeyWrongAnswer)

	server.TooOld = true
	k := newKey(t, vaulttransit.Config{Address: server.URL, Token: token})
	_, _, err = k.GenerateDataKey(t.Context(), site)
	wantCause(t, err, k, seal.KeyWrongAnswer)
}

func TestNamespaceAndMount(t *testing.T) {
	server, _ := newServer(t)
	server.CreateKey("teams/mq/secrets/transit/suitegate")
	token := server.CreateToken("teams/mq/secrets/transit/encrypt/suitegate")
	k := newKey(t, vaulttransit.Config{Address: server.URL, Namespace: "teams/mq/", Mount: "/secrets/transit", Token: always(token)})
	if want := "vault:teams/mq/secrets/transit/suitegate"; k.ID() != want {
		t.Errorf("ID %s, want %s", k.ID(), want)
	}
	if _, _, err := k.GenerateDataKey(t.Context(), site); err != nil {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	server := vaulttest.NewTLSServer()
	t.Cleanup(server.Close)
	server.CreateKey(keyPath)
	token := always(server.CreateToken("transit/encrypt/suitegate"))
	stranger := newKey(t, vaulttransit.Config{Address: server.URL, Token: token})
	_, _, err := stranger.GenerateDataKey(t.Context(), site)
	wantCause(t, err, stranger, seal.KeyUnreachable)
	if n := len(server.Calls()); n != 0 {
		t.Errorf("%d requests went to a server that was not verified", n)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, server.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	k := newKey(t, vaulttransit.Config{Address: server.URL, Token: token, CA: ca})
	if _, _, err := k.GenerateDataKey(t.Context(), site); err != nil {
		t.Error(err)
	}
}

// A token does not follow a server that sends elsewhere.
func TestRedirect(t *testing.T) {
	server, token := newServer(t)
	standby := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, server.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(standby.Close)
	k := newKey(t, vaulttransit.Config{Address: standby.URL, Token: always(token)})
	_, _, err := k.GenerateDataKey(t.Context(), site)
	wantCause(t, err, k, seal.KeyUnreachable)
	if n := len(server.Calls()); n != 0 {
		t.Errorf("%d requests followed", n)
	}
}

func TestNewRefuses(t *testing.T) {
	good := vaulttransit.Config{Address: "https://vault.example:8200", Name: "suitegate", Token: always("hvs.token")}
	broken := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(broken, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*vaulttransit.Config)
		want   string
	}{
		"nothing":          {func(*vaulttransit.Config) {}, ""},
		"plaintext":        {func(c *vaulttransit.Config) { c.Address = "http://vault.example:8200" }, "neither https nor on this host"},
		"password":         {func(c *vaulttransit.Config) { c.Address = "https://me:hunter2@vault.example" }, "user name or password"},
		"no name":          {func(c *vaulttransit.Config) { c.Name = "" }, "no name of a key"},
		"path as name":     {func(c *vaulttransit.Config) { c.Name = "a/b" }, "no name of a key"},
		"way out":          {func(c *vaulttransit.Config) { c.Name = ".." }, "no name of a key"},
		"mount way out":    {func(c *vaulttransit.Config) { c.Mount = "transit/../sys" }, "no path of an engine"},
		"mount query":      {func(c *vaulttransit.Config) { c.Mount = "transit?x" }, "no path of an engine"},
		"namespace":        {func(c *vaulttransit.Config) { c.Namespace = "a b" }, "no namespace"},
		"no token":         {func(c *vaulttransit.Config) { c.Token = nil }, "no token"},
		"no authority":     {func(c *vaulttransit.Config) { c.CA = broken }, "no certificate in it"},
		"authority's gone": {func(c *vaulttransit.Config) { c.CA = broken + ".old" }, "no such file"},
	} {
		c := good
		test.change(&c)
		_, err := vaulttransit.New(c)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows a password", name)
		}
	}
}
