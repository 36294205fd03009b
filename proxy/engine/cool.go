package engine

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// Cool lets go of the buffers of a connection that has nothing to read. crypto/tls
// keeps what its longest record took, for as long as the connection lasts: 16 KiB
// and more, of which an idle one needs nothing. No other method may run meanwhile.
func (c *standardConn) Cool() { coolConn(c.Conn) }

// inside is where a tls.Conn keeps what it has received. These are fields that
// crypto/tls does not export; where one is not there, or is of another type,
// nothing is done.
var inside = lookInside(reflect.TypeFor[tls.Conn]())

type buffers struct {
	known                     bool
	records, payload, message uintptr // offsets
}

func lookInside(conn reflect.Type) (b buffers) {
	offset := func(name string, want reflect.Type) (at uintptr, ok bool) {
		field, ok := conn.FieldByName(name)
		return field.Offset, ok && field.Type == want && len(field.Index) == 1
	}
	var records, payload, message bool
	b.records, records = offset("rawInput", reflect.TypeFor[bytes.Buffer]())
	b.payload, payload = offset("input", reflect.TypeFor[bytes.Reader]())
	b.message, message = offset("hand", reflect.TypeFor[bytes.Buffer]())
	b.known = records && payload && message
	return b
}

func coolConn(c *tls.Conn) {
	if !inside.known {
		return
	}
	at := func(offset uintptr) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(c), offset) }
	records, payload, message := (*bytes.Buffer)(at(inside.records)), (*bytes.Reader)(at(inside.payload)), (*bytes.Buffer)(at(inside.message))
	if records.Len()+payload.Len()+message.Len() > 0 {
		return // it is in the middle of something
	}
	// The reader reads from the buffer: neither may stay without the other.
	*records, *message = bytes.Buffer{}, bytes.Buffer{}
	payload.Reset(nil)
}
