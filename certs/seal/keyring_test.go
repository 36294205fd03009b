package seal

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const storageName = "storage-1"

// dataKeyOf is the wrapped data key in an envelope.
func dataKeyOf(t *testing.T, data []byte) string {
	t.Helper()
	e, err := parseEnvelope(data)
	if err != nil {
		t.Fatal(err)
	}
	return string(e.DataKey)
}

func TestDataKeysAreReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var used uses
		keyring := newTestKeyring(t, Config{Key: newFakeKey("k"), Used: used.add, Caller: "test"})
		seal := func(name string) string {
			data, err := keyring.seal(t.Context(), storageName, name, []byte("value"))
			if err != nil {
				t.Fatal(err)
			}
			return dataKeyOf(t, data)
		}
		first := seal("tenant-a/one")
		time.Sleep(DefaultReuse - time.Nanosecond)
		if again := seal("tenant-a/two"); again != first {
			t.Errorf("within the period another data key, %q after %q", again, first)
		}
		if other := seal("tenant-b/one"); other == first {
			t.Error("two principals share a data key")
		}
		time.Sleep(time.Nanosecond)
		if next := seal("tenant-a/one"); next == first {
			t.Error("the period is over, and the data key is used still")
		}
		if got := used.count(GenerateDataKey, "seal", ""); got != 3 {
			t.Errorf("%d data keys, want 3", got)
		}
		if got := used.count(Decrypt, "compare", ""); got != 3 {
			t.Errorf("%d data keys compared, want 3", got)
		}
	})
}

// TestDay holds the requests of a day against the formula.
func TestDay(t *testing.T) {
	for _, test := range []struct {
		reuse                time.Duration
		producers, consumers int
	}{
		{5 * time.Minute, 1, 1},
		{time.Minute, 1, 2},
		{time.Hour, 3, 1},
		{24 * time.Hour, 5, 2},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key, storage := newFakeKey("k"), newMemory(nil)
				var used uses
				open := func() *Storage {
					return NewStorage(storage, newTestKeyring(t, Config{Key: key, Reuse: test.reuse, Used: used.add}))
				}
				check(t, open())
				marking := used.len()
				// Each producer writes into a directory of its own, and each consumer
				// is a process that reads what one of them has written.
				var producers, consumers []*Storage
				for range test.producers {
					producers = append(producers, open())
				}
				for range test.consumers {
					consumers = append(consumers, open())
				}
				const day = 24 * time.Hour
				for end := time.Now().Add(day); time.Now().Before(end); time.Sleep(20 * time.Second) {
					for i, s := range producers {
						if err := s.Store(t.Context(), fmt.Sprintf("tenant-%d/key", i), []byte("value")); err != nil {
							t.Fatal(err)
						}
					}
					for i, s := range consumers {
						if _, err := s.Load(t.Context(), fmt.Sprintf("tenant-%d/key", i%test.producers)); err != nil {
							t.Fatal(err)
						}
					}
				}
				if got, want := int64(used.len()-marking), Requests(day, test.reuse, test.producers, test.consumers); got != want {
					t.Errorf("%d requests, the formula says %d", got, want)
				}
			})
		})
	}
}

func check(t *testing.T, s *Storage) {
	t.Helper()
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestCachesAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var used uses
		keyring := newTestKeyring(t, Config{Key: newFakeKey("k"), Used: used.add})
		data, err := keyring.seal(t.Context(), storageName, "a/b", []byte("value"))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := keyring.open(t.Context(), storageName, "a/b", data); err != nil {
				t.Fatal(err)
			}
		}
		if got := used.count(Decrypt, "open", ""); got != 1 {
			t.Errorf("%d requests for opening within a period, want 1", got)
		}
	})
}

func TestPlaintextIsWiped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keyring := newTestKeyring(t, Config{Key: newFakeKey("k"), Reuse: MinReuse})
		data, err := keyring.seal(t.Context(), storageName, "a/b", []byte("value"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keyring.open(t.Context(), storageName, "a/b", data); err != nil {
			t.Fatal(err)
		}
		var keys []*[DataKeySize]byte
		each := func(f func(*cache)) {
			for _, cache := range []*cache{keyring.sealing, keyring.opening} {
				cache.mu.Lock()
				f(cache)
				cache.mu.Unlock()
			}
		}
		each(func(c *cache) {
			for _, h := range c.held {
				h.key.mu.Lock()
				keys = append(keys, h.key.plain)
				h.key.mu.Unlock()
			}
		})
		time.Sleep(MinReuse)
		synctest.Wait()
		if len(keys) != 2 {
			t.Fatalf("%d data keys in the caches, want 2", len(keys))
		}
		for _, key := range keys {
			if *key != [DataKeySize]byte{} {
				t.Error("a data key is in memory when its period is over")
			}
		}
		each(func(c *cache) {
			if len(c.held) > 0 {
				t.Errorf("%d data keys are still held", len(c.held))
			}
		})
	})
}

func TestClose(t *testing.T) {
	keyring := newTestKeyring(t, Config{Key: newFakeKey("k")})
	data, err := keyring.seal(t.Context(), storageName, "a/b", []byte("value"))
	if err != nil {
		t.Fatal(err)
	}
	keyring.Close()
	if _, err := keyring.seal(t.Context(), storageName, "a/b", []byte("value")); !errors.Is(err, errClosed) {
		t.Errorf("sealing with a closed keyring: %v", err)
	}
	if _, err := keyring.open(t.Context(), storageName, "a/b", data); !errors.Is(err, errClosed) {
		t.Errorf("opening with a closed keyring: %v", err)
	}
}

// TestWrongAnswers: a key that answers, and wrongly, seals nothing.
func TestWrongAnswers(t *testing.T) {
	other := []byte(strings.Repeat("x", DataKeySize))
	for name, change := range map[string]func(operation string, plain, wrapped []byte) (p, w []byte){
		"another data key": func(operation string, plain, wrapped []byte) (p, w []byte) {
			if operation == GenerateDataKey {
				return other, wrapped
			}
			return plain, wrapped
		},
		"another decrypted": func(operation string, plain, wrapped []byte) (p, w []byte) {
			if operation == Decrypt {
				return other, wrapped
			}
			return plain, wrapped
		},
		"short":       func(_ string, plain, wrapped []byte) (p, w []byte) { return plain[:16], wrapped },
		"long":        func(_ string, plain, wrapped []byte) (p, w []byte) { return append(plain, 1), wrapped },
		"none":        func(_ string, _, wrapped []byte) (p, w []byte) { return nil, wrapped },
		"not wrapped": func(_ string, plain, _ []byte) (p, w []byte) { return plain, nil },
		"wrapped into too much": func(_ string, plain, _ []byte) (p, w []byte) {
			return plain, make([]byte, maxWrapped+1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			key := newFakeKey("k")
			key.change = change
			keyring := newTestKeyring(t, Config{Key: key})
			data, err := keyring.seal(t.Context(), storageName, "a/b", []byte("value"))
			wantCause(t, err, KeyWrongAnswer)
			if data != nil {
				t.Errorf("sealed all the same: %s", data)
			}
			if got := fmt.Sprint(keyring.Degraded()); got != "["+KeyWrongAnswer+"]" {
				t.Errorf("degraded: %s", got)
			}
		})
	}
}

func wantCause(t *testing.T, err error, cause string) {
	t.Helper()
	var reasoned interface {
		error
		Reason() string
	}
	if !errors.As(err, &reasoned) || reasoned.Reason() != cause {
		t.Errorf("error %v, want the cause %s", err, cause)
	}
}

// TestBound: an envelope opens where it was sealed, and nowhere else.
func TestBound(t *testing.T) {
	key := newFakeKey("k")
	keyring := newTestKeyring(t, Config{Key: key, Previous: []Key{newFakeKey("old")}, Context: Context{"stage": "prod"}})
	sealed, err := keyring.seal(t.Context(), storageName, "a/one", []byte("value"))
	if err != nil {
		t.Fatal(err)
	}
	without := newTestKeyring(t, Config{Key: key}) // the context is in the envelope
	if value, err := without.open(t.Context(), storageName, "a/one", sealed); err != nil || string(value) != "value" {
		t.Errorf("opened to %q, %v", value, err)
	}
	flip := func(old, new string) []byte { return []byte(strings.Replace(string(sealed), old, new, 1)) }
	for name, test := range map[string]struct {
		storage, name string
		data          []byte
		cause         string
	}{
		"another name":      {storageName, "a/two", sealed, ValueDamaged},
		"another principal": {storageName, "b/one", sealed, KeyInvalidValue},
		"another storage":   {"storage-2", "a/one", sealed, KeyInvalidValue},
		"another context":   {storageName, "a/one", flip("prod", "test"), KeyInvalidValue},
		"our own context":   {storageName, "b/one", flip(`"stage":"prod"`, `"stage":"prod","suitegate:principal":"a"`), KeyInvalidValue},
		"another key":       {storageName, "a/one", flip(`"k"`, `"old"`), KeyInvalidValue},
		"a foreign key":     {storageName, "a/one", flip(`"k"`, `"mallory"`), KeyNotConfigured},
		"cut short":         {storageName, "a/one", sealed[:len(sealed)-9], ValueDamaged},
		"a later version":   {storageName, "a/one", flip(`sealed":1`, `sealed":2`), ValueDamaged},
		"more behind it":    {storageName, "a/one", append(flip("", ""), "{}"...), ValueDamaged},
		"a field too many":  {storageName, "a/one", flip(`"key"`, `"x":1,"key"`), ValueDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			value, err := keyring.open(t.Context(), test.storage, test.name, test.data)
			wantCause(t, err, test.cause)
			if value != nil {
				t.Errorf("opened to %q", value)
			}
		})
	}
	if got := keyring.Degraded(); got != nil {
		t.Errorf("a value that cannot be opened is no fault of the key: %v", got)
	}
}

func TestReusePeriod(t *testing.T) {
	for reuse, ok := range map[time.Duration]bool{0: true, MinReuse: true, MaxReuse: true, MinReuse - 1: false, MaxReuse + 1: false} {
		keyring, err := NewKeyring(Config{Key: newFakeKey("k"), Reuse: reuse})
		if (err == nil) != ok {
			t.Errorf("%v: %v", reuse, err)
		}
		if err == nil {
			keyring.Close()
		}
	}
	if _, err := NewKeyring(Config{Key: newFakeKey("k"), Previous: []Key{newFakeKey("k")}}); err == nil {
		t.Error("one key twice is taken")
	}
}
