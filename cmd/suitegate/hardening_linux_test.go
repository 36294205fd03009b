package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/suitegate/suitegate/configs"
)

// TestConfine is also the program that it runs: one that gives up what a gateway
// does, and then tries what it should not be able to do.
func TestConfine(t *testing.T) {
	const inner = "CONFINE"
	if dir := os.Getenv(inner); dir != "" {
		confineAndTry(dir)
		os.Exit(0)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); errno != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("this kernel has no Landlock")
		}
		t.Skip("this kernel has no Landlock")
	}
	dir := t.TempDir()
	for _, name := range []string{"etc", "state", "elsewhere", "run"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"etc/gateway.yml": `
admin: {socket: ../run/admin.sock}
storage: ../state
certificates: [{name: a, self_signed: {}}]
upstreams: {u: {nodes: ["127.0.0.1:5672"]}}
listeners: [{name: l, address: ":5671", protocol: tcp, policy: rabbitmq, upstream: u}]
`, "etc/file": "", "elsewhere/file": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestConfine$")
	cmd.Env = append(os.Environ(), inner+"="+dir)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, &complaints)
	}
	var got map[string]string
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const denied = "permission denied"
	want := map[string]string{
		"read etc/file": "", "read elsewhere/file": denied, "list etc": "", "list elsewhere": denied,
		"write etc/new": denied, "write state/new": "", "write run/new": "", "write elsewhere/new": denied,
		"overwrite etc/file": denied, "remove elsewhere/file": denied, "read /proc/self/limits": "", "list /proc/self/fd": "",
		"read /etc/hosts": "", "list /home": denied, "execute": denied, "on another thread": denied,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what it can do (-want +got):\n%s", diff)
	}
	for line := range strings.Lines(complaints.String()) {
		if !strings.Contains(line, "running as root") {
			t.Errorf("it complains: %s", line)
		}
	}
}

// Without Landlock the gateway goes on with a warning, or does not start, at the
// key that says so.
func TestWithoutLandlock(t *testing.T) {
	for mode, want := range map[string]string{"auto": "", "required": "gateway.yml:1:23: landlock: no such thing"} {
		cfg, err := configs.Parse("gateway.yml", []byte(`hardening: {landlock: `+mode+`}
certificates: [{name: a, self_signed: {}}]
upstreams: {u: {nodes: ["127.0.0.1:5672"]}}
listeners: [{name: l, address: ":5671", protocol: tcp, policy: rabbitmq, upstream: u}]
`))
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		got := ""
		if err := new(confinement).without(cfg, slog.New(slog.NewTextHandler(&log, nil)), errors.New("no such thing")); err != nil {
			got = err.Error()
		}
		if got != want || (want == "") != strings.Contains(log.String(), "not confined by Landlock") {
			t.Errorf("%s: error %q, want %q; log:\n%s", mode, got, want, &log)
		}
	}
}

// confineAndTry prints what the attempts came to, "" for those that worked.
func confineAndTry(dir string) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg, err := configs.Load(filepath.Join(dir, "etc", "gateway.yml"))
	if err != nil {
		panic(err)
	}
	giveUp(cfg.Hardening, log)
	c, err := confine(cfg, log)
	if err != nil || !c.on {
		panic(fmt.Sprint("not confined: ", err))
	}
	in := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	read := func(name string) error { _, err := os.ReadFile(in(name)); return err }
	list := func(name string) error { _, err := os.ReadDir(in(name)); return err }
	write := func(name string) error { return os.WriteFile(in(name), nil, 0o600) }
	results := map[string]string{}
	try := func(what string, err error) {
		results[what] = ""
		for err != nil { // the innermost, which has no names in it
			results[what] = err.Error()
			wrapped, ok := err.(interface{ Unwrap() error })
			if !ok {
				break
			}
			err = wrapped.Unwrap()
		}
	}
	for _, name := range []string{"etc/file", "elsewhere/file", "/proc/self/limits", "/etc/hosts"} {
		try("read "+name, read(name))
	}
	for _, name := range []string{"etc", "elsewhere", "/proc/self/fd", "/home"} {
		try("list "+name, list(name))
	}
	for _, name := range []string{"etc/new", "state/new", "run/new", "elsewhere/new"} {
		try("write "+name, write(name))
	}
	try("overwrite etc/file", write("etc/file"))
	try("remove elsewhere/file", os.Remove(in("elsewhere/file")))
	try("execute", unix.Exec("/proc/self/exe", os.Args, os.Environ()))
	other := make(chan error)
	for range 8 { // some of them on threads that were there before
		go func() { other <- read("elsewhere/file") }()
	}
	for range 8 {
		try("on another thread", <-other)
	}
	if err := json.NewEncoder(os.Stdout).Encode(results); err != nil {
		panic(err)
	}
}
