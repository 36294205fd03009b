package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy"
	"github.com/suitegate/suitegate/proxy/audit"
	"github.com/suitegate/suitegate/proxy/metrics"
)

type serveCommand struct {
	Config   string `required:"" placeholder:"FILE" help:"Configuration file."`
	Takeover bool   `help:"Take the place of the gateway that runs behind admin.socket, if there is one: it hands over what it listens on, and drains when this one serves."`
}

func (s *serveCommand) Run(out *console) error {
	relaxTimers()
	defer keepLight()()
	// From here on no signal kills the process: one that comes while the
	// gateway starts waits until it has.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	file := &fileWatch{path: s.Config}
	_, _ = file.read() // loadConfig says what is wrong
	cfg, err := loadConfig(s.Config)
	if err != nil {
		return err
	}
	if err := enterFIPS(cfg, signals); err != nil {
		return err
	}
	// A write to a closed pipe is an error, which the log gets over, and not the
	// end of the process.
	signal.Ignore(syscall.SIGPIPE)
	counts := metrics.New()
	sink, log, level := newSinkLogger(out.stderr, cfg.Log, counts)
	defer closeSink(sink)
	g := &gateway{
		server:  &proxy.Server{Log: log, Metrics: counts, Version: buildVersion(), SpareProcessor: spareProcessor()},
		manager: &serviceManager{log: log},
		log:     log,
		level:   level,
		format:  cfg.Log.Format,
		file:    file,
	}
	if g.server.Sockets, err = inheritedSockets(); err != nil {
		return err
	}
	if s.Takeover {
		if err := g.takeOver(cfg.Admin.Socket); err != nil {
			return err
		}
	}
	orders := make(chan audit.Operator, 1)
	g.server.Reload = g.reload
	g.server.Stop = func(by audit.Operator) {
		select {
		case orders <- by:
		default: // somebody has ordered it before
		}
	}
	if err := g.start(cfg); err != nil {
		return err
	}
	g.run(orders, signals)
	return nil
}

// run does what it is ordered to do, until that is to end.
func (g *gateway) run(orders <-chan audit.Operator, signals <-chan os.Signal) {
	alive, end := context.WithCancel(context.Background())
	defer end()
	go g.manager.watchdog(alive)
	watching := time.NewTicker(watchInterval)
	defer watching.Stop()
	for {
		select {
		case <-watching.C:
			if g.changed() {
				_, _ = g.reload(audit.Operator{Via: audit.ViaFile}) // it has logged what came of it
			}
		case by := <-orders:
			g.drain(by, signals)
			return
		case sig := <-signals:
			by := signalOperator(sig)
			if sig != syscall.SIGHUP {
				g.drain(by, signals)
				return
			}
			_, _ = g.reload(by) // it has logged what came of it
		}
	}
}

// signalOperator is all that is known of whose signal it is.
func signalOperator(sig os.Signal) audit.Operator {
	names := map[os.Signal]string{syscall.SIGHUP: "SIGHUP", syscall.SIGTERM: "SIGTERM", syscall.SIGINT: "SIGINT"}
	return audit.Operator{Via: audit.ViaSignal, Signal: names[sig]}
}

// gateway is a running server and the configuration that it runs.
type gateway struct {
	server   *proxy.Server
	manager  *serviceManager
	takeover *proxy.Takeover // nil if this gateway takes nobody's place
	log      *slog.Logger
	level    *slog.LevelVar
	format   string // of log, for as long as the process lives

	mu       sync.Mutex // held while the configuration changes
	cfg      *configs.Config
	confined *confinement
	file     *fileWatch // of cfg
}

// takeOver gets the sockets of the gateway behind an admin socket. That there is
// none is said, and no error.
func (g *gateway) takeOver(socket string) error {
	if socket == "" {
		return errors.New("takeover: the configuration has no admin.socket, by which the other gateway can be asked")
	}
	takeover, err := proxy.TakeOver(socket)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		g.log.Info("there is no gateway to take over from", "socket", socket)
		return nil
	case err != nil:
		return err
	}
	g.takeover = takeover
	g.server.Replacing = true
	g.server.Sockets = append(g.server.Sockets, takeover.Sockets...)
	return nil
}

// changed says that the configuration file is to be reloaded, because it has
// changed, and is watched.
func (g *gateway) changed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cfg.Watch && g.file.changed()
}

// start applies the first configuration, and logs what it is.
func (g *gateway) start(cfg *configs.Config) error {
	g.mu.Lock() // until there is something to reload
	defer g.mu.Unlock()
	fips := proxy.FIPSStatus()
	g.log.Info("cryptography", "module", fips.Module, "version", fips.Version, "fips_mode", fips.Mode)
	logMistakes(g.log, slog.LevelWarn, cfg.Warnings)
	giveUp(cfg.Hardening, g.log)
	if err := g.server.Apply(cfg); err != nil {
		if g.takeover != nil {
			g.takeover.Close() // the other one goes on
		}
		return hintStart(err)
	}
	// Now that the directories to write to have been made.
	confined, err := confine(cfg, g.log)
	if err != nil {
		return err
	}
	g.confined = confined
	g.inForce(cfg)
	g.manager.ready(len(cfg.Listeners)) // this process is the service before the other one ends
	if g.takeover != nil {
		if err := g.takeover.Ready(); err != nil {
			g.log.Error("the other gateway does not drain: two of them serve now", "error", err)
		}
		g.log.Info("took over", "sockets", len(g.takeover.Sockets))
	}
	g.log.Info("ready", "listeners", len(cfg.Listeners))
	return nil
}

// inForce takes note of the configuration that is served from now on. What it
// means for each listener the server logs itself.
func (g *gateway) inForce(cfg *configs.Config) {
	g.cfg = cfg
	warnOpenFiles(cfg, g.log)
	admin := "none"
	if address := g.server.AdminAddress(); address != nil {
		admin = address.String()
	}
	g.log.Info("configuration in force",
		"file", cfg.File,
		"admin", admin,
		"storage", cfg.StorageName(),
		"landlock", g.confined.on,
		"drain_timeout", cfg.DrainTimeout)
}

// reload applies the configuration file as it is now, or logs why not and
// changes nothing. It returns what has changed.
func (g *gateway) reload(by audit.Operator) (configs.Changes, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.manager.reloading()
	status := "reload refused, running configuration unchanged"
	defer func() { g.manager.reloaded(status) }()
	cfg, err := g.load()
	if err != nil {
		g.server.Refused(by, g.cfg.File, err)
		g.refused(by, err)
		return nil, err
	}
	logMistakes(g.log, slog.LevelWarn, cfg.Warnings)
	changes, err := g.server.ApplyBy(by, cfg)
	if err != nil {
		g.refused(by, err)
		return nil, err
	}
	g.level.Set(levelOf(cfg.Log))
	if cfg.Log.Format != g.format {
		g.log.Warn("log.format changes at the next start", "format", cfg.Log.Format)
	}
	if cfg.ReusePort != g.cfg.ReusePort {
		g.log.Warn("restart.reuse_port changes at the next start", "reuse_port", cfg.ReusePort)
	}
	if cfg.Hardening != g.cfg.Hardening {
		g.log.Warn("hardening changes at the next start")
	}
	g.inForce(cfg)
	status = count(len(cfg.Listeners), "listener") + ", reloaded"
	g.log.Info("reloaded", "listeners", len(cfg.Listeners), "by", by.String(), "changes", changes.Strings())
	return changes, nil
}

// load reads the configuration file as it is now.
func (g *gateway) load() (*configs.Config, error) {
	if err := g.confined.allows([]configs.Path{{Name: g.cfg.File, Pos: configs.Pos{File: g.cfg.File}}}); err != nil {
		return nil, err
	}
	data, err := g.file.read()
	if err != nil {
		return nil, err
	}
	cfg, err := configs.Parse(g.cfg.File, data)
	if err != nil {
		return nil, err
	}
	return cfg, g.confined.allows(cfg.Paths())
}

// refused logs why a reload changes nothing.
func (g *gateway) refused(by audit.Operator, err error) {
	if mistakes, ok := errors.AsType[configs.Errors](err); ok {
		logMistakes(g.log, slog.LevelError, mistakes)
		g.log.Error("reload refused, running configuration unchanged", "mistakes", len(mistakes), "by", by.String())
		return
	}
	g.log.Error("reload refused, running configuration unchanged", "error", err, "by", by.String())
}

// drain stops accepting, and waits for connections to end until the drain
// timeout or a signal to stop.
func (g *gateway) drain(by audit.Operator, signals <-chan os.Signal) {
	g.mu.Lock()
	timeout := g.cfg.DrainTimeout
	g.mu.Unlock()
	g.log.Info("draining", "by", by.String(), "timeout", timeout)
	if !g.server.HandedOver() { // the service goes on in another process
		g.manager.stopping()
	}
	g.server.Record(audit.Entry{Action: "drain", By: by, More: []slog.Attr{slog.Duration("timeout", timeout)}})
	ctx, cancel := context.WithTimeoutCause(context.Background(), timeout, errDrainTimeout)
	defer cancel()
	ctx, hurry := context.WithCancelCause(ctx)
	defer hurry(nil)
	go func() {
		for {
			select {
			case again := <-signals:
				if again != syscall.SIGHUP { // too late for a new configuration
					g.server.Record(audit.Entry{Action: "stop", By: signalOperator(again)})
					hurry(errSecondSignal)
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	if err := g.server.Shutdown(ctx); err != nil {
		g.log.Warn("stopped, connections were closed", "cause", context.Cause(ctx), "error", err)
		return
	}
	g.log.Info("stopped, all connections had ended")
}

var (
	errDrainTimeout = errors.New("drain timeout")
	errSecondSignal = errors.New("second signal")
)

// hintStart says what to do about a start that failed for a reason which the
// mistake itself does not show.
func hintStart(err error) error {
	switch text := err.Error(); {
	case errors.Is(err, syscall.EADDRINUSE), strings.Contains(text, syscall.EADDRINUSE.Error()):
		return withHint(err, "ss -ltnp lists what listens already")
	case errors.Is(err, syscall.EACCES), strings.Contains(text, "bind: "+syscall.EACCES.Error()):
		return withHint(err, "ports below 1024 need CAP_NET_BIND_SERVICE")
	case os.Geteuid() == 0 && strings.Contains(text, syscall.EACCES.Error()):
		return withHint(err, "root gives up its power over other users' files here: run as their owner, or let root own them")
	}
	return err
}
