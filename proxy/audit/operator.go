package audit

import (
	"fmt"
	"log/slog"
	"os/user"
	"strconv"
)

// Ways in which operators reach the gateway: values of Operator.Via.
const (
	ViaStart  = "start"  // who ran the program
	ViaSignal = "signal" // nobody knows who: Go does not say whose signal it was
	ViaFile   = "file"   // the configuration file changed
	ViaToken  = "token"  // the admin address, with its token
	ViaSocket = "socket" // the admin socket

	ViaGateway = "gateway" // nobody: the gateway did it by itself, as it is configured
)

// Operator is who changed the gateway, as far as is known.
type Operator struct {
	Via string

	// Signal names the signal where Via is ViaSignal: "SIGHUP".
	Signal string

	// Address is where the request came from where Via is ViaToken.
	Address string

	// Peer is the process at the other end where Via is ViaSocket. Default: nil,
	// the system does not say.
	Peer *Peer
}

// Peer is a process that has connected to a Unix socket, as the kernel saw it
// then (SO_PEERCRED in unix(7)).
type Peer struct {
	UID, GID uint32
	PID      int32
	User     string // of UID; "" if it has no name here
}

// newPeer adds the user's name.
func newPeer(uid, gid uint32, pid int32) *Peer {
	p := &Peer{UID: uid, GID: gid, PID: pid}
	if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
		p.User = u.Username
	}
	return p
}

// String is the operator in a few words: "signal SIGHUP", "token from
// 127.0.0.1:40000", "socket, uid 0 (root), pid 4711".
func (o Operator) String() string {
	switch {
	case o.Signal != "":
		return o.Via + " " + o.Signal
	case o.Address != "":
		return o.Via + " from " + o.Address
	case o.Peer != nil && o.Peer.User != "":
		return fmt.Sprintf("%s, uid %d (%s), pid %d", o.Via, o.Peer.UID, o.Peer.User, o.Peer.PID)
	case o.Peer != nil:
		return fmt.Sprintf("%s, uid %d, pid %d", o.Via, o.Peer.UID, o.Peer.PID)
	}
	return o.Via
}

// LogValue implements [slog.LogValuer]: a group of what is known.
func (o Operator) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("via", o.Via)}
	if o.Signal != "" {
		attrs = append(attrs, slog.String("signal", o.Signal))
	}
	if o.Address != "" {
		attrs = append(attrs, slog.String("address", o.Address))
	}
	if o.Peer != nil {
		attrs = append(attrs, slog.Int64("uid", int64(o.Peer.UID)), slog.Int64("gid", int64(o.Peer.GID)))
		if o.Peer.User != "" {
			attrs = append(attrs, slog.String("user", o.Peer.User))
		}
		attrs = append(attrs, slog.Int64("pid", int64(o.Peer.PID)))
	}
	return slog.GroupValue(attrs...)
}
