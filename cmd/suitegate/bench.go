package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/suitegate/suitegate/bench/load"
	"github.com/suitegate/suitegate/policy"
)

// benchCommand is a load generator for this gateway and any other TLS server.
type benchCommand struct {
	Handshake benchHandshakeCommand `cmd:"" help:"Measure TLS handshakes: how many a second, and how long they take."`
	Relay     benchRelayCommand     `cmd:"" help:"Measure what goes through to a backend and back: round trips of small frames, or bytes a second."`
	Idle      benchIdleCommand      `cmd:"" help:"Hold idle connections, and say how many stay and what memory they take."`
	Messages  benchMessagesCommand  `cmd:"" help:"Measure messages through a real broker: how many a second, and how long until they are back."`
	Backend   benchBackendCommand   `cmd:"" help:"Serve in the place of a broker what is measured with: echo, sink and source."`
}

// benchTarget is whom a measurement is of, and how its result is printed.
type benchTarget struct {
	Address    string        `arg:"" placeholder:"HOST:PORT" help:"Address of the TLS server."`
	TLS        string        `name:"tls" placeholder:"1.2|1.3" help:"The version to offer (default: both)."`
	Suite      string        `placeholder:"NAME" help:"The suite to offer, in the names of IANA or OpenSSL; another one, which a server may choose in TLS 1.3, is an error (default: those of crypto/tls)."`
	Group      string        `placeholder:"NAME" help:"The group to offer (default: those of crypto/tls)."`
	ServerName string        `placeholder:"NAME" help:"Server name to ask for, and for which the certificate has to be (default: HOST)."`
	CA         string        `name:"ca" placeholder:"FILE" help:"Authorities to trust, as PEM (default: the system's)."`
	Insecure   bool          `help:"Trust any certificate."`
	ClientCert string        `placeholder:"FILE" help:"Certificate to show where one is asked for, as PEM."`
	ClientKey  string        `placeholder:"FILE" help:"Its private key."`
	Timeout    time.Duration `default:"10s" help:"Time for each connection to be made, and for each answer (default: ${default})."`
	PID        int           `name:"pid" placeholder:"PID" help:"Process on this host to measure too, by /proc: the server's."`
	JSON       bool          `name:"json" help:"Print JSON."`
}

// target reads the files and names.
func (b *benchTarget) target() (load.Target, error) {
	t := load.Target{Address: b.Address, ServerName: b.ServerName, InsecureSkipVerify: b.Insecure, Timeout: b.Timeout}
	var err error
	switch b.TLS {
	case "":
	case "1.2":
		t.Version = policy.TLS12
	case "1.3":
		t.Version = policy.TLS13
	default:
		return t, usageHint(fmt.Errorf("--tls %s: it is 1.2 or 1.3", b.TLS))
	}
	if b.Suite != "" {
		if t.Suite, err = policy.ParseSuite(b.Suite); err != nil {
			return t, usageHint(err)
		}
	}
	if b.Group != "" {
		if t.Group, err = policy.ParseGroup(b.Group); err != nil {
			return t, usageHint(err)
		}
	}
	if b.CA != "" {
		text, err := os.ReadFile(b.CA)
		if err != nil {
			return t, err
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(text) {
			return t, fmt.Errorf("%s: no certificate in it", b.CA)
		}
	}
	if (b.ClientCert == "") != (b.ClientKey == "") {
		return t, usageHint(fmt.Errorf("--client-cert and --client-key go together"))
	}
	if b.ClientCert != "" {
		pair, err := tls.LoadX509KeyPair(b.ClientCert, b.ClientKey)
		if err != nil {
			return t, fmt.Errorf("client certificate: %w", err)
		}
		t.Certificate = &pair
	}
	return t, nil
}

// report prints a result, with text first if it is for people. That connections
// failed is an error.
func (b *benchTarget) report(out *console, result any, failed int64, errs []load.ErrorCount, usage load.Usage, text func()) error {
	if b.JSON {
		if err := out.json(result); err != nil {
			return err
		}
	} else {
		text()
		printErrors(out, errs)
		printUsage(out, usage)
	}
	if failed > 0 {
		return fmt.Errorf("%s failed: %s", count(int(failed), "connection"), errs[0].Cause)
	}
	return nil
}

// untilSignal is a context that SIGINT and SIGTERM end: what was measured until
// then is printed.
func untilSignal() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
}

// progressLine shows what goes on to whoever may be watching; nil is for nobody.
// clear leaves nothing of it.
func progressLine(out *console, text func(load.Progress) string) (show func(load.Progress), clear func()) {
	if !isTerminal(out.stderr) {
		return nil, func() {}
	}
	show = func(p load.Progress) {
		line := text(p)
		if p.Elapsed < 0 {
			line += ", warming up"
		} else {
			line = fmt.Sprintf("%.0f s: %s", p.Elapsed.Seconds(), line)
		}
		if p.Failed > 0 {
			line += fmt.Sprintf(", %d failed", p.Failed)
		}
		fmt.Fprintf(out.stderr, "\r%s\033[K", line)
	}
	return show, func() { fmt.Fprint(out.stderr, "\r\033[K") }
}

// latencyTable prints a row for each kind.
func latencyTable(out *console, kinds ...namedLatency) {
	if kinds[0].Count == 0 {
		return
	}
	rows := [][]string{{"LATENCY", "P50", "P90", "P99", "P99.9", "MAX"}}
	for _, k := range kinds {
		row := []string{k.name}
		for _, value := range []float64{k.P50, k.P90, k.P99, k.P999, k.Max} {
			row = append(row, strconv.FormatFloat(value, 'f', 3, 64)+" ms")
		}
		rows = append(rows, row)
	}
	out.table("", rows)
}

type namedLatency struct {
	name string
	load.Latency
}

// printErrors prints the causes with an example each.
func printErrors(out *console, errors []load.ErrorCount) {
	var rows [][]string
	for _, e := range errors {
		rows = append(rows, []string{strconv.FormatInt(e.Count, 10), "failed", e.Cause, printable(e.Example)})
	}
	out.table("", rows)
}

// printUsage says what the client and the server's process took, and warns
// where the figures are the client's.
func printUsage(out *console, u load.Usage) {
	if u.Process != nil {
		each := ""
		if u.Process.Unit != "" {
			each = fmt.Sprintf(", %.4g %s", u.Process.PerUnit, u.Process.Unit)
		}
		out.printf("process %d: %.2f s of processor time%s\n", u.Process.PID, u.Process.CPU, each)
	}
	out.printf("client: %.2f s of processor time, %.0f %% of what it may use\n", u.ClientCPU, 100*u.ClientCPUShare)
	for _, limit := range u.Limits {
		out.warnf("limited by the client: %s", limit)
	}
}
