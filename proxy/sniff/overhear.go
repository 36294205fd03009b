package sniff

import (
	"encoding/binary"
	"io"
)

// Product is what an AMQP 0-9-1 client calls itself in its client-properties
// (§1.4.2.2 of the protocol's XML), in its own words: empty if it says nothing
// that can be understood.
type Product struct{ Name, Version string }

// maxStartOk is how much of what follows the protocol header is looked at: more
// than any client's Connection.StartOk has.
const maxStartOk = 16 << 10

// Overhear returns c with its Read watched for the first frame of an AMQP 0-9-1
// client whose protocol header has been read already: its Connection.StartOk.
// Nothing is held back or changed. heard is called once, by Read: with the first
// frame, or when it is clear that there will be none. Like c's, Read is for one
// goroutine at a time.
func Overhear(c Conn, heard func(Product)) Conn { return &overhearer{Conn: c, heard: heard} }

type overhearer struct {
	Conn
	heard func(Product) // nil when it has been called
	seen  []byte
}

func (o *overhearer) Read(p []byte) (int, error) {
	n, err := o.Conn.Read(p)
	if o.heard == nil {
		return n, err
	}
	o.seen = append(o.seen, p[:min(n, maxStartOk-len(o.seen))]...)
	product, v := startOk(o.seen)
	if v == more && len(o.seen) < maxStartOk && !lasting(err) {
		return n, err
	}
	o.heard(product)
	o.heard, o.seen = nil, nil // the connection may stay for days
	return n, err
}

// Cool is that of [Guard]'s.
func (o *overhearer) Cool() { cool(o.Conn) }

// lasting says that nothing comes behind an error.
func lasting(err error) bool {
	if err == nil {
		return false
	}
	temporary, ok := err.(interface{ Temporary() bool })
	return err == io.EOF || !ok || !temporary.Temporary()
}

// startOk reads a Connection.StartOk (AMQP 0-9-1 §2.3.5 and §4.2.3): a method
// frame on channel 0, of class 10 and method 11, that begins with a table.
func startOk(b []byte) (Product, verdict) {
	const begin = "\x01\x00\x00"
	const header, ids, length = 7, 4, 4
	if v := begins(b, begin); v != yes {
		return Product{}, v
	}
	if len(b) < header+ids+length {
		return Product{}, more
	}
	if v := begins(b[header:], "\x00\x0a\x00\x0b"); v != yes {
		return Product{}, v
	}
	size := int64(binary.BigEndian.Uint32(b[header+ids:]))
	if size > maxStartOk {
		return Product{}, no
	}
	table := b[header+ids+length:]
	if int64(len(table)) < size {
		return Product{}, more
	}
	return productIn(table[:size]), yes
}

// productIn finds product and version in a table (AMQP 0-9-1 §4.2.5.5), as far
// as its fields are of kinds that clients send here.
func productIn(table []byte) (p Product) {
	for len(table) > 1 {
		n := int(table[0])
		if len(table) < 1+n+1 {
			return p
		}
		name, kind := string(table[1:1+n]), table[1+n]
		table = table[1+n+1:]
		size := int64(-1)
		switch kind {
		case 't', 'b', 'B':
			size = 1
		case 's', 'u': // as RabbitMQ has it, §3 of its errata
			size = 2
		case 'I', 'i', 'f':
			size = 4
		case 'l', 'L', 'd', 'T':
			size = 8
		case 'D':
			size = 5
		case 'V':
			size = 0
		case 'S', 'F', 'A', 'x':
			if len(table) < 4 {
				return p
			}
			size = int64(binary.BigEndian.Uint32(table))
			table = table[4:]
		}
		if size < 0 || int64(len(table)) < size {
			return p
		}
		if value := string(table[:size]); kind == 'S' && name == "product" {
			p.Name = value
		} else if kind == 'S' && name == "version" {
			p.Version = value
		}
		table = table[size:]
	}
	return p
}
