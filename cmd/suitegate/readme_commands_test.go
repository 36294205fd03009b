package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// notRun are the commands of the README that TestREADMECommands leaves out, and
// what covers them instead.
var notRun = map[string]string{
	"make test":                 "it runs this test; .ci/run calls it, as TestREADMECommands checks",
	"docker build -t suitegate": "TestContainer runs the Dockerfile's build without an engine",
	"GOFIPS140=certified":       "TestContainer builds so, by the Dockerfile's command",
	"tcpdump":                   "it needs privileges, and clients; what it wrote once is in its file",
	"docker run":                "TestContainer runs what the Dockerfile describes in an empty root",
}

// servers are the commands that go on until they are told to end, what they
// print when the next command may come, and their last words. (Of exit codes,
// go run has its own.)
var servers = map[string]struct{ ready, end string }{
	"go run ./cmd/suitegate demo": {`(Below is a log line for every connection)`, `(The demo has ended)`},
	"suitegate testbench":         {`(Below is a log line for every connection)`, `(The test bench has ended)`},
	"suitegate serve":             {`"msg":"(ready)"`, `(stopped, all connections had ended)`},
}

// TestREADMECommands runs the commands of the README, in its order, as someone
// would who reads it: a command succeeds, unless the comment behind it says
// that something is refused. The ports are free ones instead of the README's,
// and every command that differs for it is logged with what was run.
func TestREADMECommands(t *testing.T) {
	text := readREADME(t)
	r := &reader{dir: t.TempDir(), broker: listenEcho(t), servers: make(map[string]*process)}
	for _, usual := range []string{"127.0.0.1:5671", "127.0.0.1:9090"} {
		r.replace(usual, freeAddress(t))
	}
	r.replace("127.0.0.1:5672", r.broker)
	_, port, _ := net.SplitHostPort(freeAddress(t)) // freeAddress has joined it
	r.replace("1500", port[:4])                     // all ports of the test bench, which differ in the last digit
	config := r.replacer().Replace(text.blocks(t, "yaml")[0])
	if err := os.WriteFile(filepath.Join(r.dir, "gateway.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	captured, err := os.ReadFile("../../proxy/clienthello/capture/testdata/openssl-loopback.pcap")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "clients.pcap"), captured, 0o600); err != nil {
		t.Fatal(err)
	}
	left := make(map[string]bool)
	for _, block := range text.blocks(t, "sh") {
		for line := range strings.Lines(block) {
			command, comment, _ := strings.Cut(strings.TrimSpace(line), " # ")
			if prefix := prefixIn(notRun, command); prefix != "" {
				t.Logf("not run: %s: %s", command, notRun[prefix])
				left[prefix] = true
				continue
			}
			r.run(t, strings.TrimSpace(command), strings.Contains(comment, "refused"))
		}
	}
	for prefix := range notRun {
		if !left[prefix] {
			t.Errorf("the README has no %q: it needs no exception", prefix)
		}
	}
	if ci, err := os.ReadFile("../../.ci/run"); err != nil || !strings.Contains(string(ci), "make test") {
		t.Errorf(".ci/run does not call make test, %v", err)
	}
	t.Run("log line", func(t *testing.T) { r.checkLogExample(t, text) })
	for command, p := range r.servers {
		if err := syscall.Kill(-p.command.Process.Pid, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		await(t, p, servers[command].end)
		ended(t, p)
	}
}

// prefixIn returns the key of a map that text begins with, or "".
func prefixIn[V any](m map[string]V, text string) string {
	for prefix := range m {
		if strings.HasPrefix(text, prefix) {
			return prefix
		}
	}
	return ""
}

// reader is someone who tries the README.
type reader struct {
	dir      string // where the commands are run that need no source
	broker   string
	replaced []string            // what stands in the README, what is free, …
	servers  map[string]*process // by what servers calls them
}

func (r *reader) replace(usual, free string) { r.replaced = append(r.replaced, usual, free) }

func (r *reader) replacer() *strings.Replacer { return strings.NewReplacer(r.replaced...) }

// address is what was put for an address of the README's.
func (r *reader) address(usual string) string { return r.replacer().Replace(usual) }

func (r *reader) run(t *testing.T, command string, refused bool) {
	t.Helper()
	needsProgram(t, strings.Fields(command)[0])
	adapted := r.replacer().Replace(command)
	if command == "suitegate health" {
		adapted += " --admin " + r.address("127.0.0.1:9090")
	}
	if adapted != command {
		t.Logf("%s\nis run as\n%s", command, adapted)
	}
	name := prefixIn(servers, command)
	if name != "" {
		adapted = "exec " + adapted // so that signals reach it
	}
	shell := exec.Command("sh", "-c", adapted)
	shell.Dir = r.dir
	if strings.HasPrefix(command, "go ") {
		shell.Dir = "../.."
	}
	bin := filepath.Join(r.dir, "bin")
	shell.Env = append(os.Environ(), "GOBIN="+bin, "XDG_DATA_HOME="+r.dir, "PATH="+bin+":"+os.Getenv("PATH"))
	if name != "" {
		r.serve(t, name, shell)
		return
	}
	output, err := shell.CombinedOutput()
	switch {
	case refused && (err == nil || !strings.Contains(string(output), "alert")):
		t.Errorf("%s\nwas not refused by an alert: %v\n%s", adapted, err, output)
	case !refused && err != nil:
		t.Errorf("%s\n%v\n%s", adapted, err, output)
	}
}

// serve starts a server and waits until it serves.
func (r *reader) serve(t *testing.T, name string, shell *exec.Cmd) {
	t.Helper()
	// What a terminal's Ctrl-C does: go run has a child.
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := startProcess(t, shell)
	t.Cleanup(func() { _ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }) // an error means that it has ended
	await(t, p, servers[name].ready)
	r.servers[name] = p
	// The demo moves away from ports that are taken, and says so.
	for _, moved := range regexp.MustCompile(`warning: (\S+) is taken, using (\S+)`).FindAllStringSubmatch(p.text(), -1) {
		if r.address(moved[1]) == moved[1] {
			r.replace(moved[1], moved[2])
		}
	}
}

// checkLogExample holds the README's log line against one of the gateway that
// its commands have started.
func (r *reader) checkLogExample(t *testing.T, text readme) {
	gateway := r.servers["suitegate serve"]
	if gateway == nil {
		t.Fatal("no command of the README has started a gateway")
	}
	client, err := tls.Dial("tcp", r.address("127.0.0.1:5671"), &tls.Config{
		ServerName:         "localhost",
		InsecureSkipVerify: true, // the README's own command verifies
	})
	if err != nil {
		t.Fatal(err)
	}
	sayAndHear(t, client, "AMQP\x00\x00\x09\x01")
	client.Close()
	line := await(t, gateway, `(?m)^(.*"variant":"0-9-1".*)$`)
	example := strings.TrimSpace(text.blocks(t, "json")[0])
	if diff := cmp.Diff(keysInOrder(example), keysInOrder(line)); diff != "" {
		t.Errorf("fields of the example (-README +gateway):\n%s", diff)
	}
	var want, got map[string]any
	if err := json.Unmarshal([]byte(example), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatal(err)
	}
	if seconds, _ := got["duration"].(float64); seconds <= 0 || seconds > patience.Seconds() {
		t.Errorf("duration %v: not in seconds, as the README says", got["duration"])
	}
	for _, differs := range []string{"time", "client", "node", "bytes_from_client", "bytes_from_backend", "duration"} {
		if fmt.Sprintf("%T", got[differs]) != fmt.Sprintf("%T", want[differs]) {
			t.Errorf("%s: %v in the README, %v in the log", differs, want[differs], got[differs])
		}
		delete(want, differs)
		delete(got, differs)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the example (-README +gateway):\n%s", diff)
	}
}

func keysInOrder(object string) (keys []string) {
	for _, match := range regexp.MustCompile(`"([a-z0-9_]+)":`).FindAllStringSubmatch(object, -1) {
		keys = append(keys, match[1])
	}
	return keys
}

// needsProgram skips the test where a program is not installed, and fails it in
// CI, where all of them are.
func needsProgram(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil || slices.Contains([]string{"suitegate", "docker"}, program) {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed", program)
	}
	fmt.Fprintf(os.Stderr, "\n*** SKIPPED: %s needs %s\n\n", t.Name(), program)
	t.Skipf("%s is not installed", program)
}

// freeAddress is a loopback address that nothing listens on. Its port is below
// those that Linux gives out by itself, so that nobody gets it by chance before
// it is used.
func freeAddress(t *testing.T) string {
	t.Helper()
	for {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		l, err := net.Listen("tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return address
	}
}
