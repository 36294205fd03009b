package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// What a [Backend] does with a connection goes by its first byte. Any other one
// is as ModeEcho.
const (
	// ModeEcho sends everything back, this byte too.
	ModeEcho = 'e'
	// ModeDiscard takes everything, and at its end answers with the number of
	// bytes behind this one, in decimal with a line feed.
	ModeDiscard = 'd'
	// ModeSource is followed by a number of 8 bytes, the highest first, and
	// answered with so many bytes.
	ModeSource = 's'
)

const (
	chunkSize  = 64 << 10
	sourceSize = 8 // of ModeSource's number
)

// A Backend is what is measured with behind a gateway, in the place of a broker:
// it speaks plaintext, and does as each connection's first byte says. Its zero
// value is ready.
type Backend struct{}

// Serve accepts connections until ctx is done, then closes the listener and the
// connections, and returns nil. It returns an error if the listener fails before.
func (b *Backend) Serve(ctx context.Context, listener net.Listener) error {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	for {
		conn, err := listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("load: backend: %w", err)
		case err != nil:
			time.Sleep(10 * time.Millisecond) // for want of file descriptors, perhaps, which connections give back
			continue
		}
		handlers.Go(func() {
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			defer conn.Close()
			serveBackend(conn)
		})
	}
}

// serveBackend ends with the connection, whose errors are the client's to tell.
func serveBackend(conn net.Conn) {
	first := make([]byte, 1, 1+sourceSize)
	if _, err := io.ReadFull(conn, first); err != nil {
		return
	}
	switch first[0] {
	case ModeDiscard:
		n, err := io.Copy(io.Discard, conn)
		if err == nil {
			_, _ = fmt.Fprintln(conn, n)
		}
	case ModeSource:
		number := make([]byte, sourceSize)
		if _, err := io.ReadFull(conn, number); err != nil {
			return
		}
		sendBytes(conn, binary.BigEndian.Uint64(number))
	default:
		if _, err := conn.Write(first); err != nil {
			return
		}
		// Without the splice(2) of net.TCPConn, which takes two pairs of system calls
		// where small frames need a read and a write.
		_, _ = io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
	}
}

func sendBytes(conn net.Conn, n uint64) {
	chunk := make([]byte, chunkSize)
	for n > 0 {
		part := min(n, chunkSize)
		if _, err := conn.Write(chunk[:part]); err != nil {
			return
		}
		n -= part
	}
}
