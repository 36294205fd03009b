package seal_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/certmagic"

	"github.com/suitegate/suitegate/certs/seal"
	"github.com/suitegate/suitegate/certs/seal/awskms"
	"github.com/suitegate/suitegate/certs/seal/kmstest"
	"github.com/suitegate/suitegate/certs/seal/sealtest"
	"github.com/suitegate/suitegate/certs/seal/vaulttest"
	"github.com/suitegate/suitegate/certs/seal/vaulttransit"
)

// shelf is a storage of one process.
type shelf struct {
	certmagic.Storage // for what is not needed here

	mu     sync.Mutex
	values map[string]string
}

func (s *shelf) Store(_ context.Context, name string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[name] = string(value)
	return nil
}

func (s *shelf) Load(_ context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if value, ok := s.values[name]; ok {
		return []byte(value), nil
	}
	return nil, fs.ErrNotExist
}

func (s *shelf) List(context.Context, string, bool) ([]string, error) { return nil, nil }
func (s *shelf) Lock(context.Context, string) error                   { return nil }
func (s *shelf) Unlock(context.Context, string) error                 { return nil }

// service is a server that keeps keys, and how one of them is had.
type service struct {
	plan   *sealtest.Plan
	faults []sealtest.Fault
	calls  func() int
	key    seal.Key
}

// newKMS starts one whose key is for whoever the environment names.
func newKMS(t *testing.T, writer kmstest.Principal) service {
	server := kmstest.NewServer()
	t.Cleanup(server.Close)
	server.SetPrincipal(writer)
	arn := server.CreateKey()
	server.SetPolicy(arn, kmstest.Permission{Principal: writer.ARN, Operations: []string{kmstest.GenerateDataKey, kmstest.Decrypt}})
	key, err := awskms.New(t.Context(), awskms.Config{Key: arn, Endpoint: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return service{&server.Plan, kmstest.Faults, func() int { return len(server.Calls()) }, key}
}

func newVault(t *testing.T, _ kmstest.Principal) service {
	server := vaulttest.NewServer()
	t.Cleanup(server.Close)
	server.CreateKey("transit/suitegate")
	token := server.CreateToken("transit/encrypt/suitegate", "transit/decrypt/suitegate")
	key, err := vaulttransit.New(vaulttransit.Config{Address: server.URL, Name: "suitegate", Token: func() ([]byte, error) { return []byte(token), nil }})
	if err != nil {
		t.Fatal(err)
	}
	return service{&server.Plan, vaulttest.Faults, func() int { return len(server.Calls()) }, key}
}

// life is what a gateway does with a storage: it opens it, stores for two
// principals, and loads.
func life(ctx context.Context, storage *shelf, key seal.Key) error {
	keyring, err := seal.NewKeyring(seal.Config{Key: key})
	if err != nil {
		return err
	}
	defer keyring.Close()
	s := seal.NewStorage(storage, keyring)
	if err := s.Check(ctx); err != nil {
		return err
	}
	for _, name := range []string{"certificates/a/a.key", "certificates/b/b.key"} {
		if err := s.Store(ctx, name, []byte("SECRET "+name)); err != nil {
			return err
		}
		value, err := s.Load(ctx, name)
		if err != nil {
			return err
		}
		if string(value) != "SECRET "+name {
			return fmt.Errorf("%s: loaded %q", name, value)
		}
	}
	return nil
}

// TestEveryFaultAtEveryCall: by the real clients, with real servers. What passes
// by itself is not noticed; whatever else ends the work by its name, leaves nothing
// as it is in the storage, and is no obstacle to the next try.
func TestEveryFaultAtEveryCall(t *testing.T) {
	writer := kmstest.Principal{ARN: "arn:aws:iam::111122223333:user/writer", AccessKeyID: "AKIAABCDEFGHIJKLMNOP", SecretAccessKey: "secret"}
	t.Setenv("AWS_ACCESS_KEY_ID", writer.AccessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", writer.SecretAccessKey)
	for name, start := range map[string]func(*testing.T, kmstest.Principal) service{"KMS": newKMS, "Vault": newVault} {
		t.Run(name, func(t *testing.T) {
			one := start(t, writer)
			if err := life(t.Context(), &shelf{values: make(map[string]string)}, one.key); err != nil {
				t.Fatal(err)
			}
			calls := one.calls()
			if calls != 9 { // for each of three principals: a data key, the comparison, and one for opening
				t.Fatalf("%d calls", calls)
			}
			var faults sync.WaitGroup // beside each other, because repeats take their time
			for _, fault := range one.faults {
				if fault == sealtest.Slow {
					continue // TestKeyGoesAway has it
				}
				service := start(t, writer)
				faults.Go(func() {
					for at := 1; at <= calls; at++ {
						service.suffers(t, fault, at)
					}
				})
			}
			faults.Wait()
		})
	}
}

// suffers has a fault happen to one call in the life of a gateway.
func (s service) suffers(t *testing.T, fault sealtest.Fault, at int) {
	storage := &shelf{values: make(map[string]string)}
	s.plan.Fail("", at, fault)
	err := life(t.Context(), storage, s.key)
	s.plan.Heal()
	passes := fault.Cause() == seal.KeyThrottled || fault.Cause() == seal.KeyUnreachable
	var failed *seal.KeyError
	switch named := errors.As(err, &failed); {
	case passes && err != nil:
		t.Errorf("%s at call %d: %v", fault, at, err)
	case !passes && err == nil:
		t.Errorf("%s at call %d went by unnoticed", fault, at)
	case !passes && fault.Cause() != "" && (!named || failed.Cause != fault.Cause()):
		t.Errorf("%s at call %d: %v, want %s", fault, at, err, fault.Cause())
	}
	for name, value := range storage.values {
		if strings.Contains(value, "SECRET") {
			t.Errorf("%s at call %d: %s stands as it is", fault, at, name)
		}
	}
	if err := life(t.Context(), storage, s.key); err != nil {
		t.Errorf("after %s at call %d: %v", fault, at, err)
	}
}
