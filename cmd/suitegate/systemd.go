package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/suitegate/suitegate/proxy"
)

// serviceManager is who started the gateway, where that is systemd: it has
// sockets for it (sd_listen_fds(3)), and is told how it fares (sd_notify(3)).
// Without one nothing happens.
type serviceManager struct {
	log *slog.Logger
}

// inheritedSockets are those that the service manager listens on.
func inheritedSockets() ([]*proxy.Socket, error) {
	var sockets []*proxy.Socket
	for _, file := range activation.Files(true) {
		socket, err := proxy.NewSocket(file.Name(), file)
		if err != nil {
			return nil, withHint(err, "a socket unit for suitegate has ListenStream=, and no Accept=yes")
		}
		sockets = append(sockets, socket)
	}
	return sockets, nil
}

func (m *serviceManager) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		m.log.Warn("the service manager cannot be notified", "error", err)
	}
}

// ready says that the gateway serves, and that this process is it.
func (m *serviceManager) ready(listeners int) {
	m.notify(fmt.Sprintf("MAINPID=%d\n%s\nSTATUS=%s", os.Getpid(), daemon.SdNotifyReady, count(listeners, "listener")))
}

func (m *serviceManager) reloading() {
	m.notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

// reloaded ends reloading, whatever came of it.
func (m *serviceManager) reloaded(status string) {
	m.notify(daemon.SdNotifyReady + "\nSTATUS=" + status)
}

func (m *serviceManager) stopping() { m.notify(daemon.SdNotifyStopping + "\nSTATUS=draining") }

// watchdog keeps the service manager from taking the process for dead, if it is
// one to do so (WatchdogSec=), until ctx is done.
func (m *serviceManager) watchdog(ctx context.Context) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		m.log.Warn("the service manager's watchdog is not understood", "error", err)
	}
	if interval <= 0 {
		return
	}
	ticker := time.NewTicker(interval / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			m.notify(daemon.SdNotifyWatchdog)
		}
	}
}
