package tlsconn

import "golang.org/x/crypto/cryptobyte"

// A stepOf is a step of a handshake. It reads one message, or record, and then acts
// without waiting for anything, and returns the step that follows, nil at the end.
// One that fails for want of bytes has done nothing yet, and is taken again; what it
// sends is queued and goes out before the next read.
type stepOf[H any] func(H) (stepOf[H], error)

type (
	step       = stepOf[*handshake]
	step13     = stepOf[*handshake13]
	clientStep = stepOf[*clientHandshake]
)

// takeSteps takes steps to the end of the handshake.
func takeSteps[H any](hs H, next *stepOf[H]) error {
	for *next != nil {
		following, err := (*next)(hs)
		if err != nil {
			return err
		}
		*next = following
	}
	return nil
}

// readMessage writes what is queued, and reads the next message.
func (c *Conn) readMessage(messageType uint8) ([]byte, error) {
	if err := c.out.flush(c.below); err != nil {
		return nil, err
	}
	return c.in.message(c.below, messageType)
}

// sendMessage queues a message of TLS 1.2.
func (c *Conn) sendMessage(t *transcript, messageType uint8, add func(*cryptobyte.Builder)) error {
	message, err := appendMessage(nil, messageType, add)
	if err != nil {
		return err
	}
	t.add(message)
	c.out.queue(recordHandshake, message)
	return nil
}

// readChangeCipherSpec writes what is queued, and reads ChangeCipherSpec (RFC 5246
// §7.1): what the peer sends from now on is protected.
func (c *Conn) readChangeCipherSpec(suite *cipherSuite, macKey, key, iv []byte) error {
	if err := c.out.flush(c.below); err != nil {
		return err
	}
	if err := c.in.changeCipherSpec(c.below); err != nil {
		return err
	}
	c.in.half.setCipher(suite, c.etm, macKey, key, iv, false)
	return nil
}

// sendChangeCipherSpec queues ChangeCipherSpec, and protects what is queued behind it.
func (c *Conn) sendChangeCipherSpec(suite *cipherSuite, macKey, key, iv []byte) {
	c.out.queue(recordChangeCipherSpec, []byte{1})
	c.out.setCipher(suite, c.etm, macKey, key, iv)
}
