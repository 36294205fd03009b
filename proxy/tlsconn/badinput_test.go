package tlsconn

import (
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"testing"

	"github.com/suitegate/suitegate/proxy/tlsconn/ffdhe"
)

// sent is the place of a record in what a client sends, by the type of its
// message; 0 is ChangeCipherSpec.
func messageTypeOf(r record) uint8 {
	if r.recordType == recordHandshake {
		return r.data[0]
	}
	return 0
}

// clientMessages are what a client with a certificate sends, in order.
var clientMessages = []struct {
	name        string
	messageType uint8
}{
	{"ClientHello", typeClientHello},
	{"Certificate", typeCertificate},
	{"ClientKeyExchange", typeClientKeyExchange},
	{"CertificateVerify", typeCertificateVerify},
	{"ChangeCipherSpec", 0},
	{"Finished", typeFinished},
}

// newStrangeClient returns a client with a certificate that sends everything in
// order but one message, which change turns into other records.
func newStrangeClient(t *testing.T, kx keyExchange, messageType uint8, change func(record) []record) *client {
	config := testConfig()
	config.ClientAuth = tls.RequireAnyClientCert
	c := newClient(t, config)
	c.certificate = testPKI().clientECDSA
	c.hello.suites = map[keyExchange][]uint16{kxDHE: {0x0067}, kxECDHE: {0xC027}, kxRSA: {0x003C}}[kx]
	c.send = func(r record) []record {
		if messageTypeOf(r) != messageType {
			return []record{r}
		}
		return change(r)
	}
	return c
}

// withLength returns a message with a header that says how long it is.
func withLength(message []byte) []byte {
	n := len(message) - messageHeaderLen
	return append([]byte{message[0], byte(n >> 16), byte(n >> 8), byte(n)}, message[messageHeaderLen:]...)
}

// What is done to each message of a handshake, and what the client is told.
func TestBadMessages(t *testing.T) {
	type change func(r record) []record
	change1 := func(f func(data []byte) []byte) change {
		return func(r record) []record { return []record{{r.recordType, f(bytes.Clone(r.data))}} }
	}
	for _, tt := range []struct {
		name   string
		change change
		// The alert, by name of the message; "" for all the others. 0 says that
		// the handshake goes well.
		want map[string]alert
	}{
		{"with a byte too many", change1(func(m []byte) []byte {
			m = append(m, 0)
			if len(m) > 2 {
				m = withLength(m)
			}
			return m
		}), map[string]alert{"": alertDecodeError}},
		{"empty", change1(func(m []byte) []byte {
			if len(m) == 1 {
				return nil
			}
			return withLength(m[:messageHeaderLen])
		}), map[string]alert{"": alertDecodeError, "ChangeCipherSpec": alertUnexpectedMessage}},
		{"left out", func(record) []record { return nil }, map[string]alert{
			"": alertUnexpectedMessage, "ClientHello": waits, "Finished": waits,
		}},
		{"twice", func(r record) []record { return []record{r, r} }, map[string]alert{
			"": alertUnexpectedMessage,
			// The second one is not protected as it has to be then.
			"ChangeCipherSpec": alertBadRecordMAC,
			"Finished":         0, // it comes after the handshake
		}},
		{"twice in a record", change1(func(m []byte) []byte { return append(m, m...) }), map[string]alert{
			"": alertUnexpectedMessage, "ChangeCipherSpec": alertDecodeError,
		}},
		{"with the beginning of another behind it", change1(func(m []byte) []byte { return append(m, m[0]) }), map[string]alert{
			"": alertUnexpectedMessage, "ChangeCipherSpec": alertDecodeError,
		}},
		{"of another type", change1(func(m []byte) []byte { m[0] ^= 0x40; return m }), map[string]alert{
			"": alertUnexpectedMessage, "ChangeCipherSpec": alertDecodeError,
		}},
		{"of 16 MB", change1(func(m []byte) []byte {
			if len(m) > 1 {
				m[1] = 0xff
			}
			return m
		}), map[string]alert{"": alertIllegalParameter, "Finished": alertDecodeError, "ChangeCipherSpec": 0}},
		{"after an empty record", func(r record) []record { return []record{{r.recordType, nil}, r} }, map[string]alert{"": alertUnexpectedMessage}},
		{"after application data", func(r record) []record { return []record{{recordApplicationData, []byte("x")}, r} }, map[string]alert{"": alertUnexpectedMessage}},
		{"after an early ChangeCipherSpec", func(r record) []record { return []record{{recordChangeCipherSpec, []byte{1}}, r} }, map[string]alert{
			"": alertUnexpectedMessage, "ChangeCipherSpec": alertBadRecordMAC,
		}},
		{"after a heartbeat", func(r record) []record { return []record{{24, []byte{1, 0, 0}}, r} }, map[string]alert{"": alertUnexpectedMessage}},
		{"after half an alert", func(r record) []record { return []record{{recordAlert, []byte{1}}, r} }, map[string]alert{"": alertDecodeError}},
		{"after an alert of no level", func(r record) []record { return []record{{recordAlert, []byte{0, 100}}, r} }, map[string]alert{"": alertIllegalParameter}},
		{"after 16 warnings", func(r record) []record {
			return append(slices.Repeat([]record{{recordAlert, []byte{1, 100}}}, 16), r)
		}, map[string]alert{"": 0}},
		{"after 17 warnings", func(r record) []record {
			return append(slices.Repeat([]record{{recordAlert, []byte{1, 100}}}, 17), r)
		}, map[string]alert{"": alertUnexpectedMessage}},
		{"in records of one byte", func(r record) (fragments []record) {
			for _, b := range r.data {
				fragments = append(fragments, record{r.recordType, []byte{b}})
			}
			return fragments
		}, map[string]alert{"": 0}},
		{"cut in the middle by a ChangeCipherSpec", func(r record) []record {
			return []record{{r.recordType, r.data[:len(r.data)/2]}, {recordChangeCipherSpec, []byte{1}}, {r.recordType, r.data[len(r.data)/2:]}}
		}, map[string]alert{"": alertUnexpectedMessage}},
	} {
		for _, m := range clientMessages {
			t.Run(m.name+" "+tt.name, func(t *testing.T) {
				c := newStrangeClient(t, kxECDHE, m.messageType, tt.change)
				err := c.handshake()
				want, ok := tt.want[m.name]
				if !ok {
					want = tt.want[""]
				}
				checkOutcome(t, c, err, want)
			})
		}
	}
}

// waits stands for no alert: the server waits for more.
const waits alert = 255

// checkOutcome checks how a handshake has ended for the server: with an alert, with
// none where want is 0, or not yet.
func checkOutcome(t *testing.T, c *client, err error, want alert) {
	t.Helper()
	switch want {
	case 0:
		if err != nil {
			t.Fatal(err)
		}
	case waits:
		if err := c.server.Handshake(); err != errWouldBlock {
			t.Fatal(err)
		}
	default:
		checkRefused(t, c, want)
	}
}

// A message that is cut at any byte, with a header that says so, is not taken.
// One whose header promises more is a handshake that ends with the connection.
func TestTruncatedMessages(t *testing.T) {
	for _, kx := range []keyExchange{kxECDHE, kxRSA, kxDHE} {
		for _, m := range clientMessages {
			if m.messageType == 0 || kx != kxECDHE && m.messageType != typeClientKeyExchange {
				continue
			}
			length := 0
			measure := newStrangeClient(t, kx, m.messageType, func(r record) []record { length = len(r.data); return []record{r} })
			measure.mustHandshake()
			step := 1
			if length > 300 {
				step = 7 // the Certificate: its inside is x509's affair
			}
			for n := messageHeaderLen; n < length; n += step {
				valid := false
				c := newStrangeClient(t, kx, m.messageType, func(r record) []record {
					n := min(n, len(r.data)-1)
					valid = m.messageType == typeClientHello && endsBeforeExtensions(r.data[messageHeaderLen:], n-messageHeaderLen)
					return []record{{r.recordType, withLength(r.data[:n])}}
				})
				_ = c.handshake() // the server's error is what matters
				if valid {
					continue
				}
				checkRefused(t, c, alertDecodeError)
			}
		}
	}
}

// The client goes away in the middle of a message, or of a record's header.
func TestTruncatedHandshake(t *testing.T) {
	whole := newClient(t, testConfig())
	_ = whole.flight1()
	hello := bytes.Clone(whole.transcript[:messageHeaderLen+int(whole.transcript[2])<<8+int(whole.transcript[3])])
	var records []byte
	for _, fragment := range [][]byte{hello[:100], hello[100:]} {
		records = new(halfConn).seal(records, recordHandshake, fragment)
	}
	for n := range records {
		c := newClient(t, testConfig())
		c.conn.toServer.Write(records[:n])
		c.conn.eof = true
		want := io.ErrUnexpectedEOF
		if n == 0 || n == 105 {
			want = io.EOF // between records
		}
		if err := c.server.Handshake(); err != want {
			t.Fatalf("after %d bytes: %v, want %v", n, err, want)
		}
		if c.conn.toClient.Len() != 0 {
			t.Fatalf("after %d bytes, the server sent %x", n, c.conn.toClient.Bytes())
		}
	}
}

// Records that aren't any.
func TestBadRecords(t *testing.T) {
	header := func(recordType byte, version uint16, length int) []byte {
		return []byte{recordType, byte(version >> 8), byte(version), byte(length >> 8), byte(length)}
	}
	for _, tt := range []struct {
		name   string
		record []byte
		// The alert before ClientHello, after it, and under encryption.
		want [3]alert
	}{
		{"of type 0", header(0, 0x0303, 1), [3]alert{alertUnexpectedMessage, alertUnexpectedMessage, alertUnexpectedMessage}},
		{"of type 24", header(24, 0x0303, 1), [3]alert{alertUnexpectedMessage, alertUnexpectedMessage, alertUnexpectedMessage}},
		{"SSL 2.0", []byte{0x80, 0x2e, 1, 3, 1}, [3]alert{alertUnexpectedMessage, alertUnexpectedMessage, alertUnexpectedMessage}},
		{"HTTP", []byte("GET / HTTP/1.1\r\n"), [3]alert{alertUnexpectedMessage, alertUnexpectedMessage, alertUnexpectedMessage}},
		{"of version 2.0", header(22, 0x0200, 1), [3]alert{alertProtocolVersion, alertProtocolVersion, alertProtocolVersion}},
		{"of version 4.3", header(22, 0x0403, 1), [3]alert{alertProtocolVersion, alertProtocolVersion, alertProtocolVersion}},
		{"of version 3.1", header(22, 0x0301, 16385), [3]alert{alertRecordOverflow, alertProtocolVersion, alertProtocolVersion}},
		{"of version 3.4", header(22, 0x0304, 16385), [3]alert{alertRecordOverflow, alertProtocolVersion, alertProtocolVersion}},
		{"of 16385 bytes", header(22, 0x0303, 16385), [3]alert{alertRecordOverflow, alertRecordOverflow, 0}},
		{"of 18433 bytes", header(22, 0x0303, 18433), [3]alert{alertRecordOverflow, alertRecordOverflow, alertRecordOverflow}},
		{"of 65535 bytes", header(22, 0x0303, 65535), [3]alert{alertRecordOverflow, alertRecordOverflow, alertRecordOverflow}},
		{"of 0 bytes", header(23, 0x0303, 0), [3]alert{alertUnexpectedMessage, alertUnexpectedMessage, alertBadRecordMAC}},
	} {
		for phase, want := range tt.want {
			if want == 0 {
				continue // under encryption that is allowed
			}
			t.Run(fmt.Sprintf("%s, phase %d", tt.name, phase), func(t *testing.T) {
				c := newClient(t, testConfig())
				switch phase {
				case 1:
					if err := c.flight1(); err != nil {
						t.Fatal(err)
					}
				case 2:
					c.mustHandshake()
				}
				c.conn.toServer.Write(tt.record)
				checkRefused(t, c, want)
				if c.server.in.reader.buffer != nil {
					t.Error("a buffer is held")
				}
			})
		}
	}
}

// DHE and ECDHE public values that are none.
func TestBadPublicValues(t *testing.T) {
	key, err := ffdhe.GenerateKey(256)
	must(err)
	prime, _ := key.Parameters()
	p := new(big.Int).SetBytes(prime)
	minus := func(n int64) []byte { return new(big.Int).Sub(p, big.NewInt(n)).Bytes() }
	point := func(b byte, n int) []byte { return append([]byte{b}, make([]byte, n-1)...) }
	padded := func(b byte) []byte { return append(make([]byte, len(prime)-1), b) }
	for _, tt := range []struct {
		name   string
		suite  uint16
		group  tls.CurveID
		public []byte
		want   alert
	}{
		// RFC 7919 §4.
		{"0", 0x009E, 256, []byte{0}, alertHandshakeFailure},
		{"1", 0x009E, 256, []byte{1}, alertHandshakeFailure},
		{"0, padded", 0x009E, 256, padded(0), alertHandshakeFailure},
		{"1, padded", 0x009E, 256, padded(1), alertHandshakeFailure},
		{"p-1", 0x009E, 256, minus(1), alertHandshakeFailure},
		{"p", 0x009E, 256, prime, alertHandshakeFailure},
		{"p+1", 0x009E, 256, minus(-1), alertHandshakeFailure},
		{"p+2", 0x009E, 256, minus(-2), alertHandshakeFailure},
		{"longer than p", 0x009E, 256, append([]byte{0}, key.PublicKey()...), alertHandshakeFailure},
		{"much longer than p", 0x009E, 256, make([]byte, 16000), alertHandshakeFailure},
		{"none", 0x009E, 256, []byte{}, alertDecodeError},
		{"2, which is well", 0x009E, 256, []byte{2}, alertBadRecordMAC}, // and not what the client computed with
		{"p-2, which is well", 0x009E, 256, minus(2), alertBadRecordMAC},
		// RFC 8422 §5.7, §5.11.
		{"X25519 of order 1", 0xC027, tls.X25519, make([]byte, 32), alertIllegalParameter},
		{"X25519 too short", 0xC027, tls.X25519, make([]byte, 31), alertIllegalParameter},
		{"X25519 too long", 0xC027, tls.X25519, make([]byte, 33), alertIllegalParameter},
		{"P-256 at infinity", 0xC027, tls.CurveP256, []byte{0}, alertIllegalParameter},
		{"P-256 not on the curve", 0xC027, tls.CurveP256, point(4, 65), alertIllegalParameter},
		{"P-256 compressed", 0xC027, tls.CurveP256, point(2, 33), alertIllegalParameter},
		{"P-384 not on the curve", 0xC027, tls.CurveP384, point(4, 97), alertIllegalParameter},
		{"P-521 not on the curve", 0xC027, tls.CurveP521, point(4, 133), alertIllegalParameter},
		{"no point", 0xC027, tls.CurveP256, []byte{}, alertDecodeError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient(t, testConfig())
			c.hello.suites, c.hello.groups, c.public = []uint16{tt.suite}, []tls.CurveID{tt.group}, tt.public
			_ = c.handshake()
			checkRefused(t, c, tt.want)
		})
	}
}

// All that can be wrong with an encrypted premaster secret shows in the same way
// (RFC 5246 §7.4.7.1), and that is not before the client's Finished.
func TestBadPremasterSecrets(t *testing.T) {
	public := testPKI().small.Leaf.PublicKey.(*rsa.PublicKey)
	size := public.Size()
	good := append([]byte{3, 3}, bytes.Repeat([]byte{7}, 46)...)
	// raw encrypts whatever it is, as it is.
	raw := func(block []byte) []byte {
		m := new(big.Int).SetBytes(block)
		return m.Exp(m, big.NewInt(int64(public.E)), public.N).FillBytes(make([]byte, size))
	}
	// padded is PKCS #1 v1.5's block type 2 (RFC 8017 §7.2.1), changed.
	padded := func(secret []byte, change func([]byte)) []byte {
		block := slices.Concat([]byte{0, 2}, bytes.Repeat([]byte{0xaa}, size-3-len(secret)), []byte{0}, secret)
		if change != nil {
			change(block)
		}
		return raw(block)
	}
	at := func(i int, b byte) func([]byte) {
		return func(block []byte) { block[(i+len(block))%len(block)] = b }
	}
	separator := size - 1 - len(good)
	short := padded(good, nil)
	for i := byte(1); short[0] == 0; i++ { // without which it would be the same number
		short = padded(append([]byte{3, 3}, bytes.Repeat([]byte{i}, 46)...), nil)
	}
	for _, tt := range []struct {
		name       string
		ciphertext []byte
		version    uint16 // of the hello
		want       alert
	}{
		{"none", padded(good, nil), 0x0303, 0},
		{"none, of a client that has 3.4", padded(append([]byte{3, 4}, good[2:]...), nil), 0x0304, 0},
		{"wrong version", padded(append([]byte{3, 2}, good[2:]...), nil), 0x0303, alertBadRecordMAC},
		{"wrong version, major", padded(append([]byte{2, 3}, good[2:]...), nil), 0x0303, alertBadRecordMAC},
		{"the version that was negotiated, not the hello's", padded(good, nil), 0x0304, alertBadRecordMAC},
		{"first byte", padded(good, at(0, 1)), 0x0303, alertBadRecordMAC},
		{"block type 1", padded(good, at(1, 1)), 0x0303, alertBadRecordMAC},
		{"block type 0", padded(good, at(1, 0)), 0x0303, alertBadRecordMAC},
		{"no separator", padded(good, at(separator, 0xaa)), 0x0303, alertBadRecordMAC},
		{"separator in the padding's first byte", padded(good, at(2, 0)), 0x0303, alertBadRecordMAC},
		{"separator in the padding's eighth byte", padded(good, at(9, 0)), 0x0303, alertBadRecordMAC},
		{"separator one too early", padded(good, at(separator-1, 0)), 0x0303, alertBadRecordMAC},
		{"separator at the end", padded(good, func(b []byte) { b[separator] = 1; b[len(b)-1] = 0 }), 0x0303, alertBadRecordMAC},
		{"secret of 47 bytes", padded(good[:47], nil), 0x0303, alertBadRecordMAC},
		{"secret of 49 bytes", padded(append(slices.Clone(good), 0), nil), 0x0303, alertBadRecordMAC},
		{"secret of no bytes", padded(nil, nil), 0x0303, alertBadRecordMAC},
		{"0", make([]byte, size), 0x0303, alertBadRecordMAC},
		{"1", append(make([]byte, size-1), 1), 0x0303, alertBadRecordMAC},
		{"the modulus", public.N.Bytes(), 0x0303, alertBadRecordMAC},
		{"more than the modulus", bytes.Repeat([]byte{0xff}, size), 0x0303, alertBadRecordMAC},
		{"a byte short", short[1:], 0x0303, alertBadRecordMAC},
		{"a byte long", append([]byte{0}, padded(good, nil)...), 0x0303, alertBadRecordMAC},
		{"empty", []byte{}, 0x0303, alertBadRecordMAC},
		{"of 8 KiB", make([]byte, 8192), 0x0303, alertBadRecordMAC},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient(t, testConfig())
			c.hello.suites, c.hello.version = []uint16{0x003D}, tt.version
			c.premaster, c.ciphertext = slices.Clone(good), tt.ciphertext
			if tt.version == 0x0304 && tt.want == 0 {
				c.premaster[1] = 4
			}
			if err := c.flight1(); err != nil {
				t.Fatal(err)
			}
			sent := c.send
			c.send = func(r record) []record {
				if messageTypeOf(r) == typeClientKeyExchange {
					return []record{r}
				}
				// The server says nothing while Finished hasn't come.
				if err := c.pump(); err != nil || c.conn.toClient.Len() > 0 {
					t.Errorf("before message %d: %v, and %d bytes sent", messageTypeOf(r), err, c.conn.toClient.Len())
				}
				return []record{r}
			}
			err := c.flight2()
			c.send = sent
			if tt.want == 0 {
				if err != nil {
					t.Fatal(err)
				}
				c.exchange()
				return
			}
			checkRefused(t, c, tt.want)
		})
	}
}

func TestWrongFinished(t *testing.T) {
	for i := range verifyDataLen {
		c := newStrangeClient(t, kxECDHE, typeFinished, func(r record) []record {
			data := bytes.Clone(r.data)
			data[messageHeaderLen+i] ^= 1 << (i % 8)
			return []record{{r.recordType, data}}
		})
		_ = c.handshake()
		checkRefused(t, c, alertDecryptError)
	}
}

// Floods cost the client its connection.
func TestFloods(t *testing.T) {
	t.Run("hello without end", func(t *testing.T) {
		c := newClient(t, testConfig())
		c.conn.toServer.Write(new(halfConn).seal(nil, recordHandshake, []byte{typeClientHello, 0, 0xff, 0xff}))
		for range maxHandshakeBytes/6 + 1 {
			c.conn.toServer.Write(new(halfConn).seal(nil, recordHandshake, []byte{0}))
		}
		checkRefused(t, c, alertUnexpectedMessage)
	})
	open := func(t *testing.T) *client {
		c := newClient(t, testConfig())
		c.mustHandshake()
		return c
	}
	t.Run("empty records", func(t *testing.T) {
		c := open(t)
		for range maxUseless {
			c.write(recordApplicationData, nil)
		}
		c.exchange() // as many as that are borne
		for range maxUseless + 1 {
			c.write(recordApplicationData, nil)
		}
		checkRefused(t, c, alertUnexpectedMessage)
	})
	t.Run("warnings", func(t *testing.T) {
		c := open(t)
		for range maxUseless {
			c.write(recordAlert, []byte{alertLevelWarning, byte(alertUserCanceled)})
		}
		c.exchange()
		for range maxUseless + 1 {
			c.write(recordAlert, []byte{alertLevelWarning, byte(alertUserCanceled)})
		}
		checkRefused(t, c, alertUnexpectedMessage)
	})
	t.Run("renegotiation", func(t *testing.T) {
		c := open(t)
		hello, err := appendMessage(nil, typeClientHello, c.hello.marshal)
		must(err)
		for range maxRenegotiations {
			// In records of one byte, for good measure.
			for _, b := range hello {
				c.write(recordHandshake, []byte{b})
			}
			if _, err := c.server.Read(make([]byte, 1)); err != errWouldBlock {
				t.Fatal(err)
			}
			if c.server.in.messages != nil {
				t.Error("the hello is kept")
			}
			if level, a, err := c.readAlert(); level != alertLevelWarning || a != alertNoRenegotiation || err != nil {
				t.Fatal(level, a, err)
			}
			c.exchange()
		}
		c.write(recordHandshake, hello)
		checkRefused(t, c, alertUnexpectedMessage)
	})
}

// After the handshake.
func TestBadConnection(t *testing.T) {
	for _, tt := range []struct {
		name string
		send func(*client)
		want alert
	}{
		{"ChangeCipherSpec", func(c *client) { c.write(recordChangeCipherSpec, []byte{1}) }, alertUnexpectedMessage},
		{"Finished", func(c *client) { c.write(recordHandshake, mustMessage(typeFinished, make([]byte, 12))) }, alertUnexpectedMessage},
		{"HelloRequest", func(c *client) { c.write(recordHandshake, mustMessage(0, nil)) }, alertUnexpectedMessage},
		{"empty handshake record", func(c *client) { c.write(recordHandshake, nil) }, alertUnexpectedMessage},
		{"hello of 16 MB", func(c *client) { c.write(recordHandshake, []byte{1, 0xff, 0xff, 0xff}) }, alertIllegalParameter},
		{"alert of three bytes", func(c *client) { c.write(recordAlert, []byte{1, 0, 0}) }, alertDecodeError},
		{"empty alert", func(c *client) { c.write(recordAlert, nil) }, alertDecodeError},
		{"unprotected", func(c *client) {
			c.conn.toServer.Write(new(halfConn).seal(nil, recordApplicationData, make([]byte, 100)))
		}, alertBadRecordMAC},
		{"a bit", (*client).sendAltered, alertBadRecordMAC},
		{"replayed", (*client).sendTwice, alertBadRecordMAC},
		{"left out", func(c *client) {
			c.out.seal(nil, recordApplicationData, []byte("ping"))
			c.write(recordApplicationData, []byte("pong"))
		}, alertBadRecordMAC},
	} {
		for _, suite := range []uint16{0x009E, 0x0067} {
			t.Run(fmt.Sprintf("%s %04X", tt.name, suite), func(t *testing.T) {
				c := newClient(t, testConfig())
				c.hello.suites = []uint16{suite}
				c.mustHandshake()
				tt.send(c)
				checkRefused(t, c, tt.want)
			})
		}
	}
}

func mustMessage(messageType uint8, body []byte) []byte {
	return append([]byte{messageType, 0, 0, byte(len(body))}, body...)
}

// A client's fatal alert ends both directions, and nothing is sent after it.
func TestClientAlert(t *testing.T) {
	for _, early := range []bool{true, false} {
		c := newClient(t, testConfig())
		if early {
			if err := c.flight1(); err != nil {
				t.Fatal(err)
			}
		} else {
			c.mustHandshake()
		}
		c.write(recordAlert, []byte{alertLevelFatal, byte(alertUnknownCA)})
		var err error
		if early {
			err = c.server.Handshake()
		} else {
			_, err = c.server.Read(make([]byte, 1))
		}
		if a := alert(0); err == nil || err.Error() != "remote error: tlsconn: unknown_ca" || !errors.As(err, &a) || a != alertUnknownCA {
			t.Errorf("error is %v", err)
		}
		if _, again := c.server.Write([]byte("x")); again != err {
			t.Errorf("Write: %v", again)
		}
		if err := c.server.Close(); err != nil || c.conn.toClient.Len() > 0 {
			t.Errorf("Close: %v, and %d bytes sent", err, c.conn.toClient.Len())
		}
	}
}
