package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy"
	"github.com/suitegate/suitegate/proxy/prove"
)

type proveCommand struct {
	Config  string        `required:"" xor:"what" placeholder:"FILE" help:"Configuration file of the gateway."`
	Verify  string        `required:"" xor:"what" placeholder:"FILE" help:"Check evidence instead: that it is as it was written, and without differences."`
	Out     string        `placeholder:"FILE" help:"Write the evidence there, as JSON."`
	JSON    bool          `name:"json" help:"Print the evidence as JSON."`
	Timeout time.Duration `default:"5m" help:"How long all of it may take (default: ${default})."`
}

func (p *proveCommand) Run(out *console) error {
	evidence, err := p.evidence()
	if err != nil {
		return err
	}
	if p.Out != "" {
		if err := evidence.Write(p.Out); err != nil {
			return err
		}
	}
	if p.JSON {
		if err := out.json(evidence); err != nil {
			return err
		}
	} else {
		printEvidence(out, evidence)
	}
	if evidence.Differences > 0 {
		return fmt.Errorf("%d of %d answers are not what the policies say", evidence.Differences, evidence.Offers)
	}
	return nil
}

// evidence is that of a file, or new.
func (p *proveCommand) evidence() (*prove.Evidence, error) {
	if p.Verify != "" {
		text, err := os.ReadFile(p.Verify)
		if err != nil {
			return nil, err
		}
		return prove.Verify(text)
	}
	cfg, err := loadConfig(p.Config)
	if err != nil {
		return nil, err
	}
	if err := havePorts(cfg); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), p.Timeout,
		withHint(fmt.Errorf("the proof takes longer than %s", p.Timeout), "--timeout gives it more time"))
	defer cancel()
	return proxy.Prove(ctx, cfg, buildVersion())
}

// havePorts finds the listeners whose ports only the running gateway knows.
func havePorts(cfg *configs.Config) error {
	var errs configs.Errors
	for _, l := range cfg.Listeners {
		if _, port, err := net.SplitHostPort(l.Address); err == nil && port == "0" {
			errs = append(errs, configs.Error{Pos: cfg.Position("listeners", l.Name, "address"), Reason: "port 0: where the listener is cannot be known here"})
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// printEvidence prints a line for each kind of client, and the differences, but
// not too many of them.
func printEvidence(out *console, e *prove.Evidence) {
	const most = 20
	rows := [][]string{{"LISTENER", "ADDRESS", "POLICY", "SERVER NAME", "KEYS", "OFFERS", "DIFFERENCES"}}
	for _, l := range e.Listeners {
		for _, c := range l.Clients {
			name, keys := c.ServerName, strings.Join(c.Keys, ", ")
			if name == "" {
				name = "none"
			}
			if keys == "" {
				keys = "refused"
			}
			only := prove.Listener{Clients: []prove.Clients{c}}
			rows = append(rows, []string{l.Name, l.Address, l.Policy.Name, printable(name), keys,
				strconv.Itoa(len(c.Cells)), strconv.Itoa(len(only.Differences()))})
		}
		for _, what := range l.NotProved {
			out.warnf("listener %s: not proved: %s", l.Name, what)
		}
	}
	out.table("", rows)
	for _, l := range e.Listeners {
		wrong := l.Differences()
		for _, cell := range wrong[:min(len(wrong), most)] {
			out.printf("%s: %s\n", l.Name, printable(cell.String()))
		}
		if more := len(wrong) - most; more > 0 {
			out.printf("%s: and %d more\n", l.Name, more)
		}
	}
	out.printf("%s, %s, sha256 %s\n", count(e.Offers, "offer"), count(e.Differences, "difference"), e.SHA256)
}
