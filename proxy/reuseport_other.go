//go:build !linux

package proxy

import (
	"net"
	"syscall"
)

func reusable(_, _ string, _ syscall.RawConn) error { return errNotShared }

func share(net.Listener, bool) error { return errNotShared }

func undivert(net.Listener) {}

func divert(net.Listener) error { return errNotShared }
