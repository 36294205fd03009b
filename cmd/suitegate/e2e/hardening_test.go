package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody is the user of the container image.
const nobody = 65532

// startConfined runs a gateway in directories of its own, as nobody if the tests
// are root's. etc has its configuration and certificates, elsewhere what it knows
// nothing of, and the others it may write to.
func startConfined(t *testing.T, c *config) (g *gateway, dir string) {
	t.Helper()
	if err := lookAtSource(); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for _, name := range []string{"etc", "elsewhere", "state", "run", "log"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"rsa.crt", "rsa.key"} {
		for _, place := range []string{"etc", "elsewhere"} {
			copyFile(t, filepath.Join(pki(t).dir, name), filepath.Join(dir, place, name))
		}
	}
	c.Storage = filepath.Join(dir, "state")
	c.Admin = map[string]string{"address": "127.0.0.1:0", "socket": filepath.Join(dir, "run", "admin.sock")}
	c.Audit = map[string]string{"file": filepath.Join(dir, "log", "audit.log")}
	c.Certificates = []certificateConfig{
		{Name: "rsa", Files: map[string]string{"certificate": filepath.Join(dir, "etc", "rsa.crt"), "key": filepath.Join(dir, "etc", "rsa.key")}},
		{Name: "own", SelfSigned: map[string][]string{"names": {"own.example"}}},
	}
	file := filepath.Join(dir, "etc", "suitegate.yml")
	c.write(t, file)
	var wrapper []string
	if os.Geteuid() == 0 {
		giveTo(t, dir, nobody)
		wrapper = []string{requireProgram(t, "setpriv"), fmt.Sprint("--reuid=", nobody), fmt.Sprint("--regid=", nobody), "--clear-groups"}
	}
	g = &gateway{file: file, storage: c.Storage, log: newLogLines()}
	g.run(t, append(wrapper, run.program, "serve", "--config", file))
	g.started(t, len(c.Listeners))
	return g, dir
}

// giveTo makes everything below a directory a user's, who can also get there.
func giveTo(t *testing.T, dir string, user int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, user, user)
	})
	if err != nil {
		t.Fatal(err)
	}
	for up := filepath.Dir(dir); up != filepath.Dir(run.dir); up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o711); err != nil {
			t.Fatal(err)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(to, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
}

// requireLandlock ends a test where the kernel has no Landlock.
func requireLandlock(t *testing.T) {
	t.Helper()
	if abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); errno != 0 {
		missing(t, "Landlock: a kernel of Linux 5.13 or newer that has it switched on")
	} else {
		t.Logf("Landlock ABI %d", abi)
	}
}

// TestHardening looks at a gateway from outside: what it has given up, and that
// it does everything nonetheless.
func TestHardening(t *testing.T) {
	requireLandlock(t)
	c := echoConfig(t)
	c.Hardening = map[string]any{"landlock": "required"}
	g, dir := startConfined(t, &c)

	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", g.process.cmd.Process.Pid))
	if err != nil || len(threads) < 2 {
		t.Fatalf("%d threads, %v", len(threads), err)
	}
	for _, thread := range threads {
		status, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		for _, want := range []string{"NoNewPrivs:\t1", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapInh:\t0000000000000000"} {
			if !bytes.Contains(status, []byte(want+"\n")) {
				t.Errorf("%s has not %q:\n%s", thread, want, status)
			}
		}
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", g.process.cmd.Process.Pid))
	if err != nil || !regexp.MustCompile(`Max core file size +0 `).Match(limits) {
		t.Errorf("core dumps are not off: %v\n%s", err, limits)
	}
	g.log.await(t, "configuration in force", func(r record) bool { return r["landlock"] == true })
	if bytes.Contains(g.log.all(), []byte(`"running as root`)) {
		t.Error("it thinks that it is root")
	}

	// The metrics of the process come from /proc, of a process that is not
	// dumpable any more.
	for _, name := range []string{"process_open_fds", "process_max_fds", "process_resident_memory_bytes", "process_start_time_seconds", "process_cpu_seconds_total"} {
		if g.metrics(t)[name] <= 0 {
			t.Errorf("no %s", name)
		}
	}
	converse(t, g, "first").Close()

	// What it made: the storage, the audit log, the socket.
	for _, name := range []string{"state/root.pem", "log/audit.log", "run/admin.sock"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	// A certificate that is replaced is taken over.
	for _, name := range []string{"rsa.crt", "rsa.key"} {
		next := filepath.Join(dir, "etc", "next")
		copyFile(t, filepath.Join(pki(t).dir, strings.Replace(name, "rsa", "wild", 1)), next)
		if err := os.Rename(next, filepath.Join(dir, "etc", name)); err != nil {
			t.Fatal(err)
		}
	}
	g.awaitMetric(t, `suitegate_certificate_reloads_total{certificate="rsa",result="ok"}`, 1)
}

// TestReloadOutsideOfLandlock names what the process cannot open any more: that
// is a mistake in the configuration, which a restart mends.
func TestReloadOutsideOfLandlock(t *testing.T) {
	requireLandlock(t)
	c := echoConfig(t)
	g, dir := startConfined(t, &c)
	long := converse(t, g, "first")
	reload := func() (string, error) {
		out, err := exec.Command(run.program, "reload", "--admin", filepath.Join(dir, "run", "admin.sock")).CombinedOutput()
		return string(out), err
	}
	if out, err := reload(); err != nil {
		t.Errorf("reload by the socket: %v\n%s", err, out)
	}

	within := c
	c.Certificates = slices.Clone(c.Certificates)
	c.Certificates[0].Files = map[string]string{"certificate": filepath.Join(dir, "elsewhere", "rsa.crt"), "key": filepath.Join(dir, "elsewhere", "rsa.key")}
	c.Audit = map[string]string{"file": filepath.Join(dir, "etc", "audit.log")} // which may be read alone
	c.write(t, g.file)
	out, err := reload()
	if err == nil {
		t.Errorf("reloaded: %s", out)
	}
	wantOutput(t, out, "rsa.crt: "+filepath.Join(dir, "elsewhere")+" is out of reach of this process since it started", "rsa.key: ", "audit.log: ")
	if n := len(regexp.MustCompile(`(?m)suitegate\.yml:\d+:\d+: `).FindAllString(out, -1)); n != 3 {
		t.Errorf("%d positions, want 3:\n%s", n, out)
	}
	long.check(t)
	converse(t, g, "first").Close()

	within.Listeners = append(within.Listeners, listenerConfig{Name: "second", Protocol: "tcp", Policy: "rabbitmq", Upstream: "echo"})
	within.write(t, g.file)
	if out, err := reload(); err != nil {
		t.Errorf("reload of what is in reach: %v\n%s", err, out)
	}
	converse(t, g, "second").Close()
	long.check(t)
	long.Close()
}

// TestLandlockOff shows that it can be done without, and that what is kept from
// nobody can be reloaded.
func TestLandlockOff(t *testing.T) {
	c := echoConfig(t)
	c.Hardening = map[string]any{"landlock": "off", "core_dumps": true}
	g, dir := startConfined(t, &c)
	g.log.await(t, "configuration in force", func(r record) bool { return r["landlock"] == false })
	c.Certificates[0].Files = map[string]string{"certificate": filepath.Join(dir, "elsewhere", "rsa.crt"), "key": filepath.Join(dir, "elsewhere", "rsa.key")}
	c.Hardening = nil
	c.write(t, g.file)
	g.process.signal(syscall.SIGHUP)
	g.log.await(t, "reloaded", nil)
	g.log.await(t, "hardening changes at the next start", nil)
}
