package main

import (
	"bytes"
	_ "embed"
	"log/slog"
	"os"
	"path/filepath"
	"text/template"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy"
	"github.com/suitegate/suitegate/proxy/metrics"
)

// generated is what the template of a configuration is filled with that a
// command writes for a gateway of its own.
type generated struct {
	Command   string // also what the certificate is called
	Admin     string // "" for none
	Storage   string
	Names     []string         // of the certificate
	Policies  []*policy.Policy // beside the built-in ones
	Upstreams []generatedUpstream
	Listeners []generatedListener
}

type generatedUpstream struct{ Name, Address, About string }

type generatedListener struct{ Name, Address, Protocol, Policy, Upstream string }

// defaultNames are those of a certificate for this host alone.
func defaultNames() []string { return []string{"localhost", "127.0.0.1", "::1"} }

//go:embed generated.yml.tmpl
var generatedTemplate string

// config writes the configuration file, and reads it as the gateway would.
func (g *generated) config(file string) (*configs.Config, error) {
	tmpl, err := template.New(filepath.Base(file)).Parse(generatedTemplate)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := tmpl.Execute(&text, g); err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		return nil, err
	}
	return configs.Parse(file, text.Bytes())
}

// makeDataDir returns dir, or without one the directory of that name in the
// user's data directory, made if it is not there.
func makeDataDir(dir, name string) (string, error) {
	if dir == "" {
		data := os.Getenv("XDG_DATA_HOME")
		if !filepath.IsAbs(data) { // as the XDG base directory specification asks
			home, err := os.UserHomeDir()
			if err != nil {
				return "", withHint(err, "choose a directory with --dir")
			}
			data = filepath.Join(home, ".local", "share")
		}
		dir = filepath.Join(data, "suitegate", name)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o700)
}

// host runs a gateway until a signal comes. When it serves, ready is called,
// which tells the user.
func host(out *console, cfg *configs.Config, signals <-chan os.Signal, ready func(*proxy.Server) error) error {
	// Until then, the log would only come between.
	log, level := newLogger(out.stderr, cfg.Log)
	level.Set(slog.LevelError)
	server := &proxy.Server{Log: log, Metrics: metrics.New(), Version: buildVersion()}
	defer server.Close()
	if err := server.Apply(cfg); err != nil {
		return hintStart(err)
	}
	level.Set(levelOf(cfg.Log))
	if err := ready(server); err != nil {
		return err
	}
	<-signals
	return server.Close() // without draining: nothing here is worth waiting for
}
