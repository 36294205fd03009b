//go:build !unix

package proxy

import (
	"errors"
	"net"
	"os"

	"github.com/suitegate/suitegate/proxy/audit"
)

func (s *Server) handOver(conn *net.UnixConn, _ audit.Operator) { _ = conn.Close() }

func dupSocket(socket *net.TCPListener) (*os.File, error) { return socket.File() }

// A Takeover is the side of the process that takes the place of another.
type Takeover struct{ Sockets []*Socket }

// TakeOver is for systems that hand over sockets.
func TakeOver(string) (*Takeover, error) {
	return nil, errors.New("proxy: takeover: this system does not hand over sockets")
}

// Ready says that the sockets are accepted from.
func (*Takeover) Ready() error { return nil }

// Close gives up what is not used.
func (*Takeover) Close() {}
