package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/suitegate/suitegate/bench/load"
)

// How much there is to do at a time. The figures are processor time for each, so
// that it need only be enough.
const (
	workers      = 8
	floodWorkers = 32
	ramp         = 2000 // idle connections a second, at most

	// settle is how long a gateway has to come to rest before its memory is
	// looked at: where it began as well, or what it needed to begin would be taken
	// off the connections.
	settle = 5 * time.Second

	// scaleWarmup is what a gateway has before it is compared with itself. Right
	// after a start handshakes take up to a tenth more, the more it was that was
	// made and proved for it: that is no cost of a connection.
	scaleWarmup = 4 * time.Second
)

// A runner measures.
type runner struct {
	fixtures   *fixtures
	backend    string
	gatewayCPU int // negative where it is not bound
	dir        string
	ports      portPool
	starts     int
	rounds     int
	duration   time.Duration // of a measurement
	warmup     time.Duration // before it
	profiles   string        // the folder for suitegate's profiles, or empty
	progress   io.Writer
	machine    Machine
	openFiles  int // the limit, of each process
}

// A measurement is what one contestant did in one round: a value for each of the
// scenario's metrics.
type measurement struct {
	values  []float64
	limited bool // by the client, so that rates are the client's
}

// run measures a scenario. What a peer cannot do, or fails to do, is a note; so it
// is for suitegate, but not to be put up with.
func (r *runner) run(ctx context.Context, s scenario, contestants []contestant) (*ScenarioResult, error) {
	result := newScenarioResult(s)
	list := contestants
	if len(s.variants) > 0 {
		list = variantsOf(s, contestants)
	}
	if n := s.files(); n > r.openFiles {
		result.Notes = append(result.Notes, fmt.Sprintf("not measured: it takes %d open files in a process, of which the system allows %d (ulimit -Hn)", n, r.openFiles))
		fmt.Fprintf(r.progress, "%s: %s\n", s.name, result.Notes[0])
		return result, nil
	}
	out := make(map[string]bool)
	rounds := r.rounds
	if s.most > 0 {
		rounds = min(rounds, s.most)
	}
	for round := range rounds {
		for i := range list {
			c := list[(i+round)%len(list)]
			if out[c.name] {
				continue
			}
			m, err := r.again(ctx, s, c, round)
			switch {
			case ctx.Err() != nil:
				return nil, ctx.Err()
			case err != nil:
				out[c.name] = true
				result.leaveOut(c.name, err)
				if c.peer.name == suitegateName {
					result.failed = fmt.Errorf("peers: %s: %s failed: %w", s.name, c.name, err)
				}
				fmt.Fprintf(r.progress, "%s: %s is left out: %v\n", s.name, c.name, err)
				continue
			}
			result.add(c.name, m)
			fmt.Fprintf(r.progress, "%s %d/%d %s:%s\n", s.name, round+1, rounds, c.name, describe(s.metrics(), m))
		}
	}
	result.sum()
	return result, nil
}

// variantsOf are suitegate's, if it is among the contestants.
func variantsOf(s scenario, contestants []contestant) (list []contestant) {
	for _, c := range contestants {
		if c.peer.name != suitegateName {
			continue
		}
		for _, v := range s.variants {
			c.name, c.variant = v.name, v
			list = append(list, c)
		}
	}
	return list
}

func describe(metrics []metric, m measurement) string {
	var text strings.Builder
	for i, metric := range metrics {
		fmt.Fprintf(&text, " %s %s %s;", metric.Name, number(m.values[i]), metric.Unit)
	}
	return strings.TrimSuffix(text.String(), ";")
}

// errNothing is a machine that has stood still, or a gateway that did.
var errNothing = errors.New("nothing was done while it was measured")

// again measures, and gives a machine that stood still two more chances.
func (r *runner) again(ctx context.Context, s scenario, c contestant, round int) (m measurement, err error) {
	for range 3 {
		m, err = r.measure(ctx, s, c, round)
		if err == nil && s.kind != idle && m.values[0] <= 0 {
			err = errNothing
		}
		if !errors.Is(err, errNothing) {
			break
		}
	}
	return m, err
}

// measure starts a contestant afresh, and ends it.
func (r *runner) measure(ctx context.Context, s scenario, c contestant, round int) (measurement, error) {
	if c.peer.cannot != nil {
		if why := c.peer.cannot(s); why != "" {
			return measurement{}, errors.New(why)
		}
	}
	settings, err := r.settings(s, c)
	if err != nil {
		return measurement{}, err
	}
	defer os.RemoveAll(settings.dir)
	g, err := startGateway(ctx, c, settings, r.gatewayCPU)
	if err != nil {
		return measurement{}, err
	}
	defer g.stop()
	target := r.target(g)
	if err := shakeHands(ctx, target); err != nil {
		return measurement{}, err
	}
	if n := c.variant.idle; n > 0 {
		release, err := hold(ctx, target, r.fixtures, n)
		if err != nil {
			return measurement{}, err
		}
		defer release()
	}
	if settings.admin != "" && round == 0 {
		finish := r.profile(ctx, s, c, settings.admin)
		defer func() {
			if err := finish(); err != nil {
				fmt.Fprintf(r.progress, "%s: no profile: %v\n", s.name, err)
			}
		}()
	}
	return r.load(ctx, s, target, g.cmd.Process.Pid)
}

func (r *runner) settings(s scenario, c contestant) (settings, error) {
	r.starts++
	set := settings{scenario: s, variant: c.variant, fixture: r.fixtures.byKey[s.key], params: r.fixtures.params, backend: r.backend, dir: filepath.Join(r.dir, fmt.Sprint("start", r.starts))}
	if err := os.Mkdir(set.dir, 0o700); err != nil {
		return set, err
	}
	var err error
	if set.listen, err = r.ports.addresses(c.variant.normal().listeners); err != nil {
		return set, err
	}
	if r.profiles != "" && c.peer.name == suitegateName {
		set.admin, err = r.ports.address()
	}
	return set, err
}

// target is where load goes: to all listeners in turn.
func (r *runner) target(g *gateway) load.Target {
	s := g.scenario
	target := load.Target{Address: g.listen[0], Version: s.version, Suite: s.suite, Group: s.group, RootCAs: r.fixtures.roots}
	if len(g.listen) > 1 {
		var dialer net.Dialer
		var turn atomic.Uint64
		target.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, g.listen[turn.Add(1)%uint64(len(g.listen))])
		}
	}
	return target
}

// load puts it on the gateway, and returns what the scenario's metrics ask for.
func (r *runner) load(ctx context.Context, s scenario, target load.Target, pid int) (measurement, error) {
	switch s.kind {
	case relay:
		result, err := load.Bulk(ctx, load.BulkOptions{Target: target, Direction: s.direction, Duration: r.duration, Warmup: r.warmup, PID: pid})
		if err != nil {
			return measurement{}, err
		}
		flow := result.ToBroker
		if flow == nil {
			flow = result.ToClient
		}
		return measurement{[]float64{result.Process.PerUnit, flow.PerSecond}, result.LimitedByClient}, failures(result.Failed, result.Errors)
	case roundTrips:
		result, err := load.RoundTrips(ctx, load.RoundTripOptions{Target: target, Connections: s.connections, Duration: r.duration, Warmup: r.warmup, PID: pid})
		if err != nil {
			return measurement{}, err
		}
		return measurement{[]float64{result.Process.PerUnit, 1000 * result.Latency.P50, 1000 * result.Latency.P99}, result.LimitedByClient}, failures(result.Failed, result.Errors)
	case idle:
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			return measurement{}, ctx.Err()
		}
		result, err := load.Idle(ctx, load.IdleOptions{Target: target, Connections: s.connections, Ramp: ramp, Burst: s.burst, Hold: settle, PID: pid})
		if err != nil {
			return measurement{}, err
		}
		return measurement{[]float64{result.Process.PSSEach, result.Process.RSSEach}, false}, failures(result.Failed, result.Errors)
	case flood:
		return r.flood(ctx, s, target)
	}
	options := load.HandshakeOptions{Target: target, Workers: workers, Echo: true, Duration: r.duration, Warmup: r.warmup, PID: pid}
	if s.resumed {
		options.Resume = 100
	}
	if len(s.variants) > 0 {
		options.Warmup = max(options.Warmup, scaleWarmup)
	}
	result, err := load.Handshakes(ctx, options)
	if err != nil {
		return measurement{}, err
	}
	return measurement{[]float64{result.Process.PerUnit, result.PerSecond, result.FirstByte.P50, result.FirstByte.P99}, result.LimitedByClient}, failures(result.Failed, result.Errors)
}

// flood measures round trips alone, and then beside as many handshakes as there
// is time for.
func (r *runner) flood(ctx context.Context, s scenario, target load.Target) (measurement, error) {
	options := load.RoundTripOptions{Target: target, Connections: s.connections, Duration: r.duration, Warmup: r.warmup}
	alone, err := load.RoundTrips(ctx, options)
	if err != nil {
		return measurement{}, err
	}
	flooding, cancel := context.WithCancel(ctx)
	defer cancel()
	var shaken *load.HandshakeResult
	var shakeErr error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		shaken, shakeErr = load.Handshakes(flooding, load.HandshakeOptions{Target: target, Workers: floodWorkers, Echo: true, Duration: time.Hour})
	}()
	beside, err := load.RoundTrips(ctx, options)
	cancel()
	<-ended
	if err := errors.Join(err, shakeErr); err != nil {
		return measurement{}, err
	}
	return measurement{[]float64{beside.Latency.P99, alone.Latency.P99, shaken.PerSecond}, beside.LimitedByClient},
		errors.Join(failures(alone.Failed, alone.Errors), failures(beside.Failed, beside.Errors), failures(shaken.Failed, shaken.Errors))
}

// failures is an error where connections failed: then the figures are of
// something else.
func failures(failed int64, counts []load.ErrorCount) error {
	if failed == 0 || len(counts) == 0 {
		return nil
	}
	return fmt.Errorf("%d connections failed: %s (%s)", failed, counts[0].Cause, counts[0].Example)
}

// shakeHands is one connection, which tells whether there is any use in more.
func shakeHands(ctx context.Context, target load.Target) error {
	result, err := load.Handshakes(ctx, load.HandshakeOptions{Target: target, Workers: 1, Count: 1, Echo: true})
	if err != nil {
		return err
	}
	if result.Failed > 0 {
		return fmt.Errorf("no connection: %s", result.Errors[0].Cause)
	}
	return nil
}

// hold opens connections and keeps them until the function that it returns is
// called.
func hold(ctx context.Context, target load.Target, f *fixtures, n int) (release func(), err error) {
	var conns []net.Conn
	release = func() {
		for _, conn := range conns {
			conn.Close()
		}
	}
	config := &tls.Config{RootCAs: f.roots, ServerName: "localhost", MinVersion: uint16(target.Version), MaxVersion: uint16(target.Version)}
	dialer := tls.Dialer{Config: config}
	for range n {
		conn, err := dialer.DialContext(ctx, "tcp", target.Address)
		if err != nil {
			release()
			return nil, fmt.Errorf("connection %d to hold: %w", len(conns)+1, err)
		}
		conns = append(conns, conn)
	}
	return release, nil
}

// profile has suitegate write a profile of its processor time while the
// measurement goes on. The function that it returns waits for it.
func (r *runner) profile(ctx context.Context, s scenario, c contestant, admin string) (finish func() error) {
	name := strings.ReplaceAll(s.name, "/", "-")
	if c.variant.name != "" {
		name += "-" + strings.ReplaceAll(c.variant.name, " ", "-")
	}
	done := make(chan error, 1)
	go func() {
		done <- fetch(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", admin, max(1, int((r.warmup+r.duration).Seconds()))), filepath.Join(r.profiles, name+".pprof"))
	}()
	return func() error { return <-done }
}

func fetch(ctx context.Context, url, file string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, content)
	}
	return os.WriteFile(file, content, 0o600)
}
