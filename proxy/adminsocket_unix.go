//go:build unix

package proxy

import "syscall"

// restrictSocket gives a socket the mode that its file gets when it is bound,
// so that there is no moment in which others can connect. Not every system goes
// by it: the file's own mode is set behind it.
func restrictSocket(_, _ string, socket syscall.RawConn) error {
	return socket.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), 0o600) })
}
