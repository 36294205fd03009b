//go:build !unix

package proxy

import "syscall"

// restrictSocket does nothing: the system has no modes.
func restrictSocket(_, _ string, _ syscall.RawConn) error { return nil }
