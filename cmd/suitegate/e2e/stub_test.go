package e2e

import (
	"bufio"
	"net"
	"sync"
	"testing"
)

// stubBroker listens like a broker that does what a test wants to see: serve is
// called with each connection, which is closed after it. It returns its address.
func stubBroker(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	return stubBrokerAt(t, "127.0.0.1:0", serve)
}

// stubBrokerAt is one with an address of its own.
func stubBrokerAt(t *testing.T, address string, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &stub{open: make(map[net.Conn]bool)}
	s.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.keep(conn, true)
			s.running.Go(func() {
				serve(conn)
				s.keep(conn, false)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.mu.Lock()
		for conn := range s.open {
			conn.Close()
		}
		s.mu.Unlock()
		s.running.Wait()
	})
	return l.Addr().String()
}

type stub struct {
	mu      sync.Mutex
	open    map[net.Conn]bool
	running sync.WaitGroup
}

func (s *stub) keep(conn net.Conn, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if open {
		s.open[conn] = true
		return
	}
	delete(s.open, conn)
	conn.Close()
}

// echoLine sends the first line back, and closes.
func echoLine(conn net.Conn) {
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil {
		conn.Write([]byte(line))
	}
}

// hold reads until the other side closes.
func hold(conn net.Conn) {
	for buf := make([]byte, 4096); ; {
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}
