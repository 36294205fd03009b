package sniff

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"testing"
)

// startOkFrame is a Connection.StartOk with client-properties.
func startOkFrame(table string) []byte {
	payload := binary.BigEndian.AppendUint32([]byte("\x00\x0a\x00\x0b"), uint32(len(table)))
	payload = append(payload, table...)
	payload = append(payload, "\x05PLAIN\x00\x00\x00\x0b\x00user\x00secret\x05en_US"...)
	frame := binary.BigEndian.AppendUint32([]byte("\x01\x00\x00"), uint32(len(payload)))
	return append(append(frame, payload...), 0xCE)
}

const (
	capabilities = "\x0ccapabilitiesF\x00\x00\x00\x15\x12publisher_confirmst\x01"
	product      = "\x07productS\x00\x00\x00\x04Pika"
	version      = "\x07versionS\x00\x00\x00\x051.3.2"
)

func TestOverhear(t *testing.T) {
	late := errors.New("late")
	for name, test := range map[string]struct {
		sent string
		end  error
		want Product
	}{
		"all":             {string(startOkFrame(capabilities + product + version)), io.EOF, Product{"Pika", "1.3.2"}},
		"every kind":      {string(startOkFrame("\x01at\x01\x01bI\x00\x00\x00\x01\x01cl\x00\x00\x00\x00\x00\x00\x00\x01\x01dD\x00\x00\x00\x00\x01\x01eV\x01fs\x00\x01" + product)), io.EOF, Product{Name: "Pika"}},
		"unknown kind":    {string(startOkFrame("\x01a?" + product)), io.EOF, Product{}},
		"value cut short": {string(startOkFrame("\x07productS\x00\x00\x00\x09Pika")), io.EOF, Product{}},
		"huge value":      {string(startOkFrame("\x07productS\xff\xff\xff\xffPika")), io.EOF, Product{}},
		"name cut short":  {string(startOkFrame("\xffproduct")), io.EOF, Product{}},
		"no table":        {string(startOkFrame("")), io.EOF, Product{}},
		"huge table":      {"\x01\x00\x00\xff\xff\xff\xff\x00\x0a\x00\x0b\xff\xff\xff\xff", io.EOF, Product{}},
		"another frame":   {"\x08\x00\x00\x00\x00\x00\x00\xce", io.EOF, Product{}},
		"another method":  {"\x01\x00\x00\x00\x00\x00\x08\x00\x0a\x00\x28\x00\x00\x00\x00\xce", io.EOF, Product{}},
		"ends early":      {string(startOkFrame(product)[:20]), io.EOF, Product{}},
		"breaks early":    {"", late, Product{}},
	} {
		for _, size := range []int{1, 7, 4096} {
			source := &conn{read: pieces([]byte(test.sent), size, test.end)}
			var heard []Product
			c := Overhear(source, func(p Product) { heard = append(heard, p) })
			var got []byte
			buffer := make([]byte, size)
			var err error
			for err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				var n int
				n, err = c.Read(buffer)
				got = append(got, buffer[:n]...)
			}
			if !bytes.Equal(got, []byte(test.sent)) || err != test.end {
				t.Errorf("%s by %d: read %q, %v", name, size, got, err)
			}
			if !slices.Equal(heard, []Product{test.want}) {
				t.Errorf("%s by %d: heard %q, want %q once", name, size, heard, test.want)
			}
		}
	}
}

// conn reads what its function brings.
type conn struct {
	Conn
	read func([]byte) (int, error)
}

func (c *conn) Read(p []byte) (int, error) { return c.read(p) }

// timeout is a temporary error.
type timeout struct{}

func (timeout) Error() string   { return "nothing there" }
func (timeout) Unwrap() error   { return os.ErrDeadlineExceeded }
func (timeout) Temporary() bool { return true }

// pieces brings b in pieces, with a temporary error before each of them, and
// then an error.
func pieces(b []byte, size int, end error) func([]byte) (int, error) {
	waits := true
	return func(p []byte) (int, error) {
		if waits = !waits; !waits {
			return 0, timeout{}
		}
		if len(b) == 0 {
			return 0, end
		}
		n := copy(p, b[:min(size, len(b))])
		b = b[n:]
		return n, nil
	}
}

func FuzzStartOk(f *testing.F) {
	f.Add(startOkFrame(capabilities + product + version))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, v := startOk(b)
		for n := range b {
			part, w := startOk(b[:n])
			if w != more && (w != v || part != whole) {
				t.Fatalf("%d bytes: %v %q, all: %v %q", n, w, part, v, whole)
			}
		}
	})
}
