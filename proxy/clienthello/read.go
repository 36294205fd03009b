package clienthello

import (
	"fmt"
	"io"
)

// MaxSize is the default limit of a ClientHello message, its header included:
// 64 KiB. A hello with post-quantum key shares takes about 2 KiB.
const MaxSize = 64 << 10

const (
	recordHeaderLen    = 5
	handshakeHeaderLen = 4

	// maxPlaintext is the most that a record carries (RFC 8446 §5.1).
	maxPlaintext = 1 << 14

	// firstBuffer holds most hellos, so that they cost one Read.
	firstBuffer = 2 << 10

	// maxEmptyReads in a row are taken for a broken reader, as in bufio.
	maxEmptyReads = 100
)

// Record types (RFC 8446 §5.1, RFC 6520 §3).
const (
	recordChangeCipherSpec = 20
	recordAlert            = 21
	recordHandshake        = 22
	recordApplicationData  = 23
	recordHeartbeat        = 24
)

const typeClientHello = 1

// Read reads from r until a ClientHello is complete, and parses it. It reads
// whatever there is, and keeps it for [Hello.Replay]. Deadlines are the
// caller's.
//
// A message, header included, of more than limit bytes is refused as soon as it
// is announced, and one that takes more than twice as many bytes with the
// headers of its records when these have come; 0 or less means [MaxSize].
//
// The error is one of
//   - [*NotTLSError]: the client speaks something else;
//   - [*ParseError]: the hello is malformed or too large;
//   - [*PartialError]: r failed before the hello was complete.
func Read(r io.Reader, limit int) (*Hello, error) {
	c := NewCollector(limit)
	raw := make([]byte, 0, firstBuffer)
	for empty := 0; ; {
		n, err := r.Read(raw[len(raw):cap(raw)])
		raw = raw[:len(raw)+n]
		// What came with an error counts first: a client may send its hello
		// and half-close.
		h, refusal := c.Collect(raw)
		if refusal != nil {
			return nil, refusal
		}
		if h != nil {
			h.raw = raw
			return h, nil
		}
		if n > 0 {
			empty = 0
		} else if empty++; empty == maxEmptyReads && err == nil {
			err = io.ErrNoProgress
		}
		if err != nil {
			return nil, &PartialError{Received: len(raw), Err: err}
		}
		if len(raw) == cap(raw) {
			raw = append(make([]byte, 0, 2*cap(raw)), raw...)
		}
	}
}

// A Collector is [Read] for who has the bytes from elsewhere than a connection,
// piece by piece, and keeps them itself.
type Collector struct{ a assembler }

// NewCollector returns a collector with the limit that [Read] has.
func NewCollector(limit int) *Collector {
	if limit <= 0 {
		limit = MaxSize
	}
	return &Collector{assembler{limit: limit}}
}

// Collect looks at everything that has come so far: raw is what it was in the
// call before, and more. It returns neither a hello nor an error while the hello
// is not complete, and its error is a [*NotTLSError] or a [*ParseError]. Once
// there was either, the collector is done. The hello has nothing to replay.
func (c *Collector) Collect(raw []byte) (*Hello, error) {
	done, err := c.a.advance(raw)
	if err != nil || !done {
		return nil, err
	}
	h, err := Parse(c.a.message(raw))
	if err != nil {
		return nil, err
	}
	h.RecordVersion = uint16(raw[1])<<8 | uint16(raw[2])
	return h, nil
}

// assembler finds the hello in the records that carry it. It looks at headers
// only, and at those of complete records once, so that a slow sender costs no
// more than a fast one.
type assembler struct {
	limit int

	record int                      // offset of the first record that is not complete
	header [handshakeHeaderLen]byte // of the message
	have   int                      // bytes of the message in the records before
	want   int                      // length of the message; 0 while its header is not complete
}

// advance looks at what has come since it was called last, raw being everything
// so far, and reports whether the message is complete. It refuses at the first
// byte that is wrong.
func (a *assembler) advance(raw []byte) (done bool, err error) {
	for {
		record := raw[a.record:]
		length, err := a.checkRecordHeader(record)
		if err != nil {
			return false, err
		}
		if len(record) < recordHeaderLen {
			break
		}
		fragment := record[recordHeaderLen:min(len(record), recordHeaderLen+length)]
		if err := a.checkMessageHeader(fragment); err != nil {
			return false, err
		}
		if a.want > 0 && a.have+length > a.want {
			// "Handshake messages MUST NOT span key changes" (RFC 8446 §5.1),
			// and before the server's hello a client has nothing more to say.
			return false, refuse(alertUnexpectedMessage, "%d more handshake bytes behind the hello", a.have+length-a.want)
		}
		if len(fragment) < length {
			break
		}
		a.have += length
		a.record += recordHeaderLen + length
		if a.have == a.want {
			break
		}
	}
	done = a.want > 0 && a.have == a.want
	// The same bound whether the last bytes came alone or with others.
	if onWire := 2 * a.limit; a.record > onWire || !done && len(raw) >= onWire {
		return false, tooLarge("more than %d bytes with its record headers", onWire)
	}
	return done, nil
}

// checkRecordHeader checks as much of a record's header as has come, and
// returns the length in it, if it is there.
func (a *assembler) checkRecordHeader(record []byte) (length int, err error) {
	first := a.record == 0
	if first && !mayBeRecord(record) {
		return 0, identify(record)
	}
	if len(record) >= 1 && record[0] != recordHandshake && (!first || len(record) >= 2) {
		where := "inside the hello"
		if first {
			where = "before the hello"
		}
		return 0, refuse(alertUnexpectedMessage, "%s record %s", recordName(record[0]), where)
	}
	// Any {03,XX} has to do (RFC 5246 appendix E.1).
	if len(record) >= 2 && record[1] != 3 {
		return 0, refuse(alertProtocolVersion, "major record version %d inside the hello", record[1])
	}
	if len(record) < recordHeaderLen {
		return 0, nil
	}
	length = int(record[3])<<8 | int(record[4])
	switch {
	case length == 0:
		// "Implementations MUST NOT send zero-length fragments of Handshake
		// types" (RFC 8446 §5.1).
		return 0, refuse(alertUnexpectedMessage, "empty handshake record")
	case length > maxPlaintext:
		return 0, refuse(alertRecordOverflow, "record of %d bytes", length)
	}
	return length, nil
}

// mayBeRecord reports whether a TLS record can begin like b.
func mayBeRecord(b []byte) bool {
	if len(b) >= 1 && (b[0] < recordChangeCipherSpec || b[0] > recordHeartbeat) {
		return false
	}
	return len(b) < 2 || b[1] == 3
}

func recordName(recordType byte) string {
	switch recordType {
	case recordChangeCipherSpec:
		return "change_cipher_spec"
	case recordAlert:
		return "alert"
	case recordApplicationData:
		return "application_data"
	case recordHeartbeat:
		return "heartbeat"
	default:
		return fmt.Sprintf("unknown (%d)", recordType)
	}
}

// checkMessageHeader takes what the fragment has of the message's header, and
// checks it as soon as it can.
func (a *assembler) checkMessageHeader(fragment []byte) error {
	if a.want > 0 || len(fragment) == 0 {
		return nil
	}
	if a.have < handshakeHeaderLen {
		copy(a.header[a.have:], fragment)
	}
	if a.header[0] != typeClientHello {
		return refuse(alertUnexpectedMessage, "handshake message of type %d, not a ClientHello", a.header[0])
	}
	if a.have+len(fragment) < handshakeHeaderLen {
		return nil
	}
	a.want = handshakeHeaderLen + (int(a.header[1])<<16 | int(a.header[2])<<8 | int(a.header[3]))
	if a.want > a.limit {
		return tooLarge("message of %d bytes", a.want)
	}
	return nil
}

// message returns the message in the complete records of raw: in place if one
// record carries all of it.
func (a *assembler) message(raw []byte) []byte {
	if a.record == recordHeaderLen+a.want {
		return raw[recordHeaderLen:a.record]
	}
	msg := make([]byte, 0, a.want)
	for record := raw[:a.record]; len(record) > 0; {
		end := recordHeaderLen + (int(record[3])<<8 | int(record[4]))
		msg = append(msg, record[recordHeaderLen:end]...)
		record = record[end:]
	}
	return msg
}
