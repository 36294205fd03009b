package proxy

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"index/suffixarray"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
)

// secrets are what must not be seen anywhere. Whatever becomes one for the
// gateway is added in TestSecretsAreKept, in the session that it belongs to:
// passwords and ticket keys by add, private keys by addKey, files with keys,
// and all those in a directory, by addFile and addStorage.
type secrets []secret

type secret struct {
	what   string
	pieces [][]byte // of each form in which it could show
}

// add adds a secret of any kind. Short ones are looked for whole, and of long
// ones every piece, since what shows may be cut off.
func (s *secrets) add(what string, value []byte) {
	const piece = 32
	added := secret{what: what}
	for _, form := range forms(value) {
		if len(form) < 2*piece {
			added.pieces = append(added.pieces, form)
			continue
		}
		for p := range slices.Chunk(form, piece) {
			if len(p) == piece {
				added.pieces = append(added.pieces, p)
			}
		}
	}
	*s = append(*s, added)
}

// forms are the ways in which Go programs print bytes.
func forms(value []byte) (all [][]byte) {
	add := func(form string) { all = append(all, []byte(form)) }
	add(string(value))
	quoted := strconv.Quote(string(value))
	add(quoted[1 : len(quoted)-1])
	decimal := strings.Trim(fmt.Sprint(value), "[]")
	add(decimal)                               // as %v has it
	add(strings.ReplaceAll(decimal, " ", ",")) // as JSON has arrays
	add(strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", value), "[]byte{"), "}"))
	add(new(big.Int).SetBytes(value).String()) // as keys have their numbers
	for _, digits := range []string{hex.EncodeToString(value), fmt.Sprintf("% x", value), strings.ReplaceAll(fmt.Sprintf("% x", value), " ", ":")} {
		add(digits)
		add(strings.ToUpper(digits))
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for skip := range min(3, len(value)) { // it may stand behind something else
			whole := (len(value) - skip) / 3 * 3
			if whole >= 6 {
				add(encoding.EncodeToString(value[skip : skip+whole]))
			}
		}
	}
	return all
}

// addKey adds a private key, in its encodings and by its numbers.
func (s *secrets) addKey(t *testing.T, what string, key crypto.PrivateKey) {
	t.Helper()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s.add(what+" (PKCS #8)", pkcs8)
	switch key := key.(type) {
	case *rsa.PrivateKey:
		s.add(what+" (PKCS #1)", x509.MarshalPKCS1PrivateKey(key))
		for name, number := range map[string]*big.Int{"d": key.D, "p": key.Primes[0], "q": key.Primes[1],
			"dp": key.Precomputed.Dp, "dq": key.Precomputed.Dq, "qinv": key.Precomputed.Qinv} {
			s.add(what+" ("+name+")", number.Bytes())
		}
	case *ecdsa.PrivateKey:
		d, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		s.add(what+" (d)", d)
	}
}

// addFile adds the private keys and ticket secrets in a PEM file, and reports
// whether there are any.
func (s *secrets) addFile(t *testing.T, path string) (found bool) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return found
		}
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") && block.Type != "SUITEGATE TICKET SECRET" {
			continue
		}
		found = true
		s.add(path, block.Bytes)
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			s.addKey(t, path, key)
		} else if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			s.addKey(t, path, key)
		}
	}
}

// addStorage adds all that addFile finds below a directory that the gateway writes
// to, and says how many files have some.
func (s *secrets) addStorage(t *testing.T, dir string) (files int) {
	t.Helper()
	eachFile(t, dir, func(path string, _ fs.FileInfo) {
		if s.addFile(t, path) {
			files++
		}
	})
	return files
}

func eachFile(t *testing.T, dir string, f func(path string, info fs.FileInfo)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			f(path, info)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// in returns what of the secrets stands in a text.
func (s secrets) in(text []byte) (found []string) {
	index := suffixarray.New(text)
	for _, secret := range s {
		if slices.ContainsFunc(secret.pieces, func(piece []byte) bool { return len(index.Lookup(piece, 1)) > 0 }) {
			found = append(found, secret.what)
		}
	}
	return found
}

// exposed returns the files below a directory that hold a secret and that
// others than their owner can read.
func (s secrets) exposed(t *testing.T, dir string) (paths []string) {
	t.Helper()
	eachFile(t, dir, func(path string, info fs.FileInfo) {
		if info.Mode().Perm()&0o077 == 0 {
			return
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.in(data)) > 0 {
			paths = append(paths, path)
		}
	})
	return paths
}

// The search finds a secret in each form, in the middle of something else and
// cut off: the test that relies on it could not fail otherwise.
func TestSecretsAreFound(t *testing.T) {
	key := newKey(t, policy.RSA).(*rsa.PrivateKey)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var s secrets
	s.addKey(t, "key", key)
	s.add("password", []byte("correct horse"))
	s.add("ticket", bytes.Repeat([]byte{0xfe, 0x01, 0x7f, 0x22}, 8))
	pemText := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	for _, leak := range []string{
		string(pkcs8),
		string(pemText),
		strconv.Quote(string(pemText[:200])), // as a log has it, and less than half
		hex.EncodeToString(pkcs8),
		strings.ToUpper(hex.EncodeToString(pkcs8)),
		fmt.Sprintf("% x", pkcs8),
		fmt.Sprint(pkcs8),
		fmt.Sprintf("%#v", pkcs8),
		fmt.Sprintf("%q", pkcs8),
		fmt.Sprintf("%v", key.D),
		fmt.Sprintf("%+v", *key),
		base64.StdEncoding.EncodeToString(append([]byte("x"), key.Primes[0].Bytes()...)),
		base64.URLEncoding.EncodeToString(x509.MarshalPKCS1PrivateKey(key)),
		"wrong password: correct horse",
		`{"password":"Y29ycmVjdCBob3JzZQ=="}`,
		"636f727265637420686f727365",
		fmt.Sprint(bytes.Repeat([]byte{0xfe, 0x01, 0x7f, 0x22}, 8)),
		fmt.Sprintf("%x", bytes.Repeat([]byte{0xfe, 0x01, 0x7f, 0x22}, 8)),
	} {
		if len(s.in([]byte("before "+leak+" behind"))) == 0 {
			t.Errorf("not found in %.200q", leak)
		}
	}
	if found := s.in([]byte("nothing to see here: correct, horse, " + key.N.String())); len(found) > 0 {
		t.Errorf("found what is not there: %q", found)
	}

	dir := t.TempDir()
	for name, mode := range map[string]fs.FileMode{"mine": 0o600, "group": 0o640, "public": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), pemText, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "harmless"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(s.exposed(t, dir)), fmt.Sprintf("[%s/group %s/public]", dir, dir); got != want {
		t.Errorf("exposed: %s, want %s", got, want)
	}
	if n := new(secrets).addStorage(t, dir); n != 3 {
		t.Errorf("%d files with keys, want 3", n)
	}
}

// After a session in which much goes wrong, at the log level that tells most,
// no secret is in the log, in the metrics, in the status or in an error, and
// only the gateway's user can read what it has stored.
func TestSecretsAreKept(t *testing.T) {
	s := newSession(t)
	for _, visit := range s.clients() {
		visit(t)
	}
	s.badConfigurations(t)
	s.replacement(t)
	s.see("status", s.ask(t, "/status"))
	s.see("metrics", s.ask(t, "/metrics"))
	s.see("log", s.log.raw())
	for _, marker := range []string{"certmagic: ", s.storage, "certificate replaced", `"level":"DEBUG"`} {
		if !bytes.Contains(s.seen["log"], []byte(marker)) {
			t.Errorf("the log is not what it should be: no %s", marker)
		}
	}

	if n := s.secrets.addStorage(t, s.storage); n != 5 { // root, RSA, ECDSA, and the secrets of two rotations
		t.Errorf("%d files with keys in the storage, want 5", n)
	}
	for _, r := range s.current.routes {
		for i, key := range s.current.tickets.Keys(r.ticketScope(), time.Now()) {
			s.secrets.add(fmt.Sprintf("ticket key %d of %s", i, r.Name), key[:])
		}
	}
	for where, text := range s.seen {
		if found := s.secrets.in(text); len(found) > 0 {
			t.Errorf("%s: has %q", where, found)
		}
	}
	if exposed := s.secrets.exposed(t, s.storage); len(exposed) > 0 {
		t.Errorf("others can read %q", exposed)
	}
}

// session is a gateway whose secrets are looked for in all that it says.
type session struct {
	*gateway
	storage string
	secrets secrets
	seen    map[string][]byte
	files   string // directory of the certificate and key that it serves
	yaml    string
}

func newSession(t *testing.T) *session {
	t.Helper()
	s := &session{storage: filepath.Join(t.TempDir(), "storage"), files: t.TempDir(), seen: make(map[string][]byte)}
	s.replaceKey(t, policy.RSA, true)
	s.addBundle(t)
	s.yaml = fmt.Sprintf(`
storage: %q
tickets: {shared: true}
admin: {address: "127.0.0.1:0"}
certificates:
  - {name: own, self_signed: {names: [localhost, 127.0.0.1]}}
  - {name: files, files: {certificate: %q, key: %q}}
  - {name: bundle, files: {pkcs12: %q, password_file: %q}}
upstreams: {broker: {nodes: [%q]}, down: {nodes: [%q]}}
listeners:
  - {name: tcp, address: "127.0.0.1:0", protocol: tcp, policy: activemq, upstream: broker}
  - {name: amqp, address: "127.0.0.1:0", protocol: amqp, policy: rabbitmq, upstream: broker}
  - {name: down, address: "127.0.0.1:0", protocol: mqtt, policy: rabbitmq, upstream: down}
  - {name: strict, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker, server_name: required}
`, s.storage, s.files+"/tls.crt", s.files+"/tls.key", s.files+"/tls.p12", s.files+"/password", broker(t, echo), closedPort(t))
	config, err := configs.Parse("gateway.yml", []byte(s.yaml))
	if err != nil {
		t.Fatal(err)
	}
	s.gateway = startWith(t, config)
	return s
}

// addBundle writes a bundle whose password stands in a file, and another
// password.
func (s *session) addBundle(t *testing.T) {
	t.Helper()
	const password, wrong = "open-sesame-and-let-me-in", "swordfish-is-not-the-word"
	s.secrets.add("the password of the bundle", []byte(password))
	s.secrets.add("a wrong password", []byte(wrong))
	key := newKey(t, policy.ECDSAP256)
	s.secrets.addKey(t, "the key in the bundle", key)
	entry := fileCertificate(t, "", key, x509.Certificate{}, "bundle.example")
	data, err := os.ReadFile(strings.Split(entry, `"`)[1])
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := pkcs12.Modern.Encode(key, leaf, nil, password)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"tls.p12": string(bundle), "password": password + "\n", "wrong": wrong} {
		if err := os.WriteFile(filepath.Join(s.files, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// replaceKey writes a new certificate and its key, or the key alone.
func (s *session) replaceKey(t *testing.T, kind policy.KeyType, certificate bool) {
	t.Helper()
	key := newKey(t, kind)
	s.secrets.addKey(t, "a key in files", key)
	from := fileCertificate(t, "", key, x509.Certificate{}, "files.example")
	from = filepath.Dir(strings.Split(from, `"`)[1])
	names := []string{"tls.key"}
	if certificate {
		names = append(names, "tls.crt")
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(from, name), filepath.Join(s.files, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// see takes in what the gateway says.
func (s *session) see(where string, text []byte) { s.seen[where] = append(s.seen[where], text...) }

func (s *session) ask(t *testing.T, path string) []byte {
	t.Helper()
	response, err := http.Get("http://" + s.AdminAddress().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || len(body) == 0 {
		t.Fatal(err)
	}
	return body
}

// clients are what clients do, each with a password.
func (s *session) clients() (all []func(*testing.T)) {
	const password = "correct-horse-battery-staple"
	s.secrets.add("a password", []byte(password))
	const mqtt = "\x10\x2c\x00\x04MQTT\x04\xc2\x00\x3c\x00\x00\x00\x02me\x00\x1c" + password
	for _, way := range ways {
		for range 2 { // anew, and resumed
			all = append(all, func(t *testing.T) { s.visits(way.version, way.suite)(s.gateway, "tcp") })
		}
	}
	refused := func(listener string, play func(*testing.T, *gateway, net.Conn) []byte) {
		all = append(all, func(t *testing.T) {
			conn := s.dial(listener)
			s.see("answers", play(t, s.gateway, conn))
			conn.Close()
			s.lineOf(listener, conn.LocalAddr())
		})
	}
	refused("tcp", raw("GET / HTTP/1.1\r\nAuthorization: Bearer "+password+"\r\n\r\n"))
	refused("tcp", raw(mqtt))
	refused("amqp", speak(mqtt))
	refused("amqp", speak("GET / HTTP/1.1\r\nAuthorization: Bearer "+password+"\r\n\r\n"))
	refused("amqp", speak("\xff\xfe\xfd\xfc"+password))
	refused("down", speak(mqtt))
	refused("tcp", client(&tls.Config{ServerName: "elsewhere.test"}))
	refused("strict", client(&tls.Config{ServerName: "elsewhere.test"}))
	refused("amqp", client(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}))
	return all
}

// badConfigurations are reloads that are refused.
func (s *session) badConfigurations(t *testing.T) {
	key := newKey(t, policy.RSA)
	s.secrets.addKey(t, "a key that does not fit", key)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	damaged := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: append([]byte("x"), pkcs8...)})
	sec1 := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: pkcs8[1:]})
	file := func(content []byte) string {
		path := filepath.Join(t.TempDir(), "bad.key")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return strconv.Quote(path)
	}
	current := strconv.Quote(s.files + "/tls.key")
	indented := "|\n      " + strings.ReplaceAll(string(text), "\n", "\n      ")
	for name, yaml := range map[string]string{
		"not the certificate's key":      strings.Replace(s.yaml, current, file(text), 1),
		"cut off":                        strings.Replace(s.yaml, current, file(text[:len(text)/2]), 1),
		"damaged":                        strings.Replace(s.yaml, current, file(damaged), 1),
		"wrong label":                    strings.Replace(s.yaml, current, file(sec1), 1),
		"not PEM":                        strings.Replace(s.yaml, current, file(pkcs8), 1),
		"for a certificate":              strings.Replace(s.yaml, "/tls.crt", "/tls.key", 1),
		"behind a wrong password":        strings.Replace(s.yaml, "/password", "/wrong", 1),
		"with its bundle for a password": strings.Replace(s.yaml, "/password", "/tls.p12", 1),
		"in place of its file":           strings.Replace(s.yaml, current, strconv.Quote(string(text)), 1),
		"in place of a name":             strings.Replace(s.yaml, "policy: activemq", "policy: "+strconv.Quote(string(text)), 1),
		"in place of a key":              strings.Replace(s.yaml, "storage:", strconv.Quote(string(text))+":", 1),
		"in the middle of YAML":          s.yaml + string(text),
		"as a block":                     s.yaml + "extra: " + indented,
	} {
		config, err := configs.Parse("gateway.yml", []byte(yaml))
		if err == nil {
			_, _, checked := Check(config, s.Log)
			_, listed := Certificates(t.Context(), config)
			err = errors.Join(s.Apply(config), checked, listed)
		}
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		s.see("error of a key "+name, []byte(err.Error()))
	}
}

// replacement replaces the key and its certificate while the gateway runs.
func (s *session) replacement(t *testing.T) {
	s.replaceKey(t, policy.RSA, true)
	s.log.wait(t, 1, func(l map[string]any) bool { return l["msg"] == "certificate replaced" })
}
