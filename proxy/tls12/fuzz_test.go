package tls12

import (
	"bytes"
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
		n := uint8(0)
		c := newStrangeClient(t, keyExchange(kx%3+1), 255, nil)
		c.send = func(r record) []record {
			records := []record{r}
			for rest := changes; len(rest) >= 4; rest = rest[4:] {
				if rest[0] == n {
					records = change(records, rest[1], int(rest[2]), rest[3])
				}
			}
			n++
			return records
		}
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
	s := session{suite: 0xC028, masterSecret: make([]byte, masterSecretLen), serverName: "gate.test"}
	state, err := s.marshal()
	must(err)
	f.Add(state)
	f.Fuzz(func(t *testing.T, state []byte) {
		s, err := parseSession(state)
		if err != nil {
			return
		}
		again, err := s.marshal()
		must(err)
		if !bytes.Equal(again, state) {
			t.Fatalf("%x\n%x", state, again)
		}
	})
}
