package tlsconn

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
)

// A tappedConn keeps what is read and written, as one side sees it.
type tappedConn struct {
	net.Conn
	read, written bytes.Buffer
}

func (c *tappedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Write(p[:n])
	return n, err
}

func (c *tappedConn) Write(p []byte) (int, error) {
	c.written.Write(p)
	return c.Conn.Write(p)
}

// A tappedSession is a handshake between crypto/tls and itself, taken apart.
type tappedSession struct {
	client                     *tls.Conn
	server                     *tappedConn
	clientRandom, serverRandom []byte
	master                     []byte
	// What each side sent before its ChangeCipherSpec, and its Finished
	// record's fragment.
	clientHello, serverFlight, clientFlight []byte
	clientFinished, serverFinished          []byte
}

func newTappedSession(t *testing.T, id uint16, key *rsa.PrivateKey) *tappedSession {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	clientEnd, serverEnd := net.Pipe()
	t.Cleanup(func() { clientEnd.Close(); serverEnd.Close() })
	var keyLog bytes.Buffer
	s := &tappedSession{server: &tappedConn{Conn: serverEnd}}
	s.client = tls.Client(clientEnd, &tls.Config{
		CipherSuites:       []uint16{id},
		MaxVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // it is the records that are under test
		KeyLogWriter:       &keyLog,
	})
	server := tls.Server(s.server, &tls.Config{
		CipherSuites:           []uint16{id},
		MaxVersion:             tls.VersionTLS12,
		Certificates:           []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		SessionTicketsDisabled: true,
	})
	served := make(chan error, 1)
	go func() { served <- server.Handshake() }()
	if err := s.client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if got := s.client.ConnectionState().CipherSuite; got != id {
		t.Fatalf("negotiated %04X, want %04X", got, id)
	}

	label, values, _ := strings.Cut(strings.TrimSpace(keyLog.String()), " ")
	random, master, _ := strings.Cut(values, " ")
	if label != "CLIENT_RANDOM" {
		t.Fatalf("key log: %q", keyLog.String())
	}
	s.clientRandom, s.master = unhex(t, random), unhex(t, master)
	messages, finished := splitFlights(t, s.server.read.Bytes())
	s.clientHello, s.clientFlight = cutMessage(t, messages)
	s.clientFinished = finished
	s.serverFlight, s.serverFinished = splitFlights(t, s.server.written.Bytes())
	s.serverRandom = s.serverFlight[4+2:][:32]
	return s
}

// splitFlights returns the handshake messages before a ChangeCipherSpec and
// the fragment of the record behind it.
func splitFlights(t *testing.T, stream []byte) (messages, finished []byte) {
	t.Helper()
	r := bytes.NewReader(stream)
	for {
		typ, fragment := readRecord(t, r)
		switch typ {
		case 22:
			messages = append(messages, fragment...)
		case 20:
			_, finished = readRecord(t, r)
			if r.Len() > 0 {
				t.Fatalf("%d bytes behind Finished", r.Len())
			}
			return messages, finished
		default:
			t.Fatalf("record of type %d", typ)
		}
	}
}

func cutMessage(t *testing.T, messages []byte) (first, rest []byte) {
	t.Helper()
	if len(messages) < 4 {
		t.Fatalf("no message in %x", messages)
	}
	n := 4 + int(binary.BigEndian.Uint32(messages)&0xffffff)
	return messages[:n], messages[n:]
}

func readRecord(t *testing.T, r io.Reader) (typ uint8, fragment []byte) {
	t.Helper()
	var header [recordHeaderLen]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		t.Fatal(err)
	}
	if version := binary.BigEndian.Uint16(header[1:]); version>>8 != 3 {
		t.Fatalf("record header %x", header)
	}
	fragment = make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(r, fragment); err != nil {
		t.Fatal(err)
	}
	return header[0], fragment
}

// peerSuites are ours that crypto/tls has, and others of its that have the
// same parts.
func peerSuites() []*cipherSuite {
	return []*cipherSuite{
		suiteByID(tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256),
		suiteByID(tls.TLS_RSA_WITH_AES_128_CBC_SHA256),
		{id: tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, macLen: 20, keyLen: 32, mac: crypto.SHA1, hash: crypto.SHA256},
		{id: tls.TLS_RSA_WITH_AES_128_CBC_SHA, macLen: 20, keyLen: 16, mac: crypto.SHA1, hash: crypto.SHA256},
		{id: tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, keyLen: 16, ivLen: 4, hash: crypto.SHA256},
		{id: tls.TLS_RSA_WITH_AES_256_GCM_SHA384, keyLen: 32, ivLen: 4, hash: crypto.SHA384},
	}
}

// TestAgainstCryptoTLS takes over the server's side of sessions of crypto/tls:
// its keys, its Finished messages, its exporter and its records must be ours.
func TestAgainstCryptoTLS(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, suite := range peerSuites() {
		t.Run(tls.CipherSuiteName(suite.id), func(t *testing.T) {
			s := newTappedSession(t, suite.id, key)
			s.checkMaster(t, suite, key)
			s.checkExporter(t, suite)

			keys := keysFromMaster(suite, s.master, s.clientRandom, s.serverRandom)
			var in, out halfConn
			in.setCipher(suite, false, keys.clientMAC, keys.clientKey, keys.clientIV, false)
			out.setCipher(suite, false, keys.serverMAC, keys.serverKey, keys.serverIV, true)
			s.checkFinished(t, suite, &in, keys)
			out.seal(nil, 22, make([]byte, 16)) // the Finished message that was sent
			s.checkData(t, &in, &out)
		})
	}
}

func digest(hash crypto.Hash, parts ...[]byte) []byte {
	h := hash.New()
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}

// checkMaster derives the master secret where the premaster secret can be had.
func (s *tappedSession) checkMaster(t *testing.T, suite *cipherSuite, key *rsa.PrivateKey) {
	if !strings.HasPrefix(tls.CipherSuiteName(suite.id), "TLS_RSA_") {
		return
	}
	encrypted := s.clientFlight[4+2:] // ClientKeyExchange, a vector
	premaster, err := key.Decrypt(nil, encrypted, nil)
	if err != nil {
		t.Fatal(err)
	}
	sessionHash := digest(suite.hash, s.clientHello, s.serverFlight, s.clientFlight)
	if got := extendedMasterSecret(suite.hash, premaster, sessionHash); !bytes.Equal(got, s.master) {
		t.Errorf("extended master secret %x, want %x", got, s.master)
	}
}

func (s *tappedSession) checkExporter(t *testing.T, suite *cipherSuite) {
	state := s.client.ConnectionState()
	for _, context := range [][]byte{nil, {}, []byte("context")} {
		want, err := state.ExportKeyingMaterial("EXPORTER-test", context, 77)
		if err != nil {
			t.Fatal(err)
		}
		got, err := exportKeyingMaterial(suite.hash, s.master, s.clientRandom, s.serverRandom, "EXPORTER-test", context, 77)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("exporter with context %q: got %x, error %v, want %x", context, got, err, want)
		}
	}
}

// checkFinished opens both Finished records and verifies what is in them.
func (s *tappedSession) checkFinished(t *testing.T, suite *cipherSuite, in *halfConn, keys connectionKeys) {
	t.Helper()
	message := func(label string, parts ...[]byte) []byte {
		return append([]byte{20, 0, 0, verifyDataLen}, finishedSum(suite.hash, s.master, label, digest(suite.hash, parts...))...)
	}
	got, err := in.open(22, recordVersion, s.clientFinished)
	want := message(labelClientFinished, s.clientHello, s.serverFlight, s.clientFlight)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("client's Finished: got %x, error %v, want %x", got, err, want)
	}
	var server halfConn
	server.setCipher(suite, false, keys.serverMAC, keys.serverKey, keys.serverIV, false)
	got, err = server.open(22, recordVersion, s.serverFinished)
	want = message(labelServerFinished, s.clientHello, s.serverFlight, s.clientFlight, want)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("server's Finished: got %x, error %v, want %x", got, err, want)
	}
}

// checkData sends payloads of many sizes each way, and at last a bad record.
func (s *tappedSession) checkData(t *testing.T, in, out *halfConn) {
	t.Helper()
	reader := bufio.NewReader(s.server.Conn)
	for _, size := range []int{1, 2, 15, 16, 17, 31, 32, 33, 255, 256, 257, 1000, maxPlaintext - 1, maxPlaintext, 40000} {
		want := payloadOf(size)
		wrote := make(chan error, 1)
		go func() {
			_, err := s.client.Write(want)
			wrote <- err
		}()
		var got []byte
		for len(got) < size {
			typ, fragment := readRecord(t, reader)
			plaintext, err := in.open(typ, recordVersion, fragment)
			if err != nil || typ != typeData {
				t.Fatalf("%d bytes: record of type %d: %v", size, typ, err)
			}
			got = append(got, plaintext...)
		}
		if err := <-wrote; err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes from client: got %d, error %v", size, len(got), err)
		}

		sent := want[:min(size, maxPlaintext)]
		go func() {
			_, err := s.server.Conn.Write(out.seal(nil, typeData, sent))
			wrote <- err
		}()
		got = make([]byte, len(sent))
		if _, err := io.ReadFull(s.client, got); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes to client: error %v", size, err)
		}
		if err := <-wrote; err != nil {
			t.Fatal(err)
		}
	}

	bad := out.seal(nil, typeData, []byte("x"))
	bad[len(bad)-1] ^= 1
	go s.server.Conn.Write(bad)
	refused := make(chan error, 1)
	go func() {
		_, err := s.client.Read(make([]byte, 1))
		refused <- err
	}()
	typ, fragment := readRecord(t, reader)
	plaintext, err := in.open(typ, recordVersion, fragment)
	if fatal := []byte{2, byte(alertBadRecordMAC)}; typ != 21 || err != nil || !bytes.Equal(plaintext, fatal) {
		t.Errorf("the client answered a bad record with type %d, %x, error %v", typ, plaintext, err)
	}
	if err := <-refused; err == nil {
		t.Error("the client took a bad record")
	}
}

// An opensslSession is a line of testdata/records/openssl.txt.
type opensslSession struct {
	suite                          *cipherSuite
	encryptThenMAC                 bool
	keys                           connectionKeys
	clientFinished, clientData     []byte
	serverFinished, serverReversed []byte
}

func opensslSessions(t *testing.T) []opensslSession {
	t.Helper()
	file, err := os.ReadFile("testdata/records/openssl.txt")
	if err != nil {
		t.Fatal(err)
	}
	var sessions []opensslSession
	for line := range strings.Lines(string(file)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 9 {
			t.Fatalf("line %q", line)
		}
		var values [][]byte
		for i, field := range fields {
			if i == 1 {
				field = "" // not a number
			}
			values = append(values, unhex(t, field))
		}
		suite := suiteByID(binary.BigEndian.Uint16(values[0]))
		if suite == nil {
			t.Fatalf("line %q", line)
		}
		sessions = append(sessions, opensslSession{
			suite:          suite,
			encryptThenMAC: fields[1] == "etm",
			keys:           keysFromMaster(suite, values[2], values[3], values[4]),
			clientFinished: values[5], clientData: values[6],
			serverFinished: values[7], serverReversed: values[8],
		})
	}
	return sessions
}

// TestRecordsOfOpenSSL opens what OpenSSL sealed, with each suite, and seals
// CBC records to the very same bytes where the IV is the same. (The explicit
// nonces of its AES-GCM are not the sequence numbers.)
func TestRecordsOfOpenSSL(t *testing.T) {
	tested := make(map[string]bool)
	for _, s := range opensslSessions(t) {
		scheme := recordScheme{suite: s.suite, encryptThenMAC: s.encryptThenMAC}
		name := scheme.String()
		tested[scheme.protection()] = true
		t.Run(name, func(t *testing.T) {
			for _, direction := range []struct {
				mac, key, iv []byte
				finished     []byte
				data         []byte
				want         string
			}{
				{s.keys.clientMAC, s.keys.clientKey, s.keys.clientIV, s.clientFinished, s.clientData, "suitegate talks to OpenSSL\n"},
				{s.keys.serverMAC, s.keys.serverKey, s.keys.serverIV, s.serverFinished, s.serverReversed, "LSSnepO ot sklat etagetius\n"},
			} {
				var in, out halfConn
				in.setCipher(s.suite, s.encryptThenMAC, direction.mac, direction.key, direction.iv, false)
				out.setCipher(s.suite, s.encryptThenMAC, direction.mac, direction.key, direction.iv, true)
				for _, record := range []struct {
					typ      uint8
					fragment []byte
					prefix   string
				}{
					{22, direction.finished, "\x14\x00\x00\x0c"},
					{typeData, direction.data, direction.want},
				} {
					sealed := bytes.Clone(record.fragment)
					plaintext, err := in.open(record.typ, recordVersion, record.fragment)
					if err != nil || !strings.HasPrefix(string(plaintext), record.prefix) {
						t.Fatalf("record of type %d: got %q, error %v, want %q", record.typ, plaintext, err, record.prefix)
					}
					if cbc, ok := out.sealer.(*cbcSealer); ok {
						cbc.used = copy(cbc.ivs[:], sealed[:16]) - 16
						if got := out.seal(nil, record.typ, plaintext)[recordHeaderLen:]; !bytes.Equal(got, sealed) {
							t.Errorf("record of type %d: sealed %x, want %x", record.typ, got, sealed)
						}
					}
				}
			}
		})
	}
	for _, scheme := range recordSchemes() {
		if !tested[scheme.protection()] && !scheme.suite.chacha { // which is TestGolden's
			t.Errorf("%v: no session in testdata", scheme)
		}
	}
}
