package load

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Direction says which way bytes go.
type Direction string

// The directions.
const (
	ToBroker Direction = "to-broker"
	ToClient Direction = "to-client"
	Both     Direction = "both" // by connections of their own
)

// BulkOptions say how [Bulk] measures.
type BulkOptions struct {
	Target

	// Direction is which way the bytes go; the default is [ToClient].
	Direction Direction

	// Connections is how many there are in each direction; the default is 1.
	Connections int

	// Duration is how long it measures; the default is [DefaultDuration].
	Duration time.Duration

	// Warmup is for how long bytes flow before that; the default is 0. Connecting
	// is before both.
	Warmup time.Duration

	// PID is a process whose processor time, with that of its descendants, is
	// measured too; the default is none.
	PID int

	// Progress is called twice a second with the bytes of both directions.
	Progress func(Progress)
}

// A Flow is what went in one direction.
type Flow struct {
	Connections int   `json:"connections"`
	Bytes       int64 `json:"bytes"`
	// PerSecond is in megabytes of 1,000,000 bytes.
	PerSecond float64 `json:"megabytes_per_second"`
}

// BulkResult is what [Bulk] has measured.
type BulkResult struct {
	Address  string       `json:"address"`
	ToBroker *Flow        `json:"to_broker,omitempty"`
	ToClient *Flow        `json:"to_client,omitempty"`
	Failed   int64        `json:"failed"` // connections
	Errors   []ErrorCount `json:"errors"`
	Usage
}

// Bytes that were sent, and did not all arrive; or others that did.
var (
	errLost        = errors.New("load: bytes were lost")
	errWrongAnswer = errors.New("load: what came back is not what was sent")
)

// Bulk measures how fast bytes go through to a [Backend], and from one. To the
// broker, the backend's count at the end says whether all have arrived.
// Connections that fail are counted, and no error.
func Bulk(ctx context.Context, options BulkOptions) (*BulkResult, error) {
	c, err := options.Target.connector()
	if err != nil {
		return nil, err
	}
	options.Direction = cmp.Or(options.Direction, ToClient)
	options.Duration = cmp.Or(options.Duration, DefaultDuration)
	options.Connections = cmp.Or(options.Connections, 1)
	r := &bulkRun{connector: c}
	switch options.Direction {
	case ToBroker, ToClient, Both:
	default:
		return nil, fmt.Errorf("load: there is no direction %q, but %s, %s and %s", options.Direction, ToBroker, ToClient, Both)
	}
	all := options.Connections
	if options.Direction == Both {
		all *= 2
	}
	conns := c.connectAll(ctx, all, &r.errors)
	sending, cancel := context.WithCancel(ctx)
	defer cancel()
	stopProgress := report(options.Progress, time.Now().Add(options.Warmup), func() (done, failed int64) {
		return r.sent.Load() + r.received.Load(), r.errors.sum()
	})
	defer stopProgress()
	var streams sync.WaitGroup
	defer streams.Wait()
	for i, conn := range conns {
		carry := r.toClient
		if options.Direction == ToBroker || options.Direction == Both && i%2 == 0 {
			carry = r.toBroker
		}
		streams.Go(func() { r.stream(sending, conn, carry) })
	}
	ended := make(chan struct{})
	go func() { streams.Wait(); close(ended) }()
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		case <-ended: // all have failed
		}
	}
	wait(options.Warmup)
	meter, err := startMeter(options.PID)
	if err != nil {
		cancel()
		return nil, err
	}
	sent, received := r.sent.Load(), r.received.Load()
	wait(options.Duration)
	usage, err := meter.usage()
	sent, received = r.sent.Load()-sent, r.received.Load()-received
	cancel()
	<-ended // the counts of the backend
	if err != nil {
		return nil, err
	}
	return r.result(options, usage, sent, received), nil
}

// A bulkRun is a measurement under way.
type bulkRun struct {
	connector      *connector
	sent, received atomic.Int64
	errors         tally
}

func (r *bulkRun) result(options BulkOptions, usage Usage, sent, received int64) *BulkResult {
	result := &BulkResult{Address: options.Address, Failed: r.errors.sum(), Errors: r.errors.counts(), Usage: usage}
	flow := func(bytes int64) *Flow {
		f := &Flow{Connections: options.Connections, Bytes: bytes}
		if usage.Seconds > 0 {
			f.PerSecond = float64(bytes) / 1e6 / usage.Seconds
		}
		return f
	}
	if options.Direction != ToClient {
		result.ToBroker = flow(sent)
	}
	if options.Direction != ToBroker {
		result.ToClient = flow(received)
	}
	result.perUnit("s/GB", float64(sent+received)/1e9, 1)
	return result
}

// stream carries bytes until ctx is done.
func (r *bulkRun) stream(ctx context.Context, conn secureConn, carry func(context.Context, secureConn) error) {
	defer conn.Close()
	if err := carry(ctx, conn); err != nil {
		r.errors.add(err)
	}
}

func (r *bulkRun) toBroker(ctx context.Context, conn secureConn) error {
	if _, err := conn.Write([]byte{ModeDiscard}); err != nil {
		return err
	}
	chunk := make([]byte, chunkSize)
	var sent int64
	for ctx.Err() == nil {
		_ = conn.SetDeadline(time.Now().Add(r.connector.Timeout))
		n, err := conn.Write(chunk)
		sent += int64(n)
		r.sent.Add(int64(n))
		if err != nil {
			return err
		}
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(r.connector.Timeout))
	answer, err := io.ReadAll(io.LimitReader(conn, 32))
	if err != nil {
		return err
	}
	arrived, err := strconv.ParseInt(strings.TrimSpace(string(answer)), 10, 64)
	if err != nil {
		return fmt.Errorf("%w: %q is no count", errWrongAnswer, answer)
	}
	if arrived != sent {
		return fmt.Errorf("%w: %d of %d arrived", errLost, arrived, sent)
	}
	return nil
}

func (r *bulkRun) toClient(ctx context.Context, conn secureConn) error {
	if _, err := conn.Write(binary.BigEndian.AppendUint64([]byte{ModeSource}, math.MaxUint64)); err != nil {
		return err
	}
	chunk := make([]byte, chunkSize)
	for ctx.Err() == nil {
		_ = conn.SetReadDeadline(time.Now().Add(r.connector.Timeout))
		n, err := conn.Read(chunk)
		r.received.Add(int64(n))
		if err != nil {
			return err
		}
	}
	return nil
}
