package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy"
)

type testbenchCommand struct {
	Policy    string   `placeholder:"NAME" default:"activemq" help:"Whose suites get a port each (default: ${default})."`
	Config    string   `placeholder:"FILE" help:"Look for it among the policies of this configuration, too."`
	Address   string   `placeholder:"HOST" default:"127.0.0.1" help:"Where to listen (default: ${default})."`
	FirstPort int      `placeholder:"PORT" default:"15000" help:"Port of the whole policy; those of its suites follow (default: ${default}; with 0 the system picks all of them)."`
	Names     []string `placeholder:"NAME,…" help:"Names and addresses in the certificates (default: localhost, 127.0.0.1, ::1, and HOST)."`
	Dir       string   `placeholder:"DIR" help:"Where the certificates are kept and the configuration is written (default: suitegate/testbench in the user's data directory)."`
	JSON      bool     `help:"Print JSON, for programs."`
}

func (c *testbenchCommand) Run(out *console) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	wanted, err := policyNamed(c.Policy, c.Config)
	if err != nil {
		return err
	}
	served, unserved := wanted.Bind(policy.Have{Keys: []policy.KeyType{policy.RSA, policy.ECDSAP256}})
	for _, u := range unserved {
		out.warnf("no port for %s: %s", u.Suite, u.Why)
	}
	ports := benchPorts(served)
	if last := c.FirstPort + len(ports) - 1; c.FirstPort < 0 || last > 65535 {
		return usageHint(fmt.Errorf("--first-port %d: %s end with %d", c.FirstPort, count(len(ports), "port"), last))
	}
	dir, err := makeDataDir(c.Dir, "testbench")
	if err != nil {
		return fmt.Errorf("testbench: %w", err)
	}
	broker, err := startEcho()
	if err != nil {
		return fmt.Errorf("testbench: %w", err)
	}
	defer broker.Close()
	plan := c.plan(ports, dir, broker.Addr().String())
	cfg, err := plan.config(filepath.Join(dir, "testbench.yml"))
	if err != nil {
		return fmt.Errorf("testbench: %w", err)
	}
	err = host(out, cfg, signals, func(server *proxy.Server) error {
		root := filepath.Join(cfg.Storage, certs.RootFile)
		bench := &testbench{Policy: c.Policy, Root: root, Configuration: cfg.File}
		for _, port := range ports {
			if err := bench.add(port, server.Address(port.listener)); err != nil {
				return err
			}
		}
		if c.JSON {
			return out.json(bench)
		}
		bench.print(out)
		return nil
	})
	switch {
	case err != nil && strings.Contains(err.Error(), syscall.EADDRINUSE.Error()):
		return withHint(err, "--first-port chooses other ports; with 0 the system picks free ones")
	case err != nil:
		return err
	case !c.JSON:
		out.printf("\nThe test bench has ended. Its certificates are kept in %s\n", dir)
	}
	return nil
}

// plan has a listener for each port.
func (c *testbenchCommand) plan(ports []benchPort, dir, broker string) *generated {
	names := c.Names
	if len(names) == 0 {
		names = defaultNames()
		// An address of all interfaces is none that a client connects to.
		if ip := net.ParseIP(c.Address); ip == nil && c.Address != "localhost" || ip != nil && !ip.IsLoopback() && !ip.IsUnspecified() {
			names = append(names, c.Address)
		}
	}
	plan := &generated{
		Command:   "testbench",
		Storage:   dir,
		Names:     names,
		Upstreams: []generatedUpstream{{"echo", broker, "sends back what comes"}},
	}
	for i, port := range ports {
		number := 0
		if c.FirstPort > 0 {
			number = c.FirstPort + i
		}
		if _, builtin := policy.Builtin(port.policy.Name); !builtin {
			plan.Policies = append(plan.Policies, port.policy)
		}
		plan.Listeners = append(plan.Listeners, generatedListener{
			port.listener, net.JoinHostPort(c.Address, strconv.Itoa(number)), "tcp", port.policy.Name, "echo"})
	}
	return plan
}

// echoBroker sends back what comes, on a loopback port that the system chose.
type echoBroker struct {
	net.Listener
	end      context.CancelFunc
	handlers sync.WaitGroup
}

func startEcho() (*echoBroker, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("echo broker: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	broker := &echoBroker{Listener: listener, end: cancel}
	broker.handlers.Go(func() { broker.accept(ctx) })
	return broker, nil
}

// accept goes on until the broker is closed.
func (b *echoBroker) accept(ctx context.Context) {
	for {
		conn, err := b.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // it may be for want of file descriptors, which connections give back
			continue
		}
		b.handlers.Go(func() {
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			defer conn.Close()
			echo(conn)
		})
	}
}

// Close ends the broker and its connections, and waits for them.
func (b *echoBroker) Close() error {
	err := b.Listener.Close()
	b.end()
	b.handlers.Wait()
	return err
}

func echo(conn net.Conn) { _, _ = io.Copy(conn, conn) } // ends with the connection
