package certs

import (
	"crypto/elliptic"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/policy"
)

// tree are the files of a directory with their times, to see that nothing
// has been written.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		files[path] = info.Mode().String() + info.ModTime().String()
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return files
}

func TestInspect(t *testing.T) {
	offers, err := Inspect(Config{Sources: []Source{
		sourceOfFiles(t, "files", newECDSA(elliptic.P384()), "X.example", "*.y.example", "192.0.2.1"),
		{Name: "self", SelfSigned: &SelfSigned{Names: []string{"b.example", "a.example", "::1"}}},
	}})
	if err != nil || len(offers) != 2 || offers[0].Leaf == nil || offers[1].Leaf != nil {
		t.Fatalf("%v, %v", offers, err)
	}
	offers[0].Leaf = nil
	want := []Offer{
		{Source: "files", Names: []string{"x.example", "*.y.example", "192.0.2.1"}, Keys: []policy.KeyType{policy.ECDSAP384}},
		{Source: "self", Names: []string{"::1", "a.example", "b.example"}, Keys: []policy.KeyType{policy.RSA, policy.ECDSAP256}},
	}
	if diff := cmp.Diff(want, offers); diff != "" {
		t.Error(diff)
	}
}

func TestList(t *testing.T) {
	storage := copyStorage(t)
	before := tree(t, storage)
	file := sourceOfFiles(t, "file", rsa2048(), "x.example")
	cfg := Config{Storage: storage, Sources: []Source{
		selfSignedSource[0], file, {Name: "new", SelfSigned: &SelfSigned{Names: []string{"not.yet.example"}}},
	}}
	listed, err := List(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, tree(t, storage)); diff != "" {
		t.Errorf("List has changed the storage:\n%s", diff)
	}
	var got []string
	for _, l := range listed {
		line := strings.Join([]string{l.Source, l.Kind, l.Key.String(), strings.Join(l.Names, ",")}, " ")
		if l.Leaf == nil {
			line += " missing"
		}
		got = append(got, line)
	}
	want := []string{
		"self self_signed RSA 127.0.0.1,::1,localhost",
		"self self_signed ECDSA-P256 127.0.0.1,::1,localhost",
		"file files RSA x.example",
		"new self_signed RSA not.yet.example missing",
		"new self_signed ECDSA-P256 not.yet.example missing",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	// What is listed is what a store then serves.
	s := open(t, cfg)
	served := s.Certificates()
	if len(served) != len(listed) {
		t.Fatalf("%d served, %d listed", len(served), len(listed))
	}
	for i, cert := range served {
		if l := listed[i]; cert.Source != l.Source || cert.Key != l.Key || l.Leaf != nil && !l.Leaf.Equal(cert.Leaf) {
			t.Errorf("%s %v: listed is another", cert.Source, cert.Key)
		}
		if i == 0 {
			if diff := cmp.Diff([]string{"localhost", "127.0.0.1", "::1"}, cert.ServerNames()); diff != "" {
				t.Error(diff)
			}
		}
	}

	// Of what is damaged there is no guess.
	leaf, err := filepath.Glob(filepath.Join(storage, "certificates", "*-rsa2048", "localhost", "*.crt"))
	if err != nil || len(leaf) != 1 {
		t.Fatal(leaf, err)
	}
	if err := os.WriteFile(leaf[0], []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := List(t.Context(), cfg); err == nil || !strings.HasPrefix(err.Error(), `certs: certificate "self": self_signed: certificates/self-signed-`) {
		t.Errorf("damaged: %v", err)
	}
}

func TestListWithoutStorage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	listed, err := List(t.Context(), Config{Storage: dir, Sources: selfSignedSource})
	if err != nil || len(listed) != 2 || listed[0].Leaf != nil || listed[1].Leaf != nil {
		t.Errorf("%v, %v", listed, err)
	}
	if _, err := List(t.Context(), Config{Sources: []Source{{Name: "bad", Files: &Files{}}}}); err == nil {
		t.Error("a source that is none is listed")
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the storage was made: %v", err)
	}
}

func TestExportRoot(t *testing.T) {
	storage := copyStorage(t)
	before := tree(t, storage)
	got, err := ExportRoot(t.Context(), Config{Storage: storage})
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(storage, RootFile))
	if err != nil || string(got) != string(want) {
		t.Errorf("got\n%s\nwant what clients are given\n%s%v", got, want, err)
	}
	if diff := cmp.Diff(before, tree(t, storage)); diff != "" {
		t.Errorf("ExportRoot has changed the storage:\n%s", diff)
	}

	none := filepath.Join(storage, "none")
	if _, err := ExportRoot(t.Context(), Config{Storage: none}); !errors.Is(err, ErrNoRoot) || err.Error() != "certs: "+none+": there is no self-signed root yet" {
		t.Errorf("no storage: %v", err)
	}
	if err := os.WriteFile(filepath.Join(storage, "authority", "root.crt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ExportRoot(t.Context(), Config{Storage: storage}); err == nil || err.Error() != "certs: self-signed root: authority/root.crt: not PEM" {
		t.Errorf("damaged: %v", err)
	}
}
