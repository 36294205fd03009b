package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRelaxTimers is also the program that it runs.
func TestRelaxTimers(t *testing.T) {
	const inner = "RELAX_TIMERS"
	if os.Getenv(inner) != "" {
		relaxTimers()
		fmt.Println(os.Getpid(), os.Args[1:], slackOfNewThread(t))
		os.Exit(0)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const argument = "-test.run=^TestRelaxTimers$"
	cmd := exec.Command(self, argument)
	cmd.Env = append(os.Environ(), inner+"=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintln(cmd.Process.Pid, []string{argument}, timerSlack); string(out) != want {
		t.Errorf("process ID, arguments and slack are %q, want %q", out, want)
	}
}

// slackOfNewThread is what the runtime's threads have.
func slackOfNewThread(t *testing.T) time.Duration {
	slack := make(chan int)
	runtime.LockOSThread() // so that the goroutine gets another one
	defer runtime.UnlockOSThread()
	go func() {
		n, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
		if err != nil {
			t.Error(err)
		}
		slack <- n
	}()
	return time.Duration(<-slack)
}
