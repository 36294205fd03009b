// Package admin serves what operators and their tools ask the gateway:
// /metrics, /healthz, /readyz, /status, pprof where it is asked for, and to
// those who may, what changes the gateway.
//
// Whoever reaches the address may read: it belongs on a loopback or otherwise
// private one. To change something takes a token, or a Unix socket.
package admin

import (
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/suitegate/suitegate/proxy/audit"
	"github.com/suitegate/suitegate/proxy/metrics"
	"github.com/suitegate/suitegate/proxy/upstream"
)

// Status is what /status answers, as JSON.
type Status struct {
	ConfigFile   string            `json:"config_file"`
	LoadedAt     time.Time         `json:"loaded_at"`
	Listeners    []Listener        `json:"listeners"`
	Upstreams    []upstream.Status `json:"upstreams"`    // sorted by name
	Certificates []Certificate     `json:"certificates"` // that are served now
}

// Certificate is one certificate in a Status.
type Certificate struct {
	Name      string    `json:"name"` // the configuration's entry
	Key       string    `json:"key"`
	Names     []string  `json:"names"`
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"` // in hexadecimal
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	SHA256    string    `json:"sha256"` // of the certificate
}

// Listener is one listener in a Status.
type Listener struct {
	Name              string   `json:"name"`
	Address           string   `json:"address"`
	Protocol          string   `json:"protocol"`
	Policy            string   `json:"policy"`
	TLS13             []string `json:"tls13"` // IANA names, in order of preference
	TLS12             []string `json:"tls12"`
	Groups            []string `json:"groups"`
	Certificates      []string `json:"certificates"`
	Clients           string   `json:"client_certificates"` // off, request or require
	ConnectionsActive int      `json:"connections_active"`
}

// Source is what a handler asks.
type Source struct {
	Metrics *metrics.Metrics

	// Status is called for each request of /status.
	Status func() Status

	// Ready returns why the gateway should get no new connections, or nil.
	Ready func() error

	// Pprof serves net/http/pprof under /debug/pprof/. Off by default: a
	// profile of a TLS server shows more than metrics do.
	Pprof bool

	// Actions change the gateway, by the path that they are POSTed to: a pattern
	// of [http.ServeMux] without a method. Default: none.
	Actions map[string]Action

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
		writeText(w, http.StatusOK, "ready\n")
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, source.Status())
	})
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
	for pattern, action := range source.Actions {
		mux.HandleFunc(pattern, source.change(pattern, action))
	}
	return guard(mux)
}

func writeText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // the client went away: there is nobody to tell
}
