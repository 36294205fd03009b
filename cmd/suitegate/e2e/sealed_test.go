package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/suitegate/suitegate/certs/seal/kmstest"
	"github.com/suitegate/suitegate/certs/seal/vaulttest"
)

// sealedGateway is a configuration whose storage is sealed with a key in KMS.
type sealedGateway struct {
	config
	kms         *kmstest.Server
	key         string // ARN
	principal   kmstest.Principal
	environment []string // with which the gateway is the principal
	audit       string   // file
}

func newSealedGateway(t *testing.T) *sealedGateway {
	t.Helper()
	kms := kmstest.NewServer()
	t.Cleanup(kms.Close)
	s := &sealedGateway{config: echoConfig(t), kms: kms, key: kms.CreateKey(), principal: kms.AddPrincipal("gateway")}
	kms.SetPolicy(s.key, kmstest.Permission{Principal: s.principal.ARN, Operations: []string{kmstest.GenerateDataKey, kmstest.Decrypt},
		ContextSubset: map[string]string{"stage": "test"}})
	s.environment = []string{"env", "AWS_ACCESS_KEY_ID=" + s.principal.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + s.principal.SecretAccessKey}
	dir := t.TempDir()
	s.Storage, s.audit = filepath.Join(dir, "storage"), filepath.Join(dir, "audit.log")
	s.Audit = map[string]string{"file": s.audit}
	s.Certificates = []certificateConfig{pki(t).files("rsa", "rsa"), pki(t).files("ecdsa", "ecdsa"), s.own("own.example")}
	s.Tickets = map[string]any{"shared": true}
	s.Seal = map[string]any{"key": s.kmsKey(), "data_key_reuse": "60s", "context": map[string]string{"stage": "test"}}
	return s
}

func (s *sealedGateway) kmsKey() map[string]any {
	return map[string]any{"kms": map[string]string{"key": s.key, "endpoint": s.kms.URL}}
}

func (s *sealedGateway) own(name string) certificateConfig {
	return certificateConfig{Name: strings.ReplaceAll(name, ".", "-"), SelfSigned: map[string][]string{"names": {name}}}
}

// byPassphrase seals a storage with a key that takes no service.
func byPassphrase(t *testing.T) map[string]any {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sealing.pass")
	if err := writeFiles(map[string]string{file: "a passphrase that is long enough"}); err != nil {
		t.Fatal(err)
	}
	return map[string]any{"key": map[string]string{"passphrase_file": file}}
}

// keyUses are the entries of the audit log that are about keys.
func (s *sealedGateway) keyUses(t *testing.T) (uses []record) {
	t.Helper()
	data, err := os.ReadFile(s.audit)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte(s.principal.SecretAccessKey)) {
		t.Error("the secret access key is in the audit log")
	}
	for line := range bytes.Lines(data) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(r.text("msg"), "key_") {
			uses = append(uses, r)
		}
	}
	return uses
}

// keepsNothingPlain looks for private keys and ticket secrets in the storage.
func (s *sealedGateway) keepsNothingPlain(t *testing.T, sealed int) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(s.Storage, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte("PRIVATE KEY")) || bytes.Contains(data, []byte("TICKET SECRET")) {
			t.Errorf("%s holds a secret as it is", path)
		}
		if bytes.HasPrefix(data, []byte(`{"suitegate_sealed":1,`)) {
			n++
		}
		return err
	})
	if err != nil || n != sealed {
		t.Errorf("%d values are sealed, want %d, %v", n, sealed, err)
	}
}

// TestSealedStorage shows a storage under a key of KMS with two gateways: who
// used the key, what becomes of them when it goes away and comes back, and the
// way to another key while they run.
func TestSealedStorage(t *testing.T) {
	t.Parallel()
	s := newSealedGateway(t)
	g := startGateway(t, s.config, s.environment...)
	if _, body := g.get(t, "/readyz"); body != "ready\n" {
		t.Errorf("readiness: %q", body)
	}
	beside := s.config
	beside.Audit = nil
	beside.Listeners = []listenerConfig{{Name: "first", Protocol: "tcp", Policy: "activemq", Upstream: "echo"}}
	other := startGateway(t, beside, s.environment...)
	if n := count(other, "made a self-signed root"); n != 0 {
		t.Error("the other gateway has a root of its own")
	}
	s.keepsNothingPlain(t, 5) // root, RSA, ECDSA, ticket secrets of now and of the next rotation
	converse(t, g, "first").Close()
	converse(t, other, "first").Close()
	s.comparesUses(t, g, other, 0)

	s.losesItsKey(t, g)
	s.comparesUses(t, g, other, 1) // of the restart that failed

	s.movesToVault(t, g)
	for _, log := range []*logLines{g.log, other.log} {
		if bytes.Contains(log.all(), []byte(s.principal.SecretAccessKey)) {
			t.Error("the secret access key is in the log")
		}
	}
}

// comparesUses holds the requests that KMS has seen against those that the
// gateways say they have made: in the audit log, and in the metrics. Others have
// made some more.
func (s *sealedGateway) comparesUses(t *testing.T, g, other *gateway, more float64) {
	t.Helper()
	uses := s.keyUses(t)
	for _, use := range uses {
		context, _ := use["encryption_context"].(map[string]any)
		if use.text("key") != s.key || context["stage"] != "test" || context["suitegate:principal"] == "" ||
			!strings.HasPrefix(use.text("caller"), "serve as ") || !strings.HasSuffix(use.text("caller"), s.principal.AccessKeyID) || use.text("purpose") == "" {
			t.Errorf("entry %v", use)
		}
	}
	of := func(g *gateway) float64 { return g.metrics(t).sum("suitegate_key_requests_total") }
	if got := of(g); got != float64(len(uses)) {
		t.Errorf("%v requests are counted, and the audit log has %d", got, len(uses))
	}
	if got, want := len(s.kms.Calls()), of(g)+of(other)+more; float64(got) != want {
		t.Errorf("KMS was asked %d times, and the gateways say %v", got, want)
	}
}

// losesItsKey disables the key, and enables it again.
func (s *sealedGateway) losesItsKey(t *testing.T, g *gateway) {
	t.Helper()
	s.kms.SetState(s.key, kmstest.Disabled)
	more := s.config
	more.Certificates = append(more.Certificates[:len(more.Certificates):len(more.Certificates)], s.own("new.example"))
	g.reload(t, more)
	g.log.await(t, "reload refused, running configuration unchanged", nil)
	if !bytes.Contains(g.log.all(), []byte("key_disabled")) {
		t.Error("the log does not say why")
	}
	if status, body := g.get(t, "/readyz"); status != http.StatusOK || body != "ready, degraded: key_disabled\n" {
		t.Errorf("readiness: %d, %q", status, body)
	}
	if _, body := g.get(t, "/status"); !strings.Contains(strings.Join(strings.Fields(body), ""), `"degraded":["key_disabled"]`) {
		t.Error("the status does not say that the gateway is degraded")
	}
	g.awaitMetric(t, "suitegate_storage_degraded", 1)
	converse(t, g, "first").Close() // what is in memory goes on being served
	s.keepsNothingPlain(t, 5)

	// A restart fails, with the reason.
	restarted := launchGateway(t, s.beside(), s.environment...)
	restarted.exited(t, 1)
	if !bytes.Contains(restarted.log.all(), []byte("key_disabled")) {
		t.Errorf("a restart says %s", restarted.log.all())
	}

	s.kms.SetState(s.key, kmstest.Enabled)
	g.awaitMetric(t, "suitegate_storage_degraded", 0)
	if _, body := g.get(t, "/readyz"); body != "ready\n" {
		t.Errorf("readiness: %q", body)
	}
	g.reload(t, more)
	g.log.await(t, "reloaded", nil)
	s.keepsNothingPlain(t, 7)
}

// beside is the configuration of one more gateway, whose uses of keys are not
// compared.
func (s *sealedGateway) beside() config {
	c := s.config
	c.Audit = nil
	c.Listeners = []listenerConfig{{Name: "first", Protocol: "tcp", Policy: "activemq", Upstream: "echo"}}
	return c
}

// movesToVault moves the storage to a key in Vault while the gateway runs.
func (s *sealedGateway) movesToVault(t *testing.T, g *gateway) {
	t.Helper()
	vault := vaulttest.NewServer()
	t.Cleanup(vault.Close)
	vault.CreateKey("transit/suitegate")
	token := filepath.Join(filepath.Dir(g.file), "token") // where the gateway may read
	if err := os.WriteFile(token, []byte(vault.CreateToken("transit/encrypt/suitegate", "transit/decrypt/suitegate")), 0o600); err != nil {
		t.Fatal(err)
	}
	next := s.config
	next.Certificates = append(next.Certificates[:len(next.Certificates):len(next.Certificates)], s.own("new.example"))
	next.Seal = map[string]any{
		"key":      map[string]any{"vault": map[string]string{"address": vault.URL, "key": "suitegate", "token_file": token}},
		"previous": []any{s.kmsKey()},
		"context":  map[string]string{"stage": "test"},
	}
	g.reload(t, next)
	g.log.await(t, "reloaded", func(r record) bool { return strings.Contains(toJSON(t, r["changes"]), "storage.seal.key.vault") })

	storage := func(command string) string {
		t.Helper()
		args := append(s.environment[1:len(s.environment):len(s.environment)], run.program, "storage", command, "--config", g.file)
		out, err := runClient(t, exec.Command(s.environment[0], args...))
		if err != nil {
			t.Fatalf("storage %s: %v\n%s", command, err, out)
		}
		return out
	}
	if out := storage("rewrap"); !strings.Contains(out, "sealed 7 secrets anew, 0 were already") {
		t.Errorf("rewrap says %s", out)
	}
	if out := storage("verify"); !strings.Contains(out, "opened 7 secrets\n  7 by vault:transit/suitegate\n") {
		t.Errorf("verify says %s", out)
	}
	converse(t, g, "first").Close()

	s.kms.SetState(s.key, kmstest.PendingDeletion)
	delete(next.Seal, "previous")
	g.reload(t, next)
	g.log.await(t, "reloaded", func(r record) bool { return strings.Contains(toJSON(t, r["changes"]), "storage.seal.previous") })
	s.config = next
	alone := startGateway(t, s.beside()) // nobody to KMS
	if n := count(alone, "made a self-signed root"); n != 0 {
		t.Error("another root under another key")
	}

	// Nobody takes it for a plain one.
	plain := s.beside()
	plain.Seal = nil
	refused := launchGateway(t, plain)
	refused.exited(t, 1)
	if !bytes.Contains(refused.log.all(), []byte("the storage is sealed: the configuration has to name its key in storage.seal")) {
		t.Errorf("as a plain storage: %s", refused.log.all())
	}
}

func toJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestKeyRefused: a key that the gateway may not use, or that does not answer,
// fails a start by that reason.
func TestKeyRefused(t *testing.T) {
	t.Parallel()
	for reason, spoil := range map[string]func(*sealedGateway){
		"key_access_denied":    func(s *sealedGateway) { s.kms.SetPolicy(s.key) },
		"key_pending_deletion": func(s *sealedGateway) { s.kms.SetState(s.key, kmstest.PendingDeletion) },
		"key_not_found":        func(s *sealedGateway) { s.kms.DeleteKey(s.key) },
		"key_unreachable":      func(s *sealedGateway) { s.kms.Close() },
		"key_credentials":      func(s *sealedGateway) { s.environment[2] += "x" },
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			s := newSealedGateway(t)
			spoil(s)
			g := launchGateway(t, s.config, s.environment...)
			g.exited(t, 1)
			if !bytes.Contains(g.log.all(), []byte(reason)) {
				t.Errorf("the log says\n%s", g.log.all())
			}
			uses := s.keyUses(t)
			if len(uses) == 0 || uses[0].text("result") != "refused" {
				t.Errorf("audit log: %v", uses)
			}
		})
	}
}

// TestSealKilled kills `storage seal` at any point: nothing is lost, and done
// again it comes to its end.
func TestSealKilled(t *testing.T) {
	t.Parallel()
	c := echoConfig(t)
	dir := t.TempDir()
	c.Storage = filepath.Join(dir, "storage")
	want := make(map[string]string) // a storage with much in it
	for i := range 200 {
		name := filepath.Join("certificates", "issuer", fmt.Sprintf("site-%d", i), "site.key")
		want[name] = fmt.Sprintf("-----BEGIN PRIVATE KEY-----\nkey %d", i)
		if err := os.MkdirAll(filepath.Dir(filepath.Join(c.Storage, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.Storage, name), []byte(want[name]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key := filepath.Join(dir, "sealing.key")
	if err := os.WriteFile(key, []byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Seal = map[string]any{"key": map[string]string{"file": key}}
	file := filepath.Join(dir, "suitegate.yml")
	c.write(t, file)

	// sealed counts what is sealed, and says that the rest is as it was.
	sealed := func() (n int) {
		t.Helper()
		for name, value := range want {
			data, err := os.ReadFile(filepath.Join(c.Storage, name))
			switch {
			case err != nil:
				t.Fatal(err)
			case bytes.HasPrefix(data, []byte(`{"suitegate_sealed":1,`)) && data[len(data)-1] == '}':
				n++
			case string(data) != value:
				t.Fatalf("%s is neither what it was nor sealed: %q", name, data)
			}
		}
		return n
	}
	for _, enough := range []int{1, 20, 45, 90} {
		p, err := start("storage seal", dir, exec.Command(run.program, "storage", "seal", "--config", file))
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); sealed() < enough && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		p.signal(syscall.SIGKILL)
		<-p.done
		if n := sealed(); n < enough || n == len(want) {
			t.Errorf("%d of %d are sealed: it was not killed on the way", n, len(want))
		}
	}
	if out, err := runClient(t, exec.Command(run.program, "storage", "seal", "--config", file)); err != nil || sealed() != len(want) {
		t.Errorf("seal: %v\n%s", err, out)
	}
	if out, err := runClient(t, exec.Command(run.program, "storage", "verify", "--config", file)); err != nil || !strings.Contains(out, "opened 200 secrets") {
		t.Errorf("verify: %v\n%s", err, out)
	}
}
