package tlsconn

import (
	"bytes"
	"io"
	"net"
	"sync"
)

// Content types (RFC 5246 §6.2.1).
const (
	recordChangeCipherSpec uint8 = 20
	recordAlert            uint8 = 21
	recordHandshake        uint8 = 22
	recordApplicationData  uint8 = 23
)

const (
	// maxUseless is how many records in a row may bring nothing: warnings and
	// empty records.
	maxUseless = 16

	// maxMessage is the longest handshake message, in bytes without its header.
	// ClientHello, Certificate and NewSessionTicket are the only ones that can be
	// longer than a few hundred, or with long keys a few thousand.
	maxMessage = 64 << 10

	// maxHandshakeBytes is the most that a peer may send until the handshake
	// is complete, record headers included: three messages as long as can be, in
	// records that are not too small.
	maxHandshakeBytes = 4 * maxMessage

	// maxRenegotiations is how many times a peer is told that there is no
	// renegotiation.
	maxRenegotiations = 4
)

// inbound is the peer's direction of a connection.
type inbound struct {
	sync.Mutex
	err error // the first that is permanent

	half    halfConn
	reader  recordReader
	useless int // records in a row that brought nothing

	tls13 bool

	// Until the handshake is complete.
	received  int  // bytes, record headers included
	versioned bool // the version is settled
	lenient   bool // TLS 1.3: not everything need be protected yet
	dropEarly int  // TLS 1.3: bytes of records that may be dropped as early data
	messages  []byte
	consumed  int // bytes of messages that are the last one returned

	plaintext []byte // not yet read, in the reader's buffer or memory of its own
	hello     skipper
}

// endHandshake lets go of what only a handshake needs.
func (in *inbound) endHandshake() {
	in.messages, in.consumed = nil, 0
	in.reader.room = nil
	if len(in.plaintext) == 0 {
		in.reader.release()
	}
}

// record reads and opens the next record that is not a warning, into dst if that can
// be. Its data is valid until the next call, and until anything else is done with
// the connection below.
func (in *inbound) record(below io.Reader, dst []byte) (recordType uint8, data []byte, err error) {
	for {
		if err := in.reader.readHeader(below); err != nil {
			return 0, nil, err
		}
		if err := in.checkHeader(); err != nil {
			return 0, nil, err
		}
		fragment, err := in.reader.readFragment(below)
		if err != nil {
			return 0, nil, err
		}
		recordType, data, err := in.openRecord(dst, fragment)
		if err != nil {
			return 0, nil, err
		}
		if in.tls13 && in.moreMessages() && recordType != recordHandshake { // RFC 8446 §5.1
			return 0, nil, refuse(alertUnexpectedMessage, "record of type %d inside of a handshake message", recordType)
		}
		switch recordType {
		case recordDropped:
			continue
		case recordAlert:
		default:
			return recordType, data, nil
		}
		if err := in.heed(data); err != nil {
			return 0, nil, err
		}
	}
}

// checkHeader judges a record before anything is read, or held, for it.
func (in *inbound) checkHeader() error {
	recordType, version, length := in.reader.recordType(), in.reader.version(), in.reader.length()
	switch {
	case recordType < recordChangeCipherSpec || recordType > recordApplicationData:
		return refuse(alertUnexpectedMessage, "record of type %d", recordType)
	// Before there is a version, any {03,XX} has to do (RFC 5246 appendix E.1).
	// TLS 1.3 does not look at it (RFC 8446 §5.1).
	case version>>8 != recordVersion>>8 || in.versioned && !in.tls13 && version != recordVersion:
		return refuse(alertProtocolVersion, "record of version %#04x", version)
	// RFC 5246 §6.2.1, §6.2.3.
	case length > maxCiphertext || !in.half.protected && length > maxPlaintext || in.half.typed && length > maxCiphertext13:
		return refuse(alertRecordOverflow, "record of %d bytes", length)
	}
	return nil
}

// heed takes an alert (RFC 5246 §7.2). The error is nil for a warning.
func (in *inbound) heed(data []byte) error {
	if in.tls13 && len(data) == 0 { // RFC 8446 §5.4
		return refuse(alertUnexpectedMessage, "empty alert")
	}
	if len(data) != 2 {
		return refuse(alertDecodeError, "alert of %d bytes", len(data))
	}
	level, description := data[0], alert(data[1])
	switch {
	case description == alertCloseNotify:
		return io.EOF
	case in.tls13 && description == alertUserCanceled:
		return in.countUseless() // close_notify follows
	case in.tls13: // whatever the level (RFC 8446 §6)
		return &peerAlert{description}
	case level == alertLevelFatal:
		return &peerAlert{description}
	case level == alertLevelWarning:
		return in.countUseless()
	}
	return refuse(alertIllegalParameter, "alert of level %d", level)
}

func (in *inbound) countUseless() error {
	if in.useless++; in.useless > maxUseless {
		return refuse(alertUnexpectedMessage, "%d records in a row that bring nothing", in.useless)
	}
	return nil
}

// message returns the next handshake message, its header included (RFC 5246
// §7.4). A message of another type than the wanted one is refused when its
// first byte has come, and one that is too long when its header has. It may be
// kept: what comes next is put behind it.
func (in *inbound) message(below io.Reader, want uint8) ([]byte, error) {
	in.messages = in.messages[in.consumed:]
	in.consumed = 0
	for {
		if have := in.messages; len(have) > 0 {
			if have[0] != want {
				return nil, refuse(alertUnexpectedMessage, "message of type %d instead of %d", have[0], want)
			}
			if len(have) >= messageHeaderLen {
				length := int(have[1])<<16 | int(have[2])<<8 | int(have[3])
				switch {
				case length > maxMessage && want == typeFinished: // it has one length alone
					return nil, errDecode("Finished")
				case length > maxMessage:
					return nil, refuse(alertIllegalParameter, "message of type %d and %d bytes", want, length)
				}
				if len(have) >= messageHeaderLen+length {
					in.consumed = messageHeaderLen + length
					return have[:in.consumed:in.consumed], nil
				}
			}
		}
		data, err := in.handshakeRecord(below, recordHandshake)
		if err != nil {
			return nil, err
		}
		in.messages = append(in.messages, data...)
	}
}

// peek returns the type of the next handshake message, and leaves it there for
// message: a client learns from it which of the optional ones come.
func (in *inbound) peek(below io.Reader) (messageType uint8, err error) {
	in.messages = in.messages[in.consumed:]
	in.consumed = 0
	for len(in.messages) == 0 {
		data, err := in.handshakeRecord(below, recordHandshake)
		if err != nil {
			return 0, err
		}
		in.messages = append(in.messages, data...)
	}
	return in.messages[0], nil
}

// changeCipherSpec reads a ChangeCipherSpec message (RFC 5246 §7.1), which may
// not come inside another one.
func (in *inbound) changeCipherSpec(below io.Reader) error {
	if in.moreMessages() {
		return refuse(alertUnexpectedMessage, "%d handshake bytes before ChangeCipherSpec", len(in.messages)-in.consumed)
	}
	data, err := in.handshakeRecord(below, recordChangeCipherSpec)
	if err != nil {
		return err
	}
	if len(data) != 1 || data[0] != 1 {
		return refuse(alertDecodeError, "ChangeCipherSpec of %d bytes", len(data))
	}
	return nil
}

// moreMessages says whether anything came behind the last message. Nothing may
// where keys change, nor where it is our turn: those bytes were not protected
// as the next message has to be.
func (in *inbound) moreMessages() bool { return len(in.messages) > in.consumed }

// handshakeRecord reads a record of the type that is due in a handshake.
func (in *inbound) handshakeRecord(below io.Reader, want uint8) ([]byte, error) {
	recordType, data, err := in.record(below, nil)
	if err != nil {
		return nil, err
	}
	in.received += recordHeaderLen + len(data)
	switch {
	case recordType != want:
		return nil, refuse(alertUnexpectedMessage, "record of type %d instead of %d", recordType, want)
	case len(data) == 0: // RFC 5246 §6.2.1
		return nil, refuse(alertUnexpectedMessage, "empty record of type %d", recordType)
	case in.received > maxHandshakeBytes:
		return nil, refuse(alertUnexpectedMessage, "more than %d bytes in a handshake", maxHandshakeBytes)
	}
	in.useless = 0
	return data, nil
}

// Read reads what the peer sent. io.EOF is the peer's close_notify, or the
// end of the connection below between two records; inside a record, that is
// io.ErrUnexpectedEOF. While Read waits between two records, no buffer is held.
//
// A record that b has room for with all that protects it (18 KiB are enough for
// any) is opened in b, and bytes behind what is returned are changed, too.
func (c *Conn) Read(b []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	if len(b) == 0 {
		return 0, nil
	}
	c.in.Lock()
	defer c.in.Unlock()
	for len(c.in.plaintext) == 0 {
		if err := c.readApplicationData(b); err != nil {
			return 0, c.fail(err)
		}
	}
	in := &c.in
	n := len(in.plaintext)
	if &in.plaintext[0] != &b[0] { // it was not opened there
		n = copy(b, in.plaintext)
	}
	if in.plaintext = in.plaintext[n:]; len(in.plaintext) == 0 {
		in.plaintext = nil
		in.reader.release()
	}
	return n, nil
}

// readApplicationData reads a record, into b if that can be, and takes what it brings.
func (c *Conn) readApplicationData(b []byte) error {
	in := &c.in
	if in.err != nil {
		return in.err
	}
	recordType, data, err := in.record(c.below, b)
	if err != nil {
		return err
	}
	switch {
	case recordType == recordApplicationData && len(data) == 0:
		return in.countUseless()
	case recordType == recordApplicationData:
		in.useless = 0
		in.plaintext = data
		if len(data) > len(b) && in.reader.buffer == nil { // it is in the window, and not all of it is read now
			in.plaintext = bytes.Clone(data)
		}
		return nil
	case recordType == recordHandshake && len(data) > 0 && in.tls13:
		return c.updateKeys(data)
	case recordType == recordHandshake && len(data) > 0:
		return c.refuseRenegotiation(data)
	}
	return refuse(alertUnexpectedMessage, "record of type %d and %d bytes after the handshake", recordType, len(data))
}

// refuseRenegotiation answers a ClientHello after the first one, or with a client
// a HelloRequest (RFC 5246 §7.4.1.1), which the peer may send whenever it likes,
// with a warning (§7.2.2, no_renegotiation). Its bytes are counted and not kept.
func (c *Conn) refuseRenegotiation(data []byte) error {
	before := c.in.hello.messages
	asks := typeClientHello
	if c.isClient() {
		asks = typeHelloRequest
	}
	if err := c.in.hello.skip(data, asks); err != nil {
		return err
	}
	for range c.in.hello.messages - before {
		if err := c.out.warn(c.below, alertNoRenegotiation); err != nil {
			return err
		}
	}
	return nil
}

// A skipper finds the ends of messages of one type that nobody reads.
type skipper struct {
	header   [messageHeaderLen]byte
	have     int // bytes of the header
	rest     int // bytes of the message that are still to come
	messages int // that have come to their end
}

func (s *skipper) skip(data []byte, messageType uint8) error {
	for len(data) > 0 {
		if s.have < messageHeaderLen {
			n := copy(s.header[s.have:], data)
			s.have += n
			data = data[n:]
			if s.header[0] != messageType {
				return refuse(alertUnexpectedMessage, "message of type %d after the handshake", s.header[0])
			}
			if s.have < messageHeaderLen {
				return nil
			}
			s.rest = int(s.header[1])<<16 | int(s.header[2])<<8 | int(s.header[3])
			if s.rest > maxMessage {
				return refuse(alertIllegalParameter, "message of type %d and %d bytes", s.header[0], s.rest)
			}
		}
		n := min(s.rest, len(data))
		s.rest -= n
		data = data[n:]
		if s.rest > 0 {
			return nil
		}
		s.have = 0
		if s.messages++; s.messages > maxRenegotiations {
			return refuse(alertUnexpectedMessage, "renegotiation, for the time number %d", s.messages)
		}
	}
	return nil
}

// isTemporary says whether what failed with err may be called again. The
// connection below says so by itself and not by an error that it wraps: faults
// wrap what callbacks return.
func isTemporary(err error) bool {
	e, ok := err.(net.Error)
	//lint:ignore SA1019 deprecated for being vague, and yet what crypto/tls goes by
	return ok && e.Temporary()
}

// permanent is an error that is returned again and again, and so isn't
// temporary.
type permanent struct{ err net.Error }

func (p permanent) Error() string { return p.err.Error() }
func (p permanent) Unwrap() error { return p.err }
func (p permanent) Timeout() bool { return p.err.Timeout() }
func (permanent) Temporary() bool { return false }

// fail returns the error to give to the caller for one that came up while
// reading or handshaking. Unless it is temporary, it ends the direction, and if
// it calls for an alert, the connection: the client is sent the alert first.
// c.in must be locked.
func (c *Conn) fail(err error) error {
	in := &c.in
	if in.err != nil {
		return in.err
	}
	if isTemporary(err) {
		return err
	}
	switch e := err.(type) {
	case *fault:
		err = localError(e)
		c.out.end(c.below, e.alert, err)
	case *peerAlert:
		err = remoteError(e)
		c.out.endSilently(err)
	case net.Error:
		err = permanent{e}
	}
	in.err = err
	in.messages, in.consumed = nil, 0
	in.reader.room = nil
	in.reader.drop()
	return err
}
