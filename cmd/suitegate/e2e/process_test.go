package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// reaperArgument makes the test program a reaper instead.
const reaperArgument = "-e2e-reaper"

// reaper is a child that outlives the tests: when its standard input ends,
// because they are done or because they died, it kills the process groups that
// it was told of and removes their directory.
type reaper struct {
	mu    sync.Mutex
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

func startReaper(dir string) (*reaper, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, reaperArgument)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // not the terminal's: Ctrl-C is not for it
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &reaper{cmd: cmd, stdin: stdin}
	return r, r.tell("dir %s", dir)
}

func (r *reaper) tell(format string, args ...any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := fmt.Fprintf(r.stdin, format+"\n", args...)
	return err
}

// close returns when everything is gone.
func (r *reaper) close() {
	r.stdin.Close()
	r.cmd.Wait()
}

// reap is the reaper's main function.
func reap(orders io.Reader) int {
	groups := make(map[int]bool)
	var dir string
	for lines := bufio.NewScanner(orders); lines.Scan(); {
		var group int
		if _, err := fmt.Sscanf(lines.Text(), "watch %d", &group); err == nil {
			groups[group] = true
		} else if _, err := fmt.Sscanf(lines.Text(), "forget %d", &group); err == nil {
			delete(groups, group)
		} else {
			fmt.Sscanf(lines.Text(), "dir %s", &dir)
		}
	}
	for group := range groups {
		syscall.Kill(-group, syscall.SIGKILL)
	}
	// A broker may write its last file while it is removed.
	for range 50 {
		if err := os.RemoveAll(dir); err == nil {
			return 0
		}
		time.Sleep(100 * time.Millisecond)
	}
	return 1
}

// process is a child with a process group of its own.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string        // file that holds its output, when start made one
	done chan struct{} // closed when it has ended
}

// start runs cmd in a process group of its own, until it ends or the tests do.
// Output that has no reader yet goes to a file in dir.
func start(name, dir string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	if cmd.Stdout == nil {
		p.log = filepath.Join(dir, name+".out")
		out, err := os.Create(p.log)
		if err != nil {
			return nil, err
		}
		defer out.Close()
		cmd.Stdout, cmd.Stderr = out, out
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := run.reaper.tell("watch %d", cmd.Process.Pid); err != nil {
		p.signal(syscall.SIGKILL)
		return nil, fmt.Errorf("reaper: %w", err)
	}
	go func() {
		cmd.Wait()
		run.reaper.tell("forget %d", cmd.Process.Pid)
		close(p.done)
	}()
	return p, nil
}

// signal reaches the child and everything that it has started in its group.
func (p *process) signal(s syscall.Signal) error {
	select {
	case <-p.done:
		return os.ErrProcessDone // its number may be another's by now
	default:
	}
	return syscall.Kill(-p.cmd.Process.Pid, s)
}

// output is what the process has written to its file, for a failure's message.
func (p *process) output() string {
	out, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(out[max(0, len(out)-4000):])
}

// runClient executes a program to its end and returns all that it printed.
func runClient(t *testing.T, cmd *exec.Cmd) (string, error) {
	t.Helper()
	p, err := runToEnd(t, cmd)
	out, readErr := os.ReadFile(p.log)
	if readErr != nil {
		t.Fatal(readErr)
	}
	return string(out), err
}

// runToEnd executes a program to its end. It is killed, with its children,
// after a time that no working one takes. The error is its exit code's.
func runToEnd(t *testing.T, cmd *exec.Cmd) (*process, error) {
	t.Helper()
	p, err := start("client", t.TempDir(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(2 * time.Minute):
		p.signal(syscall.SIGKILL)
		<-p.done
		t.Errorf("%s did not end", cmd.Args[0])
	}
	if !cmd.ProcessState.Success() {
		return p, errors.New(cmd.ProcessState.String())
	}
	return p, nil
}

// ports hands out loopback ports that nothing listens on. They lie below the
// range from which systems take the ports of outgoing connections, so that
// none of those gets one between here and its use.
type ports struct {
	mu    sync.Mutex
	given map[int]bool
}

var freePorts = &ports{given: make(map[int]bool)}

func (p *ports) next() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range 1000 {
		port := 12000 + rand.IntN(18000)
		if p.given[port] {
			continue
		}
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		l.Close()
		p.given[port] = true
		return port
	}
	panic("e2e: no free port on 127.0.0.1")
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
