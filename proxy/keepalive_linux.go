package proxy

import (
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/suitegate/suitegate/proxy/upstream"
)

// keepAlive has a listener's connections probe clients that are silent, with four
// calls for all of them: what is accepted inherits the options of the socket.
func keepAlive(config *net.ListenConfig) {
	config.KeepAlive = -1 // nothing to do for each of them
	before := config.Control
	config.Control = func(network, address string, socket syscall.RawConn) error {
		if before != nil {
			if err := before(network, address, socket); err != nil {
				return err
			}
		}
		return withDescriptor(socket, func(fd int) error { return setKeepAlive(fd, upstream.DefaultKeepAlive()) })
	}
}

func setKeepAlive(fd int, config net.KeepAliveConfig) error {
	for _, option := range [...]struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(config.Idle / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(config.Interval / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, config.Count},
	} {
		if err := unix.SetsockoptInt(fd, option.level, option.name, option.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}
