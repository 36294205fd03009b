package main

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/suitegate/suitegate/bench/load"
)

type benchRelayCommand struct {
	benchTarget
	Bulk        bool          `help:"Measure bytes a second, with a backend of suitegate bench backend, instead of round trips."`
	Direction   string        `enum:"to-broker,to-client,both" default:"to-client" placeholder:"WAY" help:"Which way the bytes of --bulk go: to-broker, to-client or both (default: ${default})."`
	Frame       int           `default:"256" placeholder:"BYTES" help:"Length of what goes there and back (default: ${default})."`
	Connections int           `default:"1" placeholder:"N" help:"Connections, in each direction with --bulk (default: ${default})."`
	Duration    time.Duration `default:"10s" placeholder:"TIME" help:"How long to measure (default: ${default})."`
	Warmup      time.Duration `placeholder:"TIME" help:"For how long to go on before that."`
}

func (b *benchRelayCommand) Run(out *console) error {
	target, err := b.target()
	if err != nil {
		return err
	}
	if b.Connections < 1 || b.Frame < 1 {
		return usageHint(errors.New("--connections and --frame are 1 or more"))
	}
	if b.Bulk {
		return b.bulk(out, target)
	}
	return b.roundTrips(out, target)
}

func (b *benchRelayCommand) bulk(out *console, target load.Target) error {
	ctx, stop := untilSignal()
	defer stop()
	show, clear := progressLine(out, func(p load.Progress) string { return fmt.Sprintf("%.0f MB/s", p.Rate/1e6) })
	result, err := load.Bulk(ctx, load.BulkOptions{
		Target: target, Direction: load.Direction(b.Direction), Connections: b.Connections,
		Duration: b.Duration, Warmup: b.Warmup, PID: b.PID, Progress: show,
	})
	clear()
	if err != nil {
		return err
	}
	return b.report(out, result, result.Failed, result.Errors, result.Usage, func() {
		for _, way := range []struct {
			name string
			flow *load.Flow
		}{{"to the broker", result.ToBroker}, {"to the client", result.ToClient}} {
			if way.flow != nil {
				out.printf("%.1f MB/s %s by %s, %.1f MB in %.1f s\n", way.flow.PerSecond, way.name,
					count(way.flow.Connections, "connection"), float64(way.flow.Bytes)/1e6, result.Seconds)
			}
		}
	})
}

func (b *benchRelayCommand) roundTrips(out *console, target load.Target) error {
	ctx, stop := untilSignal()
	defer stop()
	show, clear := progressLine(out, func(p load.Progress) string { return fmt.Sprintf("%.0f round trips a second", p.Rate) })
	result, err := load.RoundTrips(ctx, load.RoundTripOptions{
		Target: target, Frame: b.Frame, Connections: b.Connections,
		Duration: b.Duration, Warmup: b.Warmup, PID: b.PID, Progress: show,
	})
	clear()
	if err != nil {
		return err
	}
	return b.report(out, result, result.Failed, result.Errors, result.Usage, func() {
		out.printf("%s of %s by %s in %.1f s, %.1f a second\n", count(int(result.RoundTrips), "round trip"), count(result.Frame, "byte"),
			count(result.Connections, "connection"), result.Seconds, result.PerSecond)
		latencyTable(out, namedLatency{"round trip", result.Latency})
	})
}

type benchBackendCommand struct {
	Address string `arg:"" placeholder:"HOST:PORT" help:"Where to listen, in plaintext."`
}

// Run serves until SIGINT or SIGTERM.
func (b *benchBackendCommand) Run(out *console) error {
	ctx, stop := untilSignal()
	defer stop()
	listener, err := net.Listen("tcp", b.Address)
	if err != nil {
		return err
	}
	out.printf("backend at %s: a connection that begins with d is counted, with s and a length is sent to, and any other hears itself\n", listener.Addr())
	return new(load.Backend).Serve(ctx, listener)
}
