package tlsconn

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// traffic13 is a direction under a traffic secret.
type traffic13 struct {
	suite  *suite13
	secret []byte
}

func traffics13() (list []traffic13) {
	for i := range suites13 {
		list = append(list, traffic13{&suites13[i], payloadOf(suites13[i].hash.Size())})
	}
	return list
}

func (s traffic13) String() string   { return tls.CipherSuiteName(s.suite.id) }
func (s traffic13) aead() *aead13    { return newAEAD13(newDeriver(s.suite.hash), s.suite, s.secret) }
func (s traffic13) sealer() halfConn { return s.halfConn(true) }
func (s traffic13) opener() halfConn { return s.halfConn(false) }

func (s traffic13) halfConn(write bool) (hc halfConn) {
	hc.setTraffic13(s.aead(), write)
	return hc
}

// updated is the direction after a KeyUpdate (RFC 8446 §7.2).
func (s traffic13) updated() traffic13 {
	return traffic13{s.suite, expandLabel(s.suite.hash, s.secret, "traffic upd", nil, s.suite.hash.Size())}
}

// forge composes a fragment from the standard library's primitives, without any of
// the code under test: inner is content, type and padding (RFC 8446 §5.2, §5.3).
func (s traffic13) forge(seq uint64, inner []byte) []byte {
	key := expandLabel(s.suite.hash, s.secret, "key", nil, s.suite.keyLen)
	nonce := expandLabel(s.suite.hash, s.secret, "iv", nil, 12)
	var aead cipher.AEAD
	var err error
	if s.suite.id == tls.TLS_CHACHA20_POLY1305_SHA256 {
		aead, err = chacha20poly1305.New(key)
	} else {
		block, blockErr := aes.NewCipher(key)
		must(blockErr)
		aead, err = cipher.NewGCM(block)
	}
	must(err)
	for i, b := range binary.BigEndian.AppendUint64(nil, seq) {
		nonce[4+i] ^= b
	}
	length := len(inner) + 16
	return aead.Seal(nil, nonce, inner, []byte{23, 3, 3, byte(length >> 8), byte(length)})
}

// innerOf is content, type and so many zeros.
func innerOf(content []byte, contentType uint8, padding int) []byte {
	return slices.Concat(content, []byte{contentType}, make([]byte, padding))
}

// TestRecords13 has records of RFC 8448 §3, which open to what they carry and, where
// we would have sent the same, are sealed to the very same bytes.
func TestRecords13(t *testing.T) {
	aes128 := suite13ByID(tls.TLS_AES_128_GCM_SHA256)
	const data = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031"
	type record struct {
		record, data string
		contentType  uint8
	}
	for _, direction := range []struct {
		name, secret string
		records      []record
	}{
		{"client's handshake", rfcClientHandshakeTraffic, []record{
			{"170303003575ec4dc238cce60b298044a71e219c56cc77b0517fe9b93c7a4bfc44d87f38f80338ac98fc46deb384bd1caeacab6867d726c40546", rfcClientFinished, recordHandshake},
		}},
		{"client", rfcClientTraffic, []record{
			{`1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a6292a2977014bd1e3deae6
			  3aeebb21694915e4`, data, recordApplicationData},
			{"1703030013c9872760655666b74d7ff1153efd6db6d0b0e3", "0100", recordAlert},
		}},
		{"server", rfcServerTraffic, []record{
			{`17030300de3a6b8f90414a97d6959c3487680de5134a2b240e6cffac116e95d41d6af8f6b580dcf3d11d63c758db289a015940252f55713e061dc13e078891a3
			  8efbcf5753ad8ef170ad3c7353d16d9da773b9ca7f2b9fa1b6c0d4a3d03f75e09c30ba1e62972ac46f75f7b981be63439b2999ce13064615139891d5e4c5b406
			  f16e3fc181a77ca475840025db2f0a77f81b5ab05b94c01346755f69232c86519d86cbeeac87aac347d143f9605d64f650db4d023e70e952ca49fe5137121c74
			  bc2697687e248746d6df353005f3bce18696129c8153556b3b6c6779b37bf15985684f`,
				`040000c90000001efad6aac502000000b22c035d829359ee5ff7af4ec900000000262a6494dc486d2c8a34cb33fa90bf1b0070ad3c498883c9367c09a2be785a
				 bc55cd226097a3a982117283f82a03a143efd3ff5dd36d64e861be7fd61d2827db279cce145077d454a3664d4e6da4d29ee03725a6a4dafcd0fc67d2aea70529
				 513e3da2677fa5906c5b3f7d8f92f228bda40dda721470f9fbf297b5aea617646fac5c03272e970727c621a79141ef5f7de6505e5bfbc388e93343694093934a
				 e4d3570008002a000400000400`, recordHandshake},
			{`17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a59a8fcc49c4bf2e5f0a21c0047c2abf33254
			  0dd032e167c2955d`, data, recordApplicationData},
			{"1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9", "0100", recordAlert},
		}},
	} {
		s := traffic13{aes128, unhex(t, direction.secret)}
		in, out := s.opener(), s.sealer()
		for i, r := range direction.records {
			record, want := unhex(t, r.record), unhex(t, r.data)
			if sealed := out.seal(nil, r.contentType, want); !bytes.Equal(sealed, record) {
				t.Errorf("%s, record %d: sealed %x", direction.name, i, sealed)
			}
			got, err := in.open(record[0], recordVersion, record[recordHeaderLen:])
			if err != nil || !bytes.Equal(got, want) || in.header.contentType() != r.contentType {
				t.Errorf("%s, record %d: got %x of type %d, error %v", direction.name, i, got, in.header.contentType(), err)
			}
		}
	}
}

func TestRecordRoundTrip13(t *testing.T) {
	for _, s := range traffics13() {
		in, out := s.opener(), s.sealer()
		for seq, size := range []int{0, 1, 2, 100, 16383, 16384, 0} {
			contentType := []uint8{recordApplicationData, recordHandshake, recordAlert}[seq%3]
			payload := payloadOf(size)
			record := out.seal([]byte("before"), contentType, payload)[len("before"):]
			if n := size + 1 + 16; !bytes.Equal(record[:5], []byte{23, 3, 3, byte(n >> 8), byte(n)}) || len(record) != out.maxSealed(size) {
				t.Errorf("%v, %d bytes: %d, which begin with %x", s, size, len(record), record[:5])
			}
			if want := s.forge(uint64(seq), innerOf(payload, contentType, 0)); !bytes.Equal(record[5:], want) {
				t.Errorf("%v, %d bytes: sealed to other bytes than they should be", s, size)
			}
			got, err := in.open(23, recordVersion, record[5:])
			if err != nil || !bytes.Equal(got, payload) || in.header.contentType() != contentType {
				t.Errorf("%v, %d bytes: got %d of type %d, error %v", s, size, len(got), in.header.contentType(), err)
			}
		}
	}
}

// What stands in a record, and how long it may be (RFC 8446 §5.2, §5.4).
func TestRecordPadding13(t *testing.T) {
	for _, tt := range []struct {
		name        string
		inner       []byte
		want        []byte
		contentType uint8
		err         error
	}{
		{"a zero", innerOf([]byte("x"), 23, 1), []byte("x"), 23, nil},
		{"many zeros", innerOf([]byte("x"), 22, 16383), []byte("x"), 22, nil},
		{"behind content that ends in zeros", innerOf([]byte{1, 0, 0}, 23, 5), []byte{1, 0, 0}, 23, nil},
		{"behind content of zeros", innerOf(make([]byte, 100), 23, 5), make([]byte, 100), 23, nil},
		{"behind nothing", innerOf(nil, 23, 100), nil, 23, nil},
		{"as long as can be", innerOf(nil, 23, 16384), nil, 23, nil},
		{"on full content", innerOf(payloadOf(16384), 23, 1), nil, 0, alertRecordOverflow},
		{"one zero too many", innerOf(nil, 23, 16385), nil, 0, alertRecordOverflow},
		{"content too long", innerOf(payloadOf(16385), 23, 0), nil, 0, alertRecordOverflow},
		{"as long as a fragment can be", make([]byte, maxCiphertext13-tagLen13), nil, 0, alertRecordOverflow},
		{"zeros alone", make([]byte, 100), nil, 0, alertUnexpectedMessage},
		{"a zero alone", make([]byte, 1), nil, 0, alertUnexpectedMessage},
		{"zeros alone, as many as can be", make([]byte, 16385), nil, 0, alertUnexpectedMessage},
		{"nothing at all", nil, nil, 0, alertUnexpectedMessage},
	} {
		for _, s := range traffics13() {
			in := s.opener()
			got, err := in.open(23, recordVersion, s.forge(0, tt.inner))
			if err != tt.err || !bytes.Equal(got, tt.want) || err == nil && in.header.contentType() != tt.contentType {
				t.Errorf("%v, %s: got %x of type %d, error %v, want %v", s, tt.name, got, in.header.contentType(), err, tt.err)
			}
		}
	}
}

func TestRecordTampered13(t *testing.T) {
	const typ = recordApplicationData
	for _, s := range traffics13() {
		sound := s.forge(0, innerOf([]byte("content"), 23, 3))
		refused := func(name string, in halfConn, typ uint8, version uint16, fragment []byte) {
			t.Helper()
			if got, err := in.open(typ, version, fragment); err != alertBadRecordMAC || got != nil {
				t.Errorf("%v, %s: got %x, error %v", s, name, got, err)
			}
		}
		for i := range sound {
			bad := slices.Clone(sound)
			bad[i] ^= 1
			refused(fmt.Sprintf("byte %d", i), s.opener(), typ, recordVersion, bad)
			refused(fmt.Sprintf("%d bytes", i), s.opener(), typ, recordVersion, slices.Clone(sound[:i]))
		}
		refused("a byte more", s.opener(), typ, recordVersion, append(slices.Clone(sound), 0))
		refused("another type", s.opener(), recordHandshake, recordVersion, slices.Clone(sound))
		refused("another version", s.opener(), typ, 0x0301, slices.Clone(sound))

		// Records are numbered.
		in := s.opener()
		if _, err := in.open(typ, recordVersion, slices.Clone(sound)); err != nil {
			t.Errorf("%v: %v", s, err)
		}
		refused("the first record again", in, typ, recordVersion, slices.Clone(sound))
		refused("the second record first", s.opener(), typ, recordVersion, s.forge(1, innerOf(nil, 23, 0)))
		for _, seq := range []uint64{1, 255, 256, 1<<32 - 1, 1 << 32, 1<<64 - 2} {
			in := s.opener()
			in.seq = seq
			if got, err := in.open(typ, recordVersion, s.forge(seq, innerOf([]byte("x"), 23, 0))); err != nil || string(got) != "x" {
				t.Errorf("%v, record %d: got %x, error %v", s, seq, got, err)
			}
		}
	}
}

// Keys after a KeyUpdate come of the secret before (RFC 8446 §7.2).
func TestNextKeys13(t *testing.T) {
	for _, s := range traffics13() {
		a := s.aead()
		for range 3 {
			before := slices.Clone(a.secret)
			next := a.next()
			if !bytes.Equal(a.secret, before) {
				t.Errorf("%v: next has changed the secret that it came of", s)
			}
			a, s = next, s.updated()
			if iv := expandLabel(s.suite.hash, s.secret, "iv", nil, 12); !bytes.Equal(a.secret, s.secret) || !bytes.Equal(a.iv[:], iv) {
				t.Fatalf("%v: secret %x, IV %x, want %x, %x", s, a.secret, a.iv, s.secret, iv)
			}
			var in halfConn
			in.setTraffic13(a, false)
			if got, err := in.open(23, recordVersion, s.forge(0, innerOf([]byte("x"), 23, 0))); err != nil || string(got) != "x" {
				t.Fatalf("%v: got %x, error %v", s, got, err)
			}
		}
	}
}

// Keys are changed before they have protected more than they should (RFC 8446
// §5.5). The client is told, and reads on.
func TestKeysWearOut(t *testing.T) {
	for _, suite := range CipherSuites13() {
		c := newClient13(t, testConfig13())
		c.hello.suites = []uint16{suite}
		c.mustHandshake()
		half := &c.server.out.writer.half
		read := func(recordType uint8, want []byte) {
			t.Helper()
			if r, err := c.readRecord(); err != nil || r.recordType != recordType || !bytes.Equal(r.data, want) {
				t.Fatalf("%04X: record of type %d, %x, error %v; want %d, %x", suite, r.recordType, r.data, err, recordType, want)
			}
		}
		write := func(data []byte) {
			t.Helper()
			if n, err := c.server.Write(data); n != len(data) || err != nil {
				t.Fatalf("%04X: wrote %d, error %v", suite, n, err)
			}
		}

		keys := traffic13{suite13ByID(suite), c.theirs}
		for range 2 {
			half.seq, c.in.seq = maxRecords13-2, maxRecords13-2
			for _, data := range []string{"last but one", "last"} {
				write([]byte(data))
				read(recordApplicationData, []byte(data))
			}
			if half.seq != maxRecords13 {
				t.Fatalf("%04X: %d records", suite, half.seq)
			}
			write([]byte("first"))
			read(recordHandshake, []byte{typeKeyUpdate, 0, 0, 1, 0})
			keys = keys.updated()
			c.in = keys.opener()
			read(recordApplicationData, []byte("first"))
			// A batch that comes to the end in its midst keeps its keys.
			half.seq, c.in.seq = maxRecords13-1, maxRecords13-1
			write(payloadOf(3 * maxPlaintext))
			for i := range 3 {
				read(recordApplicationData, payloadOf(3 * maxPlaintext)[i*maxPlaintext:][:maxPlaintext])
			}
			write([]byte("first"))
			read(recordHandshake, []byte{typeKeyUpdate, 0, 0, 1, 0})
			keys = keys.updated()
			c.in = keys.opener()
			read(recordApplicationData, []byte("first"))
			if half.seq != 1 {
				t.Errorf("%04X: %d records, want 1", suite, half.seq)
			}
		}
		if err := c.server.CloseWrite(); err != nil {
			t.Error(err)
		}
		read(recordAlert, []byte{alertLevelWarning, byte(alertCloseNotify)})
	}
}

// TLS 1.2 knows no KeyUpdate.
func TestKeysWearOutIn13Alone(t *testing.T) {
	c := connected(t, 0x009F)
	half := &c.server.out.writer.half
	half.seq, c.in.seq = maxRecords13, maxRecords13
	if _, err := c.server.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if r, err := c.readRecord(); err != nil || r.recordType != recordApplicationData || half.seq != maxRecords13+1 {
		t.Errorf("record of type %d, error %v", r.recordType, err)
	}
}

func TestCipherSuites13(t *testing.T) {
	want := []uint16{tls.TLS_AES_256_GCM_SHA384, tls.TLS_AES_128_GCM_SHA256, tls.TLS_CHACHA20_POLY1305_SHA256}
	if got := CipherSuites13(); !slices.Equal(got, want) {
		t.Errorf("CipherSuites13() = %04X, want %04X", got, want)
	}
	for i, id := range want {
		keyLen, hash := []int{32, 16, 32}[i], []crypto.Hash{crypto.SHA384, crypto.SHA256, crypto.SHA256}[i]
		if s := suite13ByID(id); s == nil || s.id != id || s.keyLen != keyLen || s.hash != hash {
			t.Errorf("suite13ByID(%04X) = %+v", id, s)
		}
	}
	for _, id := range []uint16{0, 0x009F, 0x1304, 0x1305, 0x00FF} {
		if s := suite13ByID(id); s != nil {
			t.Errorf("suite13ByID(%04X) = %+v, want none", id, s)
		}
	}
}

// A record that says that it is too long is refused before it has come.
func TestRecordTooLong13(t *testing.T) {
	for _, tt := range []struct {
		length int
		want   alert // none: more is waited for
	}{{maxCiphertext13, 0}, {maxCiphertext13 + 1, alertRecordOverflow}} {
		c := newClient13(t, testConfig13())
		c.mustHandshake()
		c.conn.toServer.Write([]byte{recordApplicationData, 3, 3, byte(tt.length >> 8), byte(tt.length)})
		if tt.want != 0 {
			checkRefused(t, c.client, tt.want)
		} else if _, err := c.server.Read(make([]byte, 1)); !isTemporary(err) {
			t.Errorf("%d bytes: %v", tt.length, err)
		}
	}
}
