package tls12

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

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
		"whole":          bytes.NewReader(stream),
		"byte by byte":   iotest.OneByteReader(bytes.NewReader(stream)),
		"in halves":      iotest.HalfReader(bytes.NewReader(stream)),
		"EOF with bytes": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		t.Run(name, func(t *testing.T) {
			var r recordReader
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
