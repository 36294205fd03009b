package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/suitegate/suitegate/certs/seal/awskms"
	"github.com/suitegate/suitegate/configs"
)

// confinement is what the process may still open: what is below the directories
// that it knew when it started. The kernel holds it, and it cannot be widened.
type confinement struct {
	on    bool
	roots []confinedRoot
}

// confinedRoot is a directory that everything may be read below, or written too.
// The kernel means this very directory: another of the same name is none.
type confinedRoot struct {
	path     string // without symbolic links
	info     os.FileInfo
	writable bool
}

// confinementFor has the directories of what a configuration names, and of where
// its links lead. Those that are not there have no part in it.
func confinementFor(cfg *configs.Config) *confinement {
	c := &confinement{}
	paths := cfg.Paths()
	if cfg.Seal.KMS() {
		for _, file := range awskms.Files() {
			paths = append(paths, configs.Path{Name: file}) // read whenever credentials have to be renewed
		}
	}
	for _, p := range paths {
		for _, dir := range directoriesOf(p) {
			c.add(dir, p.Dir != "")
		}
	}
	return c
}

func (c *confinement) add(dir string, writable bool) {
	real, err := absolute(dir)
	if err != nil {
		return
	}
	if info, err := os.Stat(real); err == nil {
		c.roots = append(c.roots, confinedRoot{real, info, writable})
	}
}

// absolute is the one name of a path without symbolic links.
func absolute(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

// existing is the absolute name of a directory, or of the one above that is there.
func existing(dir string) string {
	for {
		real, err := absolute(dir)
		if err == nil {
			return real
		}
		if up := filepath.Dir(dir); up != dir {
			dir = up
			continue
		}
		return dir
	}
}

// directoriesOf are where a path has to be opened: the directory that it stands
// in, since what replaces a file comes there, and where a link leads.
func directoriesOf(p configs.Path) []string {
	if p.Dir != "" {
		return []string{p.Dir}
	}
	dirs := []string{filepath.Dir(p.Name)}
	real, err := filepath.EvalSymlinks(p.Name)
	if err != nil {
		return dirs
	}
	if info, err := os.Stat(real); err == nil && info.IsDir() {
		return append(dirs, real)
	}
	return append(dirs, filepath.Dir(real))
}

// allows says which paths are out of reach, each with its position.
func (c *confinement) allows(paths []configs.Path) error {
	if !c.on {
		return nil
	}
	var errs configs.Errors
	for _, p := range paths {
		for _, dir := range directoriesOf(p) {
			if !c.reaches(dir, p.Dir != "") {
				errs = append(errs, configs.Error{Pos: p.Pos, Reason: fmt.Sprintf(
					"%s: %s is out of reach of this process since it started (hardening.landlock); restart it", p.Name, dir)})
				break
			}
		}
	}
	if len(errs) == 0 {
		return nil
	}
	errs.Sort()
	return errs
}

// reaches says whether a directory is one that is open, or below one.
func (c *confinement) reaches(dir string, write bool) bool {
	dir = existing(dir)
	for _, root := range c.roots {
		below := root.path == "/" || dir == root.path || strings.HasPrefix(dir, root.path+"/")
		if !below || write && !root.writable {
			continue
		}
		if now, err := os.Stat(root.path); err == nil && os.SameFile(now, root.info) {
			return true
		}
	}
	return false
}
