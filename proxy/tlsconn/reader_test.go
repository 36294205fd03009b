package tlsconn

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

// Records that are short enough for a handshake's room leave nothing behind, either.
func TestRecordReaderRoom(t *testing.T) {
	r := recordReader{room: new([firstRead]byte)}
	below := bytes.NewReader([]byte{22, 3, 3, 0, 3, 7, 7, 7})
	if err := r.readHeader(below); err != nil {
		t.Fatal(err)
	}
	buffer := r.buffer
	if got, err := r.readFragment(below); err != nil || !bytes.Equal(got, []byte{7, 7, 7}) || below.Len() > 0 {
		t.Fatalf("%x, %v", got, err)
	}
	r.release()
	if buffer == nil || *buffer != (readBuffer{}) {
		t.Error("a buffer was given back with something in it")
	}
}

// Records come out as they went in, however the bytes arrive, and a buffer that
// is given back holds nothing of them.
func TestRecordReader(t *testing.T) {
	var stream []byte
	var want [][]byte
	for i, size := range []int{1, 0, 100, maxCiphertext, maxCiphertext, 3, 4, maxPlaintext, maxCiphertext, 0, 5} {
		fragment := bytes.Repeat([]byte{byte(i + 1)}, size)
		want = append(want, fragment)
		stream = append(stream, recordApplicationData, 3, 3, byte(size>>8), byte(size))
		stream = append(stream, fragment...)
	}
	for name, below := range map[string]io.Reader{
		"handshake":      bytes.NewReader(stream),
		"whole":          bytes.NewReader(stream),
		"byte by byte":   iotest.OneByteReader(bytes.NewReader(stream)),
		"in halves":      iotest.HalfReader(bytes.NewReader(stream)),
		"EOF with bytes": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		t.Run(name, func(t *testing.T) {
			var r recordReader
			if name == "handshake" {
				r.room = new([firstRead]byte)
			}
			var used []*readBuffer
			for i := range want {
				if err := r.readHeader(below); err != nil {
					t.Fatal(err)
				}
				if r.recordType() != recordApplicationData || r.version() != recordVersion || r.length() != len(want[i]) {
					t.Fatalf("header %x", r.header)
				}
				got, err := r.readFragment(below)
				if err != nil || !bytes.Equal(got, want[i]) {
					t.Fatalf("fragment %d of %d bytes: %v", i, len(got), err)
				}
				used = append(used, r.buffer)
			}
			if err := r.readHeader(below); err != io.EOF || r.buffer != nil {
				t.Fatalf("at the end: %v", err)
			}
			for _, buffer := range used {
				if buffer != nil && *buffer != (readBuffer{}) {
					t.Fatal("a buffer was given back with something in it")
				}
			}
		})
	}
}
