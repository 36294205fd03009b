package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/suitegate/suitegate/configs"
)

// confined makes directories and what leads to them, and the confinement of a
// gateway that has started with some.
func confined(t *testing.T) (dir string, c *confinement) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"etc/tls/archive", "etc/..2026", "state", "log", "elsewhere/below", "released/1"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"etc/gateway.yml", "etc/tls/a.crt", "elsewhere/b.crt", "released/1/c.crt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"live": "released/1", "etc/tls/c.crt": "../../live/c.crt", "etc/tls/out.crt": "../../elsewhere/b.crt", "states": "state"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	c = &confinement{on: true}
	for _, p := range pathsIn(dir, "etc/gateway.yml", "etc/tls/c.crt", "state/", "log/audit.log/") {
		for _, d := range directoriesOf(p) {
			c.add(d, p.Dir != "")
		}
	}
	return dir, c
}

// pathsIn makes paths of names; one with a slash at its end is written to, a
// directory itself or a file in one.
func pathsIn(dir string, names ...string) []configs.Path {
	var paths []configs.Path
	for i, name := range names {
		p := configs.Path{Name: filepath.Join(dir, name), Pos: configs.Pos{File: "gateway.yml", Line: i + 1, Column: 1}}
		if strings.HasSuffix(name, "/") {
			p.Dir = p.Name
			if filepath.Ext(p.Name) != "" {
				p.Dir = filepath.Dir(p.Name)
			}
		}
		paths = append(paths, p)
	}
	return paths
}

func TestConfinement(t *testing.T) {
	dir, c := confined(t)
	for name, want := range map[string]bool{
		"etc/gateway.yml":      true,
		"etc/tls/a.crt":        true,
		"etc/tls/new.crt":      true,  // not there yet
		"etc/tls":              true,  // a directory of CRLs
		"etc/new/a.crt":        true,  // below what is open
		"etc/tls/c.crt":        true,  // to where its link leads
		"etc/tls/out.crt":      false, // to where this one leads
		"live/c.crt":           true,  // by another way, which does not count
		"released/1/c.crt":     true,
		"elsewhere/b.crt":      false,
		"elsewhere/none.crt":   false,
		"etcetera/a.crt":       false,
		"state/":               true,
		"states/":              true,
		"state/below/":         true,
		"log/audit.log/":       true,
		"log/other.log/":       true,
		"etc/audit.log/":       false, // which may be read alone
		"elsewhere/below/new/": false,
	} {
		err := c.allows(pathsIn(dir, name))
		if (err == nil) != want {
			t.Errorf("%s: %v, want it allowed: %t", name, err, want)
		}
		var errs configs.Errors
		if err != nil && (!errors.As(err, &errs) || !strings.HasPrefix(err.Error(), "gateway.yml:1:1: "+filepath.Join(dir, name)+": ") ||
			!strings.Contains(err.Error(), "since it started")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var errs configs.Errors
	if err := c.allows(pathsIn(dir, "elsewhere/b.crt", "etc/tls/a.crt", "elsewhere/below/")); !errors.As(err, &errs) || len(errs) != 2 {
		t.Errorf("%v, want two errors at once", err)
	}

	// Another directory of the same name is another one to the kernel.
	if err := os.Rename(filepath.Join(dir, "etc"), filepath.Join(dir, "etc.old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := c.allows(pathsIn(dir, "etc/gateway.yml")); err == nil {
		t.Error("a directory that was replaced is taken for the old one")
	}

	c.on = false
	if err := c.allows(pathsIn(dir, "elsewhere/b.crt")); err != nil {
		t.Errorf("without Landlock: %v", err)
	}
	if err := (&confinement{on: true, roots: []confinedRoot{rootOf(t, "/")}}).allows(pathsIn(dir, "elsewhere/b.crt")); err != nil {
		t.Errorf("all of the file system: %v", err)
	}
}

func rootOf(t *testing.T, path string) confinedRoot {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return confinedRoot{path: path, info: info}
}
