package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/suitegate/suitegate/policy"
)

// seenWithin is the time in which a good replacement is served.
const seenWithin = 2 * pollInterval

// watched is an open store with one source of files, under a fake clock.
type watched struct {
	*Store
	t     *testing.T
	files Files
	log   logBuffer

	mu   sync.Mutex
	told []string // what Config.Reloaded heard
}

// watch opens a store with the files of a pair for a.example.
func watch(t *testing.T, key crypto.Signer, options ...certOptions) *watched {
	dir := t.TempDir()
	w := &watched{t: t, files: Files{Certificate: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}}
	w.rewrite(w.files.Certificate, certPEM(issue(t, key, []string{"a.example"}, options...)))
	w.rewrite(w.files.Key, keyPEM(t, key))
	w.open(Source{Name: "x", Files: &w.files})
	return w
}

func (w *watched) open(sources ...Source) {
	w.t.Helper()
	w.Store = open(w.t, Config{Sources: sources, Logger: w.log.logger(slog.LevelInfo), Reloaded: func(source string, ok bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told = append(w.told, fmt.Sprint(source, " ", ok))
	}})
}

// rewrite writes a file in place, as a shell's redirection does.
func (w *watched) rewrite(path, content string) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// rename puts another file in the place of one.
func (w *watched) rename(path, content string) {
	w.t.Helper()
	w.rewrite(path+".new", content)
	if err := os.Rename(path+".new", path); err != nil {
		w.t.Fatal(err)
	}
}

// link makes a link, or turns it to another target, at once.
func (w *watched) link(path, target string) {
	w.t.Helper()
	if err := os.Symlink(target, path+".new"); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		w.t.Fatal(err)
	}
}

// after lets time pass, and waits until the store has done its part.
func (w *watched) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// wantServed looks at what clients get, and whether its key goes with it.
func (w *watched) wantServed(key crypto.Signer) {
	w.t.Helper()
	got, err := w.Select([]string{"x"}, "a.example", keyTypeOf(key.Public()))
	if err != nil {
		w.t.Fatal(err)
	}
	for name, pub := range map[string]any{"certificate": got.Leaf.PublicKey, "key": got.PrivateKey.(crypto.Signer).Public()} {
		if !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(pub) {
			w.t.Errorf("another %s is served", name)
		}
	}
	if n := len(w.cache.AllMatchingCertificates("a.example")); n > 1 {
		w.t.Errorf("%d certificates are in certmagic's cache", n)
	}
}

// wantLogged compares what was logged and counted since it was last asked.
func (w *watched) wantLogged(told []string, lines ...string) {
	w.t.Helper()
	w.wantTold(told...)
	leaf, _ := w.files.leaf()
	log := strings.ReplaceAll(w.log.take(), filepath.Dir(leaf), "DIR")
	got := strings.Split(strings.TrimSpace(log), "\n")
	for i, line := range got {
		got[i], _, _ = strings.Cut(line, " not_after=")
	}
	if len(lines) == 0 {
		lines = []string{""}
	}
	if diff := cmp.Diff(lines, got); diff != "" {
		w.t.Errorf("logged (-want +got):\n%s", diff)
	}
}

func (w *watched) wantTold(told ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if diff := cmp.Diff(told, w.told); diff != "" {
		w.t.Errorf("told (-want +got):\n%s", diff)
	}
	w.told = nil
}

// took is the log line of a replacement that is served.
const took = `level=INFO msg="certificate replaced" certificate=x names=[a.example]`

// refused is that of one that is not.
func refused(reason string) string {
	return fmt.Sprintf(`level=ERROR msg="certificate files refused, the certificate in force stays" certificate=x error=%q`, reason)
}

func TestFilesReplaced(t *testing.T) {
	old, next := newECDSA(elliptic.P256()), newECDSA(elliptic.P256())
	for _, tt := range []struct {
		name    string
		replace func(w *watched, cert, key string)
		within  time.Duration // of the end of replace
	}{
		{"renamed, certificate first", func(w *watched, cert, key string) {
			w.rename(w.files.Certificate, cert)
			w.rename(w.files.Key, key)
		}, seenWithin},
		{"rewritten, key first", func(w *watched, cert, key string) {
			w.rewrite(w.files.Key, key)
			w.rewrite(w.files.Certificate, cert)
		}, seenWithin},
		{"one long after the other", func(w *watched, cert, key string) {
			w.rename(w.files.Certificate, cert)
			w.after(settleTime - pollInterval)
			w.wantServed(old)
			w.rename(w.files.Key, key)
		}, seenWithin},
		{"removed and made again", func(w *watched, cert, key string) {
			os.Remove(w.files.Key)
			os.Remove(w.files.Certificate)
			w.after(3 * pollInterval)
			w.wantServed(old)
			w.rewrite(w.files.Key, key)
			w.rewrite(w.files.Certificate, cert)
		}, seenWithin},
		{"written slowly", func(w *watched, cert, key string) {
			w.rewrite(w.files.Certificate, cert)
			for i := range len(key) / 20 {
				w.rewrite(w.files.Key, key[:i*20])
				w.after(pollInterval / 4)
				w.wantServed(old)
			}
			w.rewrite(w.files.Key, key)
		}, seenWithin},
		{"a chain, certificate by certificate", func(w *watched, cert, key string) {
			w.rewrite(w.files.Key, key)
			w.rewrite(w.files.Certificate, cert)
			w.after(pollInterval) // would do alone
			w.rewrite(w.files.Certificate, cert+cert)
			w.after(pollInterval / 2)
			w.wantServed(old)
		}, seenWithin},
		{"never still", func(w *watched, cert, key string) {
			w.rewrite(w.files.Certificate, cert)
			w.rewrite(w.files.Key, key)
			for i := range settleTime / pollInterval {
				w.rewrite(w.files.Key, key+strings.Repeat("\n", int(i)))
				w.after(pollInterval)
			}
		}, seenWithin},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watch(t, old)
				w.after(time.Hour)
				w.wantServed(old)
				tt.replace(w, certPEM(issue(t, next, []string{"a.example"})), keyPEM(t, next))
				w.after(tt.within)
				w.wantServed(next)
				w.after(time.Hour)
				w.wantLogged([]string{"x true"}, took)
			})
		})
	}
}

// TestLinksTurned replaces files as Kubernetes does, which turns a link to the
// directory, and as certbot does, which turns one link after the other.
func TestLinksTurned(t *testing.T) {
	old, next := newECDSA(elliptic.P256()), newECDSA(elliptic.P256())
	for _, tt := range []struct {
		name  string
		files Files  // below the directory
		links string // from each of them to the version
		turn  func(w *watched, dir, version string)
	}{
		{"Kubernetes", Files{Certificate: "tls.crt", Key: "tls.key"}, "..data/%s", func(w *watched, dir, version string) {
			w.link(filepath.Join(dir, "..data"), "..version-"+version)
		}},
		{"certbot", Files{Certificate: "tls.crt", Key: "tls.key"}, "..version-1/%s", func(w *watched, dir, version string) {
			for _, name := range []string{"tls.crt", "tls.key"} {
				w.link(filepath.Join(dir, name), filepath.Join("..version-"+version, name))
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				w := &watched{t: t, files: Files{Certificate: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}}
				for version, key := range map[string]*ecdsa.PrivateKey{"1": old, "2": next} {
					versioned := filepath.Join(dir, "..version-"+version)
					if err := os.Mkdir(versioned, 0o700); err != nil {
						t.Fatal(err)
					}
					w.rewrite(filepath.Join(versioned, "tls.crt"), certPEM(issue(t, key, []string{"a.example"})))
					w.rewrite(filepath.Join(versioned, "tls.key"), keyPEM(t, key))
				}
				w.link(filepath.Join(dir, "..data"), "..version-1")
				for _, name := range []string{"tls.crt", "tls.key"} {
					w.link(filepath.Join(dir, name), fmt.Sprintf(tt.links, name))
				}
				w.open(Source{Name: "x", Files: &w.files})
				w.after(time.Minute)
				w.wantServed(old)
				tt.turn(w, dir, "2")
				if err := os.RemoveAll(filepath.Join(dir, "..version-1")); err != nil {
					t.Fatal(err)
				}
				w.after(seenWithin)
				w.wantServed(next)
				w.wantLogged([]string{"x true"}, took)
			})
		})
	}
}

func TestFilesRefused(t *testing.T) {
	old, next, p384 := newECDSA(elliptic.P256()), newECDSA(elliptic.P256()), newECDSA(elliptic.P384())
	const removed, directory = "\x00", "\x01"
	certOf := func(t *testing.T, key crypto.Signer) string { return certPEM(issue(t, key, []string{"a.example"})) }
	goodKey := keyPEM(t, next)
	for _, tt := range []struct {
		name string
		cert crypto.Signer // nil for a corrupted one
		key  string
		at   time.Duration // after the change
		want string
	}{
		{"half-written key", next, goodKey[:100], settleTime, "DIR/tls.key: not PEM"},
		{"no key", next, removed, settleTime, "open DIR/tls.key: no such file or directory"},
		{"unreadable key", next, directory, settleTime, "read DIR/tls.key: is a directory"},
		{"key of the former certificate", next, keyPEM(t, old), settleTime, "DIR/tls.key: the key does not match the certificate: it is ECDSA P-256 " +
			fingerprint(old.Public()) + ", the certificate's is ECDSA P-256 " + fingerprint(next.Public())},
		{"corrupted certificate", nil, goodKey, settleTime,
			"DIR/tls.crt: certificate 1: x509: malformed certificate"},
		{"both", nil, "!", settleTime, "DIR/tls.crt: certificate 1: x509: malformed certificate; DIR/tls.key: not PEM"},
		{"key of another type", p384, keyPEM(t, p384), pollInterval,
			"DIR/tls.crt: the key type is ECDSA-P384 instead of ECDSA-P256, which takes a reload of the configuration"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watch(t, old)
				cert := pemBlock("CERTIFICATE", []byte("junk"))
				if tt.cert != nil {
					cert = certOf(t, tt.cert)
				}
				for path, content := range map[string]string{w.files.Certificate: cert, w.files.Key: tt.key} {
					os.Remove(path)
					switch content {
					case removed:
					case directory:
						os.Mkdir(path, 0o700)
					default:
						w.rewrite(path, content)
					}
				}
				w.after(tt.at)
				w.wantLogged(nil)
				w.after(pollInterval)
				w.wantServed(old)
				w.wantLogged([]string{"x false"}, refused(tt.want))
				w.after(time.Hour)
				w.wantServed(old)
				w.wantLogged(nil)

				os.Remove(w.files.Key)
				w.rename(w.files.Certificate, certOf(t, next))
				w.rename(w.files.Key, goodKey)
				w.after(seenWithin)
				w.wantServed(next)
				w.wantLogged([]string{"x true"}, took)
			})
		})
	}
}

// The former files put back are news if others were refused in between.
func TestFilesPutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newECDSA(elliptic.P256())
		w := watch(t, key)
		good, err := os.ReadFile(w.files.Key)
		if err != nil {
			t.Fatal(err)
		}
		w.rename(w.files.Key, string(good)) // another file, the same key
		w.after(time.Minute)
		w.wantLogged(nil)
		for _, bad := range []string{"bad", "worse"} { // each is told of
			w.rewrite(w.files.Key, bad)
			w.after(time.Minute)
			w.wantLogged([]string{"x false"}, refused("DIR/tls.key: not PEM"))
		}
		w.rewrite(w.files.Key, string(good))
		w.after(seenWithin)
		w.wantServed(key)
		w.wantLogged([]string{"x true"}, took)
	})
}

func TestReplacementOutOfTime(t *testing.T) {
	expired := func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(time.Minute) }
	early := func(c *x509.Certificate) { c.NotBefore = c.NotBefore.Add(2 * time.Hour) }
	for _, tt := range []struct {
		name      string
		old, next certOptions
		want      string // refused, for that; "" if it is served
		later     bool   // served in the end
	}{
		{"expired", func(*x509.Certificate) {}, expired, "DIR/tls.crt: the certificate expired at 1999-12-31T23:01:00Z", false},
		{"not valid yet", func(*x509.Certificate) {}, early, "DIR/tls.crt: the certificate is not valid before 2000-01-01T01:00:00Z", true},
		{"no worse", expired, early, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old, next := newECDSA(elliptic.P256()), newECDSA(elliptic.P256())
				w := watch(t, old, tt.old)
				w.log.take()
				w.rename(w.files.Certificate, certPEM(issue(t, next, []string{"a.example"}, tt.next)))
				w.rename(w.files.Key, keyPEM(t, next))
				w.after(seenWithin)
				if tt.want == "" {
					w.wantServed(next)
					return
				}
				w.wantServed(old)
				w.wantLogged([]string{"x false"}, refused(tt.want))
				w.after(2*time.Hour + retryInterval)
				if !tt.later {
					w.wantServed(old)
					w.wantLogged(nil)
					return
				}
				w.wantServed(next)
				w.wantLogged([]string{"x true"}, took)
			})
		})
	}
}

// Names may be lost, which is said, and clients that ask for one of them get
// the certificate all the same.
func TestReplacementLosesNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newECDSA(elliptic.P256())
		w := watch(t, key)
		w.rename(w.files.Certificate, certPEM(issue(t, key, []string{"b.example"})))
		w.after(seenWithin)
		w.wantLogged([]string{"x true"},
			`level=INFO msg="certificate replaced" certificate=x names=[b.example]`,
			`level=WARN msg="the new certificate lacks names that the former had" certificate=x names=[a.example]`)
		got, err := w.Select([]string{"x"}, "a.example", policy.ECDSAP256)
		if err != nil || got.Leaf.DNSNames[0] != "b.example" {
			t.Errorf("got %v, %v", got.Leaf.DNSNames, err)
		}
	})
}

// Two sources of the same files replace the certificate one after the other;
// neither takes it from the other, and certmagic keeps none that is not used.
func TestFilesShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next, last := newECDSA(elliptic.P256()), newECDSA(elliptic.P256()), newECDSA(elliptic.P256())
		w := watch(t, old)
		w.Close()
		w.open(Source{Name: "x", Files: &w.files}, Source{Name: "y", Files: &w.files})
		for _, key := range []*ecdsa.PrivateKey{next, last} {
			w.rename(w.files.Certificate, certPEM(issue(t, key, []string{"a.example"})))
			w.rename(w.files.Key, keyPEM(t, key))
			w.after(time.Minute)
			w.wantServed(key)
			if n := len(w.cache.AllMatchingCertificates("a.example")); n != 1 {
				t.Errorf("%d certificates in certmagic's cache", n)
			}
			w.wantTold("x true", "y true")
		}
	})
}

// A bundle and its password are replaced together, like a certificate and its
// key.
func TestBundleReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w := &watched{t: t, files: Files{PKCS12: filepath.Join(dir, "tls.p12"), Password: Secret{File: filepath.Join(dir, "tls.pass")}}}
		bundle := func(key crypto.Signer, password string) string {
			leaf, err := x509.ParseCertificate(issue(t, key, []string{"a.example"}))
			if err != nil {
				t.Fatal(err)
			}
			data, err := pkcs12.Modern.Encode(key, leaf, nil, password)
			if err != nil {
				t.Fatal(err)
			}
			return string(data)
		}
		old, next := newECDSA(elliptic.P256()), newECDSA(elliptic.P256())
		w.rewrite(w.files.PKCS12, bundle(old, "old"))
		w.rewrite(w.files.Password.File, "old\n")
		w.open(Source{Name: "x", Files: &w.files})
		w.rename(w.files.PKCS12, bundle(next, "next"))
		w.after(settleTime - pollInterval)
		w.wantServed(old)
		w.rename(w.files.Password.File, "next\n")
		w.after(seenWithin)
		w.wantServed(next)
		w.wantLogged([]string{"x true"}, took)

		w.rewrite(w.files.Password.File, "other")
		w.after(time.Hour)
		w.wantServed(next)
		w.wantLogged([]string{"x false"}, refused("the password does not open DIR/tls.p12, or that file is damaged"))
	})
}

// TestFilesNotWatchedAfterClose shows that a store that is closed reads, says
// and counts nothing any more.
func TestFilesNotWatchedAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newECDSA(elliptic.P256())
		w := watch(t, key)
		w.Close()
		w.rewrite(w.files.Key, "bad")
		w.after(time.Hour)
		w.wantServed(key)
		w.wantLogged(nil)
	})
}
