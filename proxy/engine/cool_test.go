package engine

import (
	"bytes"
	"crypto/tls"
	"net"
	"reflect"
	"testing"
	"unsafe"
)

// With another layout of tls.Conn idle connections would keep their buffers: who
// takes a newer Go is to know.
func TestLayoutOfTLSConn(t *testing.T) {
	if !inside.known {
		t.Fatal("crypto/tls has other buffers than it had: see cool.go")
	}
	buffer := reflect.TypeFor[bytes.Buffer]()
	retyped := reflect.StructOf([]reflect.StructField{{Name: "RawInput", Type: buffer}, {Name: "Input", Type: buffer}, {Name: "Hand", Type: buffer}})
	for _, other := range []reflect.Type{reflect.TypeFor[struct{}](), retyped} {
		if lookInside(other).known {
			t.Errorf("%s is taken for a tls.Conn", other)
		}
	}
}

// stuttering delivers a few bytes with each Read once it is told to, and a
// temporary error in between.
type stuttering struct {
	net.Conn
	on   bool
	tick int
}

type later struct{}

func (later) Error() string   { return "later" }
func (later) Timeout() bool   { return true }
func (later) Temporary() bool { return true }

func (c *stuttering) Read(b []byte) (int, error) {
	if c.tick++; !c.on {
		return c.Conn.Read(b)
	}
	if c.tick%2 == 0 {
		return 0, later{}
	}
	return c.Conn.Read(b[:min(len(b), 1+c.tick%1000)])
}

// Whenever it is cooled, in the middle of a record or of what Read returns,
// nothing is lost; and behind a record nothing is held.
func TestCool(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		near, far := connect(t)
		below := &stuttering{Conn: near}
		server := tls.Server(below, &tls.Config{Certificates: []tls.Certificate{*testCertificates().rsa}, MaxVersion: version})
		sent := bytes.Repeat([]byte("all of it, once and in order "), 20_000)
		client := tls.Client(far, clientConfig())
		go func() {
			client.Write(sent)
			client.Write([]byte{'!'}) // a record of its own
		}()
		if err := server.Handshake(); err != nil {
			t.Fatal(err)
		}
		below.on = true
		var got []byte
		for chunk := make([]byte, 3001); len(got) <= len(sent); {
			n, err := server.Read(chunk)
			got = append(got, chunk[:n]...)
			if err != nil && err != error(later{}) {
				t.Fatal(err)
			}
			coolConn(server)
		}
		if !bytes.Equal(got[:len(sent)], sent) || got[len(sent)] != '!' {
			t.Errorf("%#x: what arrived is not what was sent", version)
		}
		records := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(server), inside.records))
		if records.Cap() > 0 {
			t.Errorf("%#x: %d bytes are held", version, records.Cap())
		}
	}
}
