package main

import (
	"crypto/fips140"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/suitegate/suitegate/configs"
)

// enterFIPS starts the program anew in FIPS 140-3 mode, if the configuration
// requires that and it is not: Go settles it once, when a process starts. It is
// the same process to everybody else, with its number, arguments and files, so
// that sockets and messages of a service manager go where they did. It returns
// where there is nothing to do, or nothing that helps: the server refuses the
// configuration then.
//
// Signals that came before are not lost: one to stop the gateway kills it now.
func enterFIPS(cfg *configs.Config, signals chan os.Signal) error {
	const setting = "fips140="
	debug := os.Getenv("GODEBUG")
	if cfg.FIPS != configs.FIPSRequired || fips140.Enabled() || strings.Contains(debug, setting) {
		return nil
	}
	fail := func(err error) error {
		return withHint(fmt.Errorf("FIPS 140-3 mode: starting anew: %w", err), "start it with GODEBUG="+setting+"on in its environment")
	}
	program, err := os.Executable()
	if err != nil {
		return fail(err)
	}
	signal.Stop(signals)
	for pending := true; pending; {
		select {
		case sig := <-signals:
			if sig != syscall.SIGHUP { // for which the configuration has just been read
				return errStoppedEarly
			}
		default:
			pending = false
		}
	}
	if err := os.Setenv("GODEBUG", strings.TrimPrefix(debug+","+setting+"on", ",")); err != nil {
		return fail(err)
	}
	return fail(syscall.Exec(program, os.Args, os.Environ()))
}

var errStoppedEarly = errors.New("stopped before it had started")
