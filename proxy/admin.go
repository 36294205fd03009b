package proxy

import (
	"errors"
	"net/http"

	"github.com/suitegate/suitegate/proxy/admin"
)

func (s *Server) adminHandler() http.Handler {
	return admin.Handler(admin.Source{
		Metrics: s.Metrics, Status: s.status, Impact: s.shadow.Impact, Ready: s.ready, Degraded: s.degraded, Pprof: s.current.config.Admin.Pprof,
		Actions: s.adminActions(), Token: s.current.token, Audit: &s.audit, HandOver: s.handOverAction(),
	})
}

// ready says why a load balancer should send nobody here.
func (s *Server) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("draining")
	}
	if s.unproved != nil {
		return errors.New("not as its policies say")
	}
	if s.current != nil {
		return s.current.upstreamsReady()
	}
	return nil
}
