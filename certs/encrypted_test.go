package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/policy"
)

// secret is the password of this file's keys. It must not turn up anywhere.
const secret = "correct horse: bättery"

const secretVariable = "SUITEGATE_TEST_PASSWORD"

// openssl runs OpenSSL, which finds the password in the environment.
func openssl(t *testing.T, args ...string) {
	t.Helper()
	t.Setenv(secretVariable, secret)
	if out, err := command(t, "openssl", args...); err != nil {
		t.Fatalf("openssl %q: %v\n%s", args, err, out)
	}
}

// served returns what a source of files serves, and what it logged.
func served(t *testing.T, files Files, key policy.KeyType) (Certificate, string) {
	t.Helper()
	var log logBuffer
	s := open(t, Config{Sources: []Source{{Name: "x", Files: &files}}, Logger: log.logger(slog.LevelDebug)})
	cert, err := s.Select([]string{"x"}, "a.example", key)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), secret) {
		t.Error("the password is in the log")
	}
	return cert, log.String()
}

func samePublic(a, b crypto.PublicKey) bool {
	return a.(interface{ Equal(crypto.PublicKey) bool }).Equal(b)
}

func TestEncryptedKeys(t *testing.T) {
	p256 := newECDSA(elliptic.P256())
	const weak = "private key is encrypted in a way that is easily broken"
	for _, tt := range []struct {
		name string
		key  crypto.Signer
		args []string // of openssl
		log  string
	}{
		{"AES-256, the default", p256, []string{"pkcs8", "-topk8", "-v2", "aes-256-cbc"}, ""},
		{"AES-128, SHA-1", p256, []string{"pkcs8", "-topk8", "-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1"}, ""},
		{"AES-192, SHA-384", p256, []string{"pkcs8", "-topk8", "-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA384"}, ""},
		{"AES-256, SHA-512", rsa2048(), []string{"pkcs8", "-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512"}, ""},
		{"triple DES", p256, []string{"pkcs8", "-topk8", "-v2", "des3"}, ""},
		{"scrypt", rsa2048(), []string{"pkcs8", "-topk8", "-scrypt"}, ""},
		{"pkey", p256, []string{"pkey", "-aes256"}, ""},
		{"traditional RSA", rsa2048(), []string{"rsa", "-aes128", "-traditional"}, weak},
		{"traditional EC", p256, []string{"ec", "-des3"}, weak},
		{"not encrypted", p256, []string{"pkey"}, "private key is not encrypted, although there is a password for it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := sourceOfFiles(t, "x", tt.key, "a.example")
			encrypted := write(t, "encrypted.key", "")
			args := append(tt.args, "-in", src.Files.Key, "-out", encrypted)
			if !strings.Contains(tt.name, "not") {
				args = append(args, "-passout", "env:"+secretVariable)
			}
			openssl(t, args...)
			files := Files{Certificate: src.Files.Certificate, Key: encrypted}
			for _, ending := range []string{"", "\n", "\r\n"} {
				files.Password.File = write(t, "password", secret+ending)
				cert, log := served(t, files, keyTypeOf(tt.key.Public()))
				if !samePublic(tt.key.Public(), cert.PrivateKey.(crypto.Signer).Public()) {
					t.Errorf("%q: another key", ending)
				}
				if (tt.log == "") != !strings.Contains(log, "level=WARN") || !strings.Contains(log, tt.log) {
					t.Errorf("%q: logged %s", ending, log)
				}
			}
			t.Setenv(secretVariable, secret)
			files.Password = Secret{Env: secretVariable}
			served(t, files, keyTypeOf(tt.key.Public()))
		})
	}
}

// pemFiles makes a root, an intermediate, and a leaf for a.example with a key,
// and returns the files of the key, the leaf and what is above it.
func pemFiles(t *testing.T, key crypto.Signer) (keyFile, leafFile, aboveFile string, ders [][]byte) {
	t.Helper()
	rootKey, middleKey := newECDSA(elliptic.P256()), newECDSA(elliptic.P256())
	authority := func(name string) certOptions {
		return func(c *x509.Certificate) {
			c.Subject.CommonName, c.IsCA, c.BasicConstraintsValid, c.KeyUsage = name, true, true, x509.KeyUsageCertSign
		}
	}
	root := issueBy(t, nil, rootKey, rootKey, nil, authority("root"))
	middle := issueBy(t, root, rootKey, middleKey, nil, authority("middle"))
	leaf := issueBy(t, middle, middleKey, key, []string{"a.example"})
	ders = [][]byte{leaf, middle, root}
	return write(t, "leaf.key", keyPEM(t, key)), write(t, "leaf.crt", certPEM(leaf)), write(t, "above.crt", certPEM(root, middle)), ders
}

func TestPKCS12OfOpenSSL(t *testing.T) {
	for _, tt := range []struct {
		name string
		key  crypto.Signer
		args []string
	}{
		{"modern", newECDSA(elliptic.P256()), nil},
		{"RSA", rsa2048(), nil},
		{"legacy", rsa2048(), []string{"-legacy"}},
		{"triple DES", rsa2048(), []string{"-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"}},
		{"certificates not encrypted", newECDSA(elliptic.P384()), []string{"-certpbe", "NONE"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key, leaf, above, want := pemFiles(t, tt.key)
			bundle := write(t, "bundle.p12", "")
			openssl(t, append([]string{"pkcs12", "-export", "-inkey", key, "-in", leaf, "-certfile", above,
				"-out", bundle, "-passout", "env:" + secretVariable}, tt.args...)...)
			cert, log := served(t, Files{PKCS12: bundle, Password: Secret{File: write(t, "password", secret+"\n")}}, keyTypeOf(tt.key.Public()))
			if diff := cmp.Diff(want, cert.Certificate.Certificate); diff != "" {
				t.Errorf("not the chain from the leaf up:\n%s", diff)
			}
			if !samePublic(tt.key.Public(), cert.PrivateKey.(crypto.Signer).Public()) {
				t.Error("another key")
			}
			if strings.Contains(log, "level=WARN") {
				t.Errorf("logged %s", log)
			}
		})
	}
	t.Run("no password", func(t *testing.T) {
		signer := newECDSA(elliptic.P256())
		key, leaf, _, _ := pemFiles(t, signer)
		bundle := write(t, "bundle.p12", "")
		openssl(t, "pkcs12", "-export", "-inkey", key, "-in", leaf, "-out", bundle, "-passout", "pass:")
		served(t, Files{PKCS12: bundle}, policy.ECDSAP256)
	})
}

// TestPKCS12OfJava reads what keytool makes: a key of its own, and one that an
// authority has certified, which brings the chain into the store.
func TestPKCS12OfJava(t *testing.T) {
	if _, err := exec.LookPath("keytool"); errors.Is(err, exec.ErrNotFound) && os.Getenv("CI") == "" {
		t.Skip("NOT TESTED: no keytool here; apt-get install default-jdk-headless")
	}
	const plain = "correct horse" // keytool takes ASCII alone
	t.Setenv(secretVariable, plain)
	keytool := func(args ...string) {
		t.Helper()
		args = append([]string{"-J-XX:TieredStopAtLevel=1"}, append(args, "-storepass:env", secretVariable)...)
		if out, err := command(t, "keytool", args...); err != nil {
			t.Fatalf("keytool %q: %v\n%s", args, err, out)
		}
	}
	store := filepath.Join(t.TempDir(), "keystore.p12")
	keytool("-genkeypair", "-alias", "server", "-keyalg", "EC", "-groupname", "secp256r1", "-dname", "CN=a.example",
		"-ext", "san=dns:a.example", "-keystore", store, "-storetype", "PKCS12")
	files := Files{PKCS12: store, Password: Secret{Env: secretVariable}}
	own, _ := served(t, files, policy.ECDSAP256)

	authority := newECDSA(elliptic.P256())
	root := issue(t, authority, nil, func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.BasicConstraintsValid = "root", true, true
	})
	reply := issueBy(t, root, authority, own.PrivateKey.(*ecdsa.PrivateKey), []string{"a.example"})
	keytool("-importcert", "-noprompt", "-alias", "root", "-file", write(t, "root.crt", certPEM(root)), "-keystore", store)
	keytool("-importcert", "-noprompt", "-alias", "server", "-file", write(t, "reply.crt", certPEM(reply)), "-keystore", store)
	cert, _ := served(t, files, policy.ECDSAP256)
	if diff := cmp.Diff([][]byte{reply, root}, cert.Certificate.Certificate); diff != "" {
		t.Errorf("not the chain:\n%s", diff)
	}
}

func TestPasswordErrors(t *testing.T) {
	key := newECDSA(elliptic.P256())
	plain, leaf, _, _ := pemFiles(t, key)
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	openssl(t, "pkey", "-in", plain, "-aes256", "-passout", "env:"+secretVariable, "-out", in("pkcs8.key"))
	openssl(t, "ec", "-in", plain, "-aes256", "-passout", "env:"+secretVariable, "-out", in("sec1.key"))
	openssl(t, "pkcs8", "-in", plain, "-topk8", "-v1", "PBE-SHA1-3DES", "-passout", "env:"+secretVariable, "-out", in("pbes1.key"))
	openssl(t, "pkcs12", "-export", "-inkey", plain, "-in", leaf, "-passout", "env:"+secretVariable, "-out", in("bundle.p12"))
	for name, content := range map[string]string{
		"right": secret, "wrong": secret + " staple", "newlines": secret + "\n\n", "empty": "\n",
		"other.p12": "\x30\x82junk", "java.jks": "\xFE\xED\xFE\xED\x00\x00\x00\x02",
	} {
		if err := os.WriteFile(in(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SUITEGATE_TEST_EMPTY", "")
	const neither = ", and the configuration has neither password_file nor password_env"
	for _, tt := range []struct {
		files Files // below the directory
		want  string
	}{
		{Files{Key: "pkcs8.key"}, "files.key: DIR/pkcs8.key: the key is encrypted" + neither},
		{Files{Key: "sec1.key"}, "files.key: DIR/sec1.key: the key is encrypted" + neither},
		{Files{PKCS12: "bundle.p12"}, "files.pkcs12: DIR/bundle.p12: the bundle has a password" + neither},
		{Files{Key: "pkcs8.key", Password: Secret{File: "wrong"}}, "files.password_file: the password does not open DIR/pkcs8.key, or that file is damaged"},
		{Files{Key: "sec1.key", Password: Secret{File: "wrong"}}, "files.password_file: the password does not open DIR/sec1.key, or that file is damaged"},
		{Files{PKCS12: "bundle.p12", Password: Secret{File: "wrong"}}, "files.password_file: the password does not open DIR/bundle.p12, or that file is damaged"},
		{Files{Key: "pkcs8.key", Password: Secret{File: "newlines"}}, "files.password_file: the password does not open DIR/pkcs8.key, or that file is damaged"},
		{Files{Key: "pkcs8.key", Password: Secret{Env: "HOME"}}, "files.password_env: the password does not open DIR/pkcs8.key, or that file is damaged"},
		{Files{Key: "pkcs8.key", Password: Secret{File: "nowhere"}}, "files.password_file: open DIR/nowhere: no such file or directory"},
		{Files{Key: "pkcs8.key", Password: Secret{File: "empty"}}, "files.password_file: DIR/empty: empty"},
		{Files{Key: "pkcs8.key", Password: Secret{Env: "SUITEGATE_TEST_NOWHERE"}}, "files.password_env: the environment variable SUITEGATE_TEST_NOWHERE is not set, or empty"},
		{Files{PKCS12: "bundle.p12", Password: Secret{Env: "SUITEGATE_TEST_EMPTY"}}, "files.password_env: the environment variable SUITEGATE_TEST_EMPTY is not set, or empty"},
		{Files{Key: "pbes1.key", Password: Secret{File: "right"}}, "files.key: DIR/pbes1.key: encryption 1.2.840.113549.1.12.1.3 is not supported (PBES2 is)"},
		{Files{PKCS12: "other.p12", Password: Secret{File: "right"}}, "files.pkcs12: DIR/other.p12: malformed, or not PKCS #12 with one key and its certificates"},
		{Files{PKCS12: "pkcs8.key", Password: Secret{File: "right"}}, "files.pkcs12: DIR/pkcs8.key: not PKCS #12 but PEM"},
		{Files{PKCS12: "java.jks", Password: Secret{File: "right"}}, "files.pkcs12: DIR/java.jks: not PKCS #12 but a Java keystore of the older kind: " +
			"convert it with keytool -importkeystore -deststoretype PKCS12"},
	} {
		t.Run(fmt.Sprint(tt.files), func(t *testing.T) {
			for _, path := range []*string{&tt.files.Key, &tt.files.PKCS12, &tt.files.Password.File} {
				if *path != "" {
					*path = in(*path)
				}
			}
			if tt.files.Key != "" {
				tt.files.Certificate = leaf
			}
			_, err := Check(Config{Sources: []Source{{Name: "x", Files: &tt.files}}})
			if err == nil {
				t.Fatal("no error")
			}
			mistake := sourceErrors(t, err)[0]
			if got := strings.ReplaceAll(mistake.Field+": "+mistake.Err.Error(), dir, "DIR"); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Error("the error has the password")
			}
		})
	}
}

// Who may read the password may read the key.
func TestPasswordFileMode(t *testing.T) {
	key := newECDSA(elliptic.P256())
	plain, leaf, _, _ := pemFiles(t, key)
	bundle, password := write(t, "bundle.p12", ""), write(t, "password", secret)
	openssl(t, "pkcs12", "-export", "-inkey", plain, "-in", leaf, "-passout", "env:"+secretVariable, "-out", bundle)
	for _, path := range []string{bundle, password} {
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, log := served(t, Files{PKCS12: bundle, Password: Secret{File: password}}, policy.ECDSAP256)
	for secret, path := range map[string]string{"private key": bundle, "password": password} {
		if want := fmt.Sprintf("level=WARN msg=%q certificate=x file=%s mode=-rw-r--r--\n", secret+" is accessible to every user of this machine", path); !strings.Contains(log, want) {
			t.Errorf("%q is not in the log:\n%s", want, log)
		}
	}
}

// FuzzDecryptPKCS8 shows that no key, however damaged, ends the process or
// keeps it busy.
func FuzzDecryptPKCS8(f *testing.F) {
	for _, file := range []string{"pbkdf2.der", "scrypt.der"} {
		der, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			f.Fatal(err)
		}
		if _, err := decryptPKCS8(der, []byte("password")); err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		if plain, err := decryptPKCS8(der, []byte("password")); (plain == nil) == (err == nil) {
			t.Errorf("%x and %v", plain, err)
		}
	})
}
