package certs

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suitegate/suitegate/certs/seal"
	"github.com/suitegate/suitegate/certs/seal/localkey"
	"github.com/suitegate/suitegate/policy"
)

func newKeyring(t *testing.T, fill byte, previous ...byte) *seal.Keyring {
	t.Helper()
	key := func(fill byte) seal.Key {
		key, err := localkey.File([]byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, 32))))
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	cfg := seal.Config{Key: key(fill)}
	for _, fill := range previous {
		cfg.Previous = append(cfg.Previous, key(fill))
	}
	keyring, err := seal.NewKeyring(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keyring.Close)
	return keyring
}

// storages are configurations of a directory and of a Redis.
func storages(t *testing.T, test func(t *testing.T, cfg Config)) {
	t.Run("files", func(t *testing.T) { test(t, Config{Storage: t.TempDir()}) })
	t.Run("redis", func(t *testing.T) { test(t, Config{Redis: &startRedis(t).config}) })
}

// raw is all that a storage holds, as it stands there.
func raw(t *testing.T, cfg Config) map[string]string {
	t.Helper()
	kept, err := newBackend(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.close()
	names, err := kept.List(t.Context(), "", true)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, name := range names {
		if info, err := kept.Stat(t.Context(), name); err == nil && info.IsTerminal {
			value, err := kept.Load(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = string(value)
		}
	}
	return all
}

// plainSecrets are the names of the values in which a private key or a ticket
// secret stands.
func plainSecrets(values map[string]string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		rest := []byte(values[name])
		for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
			if strings.HasSuffix(block.Type, "PRIVATE KEY") || block.Type == ticketPEM {
				names = append(names, name)
			}
		}
	}
	return names
}

// TestSealedStorage shows the life of a storage: sealed from the start, by two
// gateways at once; or taken in, moved to another key, and verified.
func TestSealedStorage(t *testing.T) {
	storages(t, func(t *testing.T, cfg Config) {
		cfg.Sources = selfSignedSource
		use := func(cfg Config) (root string) {
			t.Helper()
			s := open(t, cfg)
			defer s.Close()
			keys, err := OpenTicketKeys(t.Context(), TicketSchedule{}, cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer keys.Close()
			selectLeaf(t, s, policy.RSA)
			return string(s.ca.pem())
		}
		root := use(cfg)
		if got := plainSecrets(raw(t, cfg)); len(got) < 4 { // root, RSA, ECDSA, tickets
			t.Fatalf("secrets of a plain storage: %v", got)
		}

		cfg.Keyring = newKeyring(t, 1)
		_, err := Open(t.Context(), cfg)
		wantStorageCause(t, err, seal.StoragePlain)
		tally, err := SealStorage(t.Context(), cfg)
		if err != nil || tally.Sealed < 4 {
			t.Fatalf("%+v, %v", tally, err)
		}
		if got := plainSecrets(raw(t, cfg)); got != nil {
			t.Errorf("secrets stand as they are: %v", got)
		}
		if again := use(cfg); again != root {
			t.Error("another root than before it was sealed")
		}
		if again := use(cfg); again != root { // another gateway
			t.Error("another root for another gateway")
		}

		plain := cfg
		plain.Keyring = nil
		_, err = Open(t.Context(), plain)
		wantStorageCause(t, err, seal.StorageSealed)
		_, err = OpenTicketKeys(t.Context(), TicketSchedule{}, plain)
		wantStorageCause(t, err, seal.StorageSealed)
		stranger := cfg
		stranger.Keyring = newKeyring(t, 9)
		_, err = Open(t.Context(), stranger)
		wantStorageCause(t, err, seal.KeyNotConfigured)

		if list, err := List(t.Context(), plain); err != nil || len(list) != 2 || list[0].Leaf == nil {
			t.Errorf("certificates cannot be listed without the key: %v, %v", list, err)
		}

		cfg.Keyring = newKeyring(t, 2, 1)
		if again := use(cfg); again != root {
			t.Error("another root with two keys")
		}
		if tally, err = RewrapStorage(t.Context(), cfg); err != nil || tally.Sealed < 4 {
			t.Fatalf("%+v, %v", tally, err)
		}
		cfg.Keyring = newKeyring(t, 2)
		if tally, err = VerifyStorage(t.Context(), cfg); err != nil || tally.Unchanged < 4 {
			t.Fatalf("%+v, %v", tally, err)
		}
		if again := use(cfg); again != root {
			t.Error("another root with another key")
		}
		if got := plainSecrets(raw(t, cfg)); got != nil {
			t.Errorf("secrets stand as they are: %v", got)
		}
	})
}

func wantStorageCause(t *testing.T, err error, cause string) {
	t.Helper()
	var failed *StorageError
	if !errors.As(err, &failed) || failed.Cause != cause {
		t.Errorf("error %v, want a storage that fails by %s", err, cause)
	}
}

// TestSealedFromTheStart: two gateways find an empty storage at once.
func TestSealedFromTheStart(t *testing.T) {
	storages(t, func(t *testing.T, cfg Config) {
		cfg.Sources = selfSignedSource
		roots := make(chan string)
		for range 2 {
			cfg := cfg
			cfg.Keyring = newKeyring(t, 1)
			go func() {
				s, err := Open(t.Context(), cfg)
				if err != nil {
					roots <- err.Error()
					return
				}
				defer s.Close()
				roots <- string(s.ca.pem())
			}()
		}
		if one, other := <-roots, <-roots; one != other || !strings.Contains(one, "CERTIFICATE") {
			t.Errorf("one gateway: %s\nand the other: %s", one, other)
		}
		if got := plainSecrets(raw(t, cfg)); got != nil {
			t.Errorf("secrets stand as they are: %v", got)
		}
	})
}

// TestKeyGoesAway: what a store has in memory goes on being served, what it would
// write is not written, and says why.
func TestKeyGoesAway(t *testing.T) {
	key := &brokenKey{Key: func() seal.Key {
		key, err := localkey.File([]byte(base64.StdEncoding.EncodeToString(make([]byte, 32))))
		if err != nil {
			t.Fatal(err)
		}
		return key
	}()}
	keyring, err := seal.NewKeyring(seal.Config{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keyring.Close)
	var log logBuffer
	causes := make(chan string, 100)
	cfg := Config{Storage: t.TempDir(), Sources: selfSignedSource, Keyring: keyring, Logger: log.logger(slog.LevelInfo),
		StorageFailed: func(_, cause string) { causes <- cause }}
	s := open(t, cfg)
	before := raw(t, cfg)

	key.broken.Store(true)
	selectLeaf(t, s, policy.ECDSAP256)
	err = s.storage.Store(t.Context(), "certificates/new/site/site.key", []byte("a new key"))
	var failed *seal.KeyError
	if !errors.As(err, &failed) || failed.Cause != seal.KeyDisabled {
		t.Errorf("storing: %v", err)
	}
	select {
	case cause := <-causes:
		if cause != seal.KeyDisabled {
			t.Errorf("counted as %s", cause)
		}
	case <-time.After(time.Second):
		t.Error("not counted")
	}
	after := raw(t, cfg)
	for name := range after {
		if before[name] != after[name] && !strings.HasPrefix(name, "locks/") {
			t.Errorf("%s was written", name)
		}
	}
	selectLeaf(t, s, policy.ECDSAP256)

	restarted := cfg
	if restarted.Keyring, err = seal.NewKeyring(seal.Config{Key: key}); err != nil {
		t.Fatal(err)
	}
	defer restarted.Keyring.Close()
	_, err = Open(t.Context(), restarted)
	wantStorageCause(t, err, seal.KeyDisabled)
	key.broken.Store(false)
	open(t, restarted)
}

// brokenKey is a key that somebody disables.
type brokenKey struct {
	seal.Key
	broken atomic.Bool
}

func (k *brokenKey) err() error {
	if k.broken.Load() {
		return &seal.KeyError{Cause: seal.KeyDisabled, Key: k.ID(), Err: errors.New("disabled")}
	}
	return nil
}

func (k *brokenKey) GenerateDataKey(ctx context.Context, ec seal.Context) (plain, wrapped []byte, err error) {
	if err := k.err(); err != nil {
		return nil, nil, err
	}
	return k.Key.GenerateDataKey(ctx, ec)
}

func (k *brokenKey) Decrypt(ctx context.Context, wrapped []byte, ec seal.Context) ([]byte, error) {
	if err := k.err(); err != nil {
		return nil, err
	}
	return k.Key.Decrypt(ctx, wrapped, ec)
}
