package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience bounds every wait of a script. It is long because a loaded machine
// is slow, and costs nothing because a wait ends when its event comes.
const patience = time.Minute

// Keys of what a script has under way.
type (
	testKey      struct{}
	processesKey struct{}
	clientsKey   struct{}
)

// process is a command in the background.
type process struct {
	command *exec.Cmd
	exited  chan struct{} // closed when it has

	mu      sync.Mutex
	output  bytes.Buffer  // stdout and stderr
	seen    int           // how much of output expect has passed
	written chan struct{} // closed and replaced at each write
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.written)
	p.written = make(chan struct{})
	return p.output.Write(b)
}

// next returns the first match of re in what no earlier call has passed, and
// otherwise a channel that is closed when there is more to look at.
func (p *process) next(re *regexp.Regexp) (match []string, more <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rest := p.output.String()[p.seen:]
	at := re.FindStringSubmatchIndex(rest)
	if at == nil {
		return nil, p.written
	}
	p.seen += at[1]
	return re.FindStringSubmatch(rest), nil
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

func processNamed(ts *testscript.TestScript, name string) *process {
	p, ok := ts.Value(processesKey{}).(map[string]*process)[name]
	if !ok {
		ts.Fatalf("no process %q was started", name)
	}
	return p
}

func wantArgs(ts *testscript.TestScript, neg bool, args []string, least, most int, usage string) {
	if neg || len(args) < least || len(args) > most {
		ts.Fatalf("usage: %s", usage)
	}
}

// start NAME PROGRAM ARG… runs a program in the background.
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 2, 100, "start NAME PROGRAM ARG…")
	p := &process{
		command: exec.Command(lookPath(ts, args[1]), args[2:]...),
		exited:  make(chan struct{}),
		written: make(chan struct{}),
	}
	p.command.Dir = ts.MkAbs(".")
	p.command.Env = environment(ts)
	p.command.Stdout, p.command.Stderr = p, p
	ts.Check(p.command.Start())
	go func() {
		defer close(p.exited)
		_ = p.command.Wait() // its exit code is asked for by exited
	}()
	ts.Value(processesKey{}).(map[string]*process)[args[0]] = p
	ts.Defer(func() {
		_ = p.command.Process.Kill() // an error means that it has ended
		<-p.exited
		ts.Logf("[output of %s]\n%s", args[0], p.text())
	})
}

func lookPath(ts *testscript.TestScript, program string) string {
	for dir := range strings.SplitSeq(ts.Getenv("PATH"), string(os.PathListSeparator)) {
		if path, err := exec.LookPath(dir + "/" + program); err == nil {
			return path
		}
	}
	ts.Fatalf("%s: not in PATH", program)
	return ""
}

// environment is the script's own, as far as the programs here care.
func environment(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "XDG_DATA_HOME", "TMPDIR", "GOCOVERDIR", "GODEBUG"} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// expect NAME REGEXP [VAR…] waits until the process has printed a match behind
// the last one, and sets the variables to the groups of the match.
func cmdExpect(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 2, 100, "expect NAME REGEXP [VAR…]")
	p := processNamed(ts, args[0])
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	if re.NumSubexp() != len(args)-2 {
		ts.Fatalf("%d groups for %d variables", re.NumSubexp(), len(args)-2)
	}
	deadline := time.After(patience)
	for ended := false; ; {
		match, more := p.next(re)
		if match != nil {
			for i, name := range args[2:] {
				ts.Setenv(name, match[i+1])
			}
			return
		}
		if ended {
			ts.Fatalf("%s ended without printing %q", args[0], args[1])
		}
		select {
		case <-more:
		case <-p.exited:
			ended = true // once more: it may have printed last words
		case <-deadline:
			ts.Fatalf("%s did not print %q", args[0], args[1])
		}
	}
}

// signal NAME HUP|INT|TERM
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 2, 2, "signal NAME HUP|INT|TERM")
	sig, ok := map[string]os.Signal{"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "TERM": syscall.SIGTERM}[args[1]]
	if !ok {
		ts.Fatalf("unknown signal %s", args[1])
	}
	ts.Check(processNamed(ts, args[0]).command.Process.Signal(sig))
}

// exited NAME CODE waits for the end of a process.
func cmdExited(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 2, 2, "exited NAME CODE")
	p := processNamed(ts, args[0])
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	select {
	case <-p.exited:
	case <-time.After(patience):
		ts.Fatalf("%s goes on", args[0])
	}
	if got := p.command.ProcessState.ExitCode(); got != want {
		ts.Fatalf("%s exited with %d, want %d", args[0], got, want)
	}
}

// silent NAME REGEXP sees that a process which has ended printed no match.
func cmdSilent(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 2, 2, "silent NAME REGEXP")
	p := processNamed(ts, args[0])
	<-p.exited
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	if match := re.FindString(p.text()); match != "" {
		ts.Fatalf("%s printed %q", args[0], match)
	}
}

// needs PROGRAM… skips the script where a program is not installed, and fails
// in CI, where all of them are.
func cmdNeeds(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 1, 100, "needs PROGRAM…")
	for _, program := range args {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			ts.Fatalf("%s is not installed", program)
		}
		fmt.Fprintf(os.Stderr, "\n*** SKIPPED: script %s needs %s\n\n", ts.Name(), program)
		ts.Value(testKey{}).(testscript.T).Skip(program, "is not installed")
	}
}

// occupy VAR listens on a port, and sets VAR to its address.
func cmdOccupy(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 1, 1, "occupy VAR")
	ts.Setenv(args[0], serve(ts, func(net.Conn) {}))
}

// broker KIND VAR runs something that passes for a broker as far as it is
// asked, and sets VAR to its address. Kind echo sends back what comes.
func cmdBroker(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 2, 2, "broker echo|amqp|openwire VAR")
	kinds := map[string]func(net.Conn){
		"echo":     echo,
		"amqp":     startConnection,
		"openwire": sendWireFormat,
	}
	kind, ok := kinds[args[0]]
	if !ok {
		ts.Fatalf("unknown broker %s", args[0])
	}
	ts.Setenv(args[1], serve(ts, kind))
}

// startConnection answers a protocol header with the beginning of a
// Connection.Start frame, as an AMQP 0-9-1 broker does.
func startConnection(conn net.Conn) {
	header := make([]byte, 8)
	if _, err := io.ReadFull(conn, header); err == nil {
		_, _ = conn.Write([]byte("\x01\x00\x00\x00\x00\x01\xf2\x00\x0a\x00\x0a"))
	}
	_, _ = io.Copy(io.Discard, conn) // ends with the connection
}

// sendWireFormat speaks first, as an OpenWire broker does.
func sendWireFormat(conn net.Conn) {
	_, _ = conn.Write([]byte("\x00\x00\x00\xf0\x01ActiveMQ\x00\x00\x00\x0c"))
	_, _ = io.Copy(io.Discard, conn) // ends with the connection
}

// serve accepts connections until the script ends, and returns the address.
func serve(ts *testscript.TestScript, handle func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	var handlers sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	handlers.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			handlers.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	ts.Defer(func() {
		l.Close()
		mu.Lock()
		for _, conn := range open {
			conn.Close()
		}
		mu.Unlock()
		handlers.Wait()
	})
	return l.Addr().String()
}

// client is a TLS connection that a script holds open.
type client struct{ *tls.Conn }

func clientNamed(ts *testscript.TestScript, name string) *client {
	c, ok := ts.Value(clientsKey{}).(map[string]*client)[name]
	if !ok {
		ts.Fatalf("no client %q was connected", name)
	}
	return c
}

// connect NAME ADDR makes a TLS connection to a listener in front of an echo
// broker, and sees a message through to it and back.
func cmdConnect(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 2, 2, "connect NAME ADDR")
	dialer := &net.Dialer{Timeout: patience}
	// Whom it talks to is what other scripts check.
	conn, err := tls.DialWithDialer(dialer, "tcp", args[1], &tls.Config{InsecureSkipVerify: true})
	ts.Check(err)
	ts.Defer(func() { conn.Close() })
	ts.Check(conn.SetDeadline(time.Now().Add(patience)))
	const message = "anybody there?"
	_, err = io.WriteString(conn, message)
	ts.Check(err)
	answer := make([]byte, len(message))
	_, err = io.ReadFull(conn, answer)
	ts.Check(err)
	if string(answer) != message {
		ts.Fatalf("%s came back as %q", message, answer)
	}
	ts.Value(clientsKey{}).(map[string]*client)[args[0]] = &client{conn}
}

// closed NAME waits until the gateway has closed the connection.
func cmdClosed(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 1, 1, "closed NAME")
	_, err := clientNamed(ts, args[0]).Read(make([]byte, 1))
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		ts.Fatalf("%s is still open: %v", args[0], err)
	}
}

// hangup NAME closes the connection.
func cmdHangup(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 1, 1, "hangup NAME")
	ts.Check(clientNamed(ts, args[0]).Close())
}

// try NAME COUNT runs every command that the process of that name printed, and
// holds what comes of it against what it promised.
func cmdTry(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 2, 2, "try NAME COUNT")
	experiments := parseExperiments(processNamed(ts, args[0]).text())
	if want, err := strconv.Atoi(args[1]); err != nil || len(experiments) != want {
		ts.Fatalf("%s printed %d commands, want %s", args[0], len(experiments), args[1])
	}
	for _, e := range experiments {
		shell := exec.Command("sh", "-c", e.command)
		shell.Env = environment(ts)
		shell.Dir = ts.MkAbs(".")
		output, err := e.run(shell)
		ts.Logf("# %s\n%s\n%s", e.shows, e.command, output)
		ts.Check(err)
	}
}

// run has a shell run the command, and returns an error if what comes of it is
// not what was promised: a command fails where an alert is.
func (e *experiment) run(shell *exec.Cmd) (output string, err error) {
	text, end := shell.CombinedOutput()
	output = string(text)
	for _, line := range e.prints {
		if !strings.Contains(output, line) {
			return output, fmt.Errorf("%s\ndid not print %q, but\n%s", e.command, line, output)
		}
	}
	if len(e.prints) == 0 && output != "" {
		return output, fmt.Errorf("%s\nprinted %q", e.command, output)
	}
	refused := slices.ContainsFunc(e.prints, func(line string) bool { return strings.Contains(line, "alert") })
	if refused != (end != nil) {
		return output, fmt.Errorf("%s\nended with %v", e.command, end)
	}
	return output, nil
}

// parseExperiments reads what printExperiments wrote.
func parseExperiments(text string) []experiment {
	var list []experiment
	lines := strings.Split(text, "\n")
	for i := 0; i+1 < len(lines); i++ {
		shows, ok := strings.CutPrefix(lines[i], "# ")
		if !ok {
			continue
		}
		e := experiment{shows: shows, command: lines[i+1]}
		for i += 2; i < len(lines); i++ {
			promised, ok := strings.CutPrefix(lines[i], "#=> ")
			if !ok {
				break
			}
			e.prints = append(e.prints, promised)
		}
		list = append(list, e)
	}
	return list
}
