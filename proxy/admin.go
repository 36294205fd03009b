package proxy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"

	"github.com/suitegate/suitegate/proxy/admin"
)

func (s *Server) adminHandler() http.Handler {
	return admin.Handler(admin.Source{
		Metrics: s.Metrics, Status: s.status, Ready: s.ready, Pprof: s.current.config.Admin.Pprof,
		Actions: s.adminActions(), Token: s.current.token, Audit: &s.audit,
	})
}

// ready says why a load balancer should send nobody here.
func (s *Server) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("draining")
	}
	if s.current != nil {
		return s.current.upstreamsReady()
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
	status := admin.Status{ConfigFile: s.current.config.File, LoadedAt: s.loaded, Certificates: certificates,
		Upstreams: s.current.upstreams()}
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
