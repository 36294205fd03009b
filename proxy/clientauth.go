package proxy

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/clientauth"
)

// clientAuthInterval is how often the files about clients are looked at. They
// are read when they have looked the same twice.
const clientAuthInterval = time.Second

// openClientAuth opens what judges the clients of a listener; nil is that they
// are not asked for a certificate.
func openClientAuth(l configs.Listener, fips bool) (*clientauth.Verifier, error) {
	c := l.ClientCertificates
	if c.Mode == "" || c.Mode == configs.ClientCertificatesOff {
		return nil, nil
	}
	return clientauth.Open(clientauth.Settings{
		Required:      c.Mode == configs.ClientCertificatesRequire,
		CA:            c.CA,
		Allow:         clientauth.Allow(c.Allow),
		CRLs:          c.CRL,
		AllowStaleCRL: c.StaleCRL == configs.StaleCRLSoft,
		MaxDepth:      c.MaxDepth,
		FIPS:          fips,
	})
}

// clientAuthErrors gives the errors of openClientAuth their positions.
func clientAuthErrors(config *configs.Config, listener string, err error) configs.Errors {
	var errs configs.Errors
	for _, err := range unjoin(err) {
		field, reason := "client_certificates", err.Error()
		if setting, ok := errors.AsType[*clientauth.SettingError](err); ok {
			field, reason = field+"."+setting.Field, setting.Err.Error()
			if path := strings.Split(setting.Field, "."); path[0] == "allow" {
				reason = path[1] + ": " + reason
			}
		}
		errs = append(errs, configs.Error{Pos: config.Position("listeners", listener, field), Reason: reason})
	}
	return errs
}

// watchClientAuth looks after the files about clients that the current
// generation goes by, and not after those of the one before any more.
func (s *Server) watchClientAuth(previous *generation) {
	if previous != nil {
		previous.stopWatching()
	}
	ctx, cancel := context.WithCancel(context.Background())
	current := s.current
	current.stopWatching = cancel
	current.warned = make(map[string]bool)
	s.Metrics.ClientCRLs(current.nextUpdates())
	s.warnAboutClients(current)
	if !current.authenticates() {
		return
	}
	s.departed.Go(func() {
		tick := time.NewTicker(clientAuthInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				s.refreshClientAuth(current)
			}
		}
	})
}

// refreshClientAuth takes over what has changed in the files about clients.
func (s *Server) refreshClientAuth(g *generation) {
	for _, r := range g.routes {
		if r.clients == nil {
			continue
		}
		changed, err := r.clients.Refresh()
		if err != nil {
			for _, refused := range unjoin(err) {
				s.clientFilesReplaced(r.Name, false)
				s.log().Error("a file about clients is refused; what it was before stays", "listener", r.Name, "error", refused)
			}
		}
		if !changed {
			continue
		}
		s.clientFilesReplaced(r.Name, true)
		s.log().Info("files about clients have changed", "listener", r.Name)
		s.mu.Lock()
		if s.current == g {
			s.setTickets(g.tickets, time.Now()) // their scope has the authorities in it
			s.Metrics.ClientCRLs(g.nextUpdates())
		}
		s.mu.Unlock()
	}
	s.warnAboutClients(g)
}

// warnAboutClients says once of each thing that keeps clients out that it does.
func (s *Server) warnAboutClients(g *generation) {
	for _, r := range g.routes {
		if r.clients == nil {
			continue
		}
		for _, concern := range r.clients.Concerns() {
			if text := r.Name + " " + concern.Error(); !g.warned[text] {
				g.warned[text] = true
				s.log().Warn("client certificates", "listener", r.Name, "setting", concern.Field, "concern", concern.Err)
			}
		}
	}
}

// clientWarnings are the same for a person who asks, with their positions.
func (r *route) clientWarnings(config *configs.Config) (list configs.Errors) {
	if r.clients == nil {
		return nil
	}
	for _, concern := range r.clients.Concerns() {
		list = append(list, configs.Error{Pos: config.Position("listeners", r.Name, "client_certificates."+concern.Field), Reason: concern.Err.Error()})
	}
	return list
}

// authenticates says whether any client is asked for a certificate.
func (g *generation) authenticates() bool {
	for _, r := range g.routes {
		if r.clients != nil {
			return true
		}
	}
	return false
}

// nextUpdates is, by listener, when the first of its CRLs becomes stale.
func (g *generation) nextUpdates() map[string]time.Time {
	updates := make(map[string]time.Time)
	for _, r := range g.routes {
		if r.clients == nil {
			continue
		}
		if first := r.clients.NextUpdate(); !first.IsZero() {
			updates[r.Name] = first
		}
	}
	return updates
}
