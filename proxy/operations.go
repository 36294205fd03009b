package proxy

import (
	"errors"
	"log/slog"
	"net"
	"net/http"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/admin"
	"github.com/suitegate/suitegate/proxy/audit"
	"github.com/suitegate/suitegate/proxy/prove"
)

// ApplyBy is [Server.Apply] with who does it, for the audit log. It returns what
// it has changed; the first configuration changes nothing.
func (s *Server) ApplyBy(by audit.Operator, config *configs.Config) (configs.Changes, error) {
	s.applying.Lock()
	defer s.applying.Unlock()
	action, changes, evidence, err := s.replace(config)
	s.proved(by, config, evidence, err != nil)
	s.attempted(action, by, config.File, changes, err)
	return changes, err
}

// replace applies a configuration. It says whether that is the start or a reload,
// and what of the configuration before has changed.
func (s *Server) replace(config *configs.Config) (action string, changes configs.Changes, evidence *prove.Evidence, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.current
	evidence, err = s.apply(config)
	s.loadedOrNot(err)
	switch {
	case before == nil:
		return "start", nil, evidence, err
	case err != nil:
		return "reload", nil, evidence, err
	}
	return "reload", configs.Diff(before.config, config), evidence, nil
}

// Refused takes note of a reload that did not get as far as [Server.ApplyBy]:
// the file cannot be read, or has mistakes.
func (s *Server) Refused(by audit.Operator, file string, err error) {
	s.mu.Lock()
	s.loadedOrNot(err)
	s.mu.Unlock()
	s.attempted("reload", by, file, nil, err)
}

// attempted writes down an attempt to load a configuration.
func (s *Server) attempted(action string, by audit.Operator, file string, changes configs.Changes, err error) {
	more := []slog.Attr{slog.String("file", file)}
	if err == nil && action == "reload" {
		more = append(more, slog.Any("changes", changes.Strings()))
	}
	s.Record(audit.Entry{Action: action, By: by, Err: err, More: more})
}

// Record writes down what an operator did, where the configuration says.
func (s *Server) Record(e audit.Entry) { s.audit.Record(e) }

// errFileRefused is the error of an entry about files whose mistakes the log tells.
var errFileRefused = errors.New("what was in force stays; the log says why")

// certificateReplaced counts that somebody has replaced the files of a
// certificate, and writes it down.
func (s *Server) certificateReplaced(certificate string, ok bool) {
	s.Metrics.CertificateReloaded(certificate, ok)
	s.filesReplaced("certificate_replace", ok, slog.String("certificate", certificate))
}

// clientFilesReplaced does so for files about the clients of a listener.
func (s *Server) clientFilesReplaced(listener string, ok bool) {
	s.Metrics.ClientAuthReloaded(listener, ok)
	s.filesReplaced("client_files_replace", ok, slog.String("listener", listener))
}

func (s *Server) filesReplaced(action string, ok bool, of slog.Attr) {
	e := audit.Entry{Action: action, By: audit.Operator{Via: audit.ViaFile}, More: []slog.Attr{of}}
	if !ok {
		e.Err = errFileRefused
	}
	s.Record(e)
}

// openAudit opens the file that a configuration names, if it does.
func openAudit(config *configs.Config) (*audit.File, configs.Errors) {
	if config.Audit.File == "" {
		return nil, nil
	}
	file, err := audit.Open(config.Audit.File)
	if err != nil {
		return nil, configs.Errors{{Pos: config.Position("audit", "", "file"), Reason: err.Error()}}
	}
	return file, nil
}

// useAudit writes down what operators do from now on where g says.
func (s *Server) useAudit(g *generation, first bool) {
	if first {
		s.audit.Fallback, s.audit.Failed = s.Log, s.Metrics.AuditFailed
	}
	s.audit.Use(g.audit)
}

// adminActions are what the admin server lets operators do.
func (s *Server) adminActions() map[string]admin.Action {
	actions := make(map[string]admin.Action)
	if s.Reload != nil {
		actions["/reload"] = s.reloadAction
	}
	if s.Stop != nil {
		actions["/drain"] = s.drainAction
	}
	actions["/upstreams/{upstream}/nodes/{node}/drain"] = s.nodeAction(true)
	actions["/upstreams/{upstream}/nodes/{node}/undrain"] = s.nodeAction(false)
	return actions
}

// reloadAction answers what is different from before, or every mistake.
func (s *Server) reloadAction(_ *http.Request, by audit.Operator) (any, error) {
	changes, err := s.Reload(by)
	if err != nil {
		failure := &admin.Failure{Status: http.StatusUnprocessableEntity, Err: err}
		if mistakes, ok := errors.AsType[configs.Errors](err); ok {
			failure.Err = errors.New("the configuration is refused, and the running one unchanged")
			for _, mistake := range mistakes {
				failure.Mistakes = append(failure.Mistakes, mistake.Error())
			}
		}
		return nil, failure
	}
	return struct {
		Changes []string `json:"changes"`
	}{changes.Strings()}, nil
}

// nodeAction has a node drain, or take connections again, and answers how many it
// still has.
func (s *Server) nodeAction(drain bool) admin.Action {
	name := map[bool]string{true: "node_drain", false: "node_undrain"}[drain]
	return func(r *http.Request, by audit.Operator) (any, error) {
		upstream, node := r.PathValue("upstream"), r.PathValue("node")
		drained, err := s.DrainNode(upstream, node, drain)
		s.Record(audit.Entry{Action: name, By: by, Err: err, More: []slog.Attr{
			slog.String("upstream", upstream), slog.String("node", node), slog.Bool("changed", drained.Changed)}})
		if err != nil {
			return nil, &admin.Failure{Status: http.StatusNotFound, Err: err}
		}
		return struct {
			Draining    bool `json:"draining"`
			Changed     bool `json:"changed"`
			Connections int  `json:"connections"`
		}{drain, drained.Changed, drained.Connections}, nil
	}
}

// drainAction begins to drain, which goes on behind the answer.
func (s *Server) drainAction(_ *http.Request, by audit.Operator) (any, error) {
	s.Stop(by)
	return struct {
		Draining bool `json:"draining"`
	}{true}, nil
}

// HandedOver says that another process has taken this one's place.
func (s *Server) HandedOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handedOver
}

// handOverAction is handOver, where the end of this gateway can be ordered.
func (s *Server) handOverAction() func(*net.UnixConn, audit.Operator) {
	if s.Stop == nil {
		return nil
	}
	return s.handOver
}
