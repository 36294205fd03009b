package clientauth

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// refresh refreshes v and compares what it says. "" is no error.
func refresh(t *testing.T, v *Verifier, changed bool, wrong string) {
	t.Helper()
	seen, early := v.Refresh()
	got, err := v.Refresh()
	if early != nil && err != nil {
		t.Errorf("twice: %v, %v", early, err)
	}
	if err == nil {
		err = early
	}
	if got = got || seen; got != changed {
		t.Errorf("changed: %t, want %t", got, changed)
	}
	if (err == nil) != (wrong == "") || err != nil && !strings.Contains(err.Error(), wrong) {
		t.Errorf("error %v, want %q", err, wrong)
	}
}

// What changes on disk holds from the next refresh on, unless it is broken.
func TestRefresh(t *testing.T) {
	root, other := newAuthority(t, nil, "root"), newAuthority(t, nil, "other")
	client, stranger := root.client(t, "a"), other.client(t, "b")
	ca, list := bundleFile(t, root), crlFile(t, root.crl(t, nil))
	v := open(t, Settings{CA: ca, CRLs: []string{list}})
	verify := func(client *entity, reason string) {
		t.Helper()
		checkVerdict(t, v.Verify(tls.VersionTLS13, client.chain()), reason)
	}
	verify(client, "")
	refresh(t, v, false, "")

	writeFile(t, list, root.crl(t, nil, client)) // DER this time
	refresh(t, v, true, "")
	verify(client, ReasonRevoked)

	writeFile(t, list, []byte("<html>"))
	refresh(t, v, false, "ca.crl: no CRL in it")
	refresh(t, v, false, "") // said already
	verify(client, ReasonRevoked)

	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	refresh(t, v, false, "no such file")
	refresh(t, v, false, "")
	verify(client, ReasonRevoked)

	writeFile(t, list, root.crl(t, nil))
	refresh(t, v, true, "")
	verify(client, "")

	scope := v.Scope()
	writeFile(t, ca, pemOf("CERTIFICATE", root.Raw[:100]))
	refresh(t, v, false, "certificate 1")
	verify(client, "")
	writeFile(t, ca, pemOf("CERTIFICATE", other.Raw))
	writeFile(t, list, other.crl(t, nil))
	refresh(t, v, true, "")
	verify(client, ReasonUnknownCA)
	verify(stranger, "")
	if v.Scope() == scope {
		t.Error("another bundle, and the same scope")
	}
}

// Both are wrong, one after the other is mended.
func TestRefreshTellsAll(t *testing.T) {
	root := newAuthority(t, nil, "root")
	ca, list := bundleFile(t, root), crlFile(t, root.crl(t, nil))
	v := open(t, Settings{CA: ca, CRLs: []string{list}})
	writeFile(t, ca, nil)
	writeFile(t, list, nil)
	if _, err := v.Refresh(); err != nil {
		t.Errorf("read at once: %v", err)
	}
	_, err := v.Refresh()
	if err == nil || !strings.Contains(err.Error(), "clientauth: ca: ") || !strings.Contains(err.Error(), "clientauth: crl.0: ") {
		t.Errorf("error %v", err)
	}
	writeFile(t, ca, pemOf("CERTIFICATE", root.Raw))
	refresh(t, v, true, "crl.0") // tried again with other authorities
}

// Authorities and their CRLs may be replaced one after the other.
func TestRefreshInAnyOrder(t *testing.T) {
	old, renewed := newAuthority(t, nil, "root"), newAuthority(t, nil, "root")
	ca, list := bundleFile(t, old), crlFile(t, old.crl(t, nil))
	v := open(t, Settings{CA: ca, CRLs: []string{list}})
	writeFile(t, list, renewed.crl(t, nil))
	refresh(t, v, false, "signature")
	writeFile(t, ca, pemOf("CERTIFICATE", renewed.Raw))
	refresh(t, v, true, "")
	checkVerdict(t, v.Verify(tls.VersionTLS13, renewed.client(t, "a").chain()), "")
}

// A directory's files come and go.
func TestDirectory(t *testing.T) {
	root := newAuthority(t, nil, "root")
	middle := newAuthority(t, root, "middle")
	client := middle.client(t, "a")
	dir := filepath.Join(t.TempDir(), "crls")
	if err := os.MkdirAll(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, ".hidden"), []byte("nothing"))
	writeFile(t, filepath.Join(dir, "root.crl"), root.crl(t, nil))
	v := open(t, Settings{CA: bundleFile(t, root), CRLs: []string{dir}, MaxDepth: 1})
	verify := func(reason string) {
		t.Helper()
		checkVerdict(t, v.Verify(tls.VersionTLS13, client.chain()), reason)
	}
	verify(ReasonNoCRL)

	other := writeFile(t, filepath.Join(dir, "middle.r0"), pemOf("X509 CRL", middle.crl(t, nil)))
	refresh(t, v, true, "")
	verify("")

	writeFile(t, filepath.Join(dir, "junk"), []byte("nothing"))
	refresh(t, v, false, "junk: no CRL in it")
	refresh(t, v, false, "")
	verify("")

	moved := dir + ".moved"
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	refresh(t, v, false, "no such file")
	refresh(t, v, false, "")
	verify("")
	if err := os.Rename(moved, dir); err != nil {
		t.Fatal(err)
	}
	refresh(t, v, false, "") // the files are the same
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	refresh(t, v, true, "")
	verify(ReasonNoCRL)
}
