package proxy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/suitegate/suitegate/proxy/admin"
)

// adminServer is the admin address through reloads: a reload may move it.
type adminServer struct {
	configured string // as in the configuration
	socket     net.Listener
	server     *http.Server
	handler    *atomic.Pointer[http.Handler]

	next       net.Listener // bound for the configuration that is being applied
	nextConfig string
}

// bind binds address, unless that is where the server is already.
func (a *adminServer) bind(address string) (err error) {
	a.next, a.nextConfig = nil, address
	if address != "" && address != a.configured {
		a.next, err = net.Listen("tcp", address)
	}
	return err
}

// unbind takes back what bind did.
func (a *adminServer) unbind() {
	if a.next != nil {
		_ = a.next.Close()
		a.next = nil
	}
}

// start serves handler on the address of the last bind.
func (a *adminServer) start(handler http.Handler) {
	if a.nextConfig != a.configured {
		a.close()
	}
	a.configured = a.nextConfig
	if a.next == nil {
		if a.handler != nil {
			a.handler.Store(&handler)
		}
		return
	}
	current := new(atomic.Pointer[http.Handler])
	current.Store(&handler)
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*current.Load()).ServeHTTP(w, r) }),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
	}
	a.socket, a.server, a.handler, a.next = a.next, server, current, nil
	go func(socket net.Listener) { _ = server.Serve(socket) }(a.socket) // ends with close; accept errors are retried inside
}

// close ends the server and the requests that it is answering.
func (a *adminServer) close() {
	if a.server != nil {
		_ = a.server.Close()
	}
	a.socket, a.server, a.handler, a.configured = nil, nil, nil, ""
}

func (a *adminServer) address() net.Addr {
	if a.socket == nil {
		return nil
	}
	return a.socket.Addr()
}

func (s *Server) adminHandler() http.Handler {
	return admin.Handler(admin.Source{Metrics: s.Metrics, Status: s.status, Ready: s.ready, Pprof: s.current.config.Admin.Pprof})
}

// ready says why a load balancer should send nobody here.
func (s *Server) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("draining")
	}
	return nil
}

func (s *Server) status() admin.Status {
	certificates := s.certificateStatus()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return admin.Status{}
	}
	status := admin.Status{ConfigFile: s.current.config.File, LoadedAt: s.loaded, Certificates: certificates}
	for _, r := range s.current.routes {
		e, l := r.effective(), s.listeners[key(r)]
		status.Listeners = append(status.Listeners, admin.Listener{
			Name: e.Listener, Address: l.socket.Addr().String(), Protocol: e.Protocol, Policy: e.Policy.Name,
			TLS13: texts(e.Policy.TLS13), TLS12: texts(e.Policy.Preference()), Groups: texts(e.Policy.Groups),
			Certificates: e.Certificates, Clients: e.Clients, ConnectionsActive: int(l.active.Load()),
		})
	}
	return status
}

func (s *Server) certificateStatus() []admin.Certificate {
	var all []admin.Certificate
	for _, cert := range s.served() {
		all = append(all, admin.Certificate{
			Name: cert.Source, Key: cert.Key.String(), Names: cert.ServerNames(),
			Issuer: cert.Leaf.Issuer.String(), Serial: fmt.Sprintf("%x", cert.Leaf.SerialNumber),
			NotBefore: cert.Leaf.NotBefore.UTC(), NotAfter: cert.Leaf.NotAfter.UTC(),
			SHA256: fmt.Sprintf("%x", sha256.Sum256(cert.Leaf.Raw)),
		})
	}
	return all
}
