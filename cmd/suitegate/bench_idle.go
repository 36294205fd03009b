package main

import (
	"fmt"
	"time"

	"github.com/suitegate/suitegate/bench/load"
)

type benchIdleCommand struct {
	benchTarget
	Connections int           `short:"n" required:"" placeholder:"N" help:"How many connections to hold."`
	Ramp        float64       `default:"500" placeholder:"R" help:"Connections to open in a second (default: ${default})."`
	Burst       bool          `help:"Have 64 KiB sent on each, and echoed, before they are held."`
	Hold        time.Duration `default:"10s" placeholder:"TIME" help:"How long to hold them (default: ${default})."`
}

func (b *benchIdleCommand) Run(out *console) error {
	target, err := b.target()
	if err != nil {
		return err
	}
	if b.Connections < 1 || b.Ramp <= 0 {
		return usageHint(fmt.Errorf("-n is 1 or more, and --ramp above 0"))
	}
	ctx, stop := untilSignal()
	defer stop()
	show, clear := progressLine(out, func(p load.Progress) string {
		return fmt.Sprintf("%s, %.0f a second", count(int(p.Done), "connection"), p.Rate)
	})
	result, err := load.Idle(ctx, load.IdleOptions{
		Target: target, Connections: b.Connections, Ramp: b.Ramp, Burst: b.Burst, Hold: b.Hold, PID: b.PID, Progress: show,
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
		printIdle(out, result)
	}
	if result.Stayed < result.Asked {
		cause := "interrupted"
		if len(result.Errors) > 0 {
			cause = result.Errors[0].Cause
		}
		return fmt.Errorf("%d of %d connections did not stay: %s", result.Asked-result.Stayed, result.Asked, cause)
	}
	return nil
}

func printIdle(out *console, r *load.IdleResult) {
	out.printf("%d of %s opened in %.1f s, %d stayed for %.1f s\n", r.Opened, count(r.Asked, "connection"), r.RampSeconds, r.Stayed, r.HoldSeconds)
	if m := r.Process; m != nil {
		const mebibyte = 1 << 20
		out.table("", [][]string{
			{fmt.Sprintf("process %d", m.PID), "BEFORE", "DURING", "EACH"},
			{"RSS", fmt.Sprintf("%.1f MiB", float64(m.RSSBefore)/mebibyte), fmt.Sprintf("%.1f MiB", float64(m.RSS)/mebibyte), fmt.Sprintf("%.1f KiB", m.RSSEach)},
			{"PSS", fmt.Sprintf("%.1f MiB", float64(m.PSSBefore)/mebibyte), fmt.Sprintf("%.1f MiB", float64(m.PSS)/mebibyte), fmt.Sprintf("%.1f KiB", m.PSSEach)},
		})
	}
	printErrors(out, r.Errors)
}
