package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/admin"
)

// adminServer is the admin address and the admin socket through reloads: a
// reload may move them.
type adminServer struct {
	handler   atomic.Pointer[http.Handler]
	tcp, unix adminEndpoint
}

// adminEndpoint is one of the two.
type adminEndpoint struct {
	configured string // as in the configuration; "" if there is none
	socket     net.Listener
	server     *http.Server

	next       net.Listener // bound for the configuration that is being applied
	nextConfig string
}

// bind binds what config says, unless that is there already.
func (a *adminServer) bind(config *configs.Config, open opener, replacing bool) (errs configs.Errors) {
	fail := func(field string, err error) {
		if err != nil {
			errs = append(errs, configs.Error{Pos: config.Position("admin", "", field), Reason: bindReason(err)})
		}
	}
	fail("address", a.tcp.bind(config.Admin.Address, func(address string) (net.Listener, error) { return open(adminUse(address), "admin", address) }))
	fail("socket", a.unix.bind(config.Admin.Socket, func(path string) (net.Listener, error) {
		if replacing {
			return replaceAdminSocket(path)
		}
		return listenAdminSocket(path)
	}))
	return errs
}

func (e *adminEndpoint) bind(address string, listen func(string) (net.Listener, error)) (err error) {
	e.next, e.nextConfig = nil, address
	if address != "" && address != e.configured {
		e.next, err = listen(address)
	}
	return err
}

// unbind takes back what bind did.
func (a *adminServer) unbind() {
	for _, e := range []*adminEndpoint{&a.tcp, &a.unix} {
		if e.next != nil {
			_ = e.next.Close() // the configuration is refused for another reason
			e.next = nil
		}
	}
}

// start serves handler where the last bind has bound. It returns what ends the
// servers that are no longer wanted: they answer what they were asked.
func (a *adminServer) start(handler http.Handler, log *slog.Logger) (end func()) {
	a.handler.Store(&handler)
	current := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*a.handler.Load()).ServeHTTP(w, r) })
	if s, ok := a.unix.next.(*adminSocket); ok {
		if err := s.settle(); err != nil {
			log.Error("the admin socket is not where it belongs", "socket", s.path, "error", err)
		}
	}
	tcp, unix := a.tcp.start(&http.Server{Handler: current}), a.unix.start(&http.Server{Handler: current, ConnContext: admin.SocketContext})
	return func() { endServers(tcp, unix) }
}

// start returns the server that was there if it is to end, and has ceased to
// listen, or nil.
func (e *adminEndpoint) start(server *http.Server) (old *http.Server) {
	if e.nextConfig != e.configured {
		old = e.stop()
	}
	e.configured = e.nextConfig
	if e.next == nil {
		return old
	}
	server.ReadHeaderTimeout, server.IdleTimeout = 5*time.Second, time.Minute
	e.socket, e.server, e.next = e.next, server, nil
	go func(socket net.Listener) { _ = server.Serve(socket) }(e.socket) // ends with stop; accept errors are retried inside
	return old
}

// stop listens no more, and returns the server for endServers.
func (e *adminEndpoint) stop() (server *http.Server) {
	if e.socket != nil {
		_ = e.socket.Close()
	}
	server = e.server
	e.socket, e.server, e.configured = nil, nil, ""
	return server
}

// stop listens no more. It returns what ends the servers.
func (a *adminServer) stop() (end func()) {
	tcp, unix := a.tcp.stop(), a.unix.stop()
	return func() { endServers(tcp, unix) }
}

// lastWords is how long a server that ends may take to answer what it was asked
// before: that it ends, for one.
const lastWords = time.Second

func endServers(servers ...*http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	var ending sync.WaitGroup
	for _, server := range servers {
		if server == nil {
			continue
		}
		ending.Go(func() {
			if server.Shutdown(ctx) != nil {
				_ = server.Close()
			}
		})
	}
	ending.Wait()
}

func (a *adminServer) address() net.Addr {
	if a.tcp.socket == nil {
		return nil
	}
	return a.tcp.socket.Addr()
}

// adminToken reads the token of the admin address. Without one the address is
// read-only.
func adminToken(config *configs.Config) ([]byte, error) {
	from, field := certs.Secret{File: config.Admin.TokenFile, Env: config.Admin.TokenEnv}, "token_file"
	if from == (certs.Secret{}) {
		return nil, nil
	}
	if from.File == "" {
		field = "token_env"
	}
	token, err := from.Read()
	if err == nil && len(token) < admin.MinToken {
		err = fmt.Errorf("the token has %d bytes, want at least %d: openssl rand -hex 32 makes one", len(token), admin.MinToken)
	}
	if err != nil {
		return nil, configs.Errors{{Pos: config.Position("admin", "", field), Reason: err.Error()}}
	}
	return token, nil
}

// adminSocket is a Unix socket that removes its file when it is closed, unless
// the file is another's by then.
type adminSocket struct {
	*net.UnixListener
	path  string
	final string // where to move it when it serves; "" if it is there
	file  os.FileInfo
}

// listenAdminSocket listens on a Unix socket that only this user, and root, can
// connect to. A socket that a process has left behind that is no more is
// replaced.
func listenAdminSocket(path string) (net.Listener, error) {
	config := net.ListenConfig{Control: restrictSocket}
	socket, err := config.Listen(context.Background(), "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(path) && os.Remove(path) == nil {
		socket, err = config.Listen(context.Background(), "unix", path)
	}
	if err != nil {
		return nil, err
	}
	s := &adminSocket{UnixListener: socket.(*net.UnixListener), path: path}
	s.SetUnlinkOnClose(false)
	if err = os.Chmod(path, 0o600); err == nil { // where restrictSocket cannot
		s.file, err = os.Lstat(path)
	}
	if err != nil {
		_ = s.Close() // err is why
		return nil, err
	}
	return s, nil
}

// replaceAdminSocket listens beside the socket of another gateway, whose place
// settle takes.
func replaceAdminSocket(path string) (net.Listener, error) {
	beside := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%d", os.Getpid()))
	l, err := listenAdminSocket(beside)
	if err != nil {
		return nil, err
	}
	l.(*adminSocket).final = path
	return l, nil
}

// settle moves the socket's file to where it belongs, in one step.
func (s *adminSocket) settle() error {
	if s.final == "" {
		return nil
	}
	if err := os.Rename(s.path, s.final); err != nil {
		return err
	}
	s.path, s.final = s.final, ""
	return nil
}

// abandoned says that nobody listens on a Unix socket whose file is there.
func abandoned(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		_ = conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// Close implements [net.Listener].
func (s *adminSocket) Close() error {
	if named, err := os.Lstat(s.path); err == nil && s.file != nil && os.SameFile(named, s.file) {
		_ = os.Remove(s.path) // before another can have it
	}
	return s.UnixListener.Close()
}
