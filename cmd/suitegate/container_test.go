package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"debug/elf"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestContainer does by hand what a container engine does with the Dockerfile:
// it runs the build's command, lays out the files of the final stage in an
// empty root, and runs the gateway there as the image's user, with the image's
// environment and arguments. Nothing that it runs is written down here a second
// time.
func TestContainer(t *testing.T) {
	image := readDockerfile(t)
	program := image.compile(t, nil)
	checkStatic(t, program)
	// GOFIPS140 is all that makes the variant.
	validated := image.compile(t, map[string]string{"GOFIPS140": "certified"})
	checkStatic(t, validated)
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("an empty root takes root: CI has to run this test as root")
		}
		fmt.Fprintln(os.Stderr, "\n*** SKIPPED: TestContainer needs root, to run the gateway in an empty root")
		t.Skip("an empty root takes root")
	}
	for _, test := range []struct{ name, program, fips, certificate, cryptography string }{
		{"files", program, "auto", "files: {certificate: tls.crt, key: tls.key}", `"fips_mode":"(off)"`},
		{"self-signed", program, "auto", "self_signed: {}", `"fips_mode":"(off)"`}, // in the storage directory, which only the image's user may write to
		{"FIPS 140-3", validated, "required", "self_signed: {}", `"version":"v\d+\.\d+\.\d+-[0-9a-f]+","fips_mode":"(on)"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			testInEmptyRoot(t, image, test.program, "fips: "+test.fips, test.certificate, test.cryptography)
		})
	}
}

func testInEmptyRoot(t *testing.T, image *dockerImage, program, fips, certificate, cryptography string) {
	broker := listenEcho(t)
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	image.layOut(t, root, program)
	config := filepath.Join(root, image.configFile(t))
	writeCertificate(t, filepath.Dir(config))
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.Chown(filepath.Join(filepath.Dir(config), name), int(image.uid), int(image.gid)); err != nil {
			t.Fatal(err)
		}
	}
	admin := freeAddress(t)
	if err := os.WriteFile(config, []byte(fips+`
admin: {address: "`+admin+`"}
certificates:
  - name: default
    `+certificate+`
upstreams: {echo: {nodes: ["`+broker+`"]}}
listeners:
  - {name: tls, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: echo}
`), 0o644); err != nil {
		t.Fatal(err)
	}

	gateway := image.start(t, root, append(slices.Clone(image.entrypoint), image.cmd...))
	await(t, gateway, cryptography)
	address := await(t, gateway, `"msg":"listening","listener":"tls","address":"([^"]+)"`)
	await(t, gateway, `"msg":"(ready)"`)

	client, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) // who it is other tests check
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	sayAndHear(t, client, "before")
	if p := image.start(t, root, image.healthcheck); ended(t, p) != 0 || strings.TrimSpace(p.text()) != "ready" {
		t.Errorf("%s: exit code %d, %q", image.healthcheck, ended(t, p), p.text())
	}
	checkMetrics(t, admin)

	if err := gateway.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	await(t, gateway, `"msg":"(draining)"`)
	sayAndHear(t, client, "while it drains")
	if p := image.start(t, root, image.healthcheck); ended(t, p) != 1 {
		t.Errorf("draining, and healthy: %q", p.text())
	}
	client.Close()
	await(t, gateway, `"msg":"(stopped, all connections had ended)"`)
	if code := ended(t, gateway); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// checkMetrics sees that /metrics does without /proc, which an empty root lacks.
func checkMetrics(t *testing.T, admin string) {
	t.Helper()
	response, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(body), `suitegate_connections_active{listener="tls"} 1`) {
		t.Errorf("metrics: %s, %v\n%s", response.Status, err, body)
	}
}

// dockerImage is what a Dockerfile says of the image that it makes.
type dockerImage struct {
	build       string            // the shell command that makes the program
	args        map[string]string // of the build, with their defaults
	output      string            // the program's path in the build stage
	copies      []dockerCopy
	env         []string
	uid, gid    uint32
	expose      []string
	healthcheck []string
	entrypoint  []string
	cmd         []string
}

// dockerCopy is a COPY from the build stage into the final one.
type dockerCopy struct {
	from, to string
	owned    bool // by the image's user, rather than root
}

// readDockerfile reads as much of the Dockerfile's language as ours uses, and
// fails at what it does not know.
func readDockerfile(t *testing.T) *dockerImage {
	t.Helper()
	data, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(string(data), "")
	text = strings.ReplaceAll(text, "\\\n", " ")
	user := regexp.MustCompile(`(?m)^USER (.*)$`).FindStringSubmatch(text)
	if user == nil {
		t.Fatal("Dockerfile: no USER")
	}
	image := &dockerImage{args: make(map[string]string)}
	final := false
	for line := range strings.Lines(text) {
		instruction, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case instruction == "":
		case instruction == "FROM":
			final = rest == "scratch"
		case instruction == "RUN" && !final:
			if output := regexp.MustCompile(`go build .*-o (\S+)`).FindStringSubmatch(rest); output != nil {
				image.build, image.output = rest, output[1]
			}
		case instruction == "ARG" && !final:
			name, value, _ := strings.Cut(rest, "=")
			image.args[name] = value
		case !final:
		case instruction == "COPY":
			image.copies = append(image.copies, parseCopy(t, rest, user[1]))
		case instruction == "ENV":
			image.env = append(image.env, rest)
		case instruction == "USER":
			if _, err := fmt.Sscanf(rest, "%d:%d", &image.uid, &image.gid); err != nil || image.uid == 0 {
				t.Fatalf("USER %s is not numeric, or is root: %v", rest, err)
			}
		case instruction == "EXPOSE":
			image.expose = strings.Fields(rest)
		case instruction == "HEALTHCHECK":
			_, command, _ := strings.Cut(rest, " CMD ")
			image.healthcheck = parseExec(t, command)
		case instruction == "ENTRYPOINT":
			image.entrypoint = parseExec(t, rest)
		case instruction == "CMD":
			image.cmd = parseExec(t, rest)
		default:
			t.Fatalf("Dockerfile: this test does not know %s", instruction)
		}
	}
	if image.build == "" || image.uid == 0 || image.healthcheck == nil || image.entrypoint == nil || image.cmd == nil {
		t.Fatalf("Dockerfile: something is missing: %+v", image)
	}
	return image
}

func parseCopy(t *testing.T, text, user string) dockerCopy {
	t.Helper()
	var c dockerCopy
	var paths []string
	for _, word := range strings.Fields(text) {
		switch word {
		case "--from=build":
		case "--chown=" + user:
			c.owned = true
		default:
			if strings.HasPrefix(word, "--") {
				t.Fatalf("COPY: this test does not know %s", word)
			}
			paths = append(paths, word)
		}
	}
	if len(paths) != 2 {
		t.Fatalf("COPY %s: want one source and one destination", text)
	}
	c.from, c.to = paths[0], paths[1]
	return c
}

// parseExec reads the exec form, the only one that works without a shell.
func parseExec(t *testing.T, text string) (words []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &words); err != nil || len(words) == 0 {
		t.Fatalf("%s: not the exec form: %v", text, err)
	}
	return words
}

// compile runs the build's command, with its arguments or others, and returns the
// path of the program.
func (d *dockerImage) compile(t *testing.T, args map[string]string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "suitegate")
	// The one word that is changed: the path of the result.
	shell := exec.Command("sh", "-c", strings.Replace(d.build, d.output, shellQuote(program), 1))
	shell.Dir = "../.."
	shell.Env = os.Environ()
	for name, value := range d.args {
		if other, ok := args[name]; ok {
			value = other
		}
		shell.Env = append(shell.Env, name+"="+value)
	}
	if output, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", d.build, err, output)
	}
	return program
}

// checkStatic sees that a program needs no loader and no library.
func checkStatic(t *testing.T, program string) {
	t.Helper()
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, header := range file.Progs {
		if header.Type == elf.PT_INTERP {
			t.Error("the program asks for a loader (PT_INTERP)")
		}
	}
	// Without a dynamic section there is nothing to read, and no error.
	if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("the program needs %v, %v", libraries, err)
	}
}

// layOut makes the final stage's files below root.
func (d *dockerImage) layOut(t *testing.T, root, program string) {
	t.Helper()
	for _, c := range d.copies {
		to := filepath.Join(root, c.to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		switch {
		case c.from == d.output:
			copyFile(t, program, to, 0o755)
		case strings.HasPrefix(c.from, "/etc/"): // of the image that the build is in, which is Debian's, too
			copyFile(t, c.from, to, 0o644)
		default: // what else the build makes are empty directories
			if err := os.Mkdir(to, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if c.owned {
			if err := os.Chown(to, int(d.uid), int(d.gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// configFile is where the image's default command looks for its configuration.
func (d *dockerImage) configFile(t *testing.T) string {
	t.Helper()
	at := slices.Index(d.cmd, "--config")
	if at < 0 || at+1 == len(d.cmd) {
		t.Fatalf("CMD %v has no --config", d.cmd)
	}
	return d.cmd[at+1]
}

// start runs a program inside root as the image's user, without a way back.
func (d *dockerImage) start(t *testing.T, root string, args []string) *process {
	t.Helper()
	return startProcess(t, &exec.Cmd{
		Path: args[0],
		Args: args,
		Dir:  "/",
		// HOME as Docker sets it for a user without an entry in /etc/passwd.
		Env: append([]string{"HOME=/"}, d.env...),
		SysProcAttr: &syscall.SysProcAttr{
			Chroot:     root,
			Credential: &syscall.Credential{Uid: d.uid, Gid: d.gid},
		},
	})
}

// startProcess starts a command whose output await reads, and ends it with the
// test.
func startProcess(t *testing.T, command *exec.Cmd) *process {
	t.Helper()
	p := &process{command: command, exited: make(chan struct{}), written: make(chan struct{})}
	command.Stdout, command.Stderr = p, p
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = command.Wait() // its exit code is asked for by ended
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill() // an error means that it has ended
		<-p.exited
		t.Logf("output of %s:\n%s", strings.Join(command.Args, " "), p.text())
	})
	return p
}

// await waits until p has printed a match of pattern behind the last one, and
// returns its group.
func await(t *testing.T, p *process, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for exited := false; ; {
		match, more := p.next(re)
		switch {
		case match != nil:
			return match[1]
		case exited:
			t.Fatalf("%s ended without printing %q", p.command.Path, pattern)
		}
		select {
		case <-more:
		case <-p.exited:
			exited = true // once more: it may have printed last words
		case <-deadline:
			t.Fatalf("%s did not print %q", p.command.Path, pattern)
		}
	}
}

// ended waits for the end of a process and returns its exit code.
func ended(t *testing.T, p *process) int {
	t.Helper()
	select {
	case <-p.exited:
		return p.command.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("%s goes on", p.command.Path)
		return -1
	}
}

// listenEcho is a broker on a free loopback port that sends back what comes.
func listenEcho(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			go func() {
				defer conn.Close()
				echo(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// sayAndHear sends a message through to an echo broker and back.
func sayAndHear(t *testing.T, conn net.Conn, message string) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, message); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len(message))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != message {
		t.Fatalf("%q came back as %q, %v", message, answer, err)
	}
}

// writeCertificate writes tls.crt and tls.key, RSA.
func writeCertificate(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: certificate},
		"tls.key": {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExposedPorts holds the image's ports to those that the README lists.
func TestExposedPorts(t *testing.T) {
	var want []string
	for _, row := range readREADME(t).table(t, "Ports", "protocol") {
		want = append(want, regexp.MustCompile(`^\d+`).FindString(row[1]))
	}
	want = append(want, "9090")
	slices.Sort(want)
	got := slices.Sorted(slices.Values(readDockerfile(t).expose))
	if !slices.Equal(got, want) {
		t.Errorf("the Dockerfile exposes %v, the README says %v", got, want)
	}
}
