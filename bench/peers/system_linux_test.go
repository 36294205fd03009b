package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestStartPinned(t *testing.T) {
	cpus, err := allowedCPUs()
	if err != nil || len(cpus) == 0 {
		t.Fatal(cpus, err)
	}
	last := cpus[len(cpus)-1]
	for _, tt := range []struct{ cpu, want int }{{last, last}, {cpus[0], cpus[0]}} {
		cmd := exec.Command("cat", "/proc/self/status")
		var out strings.Builder
		cmd.Stdout = &out
		if err := startPinned(cmd, tt.cpu); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		list := regexp.MustCompile(`Cpus_allowed_list:\s*(\S+)`).FindStringSubmatch(out.String())
		if list == nil || list[1] != fmt.Sprint(tt.want) {
			t.Errorf("on processor %d: %v", tt.cpu, list)
		}
	}
	if after, err := allowedCPUs(); err != nil || !slices.Equal(after, cpus) {
		t.Errorf("afterwards this process has %v, and had %v, %v", after, cpus, err)
	}
	if err := startPinned(exec.Command("cat"), maxCPUs-1); err == nil {
		t.Error("a processor that isn't there")
	}
}

func TestPinSelf(t *testing.T) {
	cpus, err := allowedCPUs()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := pinSelf(cpus); err != nil {
			t.Error(err)
		}
	}()
	if err := pinSelf(cpus[:1]); err != nil {
		t.Fatal(err)
	}
	// A thread that is new, too.
	seen := make(chan []int)
	for range 20 {
		go func() {
			list, _ := allowedCPUs()
			_ = unix.Nanosleep(&unix.Timespec{Nsec: int64(10 * time.Millisecond)}, nil) // so that the next needs another thread
			seen <- list
		}()
	}
	for range 20 {
		if list := <-seen; !slices.Equal(list, cpus[:1]) {
			t.Fatalf("a thread has processors %v", list)
		}
	}
}

// A gateway that ends is an error with what it said; one that does not is killed
// with its children.
func TestStartGateway(t *testing.T) {
	script := func(text string) contestant {
		return contestant{name: "script", program: "sh", peer: peer{command: func(program string, s settings) (*exec.Cmd, error) {
			return exec.Command(program, "-c", text), nil
		}}}
	}
	var ports portPool
	address, err := ports.address()
	if err != nil {
		t.Fatal(err)
	}
	_, err = startGateway(t.Context(), script("echo it is broken; exit 3"), settings{dir: t.TempDir(), listen: []string{address}}, -1)
	if err == nil || !strings.Contains(err.Error(), "script: it has ended; its log ends: it is broken") {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err = startGateway(ctx, script("sleep 60"), settings{dir: t.TempDir(), listen: []string{address}}, -1); err == nil || !strings.Contains(err.Error(), "does not listen") {
		t.Error(err)
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	g, err := startGateway(t.Context(), script("sleep 60 & wait"), settings{dir: t.TempDir(), listen: []string{listener.Addr().String()}}, -1)
	if err != nil {
		t.Fatal(err)
	}
	pid := g.cmd.Process.Pid
	g.stop()
	for deadline := time.Now().Add(10 * time.Second); unix.Kill(-pid, 0) == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("its child is there ten seconds after it was stopped")
		}
	}
}
