package seal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeKey is a key encryption key that fails when it is told to.
type fakeKey struct {
	id string

	mu      sync.Mutex
	wrapped map[string]fakeDataKey
	n       int
	fail    func(operation string) error                                // nil answers well
	change  func(operation string, plain, wrapped []byte) (p, w []byte) // what is answered instead
}

type fakeDataKey struct{ plain, context string }

func newFakeKey(id string) *fakeKey { return &fakeKey{id: id, wrapped: make(map[string]fakeDataKey)} }

func (k *fakeKey) ID() string { return k.id }

func (k *fakeKey) failing(fail func(operation string) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fail = fail
}

func (k *fakeKey) refuse(cause string) {
	k.failing(func(string) error { return &KeyError{Cause: cause, Key: k.id, Err: errors.New("as the test has it")} })
}

// asked says how a request fails; it does not end by itself where that is
// errStall.
func (k *fakeKey) asked(ctx context.Context, operation string) error {
	k.mu.Lock()
	fail := k.fail
	k.mu.Unlock()
	if fail == nil {
		return nil
	}
	err := fail(operation)
	if errors.Is(err, errStall) {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

var errStall = errors.New("no answer")

func (k *fakeKey) GenerateDataKey(ctx context.Context, ec Context) (plain, wrapped []byte, err error) {
	if err := k.asked(ctx, GenerateDataKey); err != nil {
		return nil, nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	plain = make([]byte, DataKeySize)
	rand.Read(plain)
	k.n++
	wrapped = fmt.Appendf(nil, "%s wraps %d", k.id, k.n)
	k.wrapped[string(wrapped)] = fakeDataKey{string(plain), string(ec.canonical())}
	if k.change != nil {
		plain, wrapped = k.change(GenerateDataKey, plain, wrapped)
	}
	return plain, wrapped, nil
}

func (k *fakeKey) Decrypt(ctx context.Context, wrapped []byte, ec Context) ([]byte, error) {
	if err := k.asked(ctx, Decrypt); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	found, ok := k.wrapped[string(wrapped)]
	if !ok || found.context != string(ec.canonical()) {
		return nil, &KeyError{Cause: KeyInvalidValue, Key: k.id, Err: errors.New("not mine")}
	}
	plain := []byte(found.plain)
	if k.change != nil {
		plain, _ = k.change(Decrypt, plain, nil)
	}
	return plain, nil
}

// uses collects what a keyring tells.
type uses struct {
	mu  sync.Mutex
	all []Use
}

func (u *uses) add(use Use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all = append(u.all, use)
}

// count returns how many there were of an operation, by purpose and result.
func (u *uses) count(operation, purpose, cause string) (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, use := range u.all {
		var failed *KeyError
		got := ""
		if errors.As(use.Err, &failed) {
			got = failed.Cause
		}
		if use.Operation == operation && use.Purpose == purpose && got == cause {
			n++
		}
	}
	return n
}

func (u *uses) len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.all)
}

func newTestKeyring(t *testing.T, cfg Config) *Keyring {
	t.Helper()
	keyring, err := NewKeyring(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keyring.Close)
	return keyring
}

// memory is a storage that can crash.
type memory struct {
	mu     sync.Mutex
	values map[string]string
	locks  map[string]bool

	writes  int // so far
	crashAt int // the write that does not come to its end; 0 for none
	after   bool
	crashed bool

	stored func(name, value string) // is told of each write
}

var errCrash = errors.New("crashed")

func newMemory(values map[string]string) *memory {
	m := &memory{values: make(map[string]string), locks: make(map[string]bool)}
	maps.Copy(m.values, values)
	return m
}

// survivor is what another process finds after a crash: locks end with their
// holders.
func (m *memory) survivor() *memory { return newMemory(m.values) }

// write is done, or not, or done without an answer.
func (m *memory) write(do func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	if m.crashed || m.writes == m.crashAt {
		if !m.crashed && m.after {
			do()
		}
		m.crashed = true
		return errCrash
	}
	do()
	return nil
}

func (m *memory) Store(_ context.Context, name string, value []byte) error {
	return m.write(func() {
		m.values[name] = string(value)
		if m.stored != nil {
			m.stored(name, string(value))
		}
	})
}

func (m *memory) Delete(_ context.Context, name string) error {
	return m.write(func() { delete(m.values, name) })
}

func (m *memory) Load(_ context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if value, ok := m.values[name]; ok {
		return []byte(value), nil
	}
	return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

func (m *memory) Exists(_ context.Context, name string) bool {
	_, err := m.Stat(context.Background(), name)
	return err == nil
}

func (m *memory) Stat(_ context.Context, name string) (certmagic.KeyInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if value, ok := m.values[name]; ok {
		return certmagic.KeyInfo{Key: name, Size: int64(len(value)), IsTerminal: true}, nil
	}
	for key := range m.values {
		if strings.HasPrefix(key, name+"/") {
			return certmagic.KeyInfo{Key: name}, nil
		}
	}
	return certmagic.KeyInfo{}, fs.ErrNotExist
}

// List lists directories, too, as certmagic's FileStorage does.
func (m *memory) List(_ context.Context, dir string, recursive bool) ([]string, error) {
	if dir != "" || !recursive {
		return nil, errors.New("not needed here")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.values {
		for i, c := range name {
			if c == '/' {
				names = append(names, name[:i])
			}
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (m *memory) Lock(ctx context.Context, name string) error {
	for {
		m.mu.Lock()
		free := !m.locks[name]
		if free {
			m.locks[name] = true
		}
		m.mu.Unlock()
		if free {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func (m *memory) Unlock(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.locks, name)
	return nil
}

func (m *memory) snapshot() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.values)
}

// plainStorage is what a gateway leaves: secrets, and what is public.
var plainStorage = map[string]string{
	"root.pem":                                "public root",
	"authority/root.crt":                      "public root",
	"authority/root.key":                      "SECRET root key",
	"certificates/ca-1/a.example/a.crt":       "public certificate a",
	"certificates/ca-1/a.example/a.json":      "public data a",
	"certificates/ca-1/a.example/a.key":       "SECRET key a",
	"certificates/ca-1/b.example/b.key":       "SECRET key b",
	"certificates/ca-1/b.example/b.crt":       "public certificate b",
	"acme/ca-1/users/ops/ops.key":             "SECRET account key",
	"acme/ca-1/users/ops/ops.json":            "SECRET account",
	"acme/ca-1/challenge_tokens/a.json":       "SECRET token",
	"tickets/12h/1":                           "SECRET tickets 1",
	"tickets/12h/2":                           "SECRET tickets 2",
	"certificates/ca-1/a.example/.a.key12345": "SECRET left of a crash",
	"rw_test_1":                               "SECRET whatever",
	"ocsp/a-1":                                "public response",
}

// contents are the values of a storage as a gateway reads them.
func contents(t *testing.T, storage certmagic.Storage, names map[string]string) map[string]string {
	t.Helper()
	got := make(map[string]string)
	for name := range names {
		value, err := storage.Load(t.Context(), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got[name] = string(value)
	}
	return got
}
