package main

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// maxCPUs is as many as a mask of sched_setaffinity(2) has here.
const maxCPUs = 1024

// allowedCPUs are the processors that this process may use.
func allowedCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("peers: sched_getaffinity: %w", err)
	}
	var cpus []int
	for i := range maxCPUs {
		if set.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	return cpus, nil
}

func cpuSet(cpus []int) *unix.CPUSet {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	return &set
}

// pinSelf binds all threads of this process to processors. A thread inherits
// the binding of the one that starts it, so it goes on until a look at all of
// them finds none that is bound otherwise.
func pinSelf(cpus []int) error {
	wanted := cpuSet(cpus)
	for {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("peers: %w", err)
		}
		changed := false
		for _, thread := range threads {
			id, err := strconv.Atoi(thread.Name())
			if err != nil {
				return fmt.Errorf("peers: a thread called %q", thread.Name())
			}
			var has unix.CPUSet
			if unix.SchedGetaffinity(id, &has) != nil || has == *wanted {
				continue // it has just ended, or is bound
			}
			if err := unix.SchedSetaffinity(id, wanted); err != nil && err != unix.ESRCH {
				return fmt.Errorf("peers: sched_setaffinity: %w", err)
			}
			changed = true
		}
		if !changed {
			runtime.GOMAXPROCS(len(cpus))
			return nil
		}
	}
}

// startPinned starts a command on a processor of its own; with a negative one it
// goes where it likes. It is killed when this process dies, and is the leader of
// a group, so that its children can be killed with it.
func startPinned(cmd *exec.Cmd, cpu int) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if cpu < 0 {
		return cmd.Start()
	}
	// The child inherits the binding of the thread that forks.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("peers: sched_getaffinity: %w", err)
	}
	if err := unix.SchedSetaffinity(0, cpuSet([]int{cpu})); err != nil {
		return fmt.Errorf("peers: sched_setaffinity: %w", err)
	}
	err := cmd.Start()
	if restore := unix.SchedSetaffinity(0, &before); err == nil && restore != nil {
		err = fmt.Errorf("peers: sched_setaffinity: %w", restore)
	}
	return err
}

// killGroup kills a process that startPinned has started, and its children.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// openFiles is what 20,000 connections need in a process that is both ends: two
// sockets each, and two ends of the pipe by which the backend echoes.
const openFiles = 20_000*4 + 1000

// raiseOpenFiles raises the limit of open files as far as it is needed, or else
// as far as it goes, and returns it. What this process starts inherits it.
func raiseOpenFiles() (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("peers: limit of open files: %w", err)
	}
	raised := max(limit.Max, openFiles) // which takes CAP_SYS_RESOURCE, or else:
	for _, most := range []uint64{raised, limit.Max} {
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: most}) == nil {
			return int(min(most, math.MaxInt32)), nil
		}
	}
	return 0, fmt.Errorf("peers: the limit of open files cannot be set to %d", limit.Max)
}

func kernel() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return unknown
	}
	return unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
}

func processorName() string {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return unknown
	}
	info, err := fs.CPUInfo()
	if err != nil || len(info) == 0 || info[0].ModelName == "" {
		return unknown
	}
	return strings.Join(strings.Fields(info[0].ModelName), " ")
}
