package clientauth

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// How much of a file is read, in bytes. A CRL of a million entries has some 40
// MiB.
const (
	maxBundle = 4 << 20
	maxCRL    = 128 << 20
)

// files are the bundle and the CRLs on disk, and what they held when they were
// last good.
type files struct {
	ca   *file[*bundle]
	crls []source
	seen map[string]*file[[]*crl] // by path

	fips bool // CRLs that FIPS 140-3 does not approve are refused

	generation int // counts changes
}

// A source is an entry of Settings.CRLs.
type source struct {
	path  string
	files []string // that it names; the path itself, or those of the directory
	err   string   // why the directory could not be read; its files are as they were
}

func newFiles(ca string, paths []string) *files {
	f := &files{ca: &file[*bundle]{path: ca}, seen: make(map[string]*file[[]*crl])}
	for _, path := range paths {
		f.crls = append(f.crls, source{path: path})
	}
	return f
}

// read reads what has changed since the last time, when it is still, or at once.
// Each file that cannot be used is an error, once, and what it held before
// stays.
func (f *files) read(atOnce bool) (*trust, []*SettingError) {
	var wrong []*SettingError
	fail := func(field string, err error) {
		if err != nil {
			wrong = append(wrong, &SettingError{field, err})
		}
	}
	changed, err := f.ca.refresh(atOnce, maxBundle, parseBundle)
	fail("ca", err)
	if changed {
		for _, one := range f.seen { // whose signature may be that of a new authority
			one.known = one.known && !one.bad
		}
	}
	authorities := f.ca.good.certificates()
	used := make(map[string]bool)
	for i := range f.crls {
		field := fmt.Sprintf("crl.%d", i)
		gone, err := f.crls[i].list()
		fail(field, err)
		changed = changed || gone
		for _, path := range f.crls[i].files {
			used[path] = true
			if f.crls[i].err != "" {
				continue
			}
			one := f.seen[path]
			if one == nil {
				one = &file[[]*crl]{path: path}
				f.seen[path] = one
			}
			fresh, err := one.refresh(atOnce, maxCRL, func(data []byte) ([]*crl, error) { return f.parseSignedCRLs(path, data, authorities) })
			fail(field, err)
			changed = changed || fresh
		}
	}
	if changed {
		f.generation++
	}
	t := &trust{bundle: f.ca.good, crls: make(crls)}
	for path, one := range f.seen {
		if !used[path] {
			delete(f.seen, path)
			continue
		}
		for _, c := range one.good {
			t.crls[string(c.list.RawIssuer)] = append(t.crls[string(c.list.RawIssuer)], c)
		}
	}
	return t, wrong
}

// parseSignedCRLs refuses CRLs that an authority of the bundle should have
// signed and has not. Who signs for an intermediate authority is seen when a
// client brings its certificate.
func (f *files) parseSignedCRLs(path string, data []byte, authorities []*x509.Certificate) ([]*crl, error) {
	list, err := parseCRLs(data)
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		c.file = path
		if err := approvedSignature(c.list.SignatureAlgorithm); f.fips && err != nil {
			return nil, err
		}
		if err := c.checkIssuer(authorities); err != nil {
			return nil, fmt.Errorf("the signature of the CRL of %s is not its issuer's: %w", quote(formatDN(c.list.RawIssuer)), err)
		}
	}
	return list, nil
}

// checkIssuer says why none of the authorities that have the issuer's name has
// signed a CRL; nil is that one has, or none has the name.
func (c *crl) checkIssuer(authorities []*x509.Certificate) (err error) {
	for _, a := range authorities {
		if !bytes.Equal(a.RawSubject, c.list.RawIssuer) {
			continue
		}
		if c.isOf(a) {
			return nil
		}
		if err = c.list.CheckSignatureFrom(a); err == nil {
			err = errors.New("its key identifier is that of another key")
		}
	}
	return err
}

// list lists a directory anew, and says whether files have gone. A path that is
// none names itself.
func (s *source) list() (gone bool, err error) {
	names, err := s.names()
	if err != nil {
		before := s.err
		if s.err = err.Error(); s.err == before {
			return false, nil
		}
		return false, err
	}
	s.err = ""
	gone = slices.ContainsFunc(s.files, func(name string) bool { return !slices.Contains(names, name) })
	s.files = names
	return gone, nil
}

func (s *source) names() ([]string, error) {
	info, err := os.Stat(s.path)
	// One that is not there, but was a directory, is still one.
	if err != nil && len(s.files) > 0 && s.files[0] != s.path {
		return nil, err
	}
	if err != nil || !info.IsDir() {
		return []string{s.path}, nil // whose own error comes when it is read
	}
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		path := filepath.Join(s.path, entry.Name())
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			continue
		}
		names = append(names, path)
	}
	return names, nil
}

// A file is what a path held when it was last good.
type file[T any] struct {
	path  string
	good  T
	known bool        // it was read
	bad   bool        // and could not be used
	info  fs.FileInfo // when it was last read, good or not; nil if it was not there
	seen  fs.FileInfo // when it was last looked at
}

// refresh reads the file if it has changed, and has looked the same twice, so
// that nobody is caught writing; or at once. The error comes once for each
// change.
func (f *file[T]) refresh(atOnce bool, limit int64, parse func([]byte) (T, error)) (changed bool, err error) {
	info, err := os.Stat(f.path)
	still := same(info, f.seen)
	f.seen = info
	if f.known && same(info, f.info) || !still && !atOnce {
		return false, nil
	}
	f.info, f.known, f.bad = info, true, true
	if err != nil {
		return false, err
	}
	value, err := readFile(f.path, limit, parse)
	if err != nil {
		return false, err
	}
	f.good, f.bad = value, false
	return true, nil
}

// same says that a file has not changed between two looks; nil is none.
func same(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}

func readFile[T any](path string, limit int64, parse func([]byte) (T, error)) (value T, err error) {
	in, err := os.Open(path)
	if err != nil {
		return value, err
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("longer than %d bytes", limit)
	}
	if err == nil {
		value, err = parse(data)
	}
	// Those of package os name the path already.
	if _, named := errors.AsType[*fs.PathError](err); err != nil && !named {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return value, err
}

// certificates are those of a bundle that may not be there yet.
func (b *bundle) certificates() []*x509.Certificate {
	if b == nil {
		return nil
	}
	return b.all
}
