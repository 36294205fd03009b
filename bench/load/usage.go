package load

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/procfs"
)

// nearlyAll is the share of the processor time that it may use from which on a
// client is taken to be what limits a measurement.
const nearlyAll = 0.9

// Usage is what a measurement took of processors.
type Usage struct {
	// Seconds is how long it took, without warming up.
	Seconds float64 `json:"seconds"`

	// ClientCPU is the processor time of this process in seconds, and
	// ClientCPUShare which part that is of all it may use: Seconds times
	// GOMAXPROCS. Both are 0 where the system does not tell.
	ClientCPU      float64 `json:"client_cpu_seconds"`
	ClientCPUShare float64 `json:"client_cpu_share"`

	// LimitedByClient says that the figures are those of this client rather than of
	// the server; Limits says why.
	LimitedByClient bool     `json:"limited_by_client"`
	Limits          []string `json:"limits,omitempty"`

	// Process is the usage of the process that was named, or nil.
	Process *ProcessUsage `json:"process,omitempty"`
}

// ProcessUsage is what another process took in the same time.
type ProcessUsage struct {
	PID int `json:"pid"`
	// CPU is its user and system time in seconds, exact to some 10 ms where the
	// system keeps no finer account.
	CPU float64 `json:"cpu_seconds"`
	// Unit says what PerUnit counts, and is empty where there was nothing to count:
	// "ms/handshake", "s/GB", "us/round-trip".
	Unit    string  `json:"unit,omitempty"`
	PerUnit float64 `json:"per_unit,omitempty"`
}

// judge says so where the client used nearly all of the processor time.
func (u *Usage) judge() {
	if u.ClientCPUShare > nearlyAll {
		u.limited("this client used %.0f %% of the processor time that it may", 100*u.ClientCPUShare)
	}
}

func (u *Usage) limited(format string, args ...any) {
	u.LimitedByClient = true
	u.Limits = append(u.Limits, fmt.Sprintf(format, args...))
}

// perUnit divides the process's time by a number of units; scale is the number
// of parts of a second that are counted in.
func (u *Usage) perUnit(unit string, units, scale float64) {
	if u.Process != nil && units > 0 {
		u.Process.Unit, u.Process.PerUnit = unit, scale*u.Process.CPU/units
	}
}

// A meter reads processor times from its start on.
type meter struct {
	pid   int
	begin time.Time
	own   time.Duration
	other processorTime
}

// startMeter begins to measure this process, and the other one if pid isn't 0.
func startMeter(pid int) (*meter, error) {
	m := &meter{pid: pid, begin: time.Now()}
	m.own, _ = ownProcessorTime() // what is unknown stays 0
	if pid == 0 {
		return m, nil
	}
	var err error
	m.other, err = readProcessorTime(pid)
	return m, err
}

// usage is what was used until now.
func (m *meter) usage() (Usage, error) {
	elapsed := time.Since(m.begin)
	u := Usage{Seconds: elapsed.Seconds()}
	if own, ok := ownProcessorTime(); ok && elapsed > 0 {
		u.ClientCPU = (own - m.own).Seconds()
		u.ClientCPUShare = u.ClientCPU / elapsed.Seconds() / float64(runtime.GOMAXPROCS(0))
	}
	u.judge()
	if m.pid == 0 {
		return u, nil
	}
	after, err := readProcessorTime(m.pid)
	if err != nil {
		return u, err
	}
	u.Process = &ProcessUsage{PID: m.pid, CPU: after.since(m.other).Seconds()}
	return u, nil
}

// processorTime is that of a process until some moment.
type processorTime struct {
	total   time.Duration // in ticks of 10 ms (USER_HZ, proc(5))
	threads map[int]time.Duration
}

// readProcessorTime reads /proc/PID. The scheduler's account of each thread is
// in nanoseconds, and forgets threads that have ended; not every kernel has it.
func readProcessorTime(pid int) (processorTime, error) {
	process, err := procfs.NewProc(pid)
	if err != nil {
		return processorTime{}, notThere(pid, err)
	}
	stat, err := process.Stat()
	if err != nil {
		return processorTime{}, notThere(pid, err)
	}
	t := processorTime{total: time.Duration(stat.CPUTime() * float64(time.Second))}
	threads, err := procfs.AllThreads(pid)
	if err != nil {
		return t, nil
	}
	t.threads = make(map[int]time.Duration)
	for _, thread := range threads {
		account, err := thread.Schedstat()
		if err != nil {
			t.threads = nil
			break
		}
		t.threads[thread.PID] = time.Duration(account.RunningNanoseconds)
	}
	return t, nil
}

// since is the difference to an earlier time, by the finer account if no thread
// has ended in between.
func (t processorTime) since(earlier processorTime) time.Duration {
	if t.threads == nil || earlier.threads == nil {
		return t.total - earlier.total
	}
	var sum time.Duration
	for _, time := range t.threads {
		sum += time
	}
	for id, time := range earlier.threads {
		if _, ok := t.threads[id]; !ok {
			return t.total - earlier.total
		}
		sum -= time
	}
	return sum
}

// processMemory reads a process's resident set, and what of it is its own where
// pages are shared by several (PSS), in bytes.
func processMemory(pid int) (rss, pss uint64, err error) {
	process, err := procfs.NewProc(pid)
	if err != nil {
		return 0, 0, notThere(pid, err)
	}
	sum, err := process.ProcSMapsRollup()
	if err != nil {
		return 0, 0, notThere(pid, err)
	}
	return sum.Rss, sum.Pss, nil
}

func notThere(pid int, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("load: there is no process %s in /proc", strconv.Itoa(pid))
	}
	return fmt.Errorf("load: process %d: %w", pid, err)
}
