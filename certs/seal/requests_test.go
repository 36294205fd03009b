package seal

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestKeyGoesAway: whatever keeps a key from being used, nothing is written, it
// is named, and when the key is back everything goes on by itself.
func TestKeyGoesAway(t *testing.T) {
	keyError := func(cause string) error { return &KeyError{Cause: cause, Key: "k", Err: errors.New("injected")} }
	for _, operation := range []string{GenerateDataKey, Decrypt} {
		for cause, test := range map[string]struct {
			err   error
			tries int
		}{
			KeyDenied:          {keyError(KeyDenied), 1},
			KeyDisabled:        {keyError(KeyDisabled), 1},
			KeyPendingDeletion: {keyError(KeyPendingDeletion), 1},
			KeyNotFound:        {keyError(KeyNotFound), 1},
			KeyCredentials:     {keyError(KeyCredentials), 1},
			KeyThrottled:       {keyError(KeyThrottled), maxTries},
			KeyUnreachable:     {keyError(KeyUnreachable), maxTries},
			KeyTimeout:         {errStall, maxTries},
			KeyWrongAnswer:     {errors.New("what is this"), 1},
		} {
			t.Run(operation+" "+cause, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					key, storage := newFakeKey("k"), newMemory(nil)
					var used uses
					s := NewStorage(storage, newTestKeyring(t, Config{Key: key, Used: used.add}))
					check(t, s)
					if err := s.Store(t.Context(), "a/before", []byte("SECRET 1")); err != nil {
						t.Fatal(err)
					}
					time.Sleep(DefaultReuse) // what is cached is no matter of the key's
					before := storage.snapshot()
					key.failing(func(asked string) error {
						if asked == operation {
							return test.err
						}
						return nil
					})

					wantCause(t, s.Store(t.Context(), "a/new", []byte("SECRET 2")), cause)
					if got := fmt.Sprint(storage.snapshot()); got != fmt.Sprint(before) {
						t.Errorf("written all the same: %s", got)
					}
					purpose := map[string]string{GenerateDataKey: "seal", Decrypt: "compare"}[operation]
					if got := used.count(operation, purpose, cause); got != test.tries {
						t.Errorf("%d tries, want %d", got, test.tries)
					}
					if operation == Decrypt {
						_, err := s.Load(t.Context(), "a/before")
						wantCause(t, err, cause)
						wantCause(t, NewStorage(storage, newTestKeyring(t, Config{Key: key})).Check(t.Context()), cause) // a restart
					}
					if got := fmt.Sprint(s.keyring.Degraded()); got != "["+cause+"]" {
						t.Errorf("degraded: %s", got)
					}
					time.Sleep(10 * time.Minute)
					synctest.Wait()
					if got := fmt.Sprint(s.keyring.Degraded()); got != "["+cause+"]" {
						t.Errorf("degraded after ten minutes: %s", got)
					}

					key.failing(nil)
					time.Sleep(longestProbe + requestTimeout)
					synctest.Wait()
					if got := s.keyring.Degraded(); got != nil {
						t.Errorf("degraded when the key is back: %s", got)
					}
					if err := s.Store(t.Context(), "a/new", []byte("SECRET 2")); err != nil {
						t.Error(err)
					}
					if _, err := s.Load(t.Context(), "a/before"); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// TestRetries: what passes by itself is not noticed by those who wait.
func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newFakeKey("k")
		var used uses
		keyring := newTestKeyring(t, Config{Key: key, Used: used.add})
		left := 2
		key.failing(func(string) error {
			if left--; left >= 0 {
				return &KeyError{Cause: KeyThrottled, Key: "k", Err: errors.New("slow down")}
			}
			return nil
		})
		begin := time.Now()
		if _, err := keyring.seal(t.Context(), storageName, "a/b", []byte("value")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < firstPause/2 || took > 2*longestPause {
			t.Errorf("two repeats took %v", took)
		}
		if got := used.count(GenerateDataKey, "seal", KeyThrottled); got != 2 {
			t.Errorf("%d throttled, want 2", got)
		}
		if got := keyring.Degraded(); got != nil {
			t.Errorf("degraded: %v", got)
		}
	})
}

// TestRetryBudget: a service in trouble is not asked four times as often.
func TestRetryBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newFakeKey("k")
		key.refuse(KeyThrottled)
		var used uses
		keyring := newTestKeyring(t, Config{Key: key, Used: used.add})
		const writes = 100
		begin := time.Now()
		for i := range writes {
			_, err := keyring.seal(t.Context(), storageName, fmt.Sprintf("tenant-%d/key", i), []byte("value"))
			wantCause(t, err, KeyThrottled)
		}
		refilled := int(time.Since(begin)/retryRefill) + 1
		if repeats := used.count(GenerateDataKey, "seal", KeyThrottled) - writes; repeats < retryBudget || repeats > retryBudget+refilled {
			t.Errorf("%d repeats, want %d and at most %d more", repeats, retryBudget, refilled)
		}
	})
}

// TestNobodyWaits: whoever gives up says nothing about the key.
func TestNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newFakeKey("k")
		key.failing(func(string) error { return errStall })
		keyring := newTestKeyring(t, Config{Key: key})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := keyring.seal(ctx, storageName, "a/b", []byte("value")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		key.failing(nil)
		time.Sleep(time.Minute)
		if got := keyring.Degraded(); got != nil {
			t.Errorf("degraded: %v", got)
		}
	})
}

// TestOneRequestForMany: those who want one data key at once cause one request.
func TestOneRequestForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var used uses
		keyring := newTestKeyring(t, Config{Key: newFakeKey("k"), Used: used.add})
		done := make(chan error)
		for i := range 50 {
			go func() {
				_, err := keyring.seal(t.Context(), storageName, fmt.Sprintf("tenant/%d", i), []byte("value"))
				done <- err
			}()
		}
		for range 50 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if got := used.count(GenerateDataKey, "seal", ""); got != 1 {
			t.Errorf("%d data keys, want 1", got)
		}
	})
}

type identifiedKey struct{ *fakeKey }

func (identifiedKey) Caller(context.Context) string { return "AKID (environment)" }

func TestUseSaysWho(t *testing.T) {
	var used uses
	keyring := newTestKeyring(t, Config{Key: identifiedKey{newFakeKey("k")}, Used: used.add, Caller: "serve", Context: Context{"stage": "prod"}})
	if _, err := keyring.seal(t.Context(), storageName, "tenant/key", []byte("value")); err != nil {
		t.Fatal(err)
	}
	for i, purpose := range []string{"seal", "compare"} {
		use := used.all[i]
		if use.Purpose != purpose || use.Key != "k" || use.Caller != "serve as AKID (environment)" ||
			string(use.Context.canonical()) != `{"stage":"prod","suitegate:principal":"tenant","suitegate:storage":"storage-1"}` {
			t.Errorf("use %d: %+v", i, use)
		}
	}
}
