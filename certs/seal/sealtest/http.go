package sealtest

import (
	"net"
	"net/http"
)

// Break does to the connection what a fault says, if it is one that needs no
// protocol, and reports whether the call is over with that. The request must have
// been read.
func Break(w http.ResponseWriter, r *http.Request, fault Fault) bool {
	switch fault {
	case Reset, Cut:
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err) // both are HTTP/1.1 here
		}
		if fault == Cut {
			_, _ = buffered.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"Plain")
			_ = buffered.Flush() // what the client sees of it is an error anyway
		}
		if tcp, ok := conn.(*net.TCPConn); ok && fault == Reset {
			_ = tcp.SetLinger(0) // a reset instead of an end
		}
		_ = conn.Close()
	case Slow:
		<-r.Context().Done()
	case Garbage:
		_, _ = w.Write([]byte("<html>It works!</html>"))
	case Empty:
		_, _ = w.Write([]byte("{}"))
	default:
		return false
	}
	return true
}
