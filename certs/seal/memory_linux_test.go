package seal

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// masked is a secret that a test knows, in a form that it is not found by.
type masked []byte

const mask = 0x5a

func maskedOf(secret []byte) masked {
	m := bytes.Clone(secret)
	for i := range m {
		m[i] ^= mask
	}
	return m
}

// countIn counts a secret in a text without writing it out.
func (m masked) countIn(text []byte) (n int) {
	first := m[0] ^ mask
	for {
		i := bytes.IndexByte(text, first)
		if i < 0 || len(text)-i < len(m) {
			return n
		}
		text = text[i:]
		same := true
		for j, b := range m {
			if text[j]^mask != b {
				same = false
				break
			}
		}
		if same {
			n++
		}
		text = text[1:]
	}
}

// inMemory counts secrets in everything that the process can write to: a dump of
// its memory, but for the buffer that it is read into.
func inMemory(t *testing.T, secrets map[string]masked) map[string]int {
	t.Helper()
	runtime.GC()
	runtime.GC() // what the first has found to be garbage is swept
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	const overlap, size = 256, 1 << 20
	buffer, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(buffer) // made after maps was read: it is not in there
	found := make(map[string]int)
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(mode, "rw") {
			continue
		}
		for at := from; at < to; at += size - overlap {
			n, _ := memory.ReadAt(buffer[:min(size, to-at)], int64(at)) // some cannot be read
			for name, secret := range secrets {
				found[name] += secret.countIn(buffer[:n])
			}
		}
	}
	return found
}

// watchedKey takes note of the data keys that it gives, in a form that they are
// not found by.
type watchedKey struct {
	*fakeKey
	given masked
}

func (k *watchedKey) GenerateDataKey(ctx context.Context, ec Context) (plain, wrapped []byte, err error) {
	plain = make([]byte, DataKeySize)
	rand.Read(plain)
	k.given = maskedOf(plain)
	return plain, []byte("wrapped"), nil
}

func (k *watchedKey) Decrypt(context.Context, []byte, Context) ([]byte, error) {
	plain := make([]byte, DataKeySize)
	for i := range plain {
		plain[i] = k.given[i] ^ mask
	}
	return plain, nil
}

// TestMemory shows that a dump of the process's memory has no private key once
// the storage has stored and loaded it, and no data key once that is over.
func TestMemory(t *testing.T) {
	key := &watchedKey{fakeKey: newFakeKey("k")}
	keyring, err := NewKeyring(Config{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer keyring.Close()
	s := NewStorage(newMemory(nil), keyring)
	check(t, s)

	value := make([]byte, 64)
	rand.Read(value)
	private := maskedOf(value)
	secrets := func() map[string]masked { return map[string]masked{"private key": private, "data key": key.given} }
	if err := s.Store(t.Context(), "a/b.key", value); err != nil {
		t.Fatal(err)
	}
	if found := inMemory(t, secrets()); found["private key"] != 1 || found["data key"] < 1 {
		t.Fatalf("a search that does not find what is there: %v", found)
	}
	clear(value)
	loaded, err := s.Load(t.Context(), "a/b.key")
	if err != nil || private.countIn(loaded) != 1 {
		t.Fatal("it is not what was stored", err)
	}
	clear(loaded)
	if found := inMemory(t, secrets()); found["private key"] != 0 {
		t.Errorf("the private key is in memory %d times, and nobody needs it", found["private key"])
	}
	keyring.Close()
	if found := inMemory(t, secrets()); found["data key"] != 0 {
		t.Errorf("the data key is in memory %d times when it is over", found["data key"])
	}
}
