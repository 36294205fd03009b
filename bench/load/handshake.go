package load

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/suitegate/suitegate/policy"
)

// Defaults of [HandshakeOptions], and of Duration wherever it is.
const (
	DefaultWorkers  = 8
	DefaultInFlight = 1000
	DefaultDuration = 10 * time.Second
)

// HandshakeOptions say how [Handshakes] connects.
type HandshakeOptions struct {
	Target

	// Workers is how many connections a closed loop has at a time (default
	// [DefaultWorkers]), and how many an open loop may have ([DefaultInFlight]).
	Workers int

	// Rate makes it an open loop: so many handshakes are due each second. The
	// default, 0, is the closed loop.
	Rate float64

	// Resume is the share of handshakes that resume a session, in percent from 0
	// to 100, spread evenly. One that the server makes a full one is an error.
	Resume float64

	// Echo has each connection send First, which is a byte if it is empty, and
	// wait for a byte to come back.
	Echo  bool
	First []byte

	// Duration is how long it measures; the default is [DefaultDuration], or no
	// limit with Count.
	Duration time.Duration

	// Count is how many handshakes it measures; the default is no limit.
	Count int

	// Warmup is for how long it goes on before that; the default is 0.
	Warmup time.Duration

	// PID is a process whose processor time, with that of its descendants, is
	// measured too; the default is none.
	PID int

	// Progress is called twice a second, and never by two goroutines at once.
	Progress func(Progress)
}

// Progress is what is known while a measurement goes on.
type Progress struct {
	Elapsed time.Duration // of the measurement; negative while it warms up
	Done    int64         // handshakes, bytes, round trips or connections
	Failed  int64         // connections
	Rate    float64       // of Done in a second, lately
}

// HandshakeResult is what [Handshakes] has measured.
type HandshakeResult struct {
	Address string `json:"address"`

	// Handshakes succeeded, Resumed of them by resuming a session; Failed are the
	// others, by cause in Errors.
	Handshakes int64        `json:"handshakes"`
	Resumed    int64        `json:"resumed"`
	Failed     int64        `json:"failed"`
	Errors     []ErrorCount `json:"errors"`
	PerSecond  float64      `json:"handshakes_per_second"`

	// Rate is the one that was asked for, or 0 in a closed loop.
	Rate float64 `json:"rate,omitempty"`

	// Late is how many handshakes of an open loop began more than [LateBy] after
	// they were due, and MaxLate the worst of them in milliseconds. Their latency
	// counts from when they were due.
	Late    int64   `json:"late,omitempty"`
	MaxLate float64 `json:"max_late_ms,omitempty"`

	// Latency is that of the handshakes that succeeded, TCP connect included;
	// FirstByte is until the first byte came back, with Echo.
	Latency   Latency  `json:"latency"`
	FirstByte *Latency `json:"first_byte,omitempty"`

	// Negotiated is what was, the most frequent first.
	Negotiated []Negotiated `json:"negotiated"`

	Usage
}

// Negotiated is what connections have agreed on.
type Negotiated struct {
	Version string `json:"version"`
	Suite   string `json:"suite"`
	// Group is empty where there is none: with RSA key exchange, with a prime that
	// has no name, and in some resumed sessions.
	Group string `json:"group,omitempty"`
	Count int64  `json:"count"`
}

// LateBy is from when on a handshake of an open loop is late.
const LateBy = 10 * time.Millisecond

// Handshakes measures handshakes until Duration or Count is reached, or ctx is
// done. Connections that fail are counted, and no error: errors are options that
// are wrong, and a process that isn't there.
func Handshakes(ctx context.Context, options HandshakeOptions) (*HandshakeResult, error) {
	if options.Resume < 0 || options.Resume > 100 {
		return nil, fmt.Errorf("load: %v percent of the handshakes cannot resume", options.Resume)
	}
	if options.Rate < 0 {
		return nil, fmt.Errorf("load: a rate of %v", options.Rate)
	}
	c, err := options.Target.connector()
	if err != nil {
		return nil, err
	}
	if options.Duration == 0 && options.Count == 0 {
		options.Duration = DefaultDuration
	}
	if len(options.First) == 0 {
		options.First = []byte{ModeEcho}
	}
	r := &handshakeRun{options: options, connector: c, sessions: sessions{connector: c}}
	if options.PID != 0 {
		if _, err := readProcessorTimes(options.PID); err != nil {
			return nil, err
		}
	}
	return r.run(ctx)
}

// A handshakeRun is a measurement under way.
type handshakeRun struct {
	options   HandshakeOptions
	connector *connector
	sessions  sessions

	window    *window
	latency   recorder
	firstByte recorder
	errors    tally

	mu         sync.Mutex
	numbers    int64 // given out
	begun      int64 // measured ones
	done       int64
	resumed    int64
	negotiated map[negotiatedKey]int64
	late       int64
	lateFull   int64 // because as many were in flight as may be
	maxLate    time.Duration
}

type negotiatedKey struct {
	version, suite uint16
	group          tls.CurveID
}

func (r *handshakeRun) run(ctx context.Context) (*HandshakeResult, error) {
	o := &r.options
	if o.Resume > 0 {
		_, _ = r.sessions.get(ctx) // those who need it get the error
	}
	r.window = newWindow(o.Warmup, o.Duration, o.PID)
	defer r.window.stop()
	stopProgress := report(o.Progress, r.window.begin, func() (done, failed int64) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.done, r.errors.sum()
	})
	if o.Rate > 0 {
		r.openLoop(ctx)
	} else {
		r.closedLoop(ctx)
	}
	stopProgress()
	usage, err := r.window.usage()
	if err != nil {
		return nil, err
	}
	return r.result(usage), nil
}

func (r *handshakeRun) closedLoop(ctx context.Context) {
	var workers sync.WaitGroup
	for range cmp.Or(r.options.Workers, DefaultWorkers) {
		workers.Go(func() {
			for ctx.Err() == nil {
				begin := time.Now()
				n, measured, more := r.admit(begin)
				if !more {
					return
				}
				r.one(ctx, begin, n, measured)
			}
		})
	}
	workers.Wait()
}

// admit gives a handshake that is due a number, and says whether it is measured;
// more is false where there are to be no more of them.
func (r *handshakeRun) admit(due time.Time) (number int64, measured, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	measured = !due.Before(r.window.begin)
	if !r.window.end.IsZero() && !due.Before(r.window.end) || measured && r.options.Count > 0 && r.begun == int64(r.options.Count) {
		return 0, false, false
	}
	r.numbers++
	if measured {
		r.begun++
	}
	return r.numbers, measured, true
}

// openLoop begins handshakes when they are due, and waits for them. A handshake
// that cannot begin for Timeout, because as many as may be are in flight, has
// failed: so the loop ends, however slow the server is.
func (r *handshakeRun) openLoop(ctx context.Context) {
	slots := make(chan struct{}, cmp.Or(r.options.Workers, DefaultInFlight))
	interval := float64(time.Second) / r.options.Rate
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var inFlight sync.WaitGroup
	defer inFlight.Wait()
	for i := 0; ; i++ {
		due := start.Add(time.Duration(float64(i) * interval))
		n, measured, more := r.admit(due)
		if !more {
			return
		}
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		full := false
		select {
		case slots <- struct{}{}:
		default:
			full = true
			timer.Reset(time.Until(due.Add(r.connector.Timeout)))
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			case <-timer.C:
				if measured {
					r.errors.add(errTooLate)
					r.noteLate(time.Since(due), full)
				}
				continue
			}
		}
		if measured {
			r.noteLate(time.Since(due), full)
		}
		inFlight.Go(func() {
			defer func() { <-slots }()
			r.one(ctx, due, n, measured)
		})
	}
}

// noteLate counts a handshake that begins late, and whether that is because
// as many were in flight as may be.
func (r *handshakeRun) noteLate(late time.Duration, full bool) {
	if late <= LateBy {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.late++
	if full {
		r.lateFull++
	}
	r.maxLate = max(r.maxLate, late)
}

// one does the handshake of number n, which was due at a time.
func (r *handshakeRun) one(ctx context.Context, due time.Time, n int64, measured bool) {
	var resume *session
	var err error
	if share := r.options.Resume / 100; int64(float64(n)*share) > int64(float64(n-1)*share) {
		if resume, err = r.sessions.get(ctx); err != nil {
			r.failed(ctx, err, measured)
			return
		}
		if r.options.Rate == 0 {
			due = time.Now() // what it took to get a session is no part of it
		}
	}
	bounded, cancel := context.WithDeadline(ctx, due.Add(r.connector.Timeout))
	defer cancel()
	conn, err := r.connector.connect(bounded, resume)
	if err != nil {
		if errors.Is(err, errNotResumed) {
			r.sessions.drop(resume)
		}
		r.failed(ctx, err, measured)
		return
	}
	defer conn.Close()
	latency := time.Since(due)
	if r.options.Echo {
		if err := r.echo(conn); err != nil {
			r.failed(ctx, err, measured)
			return
		}
		if measured {
			r.firstByte.record(time.Since(due))
		}
	}
	if !measured {
		return
	}
	r.latency.record(latency)
	state := conn.ConnectionState()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	if state.DidResume {
		r.resumed++
	}
	if r.negotiated == nil {
		r.negotiated = make(map[negotiatedKey]int64)
	}
	r.negotiated[negotiatedKey{state.Version, state.CipherSuite, state.CurveID}]++
}

func (r *handshakeRun) echo(conn secureConn) error {
	if _, err := conn.Write(r.options.First); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

// failed counts an error, unless it comes of being told to stop.
func (r *handshakeRun) failed(ctx context.Context, err error, measured bool) {
	if measured && ctx.Err() == nil {
		r.errors.add(err)
	}
}

func (r *handshakeRun) result(usage Usage) *HandshakeResult {
	r.mu.Lock()
	defer r.mu.Unlock()
	result := &HandshakeResult{
		Address: r.options.Address, Handshakes: r.done, Resumed: r.resumed, Failed: r.errors.sum(), Errors: r.errors.counts(),
		Rate: r.options.Rate, Late: r.late, MaxLate: ms(int64(r.maxLate)), Latency: r.latency.latency(),
		Negotiated: negotiatedOf(r.negotiated), Usage: usage,
	}
	if usage.Seconds > 0 {
		result.PerSecond = float64(r.done) / usage.Seconds
	}
	if r.options.Echo {
		firstByte := r.firstByte.latency()
		result.FirstByte = &firstByte
	}
	// One late handshake in a hundred is the machine's mood.
	if all := r.done + result.Failed; r.late > all/100 {
		why := "the processors were busy"
		if r.lateFull > r.late/2 {
			why = fmt.Sprintf("as many as may be, %d, were in flight", cmp.Or(r.options.Workers, DefaultInFlight))
		}
		result.limited("%d of %d handshakes began more than %v after they were due, at worst %v: %s",
			r.late, all, LateBy, r.maxLate.Round(time.Millisecond), why)
	}
	result.perUnit("ms/handshake", float64(r.done), 1000)
	return result
}

func negotiatedOf(counts map[negotiatedKey]int64) []Negotiated {
	list := []Negotiated{}
	for key, count := range counts {
		suite := tls.CipherSuiteName(key.suite)
		if known, ok := policy.SuiteByID(key.suite); ok {
			suite = known.Name
		}
		n := Negotiated{Version: policy.Version(key.version).String(), Suite: suite, Count: count}
		if key.group != 0 {
			n.Group = policy.Group(key.group).String()
		}
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b Negotiated) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Suite, b.Suite), cmp.Compare(a.Group, b.Group))
	})
	return list
}
