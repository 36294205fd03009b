package seal

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStorage(t *testing.T) {
	memory := newMemory(nil)
	s := NewStorage(memory, newTestKeyring(t, Config{Key: newFakeKey("k")}))
	check(t, s)
	for name, value := range plainStorage {
		if err := s.Store(t.Context(), name, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(plainStorage, contents(t, s, plainStorage)); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	for name, value := range memory.snapshot() {
		if strings.Contains(value, "SECRET") {
			t.Errorf("%s stands as it is: %s", name, value)
		}
		if strings.HasPrefix(plainStorage[name], "public") && value != plainStorage[name] {
			t.Errorf("%s is public, and stands as %s", name, value)
		}
	}
	if _, err := s.Load(t.Context(), "a/missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a value that is not there: %v", err)
	}
	if err := s.Store(t.Context(), "a/large", make([]byte, MaxValue+1)); err == nil {
		t.Error("a value that is too large is taken")
	}
	// Another process, another keyring.
	other := NewStorage(memory, newTestKeyring(t, Config{Key: s.keyring.key}))
	check(t, other)
	if diff := cmp.Diff(plainStorage, contents(t, other, plainStorage)); diff != "" {
		t.Errorf("read by another gateway (-want +got):\n%s", diff)
	}
}

// TestStates: a storage is opened as what it is.
func TestStates(t *testing.T) {
	key := newFakeKey("k")
	keyring := newTestKeyring(t, Config{Key: key})
	marked := func(change func(*mark)) map[string]string {
		m := newMemory(nil)
		made, err := newMark(t.Context(), keyring, stateSealed)
		if err != nil {
			t.Fatal(err)
		}
		change(made)
		if err := made.store(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		return m.values
	}
	with := func(values map[string]string, name, value string) map[string]string {
		values[name] = value
		return values
	}
	other, err := keyring.seal(t.Context(), "another", proofName, []byte(proofValue))
	if err != nil {
		t.Fatal(err)
	}
	nothing := func(*mark) {}
	for name, test := range map[string]struct {
		values        map[string]string
		sealed, plain string // causes; "" if it opens
	}{
		"empty":               {nil, "", ""},
		"public alone":        {map[string]string{"root.pem": "public"}, "", ""},
		"plain":               {plainStorage, StoragePlain, ""},
		"sealed":              {marked(nothing), "", StorageSealed},
		"being sealed":        {marked(func(m *mark) { m.State = stateSealing }), StorageSealing, StorageSealed},
		"of a later version":  {marked(func(m *mark) { m.Version = 2 }), StorageUnknown, StorageSealed},
		"no state":            {marked(func(m *mark) { m.State = "" }), StorageUnknown, StorageSealed},
		"no ID":               {marked(func(m *mark) { m.ID = "" }), StorageUnknown, StorageSealed},
		"another ID":          {marked(func(m *mark) { m.ID = "other" }), KeyInvalidValue, StorageSealed},
		"another's proof":     {marked(func(m *mark) { m.Proof = other }), KeyInvalidValue, StorageSealed},
		"no proof":            {marked(func(m *mark) { m.Proof = nil }), ValueDamaged, StorageSealed},
		"damaged":             {map[string]string{MarkName: "{"}, StorageUnknown, StorageSealed},
		"no mark":             {map[string]string{"a/b": sealedPrefix}, StorageUnknown, ""},
		"no mark, half plain": {map[string]string{"a/b": sealedPrefix, "a/c": "SECRET"}, StorageUnknown, ""},
		"a plain secret":      {with(marked(nothing), "a/b", "SECRET"), "", StorageSealed},
	} {
		t.Run(name, func(t *testing.T) {
			want := func(err error, cause string) {
				t.Helper()
				if cause == "" && err != nil {
					t.Errorf("refused: %v", err)
				}
				if cause != "" {
					wantCause(t, err, cause)
				}
			}
			storage := newMemory(test.values)
			want(NewStorage(storage, keyring).Check(t.Context()), test.sealed)
			storage = newMemory(test.values)
			want(Plain{storage}.Check(t.Context()), test.plain)
		})
	}
}

// TestNothingTakesOneForTheOther: whatever a caller has forgotten to check.
func TestNothingTakesOneForTheOther(t *testing.T) {
	keyring := newTestKeyring(t, Config{Key: newFakeKey("k")})
	memory := newMemory(map[string]string{"a/plain": "SECRET"})
	unchecked := NewStorage(memory, keyring)
	wantCause(t, unchecked.Store(t.Context(), "a/new", []byte("SECRET")), StoragePlain)
	_, err := unchecked.Load(t.Context(), "a/plain")
	wantCause(t, err, ValuePlain)

	plain := Plain{memory}
	if err := plain.Store(t.Context(), "a/plain", []byte("SECRET")); err != nil {
		t.Fatal(err)
	}
	if _, err := Seal(t.Context(), memory, keyring); err != nil {
		t.Fatal(err)
	}
	wantCause(t, plain.Store(t.Context(), "a/new", []byte("SECRET")), StorageSealed) // it goes on running
	_, err = plain.Load(t.Context(), "a/plain")
	wantCause(t, err, StorageSealed)
	if err := plain.Store(t.Context(), "root.pem", []byte("public")); err != nil {
		t.Errorf("what is public: %v", err)
	}
	if value, err := unchecked.Load(t.Context(), "a/plain"); err != nil || string(value) != "SECRET" {
		t.Errorf("sealed since: %q, %v", value, err)
	}
}

func TestPublic(t *testing.T) {
	for name, want := range map[string]bool{
		"certificates/x/y/y.crt": true, "certificates/x/y/y.json": true, "certificates/x/y/y.key": false,
		"certificates/x/y/.y.crt123": false, "certificates": false, "certificates.crt": false,
		"authority/root.crt": true, "authority/root.key": false, "authority/other.crt": false,
		"root.pem": true, "sealed.json": true, "a/root.pem": false, "a/sealed.json": false,
		"ocsp/x": true, "ocsp": false, "locks/x": true, "impact/host.json": true,
		"acme/x/users/y/y.json": false, "acme/x/users/y/y.key": false, "tickets/12h/1": false, "": false, "new/thing": false,
	} {
		if Public(name) != want {
			t.Errorf("%s: public is %t", name, !want)
		}
	}
}

// TestGatewaysBeginTogether: one storage has one mark.
func TestGatewaysBeginTogether(t *testing.T) {
	key, memory := newFakeKey("k"), newMemory(nil)
	var group sync.WaitGroup
	storages := make([]*Storage, 8)
	for i := range storages {
		storages[i] = NewStorage(memory, newTestKeyring(t, Config{Key: key}))
		group.Go(func() {
			if err := storages[i].Check(t.Context()); err != nil {
				t.Error(err)
			}
			if err := storages[i].Store(t.Context(), fmt.Sprintf("a/%d", i), []byte("SECRET")); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for i := range storages {
		if _, err := storages[0].Load(t.Context(), fmt.Sprintf("a/%d", i)); err != nil {
			t.Error(err)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	keyring, err := NewKeyring(Config{Key: newFakeKey("k")})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(keyring.Close)
	sealed, err := keyring.seal(f.Context(), storageName, "a/b", []byte("value"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte(`{"suitegate_sealed":1,"key":"k","context":{"a":"b"},"data_key":"eA==","value":"eA=="}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		value, err := keyring.open(t.Context(), storageName, "a/b", data)
		if err == nil && string(value) != "value" {
			t.Errorf("%q opens to %q", data, value)
		}
		var damaged *Error
		var failed *KeyError
		if err != nil && !errors.As(err, &damaged) && !errors.As(err, &failed) {
			t.Errorf("%q fails without a cause: %v", data, err)
		}
		if m, err := parseMark(data); err == nil && (m.ID == "" || m.State == "") {
			t.Errorf("%q is a mark", data)
		}
	})
}
