//go:build unix

package load

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"
)

func TestProcessorTimesSince(t *testing.T) {
	before := processorTimes{1: 10, 2: 20, 3: 30}
	// The third has ended, the fourth has begun.
	if got := (processorTimes{1: 11, 2: 22, 4: 4}).since(before); got != 7 {
		t.Errorf("%d", got)
	}
}

// The shell itself waits for a child that works.
func TestProcessTree(t *testing.T) {
	if _, err := os.Stat("/proc/self/smaps_rollup"); err != nil {
		t.Skip("/proc tells nothing of processes: ", err)
	}
	parent := exec.Command("sh", "-c", "(while :; do :; done) & wait")
	parent.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-parent.Process.Pid, syscall.SIGKILL)
		_ = parent.Wait() // killed, as it says
	}()
	pid := parent.Process.Pid
	var times processorTimes
	for deadline := time.Now().Add(30 * time.Second); len(times) < 2 || times.since(nil) < 200*time.Millisecond; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("processor times after half a minute: %v", times)
		}
		var err error
		if times, err = readProcessorTimes(pid); err != nil {
			t.Fatal(err)
		}
	}
	// What the system says in ticks of 10 ms, moments later.
	var ticks float64
	for id := range times {
		process, err := procfs.NewProc(id)
		if err != nil {
			t.Fatal(err)
		}
		stat, err := process.Stat()
		if err != nil {
			t.Fatal(err)
		}
		ticks += stat.CPUTime()
	}
	if now, err := readProcessorTimes(pid); err != nil || ticks < times.since(nil).Seconds()-0.05 || ticks > now.since(nil).Seconds()+0.05 {
		t.Errorf("%v before, %v s, then %v, %v", times, ticks, now, err)
	}

	rss, pss, err := processMemory(pid)
	if err != nil {
		t.Fatal(err)
	}
	alone, err := procfs.NewProc(pid)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := alone.ProcSMapsRollup()
	if err != nil || rss <= sum.Rss || pss >= rss {
		t.Errorf("%d and %d bytes, of the parent %+v, %v", rss, pss, sum, err)
	}
	if _, err := readProcessorTimes(1 << 30); err == nil {
		t.Error("a process that isn't there has processor time")
	}
	if _, _, err := processMemory(1 << 30); err == nil {
		t.Error("a process that isn't there has memory")
	}
}
