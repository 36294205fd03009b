package seal

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sealedCopy is plainStorage as a keyring has sealed it.
func sealedCopy(t *testing.T, keyring *Keyring) *memory {
	t.Helper()
	storage := newMemory(plainStorage)
	if _, err := Seal(t.Context(), storage, keyring); err != nil {
		t.Fatal(err)
	}
	return storage
}

func secretCount() (n int) {
	for name := range plainStorage {
		if !Public(name) {
			n++
		}
	}
	return n
}

func TestSeal(t *testing.T) {
	keyring := newTestKeyring(t, Config{Key: newFakeKey("k")})
	storage := newMemory(plainStorage)
	want := Tally{Sealed: secretCount(), ByKey: map[string]int{"k": secretCount()}}
	for range 2 { // the second time there is nothing to do
		tally, err := Seal(t.Context(), storage, keyring)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, tally); diff != "" {
			t.Errorf("tally (-want +got):\n%s", diff)
		}
		want.Sealed, want.Unchanged = 0, want.Sealed
	}
	s := NewStorage(storage, keyring)
	check(t, s)
	if diff := cmp.Diff(plainStorage, contents(t, s, plainStorage)); diff != "" {
		t.Errorf("sealed (-want +got):\n%s", diff)
	}
	for name, value := range storage.snapshot() {
		if strings.Contains(value, "SECRET") {
			t.Errorf("%s stands as it is: %s", name, value)
		}
	}
}

// TestSealTakesInWhatCameLater: from a gateway that had not seen the mark yet.
func TestSealTakesInWhatCameLater(t *testing.T) {
	keyring := newTestKeyring(t, Config{Key: newFakeKey("k")})
	storage := newMemory(plainStorage)
	late := 3
	storage.stored = func(name, _ string) {
		if late--; late == 0 {
			storage.values["a/late"] = "SECRET late"
		}
	}
	if _, err := Seal(t.Context(), storage, keyring); err != nil {
		t.Fatal(err)
	}
	if value := storage.values["a/late"]; !IsSealed([]byte(value)) {
		t.Errorf("what came while the others were sealed stands as %q", value)
	}
	storage.values["a/later"] = "SECRET later"
	tally, err := Seal(t.Context(), storage, keyring)
	if err != nil || tally.Sealed != 1 {
		t.Errorf("sealed again: %+v, %v", tally, err)
	}
}

// crashes runs work on a storage that crashes at every write in turn, both before
// and after it was done, and calls inspect for what is left.
func crashes(t *testing.T, from map[string]string, work func(*memory) error, inspect func(t *testing.T, left *memory)) {
	t.Helper()
	for _, after := range []bool{false, true} {
		at, finished := 0, false
		for !finished {
			at++
			storage := newMemory(from)
			storage.crashAt, storage.after = at, after
			err := work(storage)
			finished = err == nil
			if !finished && !errors.Is(err, errCrash) {
				t.Fatalf("write %d: %v", at, err)
			}
			inspect(t, storage.survivor())
		}
		if at < 5 {
			t.Fatalf("only %d writes", at)
		}
	}
}

func TestSealCrashes(t *testing.T) {
	keyring := newTestKeyring(t, Config{Key: newFakeKey("k")})
	work := func(m *memory) error { _, err := Seal(t.Context(), m, keyring); return err }
	crashes(t, plainStorage, work, func(t *testing.T, left *memory) {
		// Nothing is lost: each value stands as it was, or opens to that.
		m, err := loadMark(t.Context(), left)
		for name, want := range plainStorage {
			got := left.values[name]
			if IsSealed([]byte(got)) {
				if err != nil {
					t.Fatalf("%s is sealed, and there is no mark: %v", name, err)
				}
				opened, err := keyring.open(t.Context(), m.ID, name, []byte(got))
				if err != nil {
					t.Fatal(err)
				}
				got = string(opened)
			}
			if got != want {
				t.Fatalf("%s: %q, was %q", name, got, want)
			}
		}
		// Nobody takes a half for a whole.
		if m != nil && m.State != stateSealed {
			wantCause(t, NewStorage(left, keyring).Check(t.Context()), StorageSealing)
			wantCause(t, Plain{left}.Check(t.Context()), StorageSealed)
		}
		if err := work(left); err != nil {
			t.Fatalf("sealing again: %v", err)
		}
		if diff := cmp.Diff(plainStorage, contents(t, NewStorage(left, keyring), plainStorage)); diff != "" {
			t.Errorf("sealed again (-want +got):\n%s", diff)
		}
	})
}

func TestRewrapCrashes(t *testing.T) {
	old, next := newFakeKey("old"), newFakeKey("new")
	from := sealedCopy(t, newTestKeyring(t, Config{Key: old})).snapshot()
	both := newTestKeyring(t, Config{Key: next, Previous: []Key{old}})
	work := func(m *memory) error { _, err := Rewrap(t.Context(), m, both); return err }
	crashes(t, from, work, func(t *testing.T, left *memory) {
		for name, value := range left.values {
			if strings.Contains(value, "SECRET") {
				t.Fatalf("%s is exposed: %s", name, value)
			}
		}
		// A gateway with both keys reads and writes at any point.
		s := NewStorage(left, both)
		check(t, s)
		if diff := cmp.Diff(plainStorage, contents(t, s, plainStorage)); diff != "" {
			t.Fatalf("half of it (-want +got):\n%s", diff)
		}
		if err := work(left); err != nil {
			t.Fatal(err)
		}
		alone := NewStorage(left, newTestKeyring(t, Config{Key: next}))
		check(t, alone)
		if diff := cmp.Diff(plainStorage, contents(t, alone, plainStorage)); diff != "" {
			t.Errorf("with the new key alone (-want +got):\n%s", diff)
		}
	})
}

// TestKeyGoesAwayMidway: a request that fails at any point is a crash, too.
func TestKeyGoesAwayMidway(t *testing.T) {
	for at := 1; ; at++ {
		old, next := newFakeKey("old"), newFakeKey("new")
		storage := newMemory(plainStorage)
		before := newTestKeyring(t, Config{Key: old})
		both := newTestKeyring(t, Config{Key: next, Previous: []Key{old}})
		n := 0
		fail := func(string) error {
			if n++; n == at {
				return &KeyError{Cause: KeyDenied, Key: "k", Err: errors.New("injected")}
			}
			return nil
		}
		old.failing(fail)
		next.failing(fail)
		_, sealErr := Seal(t.Context(), storage, before)
		if sealErr != nil {
			wantCause(t, sealErr, KeyDenied)
			if _, err := Seal(t.Context(), storage, before); err != nil {
				t.Fatal(err)
			}
		}
		_, rewrapErr := Rewrap(t.Context(), storage, both)
		if rewrapErr != nil {
			wantCause(t, rewrapErr, KeyDenied)
			if _, err := Rewrap(t.Context(), storage, both); err != nil {
				t.Fatal(err)
			}
		}
		next.failing(nil)
		tally, err := Verify(t.Context(), storage, newTestKeyring(t, Config{Key: next}))
		if err != nil || tally.ByKey["new"] != secretCount() {
			t.Fatalf("request %d: %+v, %v", at, tally, err)
		}
		if sealErr == nil && rewrapErr == nil {
			if at < 20 {
				t.Fatalf("only %d requests", at)
			}
			return
		}
	}
}

// TestRewrapLosesNothing that gateways store meanwhile.
func TestRewrapLosesNothing(t *testing.T) {
	old, next := newFakeKey("old"), newFakeKey("new")
	storage := sealedCopy(t, newTestKeyring(t, Config{Key: old}))
	both := newTestKeyring(t, Config{Key: next, Previous: []Key{old}})
	want := maps.Clone(plainStorage)
	var group sync.WaitGroup
	for _, name := range []string{"authority/root.key", "tickets/12h/1", "acme/ca-1/users/ops/ops.key"} {
		want[name] = "SECRET 49"
		group.Go(func() {
			gateway := NewStorage(storage, newTestKeyring(t, Config{Key: old, Previous: []Key{next}}))
			for i := range 50 {
				if err := gateway.Store(t.Context(), name, fmt.Appendf(nil, "SECRET %d", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 10 {
		group.Go(func() {
			if _, err := Rewrap(t.Context(), storage, both); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if _, err := Rewrap(t.Context(), storage, both); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, contents(t, NewStorage(storage, newTestKeyring(t, Config{Key: next})), want)); diff != "" {
		t.Errorf("afterwards (-want +got):\n%s", diff)
	}
}

func TestVerify(t *testing.T) {
	keyring := newTestKeyring(t, Config{Key: newFakeKey("k")})
	_, err := Verify(t.Context(), newMemory(plainStorage), keyring)
	wantCause(t, err, StoragePlain)
	storage := sealedCopy(t, keyring)
	tally, err := Verify(t.Context(), storage, keyring)
	if err != nil || tally.Unchanged != secretCount() || tally.Sealed != 0 {
		t.Errorf("%+v, %v", tally, err)
	}
	storage.values["a/plain"] = "SECRET"
	storage.values["tickets/12h/1"] = storage.values["tickets/12h/2"]
	tally, err = Verify(t.Context(), storage, keyring)
	if err == nil || tally.Unchanged != secretCount()-1 {
		t.Fatalf("%+v, %v", tally, err)
	}
	for _, want := range []string{"a/plain: a secret that is not sealed", "tickets/12h/1: it was changed"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
}
