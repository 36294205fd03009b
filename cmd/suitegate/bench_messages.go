package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/suitegate/suitegate/bench/load"
)

type benchMessagesCommand struct {
	Protocol string `arg:"" enum:"amqp,mqtt,stomp" help:"What the broker speaks: amqp (0-9-1), mqtt (3.1.1) or stomp (1.2)."`
	benchTarget
	User        string        `default:"guest" placeholder:"NAME" help:"User of the broker (default: ${default})."`
	Password    string        `default:"guest" env:"SUITEGATE_BENCH_PASSWORD" placeholder:"TEXT" help:"Password of the user; better in the environment variable SUITEGATE_BENCH_PASSWORD, for a command line is no secret."`
	Connections int           `default:"1" placeholder:"N" help:"Connections, each of which receives what it publishes (default: ${default})."`
	Size        int           `default:"256" placeholder:"BYTES" help:"Length of a message, from 8 on (default: ${default})."`
	Window      int           `default:"100" placeholder:"N" help:"Messages of a connection that may be published and not received yet (default: ${default})."`
	Duration    time.Duration `default:"10s" placeholder:"TIME" help:"How long to measure (default: ${default})."`
	Warmup      time.Duration `placeholder:"TIME" help:"For how long to go on before that."`
}

func (b *benchMessagesCommand) Run(out *console) error {
	target, err := b.target()
	if err != nil {
		return err
	}
	if b.Connections < 1 || b.Window < 1 || b.Size < 8 {
		return usageHint(errors.New("--connections and --window are 1 or more, and --size 8 or more"))
	}
	ctx, stop := untilSignal()
	defer stop()
	show, clear := progressLine(out, func(p load.Progress) string { return fmt.Sprintf("%.0f messages a second", p.Rate) })
	result, err := load.Messages(ctx, load.MessageOptions{
		Target: target, Protocol: b.Protocol, User: b.User, Password: b.Password, Connections: b.Connections, Size: b.Size, Window: b.Window,
		Duration: b.Duration, Warmup: b.Warmup, PID: b.PID, Progress: show,
	})
	clear()
	if err != nil {
		return err
	}
	return b.report(out, result, result.Failed, result.Errors, result.Usage, func() {
		out.printf("%s of %s by %s in %.1f s, %.1f a second\n", count(int(result.Messages), b.Protocol+" message"), count(result.Size, "byte"),
			count(result.Connections, "connection"), result.Seconds, result.PerSecond)
		latencyTable(out, namedLatency{"message", result.Latency})
	})
}
