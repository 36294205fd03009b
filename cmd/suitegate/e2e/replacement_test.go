package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// handshakesUnderReplacement is how many there are at least while the files
	// of their certificate are replaced again and again.
	handshakesUnderReplacement = 10_000

	// replacedWithin is the two seconds that the README promises, and as much
	// as a busy machine may take to give the gateway its turn.
	replacedWithin = 2*time.Second + 3*time.Second
)

// TestReplacedFiles replaces the files of a certificate in all the ways that
// are known, while clients come and go without a pause, each with a session of
// its own. No handshake fails, and soon after each replacement they see the
// new certificate, and never an old one again.
//
// Meanwhile the key of another certificate is corrupted, which nobody notices
// but the log and a counter, and at last put right.
func TestReplacedFiles(t *testing.T) {
	live, other := newReplaceable(t, "localhost"), newReplaceable(t, "other.example")
	c := echoConfig(t)
	c.Certificates = []certificateConfig{live.config("live"), other.config("other")}
	c.Policies = map[string]policyConfig{"ecdsa": {
		TLS12: []string{"ECDHE-ECDSA-AES128-GCM-SHA256"}, TLS13: []string{"TLS_AES_128_GCM_SHA256"},
	}}
	c.Listeners[0].Policy = "ecdsa"
	g := startGateway(t, c)
	address := g.address(t, "first")
	visit := func(host string, version uint16) (serial int64, err error) {
		config := pki(t).client(version)
		config.ServerName = host
		config.CurvePreferences = []tls.CurveID{tls.CurveP256} // the cheapest under the race detector
		return visit(address, config)
	}
	clients := startClients(visit)
	defer clients.stop()

	spoilt := other.issue(t)
	replaceFile(t, other.file(".key"), other.content(t, ".key")[:120])
	methods := []struct {
		name    string
		replace func(*testing.T)
	}{
		{"the link to the directory turned, as Kubernetes does", live.turnDirectory},
		{"links turned one after the other, as certbot does", live.turnLinks},
		{"renamed, certificate first", live.with(replaceFile, ".crt", ".key")},
		{"renamed, key first", live.with(replaceFile, ".key", ".crt")},
		{"rewritten in place, certificate first", live.with(rewriteFile, ".crt", ".key")},
		{"rewritten in place, key first", live.with(rewriteFile, ".key", ".crt")},
	}
	replaced := 0
	for ; replaced < len(methods) || clients.total.Load() < handshakesUnderReplacement; replaced++ {
		method := methods[replaced%len(methods)]
		serial := live.issue(t)
		method.replace(t)
		since := time.Now()
		if !clients.await(serial, since.Add(replacedWithin)) {
			_, _, err := clients.stop()
			t.Fatalf("%s: the new certificate is not served; the clients' error: %v", method.name, err)
		}
		t.Logf("%s: served after %v", method.name, time.Since(since).Round(time.Millisecond))
	}

	g.awaitMetric(t, `suitegate_certificate_reloads_total{certificate="other",result="failed"}`, 1)
	if serial, err := visit("other.example", tls.VersionTLS13); serial != spoilt-1 || err != nil {
		t.Errorf("with a corrupted key: serial %d, %v", serial, err)
	}
	other.with(replaceFile, ".crt", ".key")(t)
	g.awaitMetric(t, `suitegate_certificate_reloads_total{certificate="other",result="ok"}`, 1)
	if serial, err := visit("other.example", tls.VersionTLS12); serial != spoilt || err != nil {
		t.Errorf("after the repair: serial %d, %v", serial, err)
	}

	total, elapsed, err := clients.stop()
	if err != nil {
		t.Errorf("of %d handshakes one failed: %v", total, err)
	}
	t.Logf("%d handshakes and %d replacements in %v", total, replaced, elapsed.Round(time.Millisecond))
	metrics := g.awaitMetric(t, "suitegate_connections_active", 0)
	for series, want := range map[string]float64{
		`suitegate_certificate_reloads_total{certificate="live",result="ok"}`:     float64(replaced),
		`suitegate_certificate_reloads_total{certificate="live",result="failed"}`: 0,
		endedMetric("first", "client_closed"):                                     float64(total + 2),
		"suitegate_connections_total" + `{listener="first"}`:                      float64(total + 2),
	} {
		if metrics[series] != want {
			t.Errorf("%s is %v, want %v", series, metrics[series], want)
		}
	}
	log := string(g.log.all())
	if n := strings.Count(log, `"msg":"certificate files refused`); n != 1 {
		t.Errorf("%d lines tell of refused files", n)
	}
	for _, key := range append(live.keys, other.keys...) {
		for line := range strings.Lines(key) {
			if !strings.HasPrefix(line, "-----") && strings.Contains(log, strings.TrimSpace(line)) {
				t.Error("a line of a key is in the log")
			}
		}
	}
}

// replaceable is a certificate for one host whose files can be replaced. At
// first they are links, as where Kubernetes mounts a secret: tls.crt leads to
// ..data/tls.crt, and ..data to the directory of a version.
type replaceable struct {
	host, dir string
	serial    int64    // of the newest version, which counts them
	keys      []string // of all versions, PEM
}

func newReplaceable(t *testing.T, host string) *replaceable {
	t.Helper()
	r := &replaceable{host: host, dir: t.TempDir(), serial: 100}
	r.issue(t)
	r.turnDirectory(t)
	return r
}

func (r *replaceable) file(ext string) string { return filepath.Join(r.dir, "tls"+ext) }

func (r *replaceable) config(name string) certificateConfig {
	return certificateConfig{Name: name, Files: map[string]string{"certificate": r.file(".crt"), "key": r.file(".key")}}
}

// issue makes the next version, with a key of its own, in a directory beside
// the files, and returns its serial number.
func (r *replaceable) issue(t *testing.T) int64 {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r.serial++
	name := fmt.Sprint(r.host, r.serial)
	if err := pki(t).leaf(name, r.host, r.serial, key); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(r.dir, r.version())
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, ext := range []string{".crt", ".key"} {
		if err := os.Rename(filepath.Join(pki(t).dir, name+ext), filepath.Join(dir, "tls"+ext)); err != nil {
			t.Fatal(err)
		}
	}
	r.keys = append(r.keys, r.content(t, ".key"))
	return r.serial
}

// version is the directory of the newest version.
func (r *replaceable) version() string { return fmt.Sprint("..version-", r.serial) }

// content is what a file is to have.
func (r *replaceable) content(t *testing.T, ext string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, r.version(), "tls"+ext))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (r *replaceable) turnDirectory(t *testing.T) {
	t.Helper()
	turnLink(t, filepath.Join(r.dir, "..data"), r.version())
	for _, ext := range []string{".crt", ".key"} {
		turnLink(t, r.file(ext), "..data/tls"+ext) // which they did before, unless the test has put something else there
	}
}

func (r *replaceable) turnLinks(t *testing.T) {
	t.Helper()
	for _, ext := range []string{".crt", ".key"} {
		turnLink(t, r.file(ext), filepath.Join(r.version(), "tls"+ext))
	}
}

// with puts the newest version into the files, in an order.
func (r *replaceable) with(put func(t *testing.T, path, content string), order ...string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		for _, ext := range order {
			put(t, r.file(ext), r.content(t, ext))
		}
	}
}

// turnLink makes a link, or another of one, in one step.
func turnLink(t *testing.T, path, target string) {
	t.Helper()
	if err := os.Symlink(target, path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// replaceFile puts another file in the place of one.
func replaceFile(t *testing.T, path, content string) {
	t.Helper()
	rewriteFile(t, path+".new", content)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func rewriteFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// clients visit a gateway one connection after the other.
type clients struct {
	started time.Time
	total   atomic.Int64   // handshakes that were completed
	seen    []atomic.Int64 // the newest certificate, for each client
	enough  atomic.Bool
	running sync.WaitGroup
	once    sync.Once
	err     error // the first
}

// startClients starts a few, half of them with TLS 1.2.
func startClients(visit func(host string, version uint16) (int64, error)) *clients {
	const several = 4
	c := &clients{started: time.Now(), seen: make([]atomic.Int64, several)}
	for i := range several {
		version := uint16(tls.VersionTLS12)
		if i%2 == 1 {
			version = tls.VersionTLS13
		}
		c.running.Go(func() {
			for !c.enough.Load() {
				serial, err := visit("localhost", version)
				if before := c.seen[i].Swap(serial); err == nil && serial < before {
					err = fmt.Errorf("certificate %d is back after %d", serial, before)
				}
				if err != nil {
					c.once.Do(func() { c.err = err })
					return
				}
				c.total.Add(1)
			}
		})
	}
	return c
}

// await waits until all clients have seen a certificate.
func (c *clients) await(serial int64, deadline time.Time) bool {
	for i := 0; i < len(c.seen); time.Sleep(time.Millisecond) {
		switch {
		case c.seen[i].Load() == serial:
			i++
		case time.Now().After(deadline):
			return false
		}
	}
	return true
}

// stop returns how many handshakes there were, in what time, and the first
// failure.
func (c *clients) stop() (total int64, elapsed time.Duration, err error) {
	c.enough.Store(true)
	c.running.Wait()
	return c.total.Load(), time.Since(c.started), c.err
}

// visit connects, with a session of its own, has a line echoed, and returns
// the serial number of the certificate.
func visit(address string, config *tls.Config) (serial int64, err error) {
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: config}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(conn, greeting); err != nil {
		return 0, err
	}
	echoed := make([]byte, len(greeting))
	if _, err := io.ReadFull(conn, echoed); err != nil || string(echoed) != greeting {
		return 0, fmt.Errorf("echoed %q, %v", echoed, err)
	}
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}
