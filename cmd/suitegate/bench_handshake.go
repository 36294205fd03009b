package main

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/suitegate/suitegate/bench/load"
)

type benchHandshakeCommand struct {
	benchTarget
	Workers  int           `placeholder:"N" help:"Connections at a time, each begun when one has ended (default: 8); with --rate, the most that may be under way (default: 1000)."`
	Rate     float64       `placeholder:"R" help:"Begin R handshakes a second, whatever becomes of them; latency counts from when each was due."`
	Resume   float64       `placeholder:"PERCENT" help:"Share of the handshakes that resume a session; one that the server makes a full one is an error."`
	Echo     bool          `help:"Send a byte on each connection, and wait for a byte to come back."`
	First    string        `placeholder:"HEX" help:"Send these bytes instead; with --echo."`
	Duration time.Duration `placeholder:"TIME" help:"How long to measure (default: 10s, or no limit with --count)."`
	Count    int           `placeholder:"N" help:"How many handshakes to measure."`
	Warmup   time.Duration `placeholder:"TIME" help:"For how long to go on before that."`
}

func (b *benchHandshakeCommand) Run(out *console) error {
	target, err := b.target()
	if err != nil {
		return err
	}
	first, err := hex.DecodeString(b.First)
	if err != nil {
		return usageHint(fmt.Errorf("--first %s: %w", b.First, err), "an AMQP client begins with --first 414d515000000901")
	}
	if len(first) > 0 && !b.Echo {
		return usageHint(fmt.Errorf("--first is for --echo"))
	}
	ctx, stop := untilSignal()
	defer stop()
	show, clear := progressLine(out, func(p load.Progress) string {
		return fmt.Sprintf("%s, %.0f a second", count(int(p.Done), "handshake"), p.Rate)
	})
	result, err := load.Handshakes(ctx, load.HandshakeOptions{
		Target: target, Workers: b.Workers, Rate: b.Rate, Resume: b.Resume, Echo: b.Echo, First: first,
		Duration: b.Duration, Count: b.Count, Warmup: b.Warmup, PID: b.PID, Progress: show,
	})
	clear()
	if err != nil {
		return err
	}
	if b.JSON {
		if err := out.json(result); err != nil {
			return err
		}
	} else {
		printHandshakes(out, result)
	}
	if result.Handshakes == 0 && result.Failed > 0 {
		return fmt.Errorf("no handshake with %s succeeded: %s", b.Address, result.Errors[0].Cause)
	}
	return nil
}

func printHandshakes(out *console, r *load.HandshakeResult) {
	out.printf("%s with %s in %.1f s, %.1f a second, %d resumed\n", count(int(r.Handshakes), "handshake"), r.Address, r.Seconds, r.PerSecond, r.Resumed)
	if r.Rate > 0 {
		out.printf("%g a second were due, %d began late, at worst by %.1f ms\n", r.Rate, r.Late, r.MaxLate)
	}
	var rows [][]string
	for _, n := range r.Negotiated {
		rows = append(rows, []string{strconv.FormatInt(n.Count, 10), strings.TrimSpace(n.Version + " " + n.Suite + " " + n.Group)})
	}
	out.table("", rows)
	kinds := []namedLatency{{"handshake", r.Latency}}
	if r.FirstByte != nil {
		kinds = append(kinds, namedLatency{"first byte", *r.FirstByte})
	}
	latencyTable(out, kinds...)
	printErrors(out, r.Errors)
	printUsage(out, r.Usage)
}
