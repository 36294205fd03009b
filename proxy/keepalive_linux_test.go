package proxy

import (
	"context"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// A connection that was accepted probes its client, whoever has made the socket.
func TestKeepAlive(t *testing.T) {
	own, err := new(Server).open(false, "", "", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	shared, err := new(Server).open(true, "", "", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]net.Listener{"own": own, "shared": shared, "of the service manager": keptAlive{foreign.(*net.TCPListener)}} {
		t.Run(name, func(t *testing.T) {
			defer l.Close()
			client, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			raw, err := conn.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			want := map[[2]int]int{
				{unix.SOL_SOCKET, unix.SO_KEEPALIVE}: 1, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}: 30,
				{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}: 10, {unix.IPPROTO_TCP, unix.TCP_KEEPCNT}: 3,
			}
			err = raw.Control(func(fd uintptr) {
				for option, value := range want {
					if got, err := unix.GetsockoptInt(int(fd), option[0], option[1]); err != nil || got != value {
						t.Errorf("option %v is %d, %v, want %d", option, got, err, value)
					}
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
