package certs

import (
	"bytes"
	"crypto/elliptic"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/suitegate/suitegate/policy"
)

// selectLeaf returns what a store serves for a key type of the source "self".
func selectLeaf(t *testing.T, s *Store, key policy.KeyType) Certificate {
	t.Helper()
	cert, err := s.Select([]string{"self"}, "", key)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

var selfSignedSource = []Source{{Name: "self", SelfSigned: &SelfSigned{}}}

func TestMadeOnceAndKept(t *testing.T) {
	storage := copyStorage(t)
	first := open(t, Config{Storage: storage, Sources: selfSignedSource})
	second := open(t, Config{Storage: storage, Sources: selfSignedSource}) // while the first is open, as in a reload
	first.Close()
	for _, key := range leafTypes {
		a, b := selectLeaf(t, first, key), selectLeaf(t, second, key)
		if !a.Leaf.Equal(b.Leaf) {
			t.Errorf("%v: another leaf", key)
		}
	}
	if first.Root() != filepath.Join(storage, "root.pem") || first.Root() != second.Root() {
		t.Errorf("Root() = %q, then %q", first.Root(), second.Root())
	}
}

// A name more, or a new root, asks for new leaves.
func TestLeavesFollowNamesAndRoot(t *testing.T) {
	storage := copyStorage(t)
	before := selectLeaf(t, open(t, Config{Storage: storage, Sources: selfSignedSource}), policy.ECDSAP256)

	more := []Source{{Name: "self", SelfSigned: &SelfSigned{Names: []string{"localhost", "127.0.0.1", "::1", "*.mq.example"}}}}
	after := selectLeaf(t, open(t, Config{Storage: storage, Sources: more}), policy.ECDSAP256)
	if after.Leaf.Equal(before.Leaf) || after.Leaf.VerifyHostname("a.mq.example") != nil {
		t.Error("the leaf does not have the new name")
	}
	again := selectLeaf(t, open(t, Config{Storage: storage, Sources: selfSignedSource}), policy.ECDSAP256)
	if !again.Leaf.Equal(before.Leaf) {
		t.Error("the leaf for the old names was not kept")
	}

	if err := os.RemoveAll(filepath.Join(storage, "authority")); err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{Storage: storage, Sources: selfSignedSource})
	renewed := selectLeaf(t, s, policy.ECDSAP256)
	rootPEM, err := os.ReadFile(s.Root())
	if err != nil {
		t.Fatal(err)
	}
	root, err := readChain(s.Root())
	if err != nil {
		t.Fatalf("%v\n%s", err, rootPEM)
	}
	if err := renewed.Leaf.CheckSignatureFrom(root[0]); err != nil {
		t.Errorf("root.pem is not the new root: %v", err)
	}
}

// Two sources, one store: the same names share their leaves, and a primary
// name in common is no reason to mix the others up.
func TestSourcesWithNamesInCommon(t *testing.T) {
	storage := copyStorage(t)
	s := open(t, Config{Storage: storage, Sources: []Source{
		{Name: "self", SelfSigned: &SelfSigned{}},
		{Name: "same", SelfSigned: &SelfSigned{Names: []string{"::1", "localhost", "127.0.0.1"}}},
		{Name: "other", SelfSigned: &SelfSigned{Names: []string{"localhost", "other.example"}}},
		{Name: "address", SelfSigned: &SelfSigned{Names: []string{"2001:db8::1"}}},
		sourceOfFiles(t, "file", newECDSA(elliptic.P256()), "localhost"),
	}})
	got := make(map[string]Certificate)
	for _, source := range []string{"self", "same", "other", "address", "file"} {
		cert, err := s.Select([]string{source}, "localhost", policy.ECDSAP256)
		if err != nil {
			t.Fatal(err)
		}
		if cert.Source != source {
			t.Errorf("%s: source %q", source, cert.Source)
		}
		got[source] = cert
	}
	if !got["self"].Leaf.Equal(got["same"].Leaf) {
		t.Error("equal names have different leaves")
	}
	if err := got["other"].Leaf.VerifyHostname("other.example"); err != nil {
		t.Error(err)
	}
	if err := got["address"].Leaf.VerifyHostname("2001:db8::1"); err != nil {
		t.Error(err)
	}
	if len(got["file"].Leaf.AuthorityKeyId) != 0 {
		t.Error("the file's place was taken by a self-signed certificate")
	}
}

// TestRenewal lets two months pass: certmagic itself renews, the store takes
// the new leaf over, and the root stays.
func TestRenewal(t *testing.T) {
	storage := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		s, err := Open(t.Context(), Config{Storage: storage, Sources: selfSignedSource, Logger: log.logger(slog.LevelInfo)})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		opened := time.Now()
		root, err := os.ReadFile(s.Root())
		if err != nil {
			t.Fatal(err)
		}
		before := make(map[policy.KeyType]Certificate)
		for _, key := range leafTypes {
			before[key] = selectLeaf(t, s, key)
		}

		time.Sleep(59 * 24 * time.Hour)
		for _, key := range leafTypes {
			if selectLeaf(t, s, key) != before[key] {
				t.Errorf("%v: another certificate, or another pointer to it, with 31 days left", key)
			}
		}
		time.Sleep(2 * 24 * time.Hour)
		for _, key := range leafTypes {
			after := selectLeaf(t, s, key)
			if left := time.Until(after.Leaf.NotAfter); left < 88*24*time.Hour {
				t.Errorf("%v: not renewed, %v left after %v", key, left, time.Since(opened))
			}
			if bytes.Equal(after.Leaf.SubjectKeyId, before[key].Leaf.SubjectKeyId) {
				t.Errorf("%v: the key was kept", key)
			}
		}
		if now, err := os.ReadFile(s.Root()); err != nil || !bytes.Equal(now, root) {
			t.Errorf("another root, %v", err)
		}
		if got := strings.Count(log.String(), `msg="issued a self-signed certificate" certificate=self names="[127.0.0.1 ::1 localhost]" key=`); got != 4 {
			t.Errorf("%d certificates issued, want 4, in\n%s", got, log.String())
		}
		if strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("errors in the log:\n%s", log.String())
		}
	})
}

// A renewal by another process that shares the storage is taken over when
// this one would renew.
func TestRenewalByAnotherStore(t *testing.T) {
	storage := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		first, err := Open(t.Context(), Config{Storage: storage, Sources: selfSignedSource})
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		before := selectLeaf(t, first, policy.ECDSAP256)
		// Five minutes before the first store looks at its certificates.
		time.Sleep(60*24*time.Hour + 5*time.Minute - backdating/3)
		second, err := Open(t.Context(), Config{Storage: storage, Sources: selfSignedSource})
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		renewed := selectLeaf(t, second, policy.ECDSAP256)
		if renewed.Leaf.Equal(before.Leaf) {
			t.Fatal("Open did not renew")
		}
		time.Sleep(certmagic.DefaultRenewCheckInterval + refreshInterval)
		if !selectLeaf(t, first, policy.ECDSAP256).Leaf.Equal(renewed.Leaf) {
			t.Error("the other store's renewal was not taken over")
		}
	})
}

// Processes that start at once on an empty directory agree on one root and on
// the leaves.
func TestOpenAtOnce(t *testing.T) {
	storage := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		stores := make([]*Store, 3)
		var group errgroup.Group
		for i := range stores {
			group.Go(func() (err error) {
				stores[i], err = Open(t.Context(), Config{Storage: storage, Sources: selfSignedSource})
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, s := range stores {
			for _, key := range leafTypes {
				if !selectLeaf(t, s, key).Leaf.Equal(selectLeaf(t, stores[0], key).Leaf) {
					t.Errorf("%v: two leaves", key)
				}
			}
			s.Close()
		}
	})
}

// An expired leaf is replaced before Open returns.
func TestOpenAfterALongTime(t *testing.T) {
	storage := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		for range 2 {
			s, err := Open(t.Context(), Config{Storage: storage, Sources: selfSignedSource})
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range leafTypes {
				if left := time.Until(selectLeaf(t, s, key).Leaf.NotAfter); left < leafLifetime-time.Minute {
					t.Errorf("%v: %v left", key, left)
				}
			}
			s.Close()
			time.Sleep(200 * 24 * time.Hour)
		}
		time.Sleep(rootLifetime - 450*24*time.Hour)
		var log logBuffer
		s, err := Open(t.Context(), Config{Storage: storage, Sources: selfSignedSource, Logger: log.logger(slog.LevelWarn)})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if want := `level=WARN msg="the self-signed root will expire, and clients will need a new one" file=` + s.Root() + " not_after=2009-12-29"; !strings.HasPrefix(log.String(), want) {
			t.Errorf("logged %q", log.String())
		}
		time.Sleep(60 * 24 * time.Hour)
		s, err = Open(t.Context(), Config{Storage: storage, Sources: selfSignedSource})
		if err == nil {
			s.Close()
			t.Fatal("an expired root is used")
		}
		if want := "expired on 2009-12-29: delete the directory to have a new root made, and give it to clients"; !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want …%s", err, want)
		}
	})
}

// The bubble of synctest ends only when all goroutines in it have.
func TestCloseEndsEveryGoroutine(t *testing.T) {
	storage := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(t.Context(), Config{Storage: storage, Sources: selfSignedSource})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if err := s.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		selectLeaf(t, s, policy.RSA)
	})
}

// A reload opens a store on warm storage: no lock, no key, no goroutine left.
func TestReopening(t *testing.T) {
	storage := copyStorage(t)
	before := goleak.IgnoreCurrent()
	for range 20 {
		s, err := Open(t.Context(), Config{Storage: storage, Sources: selfSignedSource})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
	if ok, err := newFileStorage(storage).TryLock(t.Context(), rootLock); !ok {
		t.Errorf("the root is locked: %v", err)
	}
}

// Failing after the cache has been made must stop it.
func TestFailingOpenLeavesNothing(t *testing.T) {
	storage := copyStorage(t)
	if err := os.Remove(filepath.Join(storage, "authority", "root.key")); err != nil {
		t.Fatal(err)
	}
	before := goleak.IgnoreCurrent()
	if s, err := Open(t.Context(), Config{Storage: storage, Sources: selfSignedSource}); err == nil {
		s.Close()
		t.Fatal("no error")
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

func TestStorageErrors(t *testing.T) {
	const remedy = "restore it, or delete the directory to have a new root made, which clients must be given then"
	for _, tt := range []struct {
		name  string
		spoil func(dir string) error
		want  string // with DIR for the directory
	}{
		{"writable by others", func(dir string) error { return os.Chmod(dir, 0o777) },
			"certs: storage: DIR: others may write to it (mode 0777): chmod go-w, or choose another directory"},
		{"a file", func(dir string) error { os.RemoveAll(dir); return os.WriteFile(dir, nil, 0o600) },
			"certs: storage: mkdir DIR: not a directory"},
		{"root key missing", func(dir string) error { return os.Remove(dir + "/authority/root.key") },
			"certs: self-signed root: DIR/authority/root.key: the key is missing: " + remedy},
		{"root key damaged", func(dir string) error { return os.WriteFile(dir+"/authority/root.key", []byte("x"), 0o600) },
			"certs: self-signed root: DIR/authority/root.key: not a key: " + remedy},
		{"another root key", func(dir string) error {
			return os.WriteFile(dir+"/authority/root.key", []byte(keyPEM(t, rsa2048())), 0o600)
		}, "certs: self-signed root: DIR/authority/root.key: not the key of root.crt: " + remedy},
		{"root damaged", func(dir string) error { return os.WriteFile(dir+"/authority/root.crt", []byte("x"), 0o600) },
			"certs: self-signed root: DIR/authority/root.crt: not PEM: " + remedy},
		{"root malformed", func(dir string) error {
			return os.WriteFile(dir+"/authority/root.crt", []byte(pemBlock("CERTIFICATE", nil)), 0o600)
		}, "certs: self-signed root: DIR/authority/root.crt: x509: malformed certificate: " + remedy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := copyStorage(t)
			if err := tt.spoil(dir); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), Config{Storage: dir, Sources: selfSignedSource})
			if err == nil {
				s.Close()
				t.Fatal("no error")
			}
			if got := strings.ReplaceAll(err.Error(), dir, "DIR"); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	if _, err := Open(t.Context(), Config{Sources: selfSignedSource}); err == nil ||
		err.Error() != "certs: storage: no directory is set, and self-signed certificates need one" {
		t.Errorf("without a directory: %v", err)
	}
}

// What can be made again must not keep the gateway from starting.
func TestDamagedLeafIsReplaced(t *testing.T) {
	for _, ext := range []string{".crt", ".key", ".json"} {
		for _, content := range []string{"", "x"} {
			storage := copyStorage(t)
			files, err := filepath.Glob(filepath.Join(storage, "certificates", "self-signed-*-p256", "localhost", "*"+ext))
			if err != nil || len(files) != 1 {
				t.Fatalf("%q, %v", files, err)
			}
			if err := os.WriteFile(files[0], []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			var log logBuffer
			s := open(t, Config{Storage: storage, Sources: selfSignedSource, Logger: log.logger(slog.LevelWarn)})
			selectLeaf(t, s, policy.ECDSAP256)
			if want := `level=WARN msg="stored self-signed certificate is unusable, replacing it" certificate=self error=`; !strings.HasPrefix(log.String(), want) {
				t.Errorf("%s %q: logged %q", ext, content, log.String())
			}
		}
	}
}

// Nothing that the store makes can be read by others, and no key is in a log.
func TestSecretsStayHome(t *testing.T) {
	storage := filepath.Join(t.TempDir(), "new")
	var log logBuffer
	src := sourceOfFiles(t, "file", rsa2048(), "mq.example")
	s := open(t, Config{Storage: storage, Sources: append([]Source{src}, selfSignedSource...), Logger: log.logger(slog.LevelDebug)})
	var keys []string
	err := filepath.WalkDir(storage, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		// Locks hold nothing but times.
		if mode := info.Mode().Perm(); mode&0o077 != 0 && filepath.Ext(path) != ".lock" {
			t.Errorf("%s: mode %v", path, mode)
		}
		if filepath.Ext(path) == ".key" {
			keys = append(keys, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 3 { // root, RSA, ECDSA
		t.Errorf("keys: %q", keys)
	}
	if !strings.Contains(log.String(), "certmagic: ") || !strings.Contains(log.String(), s.Root()) {
		t.Fatalf("the log is not what it should be:\n%s", log.String())
	}
	for _, path := range append(keys, src.Files.Key) {
		pem, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(pem)) {
			if line = strings.TrimSpace(line); len(line) > 16 && !strings.HasPrefix(line, "-----") && strings.Contains(log.String(), line) {
				t.Errorf("%s: a line of the key is in the log", path)
			}
		}
	}
}

func BenchmarkReopen(b *testing.B) {
	storage := copyStorage(b)
	for b.Loop() {
		s, err := Open(b.Context(), Config{Storage: storage, Sources: selfSignedSource})
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}
