package load

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultFrame is the default of [RoundTripOptions].Frame, in bytes.
const DefaultFrame = 256

// RoundTripOptions say how [RoundTrips] measures.
type RoundTripOptions struct {
	Target

	// Frame is how many bytes go there and back each time; the default is
	// [DefaultFrame].
	Frame int

	// Connections is how many there are, each with one frame on its way at a time;
	// the default is 1.
	Connections int

	// Duration is how long it measures; the default is [DefaultDuration].
	Duration time.Duration

	// Warmup is for how long frames go before that; the default is 0. Connecting
	// is before both.
	Warmup time.Duration

	// PID is a process whose processor time, with that of its descendants, is
	// measured too; the default is none.
	PID int

	// Progress is called twice a second.
	Progress func(Progress)
}

// RoundTripResult is what [RoundTrips] has measured.
type RoundTripResult struct {
	Address     string       `json:"address"`
	Frame       int          `json:"frame_bytes"`
	Connections int          `json:"connections"`
	RoundTrips  int64        `json:"round_trips"`
	PerSecond   float64      `json:"round_trips_per_second"`
	Latency     Latency      `json:"latency"`
	Failed      int64        `json:"failed"` // connections
	Errors      []ErrorCount `json:"errors"`
	Usage
}

// RoundTrips measures frames that go through to a [Backend], or whatever else
// sends back what comes, and back again. Connections that fail are counted, and
// no error.
func RoundTrips(ctx context.Context, options RoundTripOptions) (*RoundTripResult, error) {
	c, err := options.Target.connector()
	if err != nil {
		return nil, err
	}
	options.Frame = cmp.Or(options.Frame, DefaultFrame)
	options.Connections = cmp.Or(options.Connections, 1)
	options.Duration = cmp.Or(options.Duration, DefaultDuration)
	if options.Frame < 1 {
		return nil, fmt.Errorf("load: a frame of %d bytes", options.Frame)
	}
	r := &roundTripRun{connector: c, frame: bytes.Repeat([]byte{ModeEcho}, options.Frame)}
	conns := c.connectAll(ctx, options.Connections, &r.errors)
	r.window = newWindow(options.Warmup, options.Duration, options.PID)
	defer r.window.stop()
	stopProgress := report(options.Progress, r.window.begin, func() (done, failed int64) { return r.done.Load(), r.errors.sum() })
	var exchanges sync.WaitGroup
	for _, conn := range conns {
		exchanges.Go(func() {
			defer conn.Close()
			if err := r.exchange(ctx, conn); err != nil && ctx.Err() == nil {
				r.errors.add(err)
			}
		})
	}
	exchanges.Wait()
	stopProgress()
	usage, err := r.window.usage()
	if err != nil {
		return nil, err
	}
	result := &RoundTripResult{
		Address: options.Address, Frame: options.Frame, Connections: options.Connections, RoundTrips: r.done.Load(),
		Latency: r.latency.latency(), Failed: r.errors.sum(), Errors: r.errors.counts(), Usage: usage,
	}
	if usage.Seconds > 0 {
		result.PerSecond = float64(result.RoundTrips) / usage.Seconds
	}
	result.perUnit("us/round-trip", float64(result.RoundTrips), 1e6)
	return result, nil
}

// A roundTripRun is a measurement under way.
type roundTripRun struct {
	connector *connector
	window    *window
	frame     []byte
	done      atomic.Int64
	latency   recorder
	errors    tally
}

// exchange sends frames and takes them back until the window closes.
func (r *roundTripRun) exchange(ctx context.Context, conn secureConn) error {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	answer := make([]byte, len(r.frame))
	for {
		begin := time.Now()
		if !begin.Before(r.window.end) {
			return nil
		}
		_ = conn.SetDeadline(begin.Add(r.connector.Timeout))
		if _, err := conn.Write(r.frame); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			return err
		}
		if !bytes.Equal(answer, r.frame) {
			return errWrongAnswer
		}
		if !begin.Before(r.window.begin) {
			r.latency.record(time.Since(begin))
			r.done.Add(1)
		}
	}
}
