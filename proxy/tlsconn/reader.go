package tlsconn

import (
	"encoding/binary"
	"io"
	"sync"
)

// maxEmptyReads in a row are taken for a broken connection, as in bufio.
const maxEmptyReads = 100

// A recordReader cuts what a connection delivers into records. An error from
// below, at whatever byte, loses nothing: the call that failed may be made
// again.
//
// A connection may idle for days, so while nothing of a record has come but its
// header, no buffer is held for it.
type recordReader struct {
	header [recordHeaderLen]byte
	have   int // bytes of header that have come

	// What was read beyond the header is buffer[start:end]; nil when that is
	// nothing.
	buffer     *readBuffer
	start, end int
	most       int // end at its highest

	// window, if there is one, shows records that have come whole. misses counts
	// those in a row that it did not.
	window Window
	misses int

	// room, while there is any, is where a record begins: a handshake's are
	// short, and come whole with one call. What is behind the header goes to the
	// buffer.
	room *[firstRead]byte
}

// firstRead is how much is read at once of a record in a handshake: more than its
// usual ones have, and less than would matter for each client that takes its time.
const firstRead = 512

// A Window is a connection that shows what it has received before that is read. See
// [Conn.Rebase].
type Window interface {
	// Next returns the next n bytes, and they count as read. It returns nil, and
	// nothing counts, unless that many are there already. The caller may write over
	// them, and has them until it does anything else with the connection.
	Next(n int) []byte
}

// maxMisses is how many records in a row may not be whole in the window before it
// is taken for one that shows nothing.
const maxMisses = 8

// A readBuffer holds the longest fragment there can be.
type readBuffer [maxCiphertext]byte

var readBuffers = sync.Pool{New: func() any { return new(readBuffer) }}

// readHeader reads the header of the next record, once. It gives the buffer
// back if that is empty: the last fragment must not be used any more.
//
// The error is io.EOF only where no byte of the record has come, and
// io.ErrUnexpectedEOF elsewhere.
func (r *recordReader) readHeader(below io.Reader) error {
	if r.have < recordHeaderLen && r.buffer != nil {
		n := copy(r.header[r.have:], r.buffer[r.start:r.end])
		r.have += n
		r.start += n
		r.release()
	}
	for empty := 0; r.have < recordHeaderLen; {
		n, err := r.readStart(below)
		r.have += n
		if err := r.progress(n, &empty, r.have == recordHeaderLen, err); err != nil {
			return err
		}
	}
	return nil
}

// readStart reads bytes of the header, and perhaps others behind it.
func (r *recordReader) readStart(below io.Reader) (n int, err error) {
	if r.room == nil {
		return below.Read(r.header[r.have:])
	}
	read, err := below.Read(r.room[:])
	n = copy(r.header[r.have:], r.room[:read])
	if rest := r.room[n:read]; len(rest) > 0 {
		r.buffer = readBuffers.Get().(*readBuffer)
		r.end = copy(r.buffer[:], rest)
		r.most = r.end
	}
	return n, err
}

func (r *recordReader) recordType() uint8 { return r.header[0] }
func (r *recordReader) version() uint16   { return binary.BigEndian.Uint16(r.header[1:]) }
func (r *recordReader) length() int       { return int(binary.BigEndian.Uint16(r.header[3:])) }

// readFragment reads what follows the header, whose length must not be more
// than maxCiphertext, and makes room for the next header. The fragment is valid
// until the next call of readHeader or release.
func (r *recordReader) readFragment(below io.Reader) ([]byte, error) {
	length := r.length()
	if whole := r.inWindow(length); whole != nil {
		r.have = 0
		return whole, nil
	}
	if length > 0 && r.buffer == nil {
		r.buffer = readBuffers.Get().(*readBuffer)
	}
	if r.buffer != nil && len(r.buffer)-r.start < length {
		r.end = copy(r.buffer[:], r.buffer[r.start:r.end])
		r.start = 0
	}
	// As much as there is: in a stream, that saves the read for the next header. But
	// what is to be seen in the window must not be read here.
	until := len(r.buffer)
	if r.window != nil && r.misses <= maxMisses {
		until = r.start + length
	}
	for empty := 0; r.end-r.start < length; {
		n, err := below.Read(r.buffer[r.end:until])
		r.end += n
		r.most = max(r.most, r.end)
		if err := r.progress(n, &empty, r.end-r.start >= length, err); err != nil {
			return nil, err
		}
	}
	r.have = 0
	if length == 0 {
		return nil, nil
	}
	fragment := r.buffer[r.start : r.start+length]
	r.start += length
	return fragment, nil
}

// inWindow returns the fragment if it is to be seen in the window.
func (r *recordReader) inWindow(length int) []byte {
	if r.window == nil || r.buffer != nil || length == 0 {
		return nil
	}
	whole := r.window.Next(length)
	if whole != nil {
		r.misses = 0
	} else if r.misses <= maxMisses {
		r.misses++
	}
	return whole
}

// progress judges the result of a read. What came with an error counts first:
// if it is enough, the next read will fail again.
func (r *recordReader) progress(n int, empty *int, enough bool, err error) error {
	switch {
	case enough:
		return nil
	case err == io.EOF && r.have > 0:
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	case n > 0:
		*empty = 0
	default:
		if *empty++; *empty == maxEmptyReads {
			return io.ErrNoProgress
		}
	}
	return nil
}

// release gives the buffer back if all of it was used. It is cleared before: it
// held plaintext, and the next one to use it is another connection.
func (r *recordReader) release() {
	if r.buffer != nil && r.start == r.end {
		clear(r.buffer[:r.most])
		readBuffers.Put(r.buffer)
		r.buffer, r.start, r.end, r.most = nil, 0, 0, 0
	}
}

// drop gives the buffer back, with whatever is in it.
func (r *recordReader) drop() {
	r.start = r.end
	r.release()
}
