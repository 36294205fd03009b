package load

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of [IdleOptions].
const (
	DefaultRamp    = 500 // connections a second
	DefaultHold    = 10 * time.Second
	BurstSize      = 64 << 10
	connectsAtOnce = 32
)

// IdleOptions say how [Idle] connects.
type IdleOptions struct {
	Target

	// Connections is how many are opened, and required.
	Connections int

	// Ramp is how many are opened in a second at most; the default is
	// [DefaultRamp].
	Ramp float64

	// Burst has each connection send [BurstSize] bytes, once all are open, and wait
	// until they have come back, so that buffers are as large as they get.
	Burst bool

	// Hold is for how long nothing happens then; the default is [DefaultHold].
	Hold time.Duration

	// PID is a process whose memory, with that of its descendants, is read before
	// the first connection and at the end of Hold; the default is none.
	PID int

	// Progress is called twice a second while connections are opened.
	Progress func(Progress)
}

// IdleResult is what became of idle connections.
type IdleResult struct {
	Address string `json:"address"`
	Asked   int    `json:"asked"`
	// Opened is how many could be opened, and had their burst; Stayed how many of
	// them were open at the end.
	Opened int `json:"opened"`
	Stayed int `json:"stayed"`
	// RampSeconds is how long it took to open them.
	RampSeconds float64      `json:"ramp_seconds"`
	HoldSeconds float64      `json:"hold_seconds"`
	Failed      int64        `json:"failed"` // not opened, or gone
	Errors      []ErrorCount `json:"errors"`
	Process     *Memory      `json:"process,omitempty"`
}

// Memory is what a process and its descendants have taken for connections. RSS
// counts what they share for each of them, PSS once.
type Memory struct {
	PID       int    `json:"pid"`
	RSSBefore uint64 `json:"rss_before_bytes"`
	RSS       uint64 `json:"rss_bytes"`
	PSSBefore uint64 `json:"pss_before_bytes"`
	PSS       uint64 `json:"pss_bytes"`
	// RSSEach and PSSEach are for each connection that stayed, in KiB.
	RSSEach float64 `json:"rss_kib_per_connection"`
	PSSEach float64 `json:"pss_kib_per_connection"`
}

// Idle opens connections, holds them, and counts those that stay. An address of
// loopback is connected to from as many of 127.0.0.0/8 as it takes, unless
// Sources says from where. The limit of open files is raised as far as this
// process may.
func Idle(ctx context.Context, options IdleOptions) (*IdleResult, error) {
	if options.Connections < 1 {
		return nil, fmt.Errorf("load: %d idle connections", options.Connections)
	}
	options.Ramp = cmp.Or(options.Ramp, DefaultRamp)
	options.Hold = cmp.Or(options.Hold, DefaultHold)
	if options.Ramp < 0 {
		return nil, fmt.Errorf("load: %v connections a second", options.Ramp)
	}
	if len(options.Sources) == 0 {
		options.Sources = loopbackSources(options.Address, options.Connections)
	}
	if err := raiseOpenFiles(options.Connections + filesBeside); err != nil {
		return nil, err
	}
	c, err := options.Target.connector()
	if err != nil {
		return nil, err
	}
	var memory Memory
	if memory.PID = options.PID; memory.PID != 0 {
		if memory.RSSBefore, memory.PSSBefore, err = processMemory(memory.PID); err != nil {
			return nil, err
		}
	}
	r := &idleRun{connector: c, options: options}
	defer r.closeAll()
	result := &IdleResult{Address: options.Address, Asked: options.Connections}
	begin := time.Now()
	r.open(ctx)
	if options.Burst {
		r.each(r.burst)
	}
	result.RampSeconds = time.Since(begin).Seconds()
	result.Opened = len(r.conns)
	held := time.Now()
	select {
	case <-time.After(options.Hold):
	case <-ctx.Done():
	}
	result.HoldSeconds = time.Since(held).Seconds()
	if memory.PID != 0 {
		if memory.RSS, memory.PSS, err = processMemory(memory.PID); err != nil {
			return nil, err
		}
	}
	r.each(r.stays)
	result.Stayed, result.Failed, result.Errors = len(r.conns), r.errors.sum(), r.errors.counts()
	if memory.PID != 0 {
		if n := float64(result.Stayed); n > 0 {
			memory.RSSEach = (float64(memory.RSS) - float64(memory.RSSBefore)) / 1024 / n
			memory.PSSEach = (float64(memory.PSS) - float64(memory.PSSBefore)) / 1024 / n
		}
		result.Process = &memory
	}
	return result, nil
}

// filesBeside are open without any connection.
const filesBeside = 50

// portsEach is how many ports of a source address are used: Linux gives out
// 28,232 (net.ipv4.ip_local_port_range), and others want some.
const portsEach = 20_000

// loopbackSources returns enough addresses of loopback for n connections, and
// none where they do not reach the address or the system's choice will do.
func loopbackSources(address string, n int) (sources []netip.Addr) {
	target, err := netip.ParseAddrPort(address)
	if err != nil || !target.Addr().Is4() || !target.Addr().IsLoopback() || n <= portsEach {
		return nil
	}
	source := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for range (n + portsEach - 1) / portsEach {
		source = source.Next()
		sources = append(sources, source)
	}
	return sources
}

// An idleRun is a measurement under way.
type idleRun struct {
	options   IdleOptions
	connector *connector
	errors    tally

	mu    sync.Mutex
	conns []secureConn
}

// open opens the connections, each not before it is due.
func (r *idleRun) open(ctx context.Context) {
	begin := time.Now()
	stop := report(r.options.Progress, begin, func() (done, failed int64) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return int64(len(r.conns)), r.errors.sum()
	})
	defer stop()
	interval := float64(time.Second) / r.options.Ramp
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(connectsAtOnce, r.options.Connections) {
		workers.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(r.options.Connections) {
					return
				}
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Until(begin.Add(time.Duration(float64(i) * interval)))):
				}
				r.openOne(ctx)
			}
		})
	}
	workers.Wait()
}

func (r *idleRun) openOne(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, r.connector.Timeout)
	defer cancel()
	conn, err := r.connector.connect(bounded, nil)
	if err != nil {
		r.errors.add(err)
		return
	}
	_ = conn.SetDeadline(time.Time{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, conn)
}

// each asks all connections, some at a time, and closes those with an error.
func (r *idleRun) each(ask func(net.Conn) error) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range connectsAtOnce {
		workers.Go(func() {
			for i := int(next.Add(1) - 1); i < len(r.conns); i = int(next.Add(1) - 1) {
				if err := ask(r.conns[i]); err != nil {
					r.errors.add(err)
					r.conns[i].Close()
					r.conns[i] = nil
				}
			}
		})
	}
	workers.Wait()
	r.conns = slices.DeleteFunc(r.conns, func(c secureConn) bool { return c == nil })
}

// burst sends, and reads at the same time: the other side need not have room for
// all of it.
func (r *idleRun) burst(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(r.connector.Timeout))
	sent := bytes.Repeat([]byte{ModeEcho}, BurstSize)
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		written <- err
	}()
	answer := make([]byte, BurstSize)
	_, err := io.ReadFull(conn, answer)
	if err != nil {
		conn.Close() // for Write to end
	}
	if err := errors.Join(err, <-written); err != nil {
		return err
	}
	if !bytes.Equal(answer, sent) {
		return errWrongAnswer
	}
	return conn.SetDeadline(time.Time{})
}

// stays asks a connection whether it is still there: then there is nothing to
// read.
func (r *idleRun) stays(conn net.Conn) error {
	_ = conn.SetReadDeadline(time.Now().Add(probe))
	_, err := conn.Read(make([]byte, 1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case err == nil:
		return nil // something came, unasked; it is there
	}
	return err
}

// probe is how long an end that has long been there may take to be read.
const probe = time.Millisecond

func (r *idleRun) closeAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		conn.Close()
	}
}
