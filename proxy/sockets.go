package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/upstream"
)

// A Socket listens already when the gateway starts: it is the service manager's,
// or that of the gateway whose place this one takes. It is kept open for as long
// as the process lives, so that a reload may bring its listener back.
type Socket struct {
	Name string // the name of the listener that it is for, if that is known

	use  string // what exactly it is for; "" where that has to be found out
	used bool   // by something of the first configuration
	tcp  *net.TCPListener
}

// NewSocket makes a Socket of a file, which it closes. The name is that of a
// listener, or "admin"; any other name is none, and the address decides.
func NewSocket(name string, file *os.File) (*Socket, error) {
	defer file.Close()
	socket, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("proxy: socket %q: %w", name, err)
	}
	tcp, ok := socket.(*net.TCPListener)
	if !ok {
		_ = socket.Close()
		return nil, fmt.Errorf("proxy: socket %q: a listener takes TCP, not %s", name, socket.Addr().Network())
	}
	return &Socket{Name: name, tcp: tcp}, nil
}

// keptAlive is a listener on a Socket.
type keptAlive struct{ *net.TCPListener }

// Accept implements [net.Listener], with the keep-alive of sockets of our own.
func (l keptAlive) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	_ = conn.SetKeepAliveConfig(upstream.DefaultKeepAlive()) // the client has gone: reading says so
	return conn, nil
}

// What a socket is for, by which another process of the gateway knows it again.
func listenerUse(r *route) string     { return "listener " + key(r) }
func adminUse(address string) string  { return "admin " + address }
func http01Use(address string) string { return "http-01 " + address }

// opener listens on an address of the configuration.
type opener func(use, name, address string) (net.Listener, error)

// open listens on an address of the configuration: on a socket that is there
// already, or on one of its own, to which other processes can add theirs if it is
// to be shared.
func (s *Server) open(shared bool, use, name, address string) (net.Listener, error) {
	for _, socket := range s.Sockets {
		if !socket.serves(use, name, address) {
			continue
		}
		file, err := dupSocket(socket.tcp)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		l, err := net.FileListener(file)
		if err != nil {
			return nil, err
		}
		socket.used = true
		return keptAlive{l.(*net.TCPListener)}, nil
	}
	// Keep-alive finds clients that are gone, since nothing here times an idle
	// connection out: MQTT and STOMP clients may be silent for days.
	var config net.ListenConfig
	if shared {
		config.Control = reusable
	}
	keepAlive(&config)
	// Go's default costs each connection, also of those who have never heard of it,
	// a fortieth of all that a handshake takes; and the program of divert is for
	// TCP's own sockets.
	config.SetMultipathTCP(false)
	if !shared {
		return config.Listen(context.Background(), "tcp", address)
	}
	l, err := config.Listen(context.Background(), "tcp", address)
	if err == nil {
		undivert(l)
	}
	return l, err
}

// serves says whether the socket is the one for an address of the configuration.
func (s *Socket) serves(use, name, address string) bool {
	if s.use != "" {
		return s.use == use
	}
	return s.Name == name || listensOn(s.tcp.Addr().(*net.TCPAddr), address)
}

// listensOn says that a socket is bound to an address as the configuration has
// it. The system has one socket for all addresses, of IPv4 too.
func listensOn(bound *net.TCPAddr, address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port != strconv.Itoa(bound.Port) {
		return false
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if host == "" || err == nil && ip.IsUnspecified() {
		return bound.IP.IsUnspecified()
	}
	return err == nil && ip.Unmap() == bound.AddrPort().Addr().Unmap()
}

// unusedSockets are mistakes: who connects to a socket that nobody accepts from
// is neither served nor refused.
func (s *Server) unusedSockets(config *configs.Config) (errs configs.Errors) {
	if s.current != nil {
		return nil // what a reload takes away has been said
	}
	for _, socket := range s.Sockets {
		if !socket.used && socket.use == "" {
			errs = append(errs, configs.Error{Pos: config.Position("listeners", "", ""),
				Reason: fmt.Sprintf("the service manager listens on %s (socket %q), and no listener has that address or name", socket.tcp.Addr(), socket.Name)})
		}
	}
	return errs
}

// heldElsewhere says that an address goes on to be listened on by the service
// manager when the gateway closes its socket.
func (s *Server) heldElsewhere(address net.Addr) bool {
	for _, socket := range s.Sockets {
		if socket.use == "" && socket.tcp.Addr().String() == address.String() {
			return true
		}
	}
	return false
}

// dropSockets lets go of those that were handed over: what uses them has them
// open itself, and nobody holds the addresses of the others.
func (s *Server) dropSockets() {
	s.Sockets = slices.DeleteFunc(s.Sockets, func(socket *Socket) bool {
		if socket.use != "" {
			_ = socket.tcp.Close()
		}
		return socket.use != ""
	})
}

// closeSockets lets go of the sockets that were there at the start.
func (s *Server) closeSockets() {
	for _, socket := range s.Sockets {
		_ = socket.tcp.Close()
	}
	s.Sockets = nil
}
