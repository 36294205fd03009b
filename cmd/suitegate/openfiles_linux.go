package main

import (
	"log/slog"

	"golang.org/x/sys/unix"

	"github.com/suitegate/suitegate/configs"
)

const (
	filesPerConnection = 2    // the client's socket and the broker's
	filesBeside        = 100  // listeners, health checks, logs, files being read
	fewConnections     = 1000 // what the limit should leave room for in any case
)

// warnOpenFiles says where RLIMIT_NOFILE has no room for the connections that the
// configuration allows, or for few where it sets no limit. Package os has raised
// the soft limit to the hard one when the program started.
func warnOpenFiles(cfg *configs.Config, log *slog.Logger) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return // a warning that nobody can have
	}
	room := (int64(min(limit.Cur, 1<<40)) - filesBeside) / filesPerConnection
	if wanted := connectionsWanted(cfg); room < wanted {
		log.Warn("the limit of open files (ulimit -n) is too low", "open_files", limit.Cur, "room_for_connections", max(room, 0), "wanted", wanted)
	}
}

// connectionsWanted is how many connections the listeners allow together, those
// without max_connections a few.
func connectionsWanted(cfg *configs.Config) int64 {
	var wanted, atLeast int64
	for _, l := range cfg.Listeners {
		wanted += int64(l.MaxConnections)
		if l.MaxConnections == 0 {
			atLeast = fewConnections
		}
	}
	return max(wanted, atLeast)
}
