package proxy

import (
	"context"
	"errors"
	"time"
)

// How a gateway ends whose port another one has bound, too (reuse_port).
//
// Each of the two sockets has a queue of its own. Linux resets the connections in
// the queue of one that is closed, unless net.ipv4.tcp_migrate_req is set, and so
// it does those whose handshake is under way. So the old socket is first taken
// out of the choice, and then accepted from until nobody comes any more.

var errNotShared = errors.New("proxy: this system does not share ports between processes")

const (
	// quiet is how long nobody has come through a socket that is out of the
	// choice when nobody will: a lost acknowledgement of TCP's handshake is sent
	// again within a second (RFC 6298 section 2.1).
	quiet = 1500 * time.Millisecond

	// maxLeaving is how long that is waited for: those who still come then come
	// because there is nobody else.
	maxLeaving = 5 * time.Second
)

// retire lets connections that are on their way to the listener arrive, and
// leaves all others to the process that has its port, too.
func (l *listener) retire(ctx context.Context) {
	if err := divert(l.socket); err != nil {
		l.server.log().Warn("connections on their way to the listener may be reset", "listener", l.route.Load().Name, "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, maxLeaving)
	defer cancel()
	ticker := time.NewTicker(quiet / 10)
	defer ticker.Stop()
	for last, came := time.Now(), l.accepted.Load(); time.Since(last) < quiet; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if now := l.accepted.Load(); now != came {
			last, came = time.Now(), now
		}
	}
}
