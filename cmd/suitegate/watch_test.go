package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The file is read when it has another content, and has had it for a while.
func TestFileWatch(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "gateway.yml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	turn := func(target string) {
		t.Helper()
		if err := os.Symlink(target, path+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write(path, "first")
	w := &fileWatch{path: path}
	look := func(what string, want ...bool) {
		t.Helper()
		for i, want := range want {
			if got := w.changed(); got != want {
				t.Errorf("%s: look %d says %t", what, i+1, got)
			}
		}
	}
	if _, err := w.read(); err != nil {
		t.Fatal(err)
	}
	look("as it was read", false, false)
	write(path, "second, half of")
	look("half written", false)
	write(path, "second, all of it")
	look("written", false, true, false, false)
	if _, err := w.read(); err != nil {
		t.Fatal(err)
	}
	look("read", false, false)
	write(path+".new", "second, all of it")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	look("replaced by the same", false, false, false)
	write(filepath.Join(dir, "a"), "third")
	turn("a")
	look("a link turned", false, true)
	if _, err := w.read(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	look("gone", false, true)
	if _, err := w.read(); err == nil {
		t.Error("read what is not there")
	}
	look("still gone", false, false)
	turn("a")
	look("back", false, true)
}
