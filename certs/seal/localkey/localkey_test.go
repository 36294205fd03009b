package localkey

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/suitegate/suitegate/certs/seal"
)

func init() { iterations = 100 }

func text(b byte) []byte {
	return []byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, keySize)) + "\n")
}

func newKeys(t *testing.T) map[string][2]*Key {
	t.Helper()
	must := func(k *Key, err error) *Key {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	return map[string][2]*Key{
		"file":       {must(File(text(1))), must(File(text(2)))},
		"passphrase": {must(Passphrase([]byte("correct horse battery"))), must(Passphrase([]byte("correct horse batterz")))},
	}
}

func TestRoundTrip(t *testing.T) {
	ec := seal.Context{"a": "b", "c": "d"}
	for kind, keys := range newKeys(t) {
		key, other := keys[0], keys[1]
		plain, wrapped, err := key.GenerateDataKey(t.Context(), ec)
		if err != nil || len(plain) != seal.DataKeySize {
			t.Fatalf("%s: %d bytes, %v", kind, len(plain), err)
		}
		again, err := key.Decrypt(t.Context(), wrapped, seal.Context{"c": "d", "a": "b"})
		if err != nil || !bytes.Equal(again, plain) {
			t.Errorf("%s: %v", kind, err)
		}
		changed := bytes.Clone(wrapped)
		changed[len(changed)-1] ^= 1
		for name, test := range map[string]struct {
			key     *Key
			wrapped []byte
			context seal.Context
		}{
			"another key":     {other, wrapped, ec},
			"another context": {key, wrapped, seal.Context{"a": "b"}},
			"changed":         {key, changed, ec},
			"cut short":       {key, wrapped[:9], ec},
			"nothing":         {key, nil, ec},
			"another form":    {key, append([]byte{9}, wrapped...), ec},
		} {
			got, err := test.key.Decrypt(t.Context(), test.wrapped, test.context)
			var failed *seal.KeyError
			if !errors.As(err, &failed) || failed.Cause != seal.KeyInvalidValue || got != nil {
				t.Errorf("%s, %s: %x, %v", kind, name, got, err)
			}
		}
		if !strings.HasPrefix(key.ID(), kind+":") || key.ID() == other.ID() {
			t.Errorf("IDs %q and %q", key.ID(), other.ID())
		}
	}
}

// TestSameSecretSameKey: after a restart, or on another gateway.
func TestSameSecretSameKey(t *testing.T) {
	first, second := newKeys(t), newKeys(t)
	for kind := range first {
		key, again := first[kind][0], second[kind][0]
		plain, wrapped, err := key.GenerateDataKey(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := again.Decrypt(t.Context(), wrapped, nil)
		if err != nil || !bytes.Equal(got, plain) || key.ID() != again.ID() {
			t.Errorf("%s: %s and %s: %v", kind, key.ID(), again.ID(), err)
		}
		if kind == "passphrase" && !bytes.Equal(again.salt, key.salt) {
			t.Error("a storage gets a second salt")
		}
	}
}

func TestSalts(t *testing.T) {
	key, err := Passphrase([]byte("correct horse battery"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range byte(maxSalts + 2) {
		_, err = key.Decrypt(t.Context(), append([]byte{wrappedByPassphrase, i}, make([]byte, 60)...), nil)
	}
	if len(key.keys) != maxSalts || !strings.Contains(err.Error(), "too many salts") {
		t.Errorf("%d derived keys, %v", len(key.keys), err)
	}
}

func TestBadSecrets(t *testing.T) {
	for _, bad := range []string{"", "secret", string(text(1)[:40]), strings.Repeat("A", 88)} {
		if _, err := File([]byte(bad)); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := Passphrase([]byte("short")); err == nil {
		t.Error("a short passphrase is taken")
	}
}
