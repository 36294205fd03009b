package tlsconn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// closeTimeout is how long Close and CloseWrite wait for the connection below
// to take close_notify, as in crypto/tls.
const closeTimeout = 5 * time.Second

var (
	errShutdown   = errors.New("tlsconn: write side is shut down")
	errEarlyClose = errors.New("tlsconn: CloseWrite before the handshake is complete")
)

// outbound is our direction of a connection.
type outbound struct {
	sync.Mutex
	err error // the first that is permanent

	writer recordWriter

	// unreported is how many bytes of the next Write have been sealed already:
	// those that an earlier one, stopped by a temporary error, did not report
	// as written.
	unreported int

	closing bool // close_notify was sealed

	// updateDue says that the peer is owed a KeyUpdate before it gets more data
	// (RFC 8446 §4.6.3). It is set without the lock, which a Write holds for as
	// long as the peer lets it wait.
	updateDue atomic.Bool
}

// queue seals a message of the handshake, to be written with the next flush.
func (out *outbound) queue(recordType uint8, data []byte) {
	out.Lock()
	defer out.Unlock()
	out.writer.add(recordType, data)
}

// setCipher protects what is queued from now on.
func (out *outbound) setCipher(suite *cipherSuite, encryptThenMAC bool, macKey, key, iv []byte) {
	out.Lock()
	defer out.Unlock()
	out.writer.half.setCipher(suite, encryptThenMAC, macKey, key, iv, true)
}

// setTraffic13 protects what is queued from now on as TLS 1.3 does.
func (out *outbound) setTraffic13(a *aead13) {
	out.Lock()
	defer out.Unlock()
	out.writer.half.setTraffic13(a, true)
}

// flush writes what was queued.
func (out *outbound) flush(below io.Writer) error {
	out.Lock()
	defer out.Unlock()
	return out.flushLocked(below)
}

func (out *outbound) flushLocked(below io.Writer) error {
	err := out.writer.flush(below)
	if err == nil || isTemporary(err) {
		return err
	}
	if e, ok := err.(net.Error); ok {
		err = permanent{e}
	}
	out.endLocked(err)
	return err
}

func (out *outbound) endLocked(err error) {
	if out.err == nil {
		out.err = err
	}
	out.writer.drop()
}

// endSilently makes err the answer to everything that is still to be written.
func (out *outbound) endSilently(err error) {
	out.Lock()
	defer out.Unlock()
	out.endLocked(err)
}

// end sends a fatal alert, as far as it can be sent now, and makes err the
// answer to everything that is still to be written. Close sends the rest.
func (out *outbound) end(below io.Writer, a alert, err error) {
	out.Lock()
	defer out.Unlock()
	if out.err != nil {
		return
	}
	if !out.closing {
		out.writer.add(recordAlert, []byte{alertLevelFatal, byte(a)})
	}
	_ = out.writer.flush(below) // the alert's cause matters more
	out.err = err
}

// warn sends a warning, now or with what is written next.
func (out *outbound) warn(below io.Writer, a alert) error {
	out.Lock()
	defer out.Unlock()
	if out.err != nil || out.closing {
		return nil // there is no one to warn
	}
	out.writer.add(recordAlert, []byte{alertLevelWarning, byte(a)})
	if err := out.flushLocked(below); err != nil && !isTemporary(err) {
		return err
	}
	return nil
}

// Write writes b, in records of 16 KiB and up to four of them at once. What it
// reports as written was handed to the connection below.
//
// After a temporary error, the caller goes on by calling Write again with what
// was not reported as written: that may have been sealed already and will not
// be sealed again, so the bytes must be the same, and nobody else may write in
// between.
func (c *Conn) Write(b []byte) (int, error) {
	for { // Interlock with Close.
		x := c.active.Load()
		if x&1 != 0 {
			return 0, net.ErrClosed
		}
		if c.active.CompareAndSwap(x, x+2) {
			break
		}
	}
	defer c.active.Add(-2)
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	c.out.Lock()
	defer c.out.Unlock()
	return c.out.write(c.below, b)
}

func (out *outbound) write(below io.Writer, b []byte) (written int, err error) {
	for {
		if out.err != nil {
			return written, out.err
		}
		if out.closing {
			return written, errShutdown
		}
		if err := out.flushLocked(below); err != nil {
			return written, err
		}
		n := min(out.unreported, len(b))
		out.unreported -= n
		written += n
		if b = b[n:]; len(b) == 0 {
			return written, nil
		}
		n = min(len(b), maxBatch)
		out.updateKeys()
		out.writer.add(recordApplicationData, b[:n])
		out.unreported = n
	}
}

// CloseWrite sends close_notify (RFC 5246 §7.2.1): the client will read no more
// than what was written so far. Reading goes on. The handshake must be complete.
func (c *Conn) CloseWrite() error {
	if !c.handshakeDone.Load() {
		return errEarlyClose
	}
	return c.out.closeNotify(c.below)
}

func (out *outbound) closeNotify(below net.Conn) error {
	out.Lock()
	defer out.Unlock()
	if out.err != nil {
		return out.err
	}
	if !out.closing {
		out.closing = true
		out.writer.add(recordAlert, []byte{alertLevelWarning, byte(alertCloseNotify)})
	}
	_ = below.SetWriteDeadline(time.Now().Add(closeTimeout)) // without one, we wait
	return out.flushLocked(below)
}

// Close closes the connection, with close_notify if the handshake is complete
// and neither side has sent a fatal alert. It does not wait for a Write that is
// under way, and not long for the client.
func (c *Conn) Close() error {
	var writers int32
	for { // Interlock with Write.
		writers = c.active.Load()
		if writers&1 != 0 {
			return net.ErrClosed
		}
		if c.active.CompareAndSwap(writers, writers|1) {
			break
		}
	}
	if writers != 0 {
		// Closing the connection below makes them return.
		return c.below.Close()
	}
	notifyErr := c.closeInOrder()
	if err := c.below.Close(); err != nil {
		return err
	}
	if notifyErr != nil {
		return fmt.Errorf("tlsconn: connection closed without close_notify: %w", notifyErr)
	}
	return nil
}

// closeInOrder sends close_notify, or what is left of a fatal alert.
func (c *Conn) closeInOrder() error {
	// A Read that sends an alert holds the lock: the deadline is for it too.
	_ = c.below.SetWriteDeadline(time.Now().Add(closeTimeout))
	c.out.Lock()
	ended := c.out.err != nil
	if ended {
		_ = c.out.writer.flush(c.below) // Read or Write has told why
		c.out.writer.drop()
	}
	c.out.Unlock()
	if ended || !c.handshakeDone.Load() {
		return nil
	}
	return c.out.closeNotify(c.below)
}
