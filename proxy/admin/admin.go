// Package admin serves what operators and their tools ask the gateway:
// /metrics, /healthz, /readyz, /status, a page for people at /, pprof where it
// is asked for, and to those who may, what changes the gateway.
//
// Whoever reaches the address may read: it belongs on a loopback or otherwise
// private one. To change something takes a token, or a Unix socket.
package admin

import (
	"net"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/suitegate/suitegate/proxy/audit"
	"github.com/suitegate/suitegate/proxy/metrics"
	"github.com/suitegate/suitegate/proxy/shadow"
)

// Source is what a handler asks.
type Source struct {
	Metrics *metrics.Metrics

	// Status is called for each request of /status, and of the page at /.
	Status func() Status

	// Impact is called for each request of /impact: who would break by the
	// shadow policies.
	Impact func() shadow.Impact

	// Ready returns why the gateway should get no new connections, or nil.
	Ready func() error

	// Degraded returns the causes for which the gateway cannot renew what it
	// serves, although it goes on serving. Default: none.
	Degraded func() []string

	// Pprof serves net/http/pprof under /debug/pprof/. Off by default: a
	// profile of a TLS server shows more than metrics do.
	Pprof bool

	// Actions change the gateway, by the path that they are POSTed to: a pattern
	// of [http.ServeMux] without a method. Default: none.
	Actions map[string]Action

	// HandOver is called with the connection of a process that is to take this
	// one's place, which has asked for it through the Unix socket with POST
	// /takeover. It closes the connection. Default: nothing does.
	HandOver func(conn *net.UnixConn, by audit.Operator)

	// Token is what requests have to show that are to change something, unless
	// they come through a Unix socket (see [SocketContext]). Default: none, the
	// address is read-only.
	Token []byte

	// Audit gets an entry for each wrong token. Default: nothing.
	Audit *audit.Log
}

// Handler returns the handler of the admin address.
func Handler(source Source) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, http.StatusOK, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := source.Ready(); err != nil {
			writeText(w, http.StatusServiceUnavailable, err.Error()+"\n")
			return
		}
		state := "ready"
		if causes := source.degradedBy(); len(causes) > 0 {
			state += ", degraded: " + strings.Join(causes, ", ")
		}
		writeText(w, http.StatusOK, state+"\n")
	})
	serveStatus(mux, source.Status, source.Impact)
	if registry := source.Metrics.Registry(); registry != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	}
	if source.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	source.addActions(mux)
	return guard(mux)
}

func (s Source) degradedBy() []string {
	if s.Degraded == nil {
		return nil
	}
	return s.Degraded()
}

func writeText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // the client went away: there is nobody to tell
}
