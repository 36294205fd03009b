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

// ProcessUsage is what another process took in the same time, together with its
// descendants.
type ProcessUsage struct {
	PID int `json:"pid"`
	// CPU is their user and system time in seconds.
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
	other processorTimes
}

// startMeter begins to measure this process, and the other one if pid isn't 0.
func startMeter(pid int) (*meter, error) {
	m := &meter{pid: pid, begin: time.Now()}
	m.own, _ = ownProcessorTime() // what is unknown stays 0
	if pid == 0 {
		return m, nil
	}
	var err error
	m.other, err = readProcessorTimes(pid)
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
	after, err := readProcessorTimes(m.pid)
	if err != nil {
		return u, err
	}
	u.Process = &ProcessUsage{PID: m.pid, CPU: after.since(m.other).Seconds()}
	return u, nil
}

// processorTimes are those of a process and of its descendants until some
// moment, by process. Many servers have their work done by children.
type processorTimes map[int]time.Duration

func readProcessorTimes(pid int) (processorTimes, error) {
	pids, err := processTree(pid)
	if err != nil {
		return nil, err
	}
	times := make(processorTimes)
	for _, id := range pids {
		t, err := processClock(id)
		if err != nil && id == pid {
			return nil, notThere(pid, err)
		}
		if err == nil { // else it has just ended
			times[id] = t
		}
	}
	return times, nil
}

// since is the difference to earlier times. What has ended in between counts for
// nothing, and what has begun for all of its time.
func (t processorTimes) since(earlier processorTimes) (sum time.Duration) {
	for id, time := range t {
		sum += time - earlier[id]
	}
	return sum
}

// processTree is a process and its descendants.
func processTree(pid int) ([]int, error) {
	if _, err := procfs.NewProc(pid); err != nil {
		return nil, notThere(pid, err)
	}
	all, err := procfs.AllProcs()
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	children := make(map[int][]int)
	for _, p := range all {
		if stat, err := p.Stat(); err == nil { // else it has just ended
			children[stat.PPID] = append(children[stat.PPID], p.PID)
		}
	}
	tree := []int{pid}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i]]...)
	}
	return tree, nil
}

// processMemory reads the resident set of a process and its descendants, and what
// of it is their own where pages are shared with others (PSS), in bytes.
func processMemory(pid int) (rss, pss uint64, err error) {
	pids, err := processTree(pid)
	if err != nil {
		return 0, 0, err
	}
	for _, id := range pids {
		process, err := procfs.NewProc(id)
		if err != nil && id != pid {
			continue // it has just ended
		}
		if err != nil {
			return 0, 0, notThere(pid, err)
		}
		sum, err := process.ProcSMapsRollup()
		if err != nil {
			return 0, 0, notThere(id, err)
		}
		rss += sum.Rss
		pss += sum.Pss
	}
	return rss, pss, nil
}

func notThere(pid int, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("load: there is no process %s in /proc", strconv.Itoa(pid))
	}
	return fmt.Errorf("load: process %d: %w", pid, err)
}
