package audit

import (
	"net"

	"golang.org/x/sys/unix"
)

// PeerOf returns the process at the other end of a Unix socket, or nil if the
// system does not say.
func PeerOf(conn *net.UnixConn) *Peer {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	var found *unix.Ucred
	if raw.Control(func(fd uintptr) { found, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return nil
	}
	return newPeer(found.Uid, found.Gid, found.Pid)
}
