package proxy

import (
	"net"
	"strconv"
)

// listenBeside listens on an address that a listener has in part which is about
// to leave, as ":5671" is in part "127.0.0.1:5671": the old socket stays until it
// is certain that all of the configuration can be applied. inUse is what binding
// it came to; it is the error, too, where nobody makes room.
//
// Linux lets the two be bound at once while both are marked for sharing. The marks
// are taken away again; a process of the same user that asks for a share may get
// one all the same.
func (s *Server) listenBeside(r *route, next *generation, inUse error) (*listener, error) {
	staying := make(map[string]bool)
	for _, other := range next.routes {
		staying[key(other)] = true
	}
	_, port, err := net.SplitHostPort(r.Address)
	if err != nil {
		return nil, inUse
	}
	room := false
	for k, l := range s.listeners {
		bound, ok := l.socket.Addr().(*net.TCPAddr)
		if staying[k] || !ok || strconv.Itoa(bound.Port) != port || share(l.socket, true) != nil {
			continue
		}
		defer func() { _ = share(l.socket, next.config.ReusePort) }() // it has worked the other way round
		room = true
	}
	if !room {
		return nil, inUse
	}
	l, err := s.listen(r, func(use, name, address string) (net.Listener, error) { return s.open(true, use, name, address) })
	if err != nil {
		return nil, inUse
	}
	_ = share(l.socket, next.config.ReusePort) // as above
	return l, nil
}
