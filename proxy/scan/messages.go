package scan

import (
	"io"

	"golang.org/x/crypto/cryptobyte"
)

const (
	maxRecord = 1<<14 + 256 // some servers do not count as RFC 8446 §5.1 does
	maxAnswer = 128 << 10   // bytes of one answer, with a long chain in it
)

// messages puts handshake messages together from records.
type messages struct {
	r       io.Reader
	started bool
	size    int // of all records
	pending []byte
	whole   bool // what is there for middleboxes may come in between

	// open decrypts a record, whose header is authenticated. Before there are
	// keys, it is nil.
	open func(header, sealed []byte) ([]byte, error)
}

// next returns a message. Its body is the caller's.
func (m *messages) next() (kind uint8, body cryptobyte.String, err error) {
	for {
		s := cryptobyte.String(m.pending)
		if s.ReadUint8(&kind) && s.ReadUint24LengthPrefixed(&body) {
			m.pending = s
			return kind, body, nil
		}
		if err := m.readRecord(); err != nil {
			return 0, nil, err
		}
	}
}

// readRecord appends the contents of the next handshake record to what is
// pending, and passes over warnings and over what is there for middleboxes.
func (m *messages) readRecord() error {
	header, record, err := m.read()
	if err != nil {
		return err
	}
	kind := header[0]
	switch {
	case kind == recordChangeCipherSpec && m.whole && len(record) == 1 && record[0] == 1: // RFC 8446 §D.4
		return nil
	case kind == recordApplicationData && m.open != nil:
		if record, err = m.open(header, record); err != nil {
			return err
		}
		if kind, record, err = unpad(record); err != nil {
			return err
		}
	case kind == recordHandshake && m.open != nil:
		return malformed("record of type %d where encryption has begun", kind)
	}
	switch kind {
	case recordHandshake:
		m.pending = append(m.pending, record...)
		return nil
	case recordAlert:
		return readAlert(record)
	}
	return malformed("record of type %d", kind)
}

// read returns the next record as it is on the wire.
func (m *messages) read() (header, record []byte, err error) {
	header = make([]byte, 5)
	if n, err := io.ReadFull(m.r, header); err == io.ErrUnexpectedEOF {
		if !m.started && (header[0] != recordAlert && header[0] != recordHandshake) {
			return nil, nil, &notTLSError{header[:n]}
		}
		return nil, nil, io.EOF
	} else if err != nil {
		return nil, nil, err
	}
	kind, major, length := header[0], header[1], int(header[3])<<8|int(header[4])
	if !m.started && (kind != recordAlert && kind != recordHandshake || major != 3) {
		return nil, nil, &notTLSError{header}
	}
	if major != 3 {
		return nil, nil, malformed("record of type %d", kind)
	}
	m.started = true
	if length == 0 || length > maxRecord {
		return nil, nil, malformed("record of %d bytes", length)
	}
	if m.size += length; m.size > maxAnswer {
		return nil, nil, malformed("more than %d bytes", maxAnswer)
	}
	record = make([]byte, length)
	if _, err := io.ReadFull(m.r, record); err == io.ErrUnexpectedEOF {
		return nil, nil, io.EOF
	} else if err != nil {
		return nil, nil, err
	}
	return header, record, nil
}

// readAlert returns the error that an alert is; a warning is none.
func readAlert(record []byte) error {
	switch {
	case len(record) != 2:
		return malformed("alert of %d bytes", len(record))
	case record[1] == alertCloseNotify:
		return io.EOF
	case record[0] == alertLevelWarning:
		return nil
	}
	return alertError(record[1])
}

// unpad reads TLSInnerPlaintext: contents, their type, and zeros (RFC 8446 §5.2).
func unpad(inner []byte) (kind uint8, contents []byte, err error) {
	for end := len(inner) - 1; end >= 0; end-- {
		if kind := inner[end]; kind != 0 {
			if end == 0 {
				return 0, nil, malformed("empty record of type %d", kind) // RFC 8446 §5.4
			}
			return kind, inner[:end], nil
		}
	}
	return 0, nil, malformed("record without a type")
}
