package tlsconn

import (
	"bytes"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/cryptotest"

	"golang.org/x/crypto/cryptobyte"
)

// FuzzClientHello: whatever is parsed is what was there; and a hello that was
// taken is marshalled to one that is taken too.
func FuzzClientHello(f *testing.F) {
	for _, g := range goldenCases() {
		for _, flow := range goldenFlows(f, g) {
			if flow.toServer && len(flow.data) > 9 && flow.data[5] == typeClientHello {
				f.Add(flow.data[9:])
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseClientHello(cryptobyte.String(data))
		if err != nil {
			if _, ok := err.(*fault); !ok {
				t.Fatalf("%v is not a fault", err)
			}
			return
		}
		if m.serverName == "" {
			m.without(extServerName) // there were names of other types
		}
		again, err := parseClientHello(mustMarshal(m.marshal))
		if err != nil {
			t.Fatalf("%v: %+v", err, m)
		}
		// Of status_request the type alone is kept, and of server_name one name.
		again.statusRequest, m.statusRequest = false, false
		if !reflect.DeepEqual(normal(m), normal(again)) {
			t.Fatalf("%+v\n%+v", m, again)
		}
	})
}

// normal makes empty slices nil.
func normal(m *clientHello) clientHello {
	n := *m
	for _, b := range []*[]byte{&n.sessionID, &n.ticket, &n.renegotiationInfo} {
		if len(*b) == 0 {
			*b = nil
		}
	}
	return n
}

func goldenFlows(t testing.TB, g goldenCase) []flow {
	data, err := os.ReadFile(filepath.Join(goldenDir, g.name+".txt"))
	must(err)
	flows, err := undump(data)
	must(err)
	return flows
}

// FuzzServer feeds a server, whose random numbers are those of the recorded
// sessions, with what a client might send. Whatever that is, the server ends
// with an error, which stays, or waits for more; it has sent no more than a
// handshake takes, and where it found fault, an alert.
func FuzzServer(f *testing.F) {
	var configs []*Config
	for i, g := range goldenCases() {
		configs = append(configs, g.config(f))
		var sent []byte
		for _, flow := range goldenFlows(f, g) {
			if flow.toServer {
				sent = append(sent, flow.data...)
			}
		}
		f.Add(uint8(i), sent)
		f.Add(uint8(i), sent[:len(sent)/2])
	}
	f.Fuzz(func(t *testing.T, i uint8, sent []byte) {
		cryptotest.SetGlobalRandom(t, goldenSeed)
		below := new(memConn)
		below.toServer.Write(sent)
		below.eof = i >= 128
		conn := Server(below, configs[int(i)%len(configs)])
		var err error
		for _, call := range goldenSession(conn) {
			if err = call(); err != nil {
				break
			}
		}
		checkFuzzed(t, conn, below, err)
	})
}

func checkFuzzed(t *testing.T, conn *Conn, below *memConn, err error) {
	if below.toClient.Len() > 16<<10 {
		t.Fatalf("%d bytes sent", below.toClient.Len())
	}
	if err == nil || isTemporary(err) {
		return
	}
	if again := conn.Handshake(); again != err && !conn.handshakeDone.Load() {
		t.Fatalf("%v, and then %v", err, again)
	}
	if conn.in.reader.buffer != nil || conn.handshaking != nil || conn.out.writer.sealed != nil {
		t.Fatal("something is held after the end")
	}
	op, ok := err.(*net.OpError)
	if !ok || op.Op != "local error" || conn.out.writer.half.protected {
		return
	}
	want := []byte{recordAlert, 3, 3, 0, 2, alertLevelFatal, byte(op.Err.(*fault).alert)}
	if !bytes.HasSuffix(below.toClient.Bytes(), want) {
		t.Fatalf("%v, and the last bytes sent are %x", err, below.toClient.Bytes()[max(0, below.toClient.Len()-7):])
	}
}

// FuzzHandshake changes a client's records before they are protected, so that
// what is changed arrives. A change is four bytes: which record, what to do to
// it, where, and with what.
func FuzzHandshake(f *testing.F) {
	for kind := range uint8(8) {
		f.Add(uint8(0), []byte{1, kind, 4, 1})
		f.Add(uint8(1), []byte{2, kind, 2, 7, 4, kind, 9, 9})
		f.Add(uint8(2), []byte{0, kind, 44, 1, 3, kind, 0, 0})
	}
	testPKI()
	f.Fuzz(func(t *testing.T, kx uint8, changes []byte) {
		c := newStrangeClient(t, keyExchange(kx%3+1), 255, nil)
		c.send = changing(changes)
		_ = c.handshake() // what the server says is what matters
		_, err := c.server.Read(make([]byte, 100))
		if err != nil && !isTemporary(err) {
			if op, ok := err.(*net.OpError); ok && op.Op == "local error" && !c.server.out.writer.half.protected {
				checkLastAlert(t, c, alertLevelFatal, op.Err.(*fault).alert)
			}
			if _, again := c.server.Read(make([]byte, 100)); again != err {
				t.Fatalf("%v, and then %v", err, again)
			}
		}
		if c.server.handshakeDone.Load() && !bytes.Equal(c.master, c.server.session.masterSecret) {
			t.Fatal("the handshake is complete, with different master secrets")
		}
	})
}

// FuzzHello13: a hello is refused by a fault, or its parts lie in it.
func FuzzHello13(f *testing.F) {
	c := newClient13(f, testConfig13())
	c.session, c.earlyData = &session13{ticket: []byte("ticket"), secret: make([]byte, 32)}, true
	f.Add(mustMarshal(c.marshalHello))
	c.session, c.shares = nil, []tls.CurveID{tls.CurveP256, tls.X25519}
	f.Add(mustMarshal(c.marshalHello))
	f.Fuzz(func(t *testing.T, data []byte) {
		hello, err := parseClientHello(cryptobyte.String(data))
		if err != nil {
			return
		}
		m, err := parseHello13(cryptobyte.String(data), hello)
		if err != nil {
			if _, ok := err.(*fault); !ok {
				t.Fatalf("%v is not a fault", err)
			}
			return
		}
		if m.bindersLen > len(data) || len(m.binders) != len(m.identities) {
			t.Fatalf("%+v", m)
		}
		if len(m.binders) > 0 && !bytes.HasSuffix(data, m.binders[len(m.binders)-1]) {
			t.Fatal("the last binder is not at the end")
		}
	})
}

// FuzzHandshake13 is FuzzHandshake for TLS 1.3, in full and resumed, and with a
// HelloRetryRequest.
func FuzzHandshake13(f *testing.F) {
	for kind := range uint8(8) {
		f.Add(kind, []byte{1, kind, 4, 1})
		f.Add(kind, []byte{2, kind, 2, 7, 4, kind, 9, 9})
		f.Add(kind, []byte{0, kind, 44, 1, 3, kind, 0, 0})
	}
	f.Add(uint8(0xB5), []byte("\x000Y0\x00%00")) // a hello that the client does not know it has sent
	testPKI()
	first := newStrangeClient13(f, 255, nil)
	first.mustHandshake()
	f.Fuzz(func(t *testing.T, variant uint8, changes []byte) {
		c := newStrangeClient13(t, 255, nil)
		c.server.config.Tickets = first.server.config.Tickets
		if variant&1 != 0 {
			c.session = first.ticket
		}
		if variant&2 != 0 {
			c.shares = []tls.CurveID{tls.CurveP256}
		}
		c.earlyData = variant&4 != 0
		c.send = changing(changes)
		_ = c.handshake() // what the server says is what matters
		_, err := c.server.Read(make([]byte, 100))
		checkFuzzed13(t, c, err)
		if c.server.handshakeDone.Load() && c.schedule != nil && c.exporter != nil && !bytes.Equal(c.exporter, c.server.exporterSecret) {
			t.Fatal("the handshake is complete, with different secrets")
		}
	})
}

// checkFuzzed13: an error stays, nothing is held behind it, and a fault of the
// client's was told to it.
func checkFuzzed13(t *testing.T, c *client13, err error) {
	if err == nil || isTemporary(err) {
		return
	}
	if _, again := c.server.Read(make([]byte, 100)); again != err {
		t.Fatalf("%v, and then %v", err, again)
	}
	if c.server.in.reader.buffer != nil || c.server.handshaking != nil || c.server.out.writer.sealed != nil {
		t.Fatal("something is held after the end")
	}
	op, ok := err.(*net.OpError)
	if !ok || op.Op != "local error" {
		return
	}
	if c.understands() {
		checkLastAlert(t, c.client, alertLevelFatal, op.Err.(*fault).alert)
	}
}

// understands says whether the client reads with the keys that the server writes
// with. One whose hello was changed, without its knowing, has others or none.
func (c *client13) understands() bool {
	sealer, protected := c.server.out.writer.half.sealer.(*aead13)
	opener, ok := c.in.opener.(*aead13)
	return ok == protected && (!ok || bytes.Equal(opener.secret, sealer.secret))
}

// FuzzServer13 feeds a server with what a client might send in the clear.
func FuzzServer13(f *testing.F) {
	for _, group := range []tls.CurveID{tls.X25519, tls.CurveP256} {
		c := newStrangeClient13(f, 255, nil)
		c.shares = []tls.CurveID{group}
		_ = c.handshake()
		f.Add(new(halfConn).seal(nil, recordHandshake, c.transcript[:messageHeaderLen+int(c.transcript[2])<<8+int(c.transcript[3])]))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		c := newStrangeClient13(t, 255, nil)
		c.conn.toServer.Write(sent)
		c.conn.eof = true
		if err := c.server.Handshake(); err == nil {
			t.Fatal("a handshake without keys")
		}
		if c.conn.toClient.Len() > 16<<10 {
			t.Fatalf("%d bytes sent", c.conn.toClient.Len())
		}
		if c.server.in.reader.buffer != nil || c.server.handshaking != nil || c.server.out.writer.sealed != nil {
			t.Fatal("something is held after the end")
		}
	})
}

// changing returns a send that makes changes, four bytes each.
func changing(changes []byte) func(record) []record {
	n := uint8(0)
	return func(r record) []record {
		records := []record{r}
		for rest := changes; len(rest) >= 4; rest = rest[4:] {
			if rest[0] == n {
				records = change(records, rest[1], int(rest[2]), rest[3])
			}
		}
		n++
		return records
	}
}

// change does one thing to the last of some records.
func change(records []record, kind uint8, at int, with byte) []record {
	last := len(records) - 1
	r := record{records[last].recordType, bytes.Clone(records[last].data)}
	records = records[:last:last]
	if len(r.data) == 0 {
		return append(records, r)
	}
	at %= len(r.data)
	switch kind % 8 {
	case 0:
		r.data[at] ^= with
	case 1:
		r.data = r.data[:at]
	case 2: // with a header that knows
		if at >= messageHeaderLen {
			r.data = withLength(r.data[:at])
		}
	case 3:
		r.data = append(r.data, bytes.Repeat([]byte{with}, at)...)
	case 4: // into two
		return append(records, record{r.recordType, r.data[:at]}, record{r.recordType, r.data[at:]})
	case 5: // twice
		return append(records, r, r)
	case 6:
		r.recordType = with
	case 7: // something before it
		return append(records, record{with, bytes.Repeat([]byte{with}, at)}, r)
	}
	return append(records, r)
}

// FuzzSession: whatever state a ticket had, it is refused or is a session.
func FuzzSession(f *testing.F) {
	s13 := session{suite: tls.TLS_AES_128_GCM_SHA256, masterSecret: make([]byte, 32), serverName: "gate.test"}
	state13, err := s13.marshal13()
	must(err)
	f.Add(state13)
	s := session{suite: 0xC028, masterSecret: make([]byte, masterSecretLen), serverName: "gate.test"}
	state, err := s.marshal()
	must(err)
	f.Add(state)
	f.Fuzz(func(t *testing.T, state []byte) {
		parse, marshal := parseSession, (*session).marshal
		if len(state) > 0 && state[0] == sessionFormat13 {
			parse, marshal = parseSession13, (*session).marshal13
		}
		s, err := parse(state)
		if err != nil {
			return
		}
		again, err := marshal(s)
		must(err)
		if !bytes.Equal(again, state) {
			t.Fatalf("%x\n%x", state, again)
		}
	})
}
