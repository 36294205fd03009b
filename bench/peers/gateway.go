package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// settings are what all gateways are started with.
type settings struct {
	scenario scenario
	variant  variant // of suitegate
	fixture  fixture
	params   string   // the file of ffdhe2048's parameters
	listen   []string // addresses, one for each listener
	backend  string
	admin    string // suitegate's address for profiles, or empty
	dir      string // of this start alone
}

// file writes one of a gateway's files.
func (s settings) file(name, content string) (string, error) {
	file := filepath.Join(s.dir, name)
	return file, os.WriteFile(file, []byte(content), 0o600)
}

// A gateway is one that runs.
type gateway struct {
	settings
	cmd   *exec.Cmd
	ended chan struct{}
}

// startTimeout is for a gateway that says nothing about why it does not listen.
const startTimeout = 20 * time.Second

// startGateway starts a contestant on a processor and returns when all of its
// listeners accept.
func startGateway(ctx context.Context, c contestant, s settings, cpu int) (*gateway, error) {
	cmd, err := c.peer.command(c.program, s)
	if err != nil {
		return nil, err
	}
	// One line a connection goes to a file, as it does for each of them.
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	if err := startPinned(cmd, cpu); err != nil {
		return nil, err
	}
	g := &gateway{settings: s, cmd: cmd, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // killed, as it says, or what it says is in its log
		close(g.ended)
	}()
	for _, address := range s.listen {
		if err := g.waitFor(ctx, address); err != nil {
			g.stop()
			return nil, fmt.Errorf("%s: %w%s", c.name, err, lastLines(log.Name()))
		}
	}
	return g, nil
}

var errEnded = errors.New("it has ended")

func (g *gateway) waitFor(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not listen: %w", err)
		case <-g.ended:
			return errEnded
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// stop kills the gateway and its children. There is nothing to lose.
func (g *gateway) stop() {
	killGroup(g.cmd.Process.Pid)
	<-g.ended
}

// lastLines is the end of a log, for an error.
func lastLines(file string) string {
	const most = 600
	content, err := os.ReadFile(file)
	if err != nil || len(content) == 0 {
		return ""
	}
	return "; its log ends: " + strings.TrimSpace(string(content[max(0, len(content)-most):]))
}

// Ports are below those that the system gives to connections, of which some are
// in use all the time here.
const firstPort, lastPort = 20_000, 32_000

// A portPool gives out ports on which nobody listens, each once while there are
// others.
type portPool struct{ next int }

func (p *portPool) address() (string, error) {
	for range lastPort - firstPort {
		port := firstPort + p.next%(lastPort-firstPort)
		p.next++
		address := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		l.Close()
		return address, nil
	}
	return "", errors.New("peers: no port is free")
}

func (p *portPool) addresses(n int) ([]string, error) {
	var list []string
	for range n {
		address, err := p.address()
		if err != nil {
			return nil, err
		}
		list = append(list, address)
	}
	return list, nil
}
