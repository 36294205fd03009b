package awskms_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/suitegate/suitegate/certs/seal"
	"github.com/suitegate/suitegate/certs/seal/awskms"
	"github.com/suitegate/suitegate/certs/seal/kmstest"
	"github.com/suitegate/suitegate/certs/seal/sealtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var site = seal.Context{"suitegate:storage": "test", "suitegate:principal": "certificates/mq.example"}

// use makes the SDK find nothing but the credentials of one principal.
func use(t *testing.T, p kmstest.Principal) {
	t.Helper()
	nowhere := t.TempDir()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID":           p.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY":       p.SecretAccessKey,
		"AWS_SESSION_TOKEN":           p.SessionToken,
		"AWS_CONFIG_FILE":             nowhere + "/config",
		"AWS_SHARED_CREDENTIALS_FILE": nowhere + "/credentials",
		"AWS_EC2_METADATA_DISABLED":   "true",
		"AWS_ENDPOINT_URL_KMS":        "",
		"AWS_ENDPOINT_URL":            "",
		"AWS_PROFILE":                 "",
	} {
		t.Setenv(name, value)
	}
}

// both lets a principal do all that a writer does.
func both(p kmstest.Principal) kmstest.Permission {
	return kmstest.Permission{Principal: p.ARN, Operations: []string{kmstest.GenerateDataKey, kmstest.Decrypt}}
}

// newServer has a key that a writer may use, whose credentials are in force.
func newServer(t *testing.T) (server *kmstest.Server, writer kmstest.Principal, arn string) {
	t.Helper()
	server = kmstest.NewServer()
	t.Cleanup(server.Close)
	writer, arn = server.AddPrincipal("writer"), server.CreateKey()
	server.SetPolicy(arn, both(writer))
	use(t, writer)
	return server, writer, arn
}

func newKey(t *testing.T, c awskms.Config) *awskms.Key {
	t.Helper()
	k, err := awskms.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// wantCause fails the test unless err is a *seal.KeyError of this key and cause.
func wantCause(t *testing.T, err error, arn, cause string) {
	t.Helper()
	keyErr, ok := err.(*seal.KeyError)
	if !ok || keyErr.Cause != cause || keyErr.Key != arn {
		t.Errorf("error %v, want %s of %s", err, cause, arn)
	}
}

func TestRoundTrip(t *testing.T) {
	server, writer, arn := newServer(t)
	k := newKey(t, awskms.Config{Key: arn, Endpoint: server.URL})
	if k.ID() != arn {
		t.Errorf("ID %s, want %s", k.ID(), arn)
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
	if bytes.Contains(wrapped, plain) {
		t.Error("the wrapped data key shows the plain one")
	}
	for i, call := range server.Calls() {
		if call.Error != "" || call.Principal != writer.ARN || call.Key != arn || !maps.Equal(call.Context, site) {
			t.Errorf("call %d: %+v", i, call)
		}
	}
	if got, want := k.Caller(t.Context()), "EnvConfigCredentials:"+writer.AccessKeyID; got != want {
		t.Errorf("caller %q, want %q", got, want)
	}
}

// Every fault at every operation has its cause, and each is one request: trying
// again is done elsewhere.
func TestFaults(t *testing.T) {
	server, _, arn := newServer(t)
	k := newKey(t, awskms.Config{Key: arn, Endpoint: server.URL})
	good, wrapped, err := k.GenerateDataKey(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	operations := map[string]func(context.Context) ([]byte, error){
		kmstest.GenerateDataKey: func(ctx context.Context) ([]byte, error) {
			plain, _, err := k.GenerateDataKey(ctx, site)
			return plain, err
		},
		kmstest.Decrypt: func(ctx context.Context) ([]byte, error) { return k.Decrypt(ctx, wrapped, site) },
	}
	for _, fault := range kmstest.Faults {
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
				if fault.Cause() == "" {
					if err != nil || bytes.Equal(plain, good) {
						t.Errorf("error %v; want another data key", err)
					}
					return
				}
				wantCause(t, err, arn, fault.Cause())
				if plain != nil {
					t.Error("there is a data key beside the error")
				}
				for shown := err; shown != nil; shown = unwrap(shown) {
					if text := fmt.Sprintf("%+v", shown); strings.Contains(text, base64.StdEncoding.EncodeToString(good)) {
						t.Error("the error shows the data key")
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

func unwrap(err error) error {
	if wrapper, ok := err.(interface{ Unwrap() error }); ok {
		return wrapper.Unwrap()
	}
	return nil
}

func TestUnreachable(t *testing.T) {
	server, _, arn := newServer(t)
	k := newKey(t, awskms.Config{Key: arn, Endpoint: server.URL})
	server.Close()
	_, _, err := k.GenerateDataKey(t.Context(), site)
	wantCause(t, err, arn, seal.KeyUnreachable)
}

func TestCredentials(t *testing.T) {
	server, writer, arn := newServer(t)
	temporary := server.AddPrincipal("temporary")
	temporary.SessionToken = "a session of AWS STS"
	server.SetPrincipal(temporary)
	server.SetPolicy(arn, both(writer), both(temporary))
	wrong := func(p kmstest.Principal, change func(*kmstest.Principal)) kmstest.Principal {
		change(&p)
		return p
	}
	for name, test := range map[string]struct {
		as    kmstest.Principal
		cause string
	}{
		"long-lived":      {writer, ""},
		"temporary":       {temporary, ""},
		"wrong secret":    {wrong(writer, func(p *kmstest.Principal) { p.SecretAccessKey += "?" }), seal.KeyCredentials},
		"unknown key":     {wrong(writer, func(p *kmstest.Principal) { p.AccessKeyID = "AKIAAAAAAAAAAAAAAAAA" }), seal.KeyCredentials},
		"another session": {wrong(temporary, func(p *kmstest.Principal) { p.SessionToken += "?" }), seal.KeyCredentials},
		"no session":      {wrong(temporary, func(p *kmstest.Principal) { p.SessionToken = "" }), seal.KeyCredentials},
		"none":            {kmstest.Principal{}, seal.KeyCredentials},
		"stranger":        {server.AddPrincipal("stranger"), seal.KeyDenied},
	} {
		t.Run(name, func(t *testing.T) {
			use(t, test.as)
			k := newKey(t, awskms.Config{Key: arn, Endpoint: server.URL})
			_, _, err := k.GenerateDataKey(t.Context(), site)
			if test.cause == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantCause(t, err, arn, test.cause)
			if secret := test.as.SecretAccessKey; secret != "" && strings.Contains(err.Error(), secret) {
				t.Error("the error shows the secret key")
			}
			if strings.Contains(k.Caller(t.Context()), "Key") {
				t.Errorf("caller %q", k.Caller(t.Context()))
			}
		})
	}
}

// What was wrapped opens with the same key and context, and no other.
func TestContext(t *testing.T) {
	server, writer, arn := newServer(t)
	other := server.CreateKey()
	server.SetPolicy(other, both(writer))
	k := newKey(t, awskms.Config{Key: arn, Endpoint: server.URL})
	_, wrapped, err := k.GenerateDataKey(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	for name, ec := range map[string]seal.Context{
		"none":    nil,
		"less":    {"suitegate:storage": "test"},
		"another": {"suitegate:storage": "test", "suitegate:principal": "certificates/other.example"},
	} {
		_, err := k.Decrypt(t.Context(), wrapped, ec)
		if t.Logf("%s: %v", name, err); err == nil {
			t.Errorf("%s: opened", name)
			continue
		}
		wantCause(t, err, arn, seal.KeyInvalidValue)
	}
	_, err = k.Decrypt(t.Context(), append([]byte("x"), wrapped...), site)
	wantCause(t, err, arn, seal.KeyInvalidValue)
	_, err = newKey(t, awskms.Config{Key: other, Endpoint: server.URL}).Decrypt(t.Context(), wrapped, site)
	wantCause(t, err, other, seal.KeyInvalidValue)
}

func TestStates(t *testing.T) {
	server, _, arn := newServer(t)
	k := newKey(t, awskms.Config{Key: arn, Endpoint: server.URL})
	_, wrapped, err := k.GenerateDataKey(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	check := func(cause string) {
		t.Helper()
		_, _, err := k.GenerateDataKey(t.Context(), site)
		wantCause(t, err, arn, cause)
		_, err = k.Decrypt(t.Context(), wrapped, site)
		wantCause(t, err, arn, cause)
	}
	server.SetState(arn, kmstest.Disabled)
	check(seal.KeyDisabled)
	server.SetState(arn, kmstest.PendingDeletion)
	check(seal.KeyPendingDeletion)
	server.SetState(arn, kmstest.Enabled)
	if _, err := k.Decrypt(t.Context(), wrapped, site); err != nil {
		t.Errorf("enabled again: %v", err)
	}
	server.DeleteKey(arn)
	check(seal.KeyNotFound)
}

// A grant lets in what it names, for the contexts that it names: with its token
// at once, without it when it has settled.
func TestGrants(t *testing.T) {
	server, _, arn := newServer(t)
	reader := server.AddPrincipal("reader")
	_, wrapped, err := newKey(t, awskms.Config{Key: arn, Endpoint: server.URL}).GenerateDataKey(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	use(t, reader)
	token := server.Grant(arn, kmstest.Permission{
		Principal: reader.ARN, Operations: []string{kmstest.Decrypt},
		ContextSubset: map[string]string{"suitegate:storage": "test"},
	})
	without := newKey(t, awskms.Config{Key: arn, Endpoint: server.URL})
	_, err = without.Decrypt(t.Context(), wrapped, site)
	wantCause(t, err, arn, seal.KeyDenied)

	with := newKey(t, awskms.Config{Key: arn, Endpoint: server.URL, GrantTokens: []string{token}})
	if _, err := with.Decrypt(t.Context(), wrapped, site); err != nil {
		t.Errorf("with the token: %v", err)
	}
	_, _, err = with.GenerateDataKey(t.Context(), site)
	wantCause(t, err, arn, seal.KeyDenied)
	_, err = with.Decrypt(t.Context(), wrapped, seal.Context{"suitegate:storage": "other"})
	wantCause(t, err, arn, seal.KeyDenied)

	server.Settle()
	if _, err := without.Decrypt(t.Context(), wrapped, site); err != nil {
		t.Errorf("settled: %v", err)
	}
	server.RevokeGrants(arn)
	_, err = with.Decrypt(t.Context(), wrapped, site)
	wantCause(t, err, arn, seal.KeyDenied)
}
