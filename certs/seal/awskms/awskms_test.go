package awskms_test

import (
	"bytes"
	"maps"
	"strings"
	"testing"

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

func contract(server *kmstest.Server, k *awskms.Key) *sealtest.Contract {
	return &sealtest.Contract{
		Key: k, Plan: &server.Plan, Faults: kmstest.Faults, Calls: func() int { return len(server.Calls()) },
		GenerateDataKey: kmstest.GenerateDataKey, Decrypt: kmstest.Decrypt,
	}
}

func TestFaults(t *testing.T) {
	server, writer, arn := newServer(t)
	c := contract(server, newKey(t, awskms.Config{Key: arn, Endpoint: server.URL}))
	c.Secrets = []string{writer.SecretAccessKey}
	c.TestFaults(t)
}

func TestUnreachable(t *testing.T) {
	server, _, arn := newServer(t)
	k := newKey(t, awskms.Config{Key: arn, Endpoint: server.URL})
	server.Close()
	_, _, err := k.GenerateDataKey(t.Context(), site)
	sealtest.WantCause(t, err, k, seal.KeyUnreachable)
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
			sealtest.WantCause(t, err, k, test.cause)
			if secret := test.as.SecretAccessKey; secret != "" && strings.Contains(err.Error(), secret) {
				t.Error("the error shows the secret key")
			}
			if strings.Contains(k.Caller(t.Context()), "Key") {
				t.Errorf("caller %q", k.Caller(t.Context()))
			}
		})
	}
}

func TestContext(t *testing.T) {
	server, writer, arn := newServer(t)
	other := server.CreateKey()
	server.SetPolicy(other, both(writer))
	k := newKey(t, awskms.Config{Key: arn, Endpoint: server.URL})
	contract(server, k).TestContext(t, newKey(t, awskms.Config{Key: other, Endpoint: server.URL}))
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
		sealtest.WantCause(t, err, k, cause)
		_, err = k.Decrypt(t.Context(), wrapped, site)
		sealtest.WantCause(t, err, k, cause)
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
	sealtest.WantCause(t, err, without, seal.KeyDenied)

	with := newKey(t, awskms.Config{Key: arn, Endpoint: server.URL, GrantTokens: []string{token}})
	if _, err := with.Decrypt(t.Context(), wrapped, site); err != nil {
		t.Errorf("with the token: %v", err)
	}
	_, _, err = with.GenerateDataKey(t.Context(), site)
	sealtest.WantCause(t, err, with, seal.KeyDenied)
	_, err = with.Decrypt(t.Context(), wrapped, seal.Context{"suitegate:storage": "other"})
	sealtest.WantCause(t, err, with, seal.KeyDenied)

	server.Settle()
	if _, err := without.Decrypt(t.Context(), wrapped, site); err != nil {
		t.Errorf("settled: %v", err)
	}
	server.RevokeGrants(arn)
	_, err = with.Decrypt(t.Context(), wrapped, site)
	sealtest.WantCause(t, err, with, seal.KeyDenied)
}
