package tlsconn

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"slices"
	"testing"
)

// What a ClientHello may have wrong, and what the client is told.
func TestBadHello13(t *testing.T) {
	resume := func(c *client13) {
		first := newClient13(c.t, c.server.config)
		first.mustHandshake()
		c.session = first.ticket
	}
	drop := func(extensions ...uint16) func(*client13) {
		return func(c *client13) { c.hello.without(extensions...) }
	}
	public := func(b []byte) func(*client13) { return func(c *client13) { c.public = b } }
	for _, tt := range []struct {
		name   string
		change func(*client13)
		want   alert
	}{
		{"TLS 1.2 alone", func(c *client13) { c.hello.versions = []uint16{tls.VersionTLS12} }, alertProtocolVersion},
		{"no supported_versions", drop(extSupportedVersions), alertProtocolVersion},
		{"SSL 3.0 beside it", func(c *client13) { c.hello.version = 0x0300 }, alertProtocolVersion},
		{"less beside it", func(c *client13) { c.hello.version = 0x0002 }, alertProtocolVersion},
		{"compression", func(c *client13) { c.hello.compressions = []byte{0, 1} }, alertIllegalParameter},
		{"no suite in common", func(c *client13) { c.hello.suites = []uint16{0xC02F, 0x1304} }, alertHandshakeFailure},
		{"no supported_groups", drop(extSupportedGroups), alertMissingExtension},
		{"no key_share", func(c *client13) { c.shares = nil }, alertMissingExtension},
		{"no group in common", func(c *client13) { c.hello.groups, c.shares = []tls.CurveID{256}, []tls.CurveID{} }, alertHandshakeFailure},
		{"two shares for a group", func(c *client13) { c.shares = []tls.CurveID{tls.X25519, tls.CurveP256, tls.X25519} }, alertIllegalParameter},
		{"two shares for a group among many", func(c *client13) {
			offerUnknown(c, 1000)
			c.shares = append(c.shares, c.shares[500])
		}, alertIllegalParameter},
		{"share for another group among many", func(c *client13) {
			offerUnknown(c, 1000)
			c.hello.groups = slices.Delete(c.hello.groups, 600, 601)
		}, alertIllegalParameter},
		{"share for another group", func(c *client13) { c.hello.groups = []tls.CurveID{tls.CurveP256} }, alertIllegalParameter},
		{"empty share", public([]byte{}), alertDecodeError},
		{"short share", public(make([]byte, 31)), alertIllegalParameter},
		{"long share", public(make([]byte, 33)), alertIllegalParameter},
		{"share of low order", public(make([]byte, 32)), alertIllegalParameter},
		{"point that is not on the curve", func(c *client13) {
			c.shares, c.hello.groups, c.public = []tls.CurveID{tls.CurveP256}, []tls.CurveID{tls.CurveP256}, append([]byte{4}, make([]byte, 64)...)
		}, alertIllegalParameter},
		{"no signature_algorithms", drop(extSignatureAlgorithms), alertMissingExtension},
		{"PKCS #1 alone", func(c *client13) { c.hello.schemes = []tls.SignatureScheme{tls.PKCS1WithSHA256} }, alertHandshakeFailure},
		{"another curve's signature", func(c *client13) { c.hello.schemes = []tls.SignatureScheme{tls.ECDSAWithP384AndSHA384} }, alertHandshakeFailure},
		{"no protocol in common", func(c *client13) {
			c.server.config.NextProtos = []string{"mqtt"}
			c.hello.extensions, c.hello.protocols = append(c.hello.extensions, extALPN), []string{"h2"}
		}, alertNoApplicationProtocol},
		{"early data without a ticket", func(c *client13) { c.earlyData = true }, alertIllegalParameter},
		{"ticket without modes", func(c *client13) { resume(c); c.pskModes = nil }, alertMissingExtension},
		{"no modes", func(c *client13) { c.pskModes = []byte{} }, alertDecodeError},
		{"wrong binder", func(c *client13) {
			resume(c)
			c.send = func(r record) []record { r.data[len(r.data)-1] ^= 1; return []record{r} }
		}, alertDecryptError},
		{"binders too few", func(c *client13) {
			resume(c)
			c.foreign, c.oneBinder = 1, true
		}, alertIllegalParameter},
		{"short binder", func(c *client13) { resume(c); c.session.secret = c.session.secret[:31] }, alertDecodeError},
		{"empty ticket", func(c *client13) { resume(c); c.session.ticket = nil }, alertDecodeError},
		{"extension behind the binders", func(c *client13) {
			resume(c)
			c.send = c.editHello(func(list []byte) []byte { return append(list, 0xff, 0x77, 0, 0) })
		}, alertIllegalParameter},
		{"an extension twice", func(c *client13) {
			c.send = c.editHello(func(list []byte) []byte { return append(list, 0, byte(extKeyShare), 0, 2, 0, 0) })
		}, alertIllegalParameter},
		{"lengths that do not fit", func(c *client13) {
			c.send = c.editHello(func(list []byte) []byte { return append(list, 0, byte(extEarlyData), 0, 1, 0) })
		}, alertDecodeError},
		{"more behind it", func(c *client13) {
			c.send = func(r record) []record { return []record{{r.recordType, append(r.data, typeClientHello)}} }
		}, alertUnexpectedMessage},
		// Which would be taken for what is protected later.
		{"Finished's type behind it", func(c *client13) {
			c.send = func(r record) []record { return []record{{r.recordType, append(r.data, typeFinished)}} }
		}, alertUnexpectedMessage},
		{"Certificate's type behind it", func(c *client13) {
			c.server.config.ClientAuth = tls.RequireAnyClientCert
			c.send = func(r record) []record { return []record{{r.recordType, append(r.data, typeCertificate)}} }
		}, alertUnexpectedMessage},
		{"ChangeCipherSpec before it", func(c *client13) {
			c.send = func(r record) []record { return []record{{recordChangeCipherSpec, []byte{1}}, r} }
		}, alertUnexpectedMessage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := testConfig13()
			config.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256}
			c := newClient13(t, config)
			tt.change(c)
			_ = c.handshake()
			checkRefused(t, c.client, tt.want)
			if c.server.in.reader.buffer != nil || c.server.handshaking != nil {
				t.Error("something is held")
			}
		})
	}
}

// offerUnknown has a client offer groups that nobody knows, and shares for them,
// before its own.
func offerUnknown(c *client13, n int) {
	for i := range n {
		group := tls.CurveID(0xa000 + n - i) // anything but in order
		c.hello.groups = slices.Insert(c.hello.groups, 0, group)
		c.shares = slices.Insert(c.shares, 0, group)
	}
}

// editHello returns a send that changes the list of extensions.
func (c *client13) editHello(edit func(list []byte) []byte) func(record) []record {
	return func(r record) []record {
		if r.recordType != recordHandshake || r.data[0] != typeClientHello {
			return []record{r}
		}
		start, list, _ := splitHello(body(r.data))
		edited := edit(bytes.Clone(list))
		return []record{{r.recordType, withLength(slices.Concat(r.data[:messageHeaderLen], start, []byte{byte(len(edited) >> 8), byte(len(edited))}, edited))}}
	}
}

// The second ClientHello has to be the first one, with the share that was asked for.
func TestBadSecondHello(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*client13)
		want   alert
	}{
		{"another random", func(c *client13) { c.hello.random[0] ^= 1 }, alertIllegalParameter},
		{"another session ID", func(c *client13) { c.hello.sessionID = []byte("other") }, alertIllegalParameter},
		{"other suites", func(c *client13) { c.hello.suites = c.hello.suites[:1] }, alertIllegalParameter},
		{"another name", func(c *client13) { c.hello.serverName = "other.test" }, alertIllegalParameter},
		{"other groups", func(c *client13) { c.hello.groups = []tls.CurveID{tls.CurveP384} }, alertIllegalParameter},
		{"other signatures", func(c *client13) { c.hello.schemes = c.hello.schemes[:3] }, alertIllegalParameter},
		{"other versions", func(c *client13) { c.hello.versions = []uint16{tls.VersionTLS12} }, alertProtocolVersion},
		{"one more version", func(c *client13) { c.hello.versions = append(c.hello.versions, tls.VersionTLS12) }, alertIllegalParameter},
		{"another legacy version", func(c *client13) { c.hello.version = tls.VersionTLS11 }, alertIllegalParameter},
		{"another protocol", func(c *client13) { c.hello.protocols[0] = "other" }, alertIllegalParameter},
		{"other modes", func(c *client13) { c.pskModes = []byte{pskWithDHE, 0} }, alertIllegalParameter},
		{"one more extension", func(c *client13) {
			c.hello.statusRequest, c.hello.extensions = true, append(c.hello.extensions, extStatusRequest)
		}, alertIllegalParameter},
		{"extensions in another order", func(c *client13) { slices.Reverse(c.hello.extensions) }, 0},
		{"early data", func(c *client13) { c.earlyData = true }, alertIllegalParameter},
		{"no share", func(c *client13) { c.shares = []tls.CurveID{} }, alertIllegalParameter},
		{"the first share again", func(c *client13) { c.shares = []tls.CurveID{tls.X25519} }, alertIllegalParameter},
		{"two shares", func(c *client13) { c.shares = []tls.CurveID{tls.CurveP384, tls.X25519} }, alertIllegalParameter},
		{"wrong binder", func(c *client13) {
			c.session = &session13{c.session.ticket, bytes.Repeat([]byte{1}, len(c.session.secret)), 0}
		}, alertDecryptError},
		{"no more ticket", func(c *client13) { c.session = nil }, 0}, // RFC 8446 §4.1.2
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := testConfig13()
			config.CurvePreferences = []tls.CurveID{tls.CurveP384}
			first := newClient13(t, config)
			first.mustHandshake()
			c := newClient13(t, config)
			c.session = first.ticket
			c.hello.extensions, c.hello.protocols = append(c.hello.extensions, extALPN), []string{"amqp"}
			c.sendHello()
			must(c.pump())
			for c.retries == 0 {
				messageType, s, err := c.readMessage()
				must(err)
				must(c.take(messageType, s))
			}
			tt.change(c)
			if tt.want == 0 {
				if err := c.handshake(); err != nil || c.resumed != (c.session != nil) {
					t.Error(err, c.resumed)
				}
				return
			}
			c.sendHello()
			_ = c.pump()
			checkRefused(t, c.client, tt.want)
		})
	}
}

// client13Messages are what a client with a certificate sends, in order.
var client13Messages = []struct {
	name        string
	messageType uint8
}{
	{"ClientHello", typeClientHello},
	{"Certificate", typeCertificate},
	{"CertificateVerify", typeCertificateVerify},
	{"Finished", typeFinished},
}

func newStrangeClient13(t testing.TB, messageType uint8, change func(record) []record) *client13 {
	config := testConfig13()
	config.ClientAuth, config.CurvePreferences = tls.RequireAnyClientCert, []tls.CurveID{tls.X25519}
	c := newClient13(t, config)
	c.certificate = testPKI().clientECDSA
	c.send = func(r record) []record {
		if r.recordType != recordHandshake || r.data[0] != messageType {
			return []record{r}
		}
		return change(r)
	}
	return c
}

// What is done to each message of a handshake, as TestBadMessages does.
func TestBadMessages13(t *testing.T) {
	change := func(f func(data []byte) []byte) func(record) []record {
		return func(r record) []record { return []record{{r.recordType, f(bytes.Clone(r.data))}} }
	}
	for _, tt := range []struct {
		name   string
		change func(record) []record
		want   map[string]alert // 0 for none; "" for the others
	}{
		{"with a byte too many", change(func(m []byte) []byte { return withLength(append(m, 0)) }), map[string]alert{"": alertDecodeError}},
		{"with a byte too few", change(func(m []byte) []byte { return withLength(m[:len(m)-1]) }), map[string]alert{"": alertDecodeError}},
		{"empty", change(func(m []byte) []byte { return withLength(m[:messageHeaderLen]) }), map[string]alert{"": alertDecodeError}},
		{"left out", func(record) []record { return nil }, map[string]alert{"": alertUnexpectedMessage, "ClientHello": waits, "Finished": waits}},
		{"twice", func(r record) []record { return []record{r, r} }, map[string]alert{
			"": alertUnexpectedMessage,
			// The second one has the keys of before.
			"Finished": alertBadRecordMAC,
		}},
		{"twice in a record", change(func(m []byte) []byte { return append(m, m...) }), map[string]alert{"": alertUnexpectedMessage}},
		{"with the beginning of another behind it", change(func(m []byte) []byte { return append(m, m[0]) }), map[string]alert{"": alertUnexpectedMessage}},
		{"of another type", change(func(m []byte) []byte { m[0] ^= 0x40; return m }), map[string]alert{"": alertUnexpectedMessage}},
		{"of 16 MB", change(func(m []byte) []byte { m[1] = 0xff; return m }), map[string]alert{
			"": alertIllegalParameter, "Finished": alertDecodeError,
		}},
		{"after an empty record", func(r record) []record { return []record{{r.recordType, nil}, r} }, map[string]alert{"": alertUnexpectedMessage}},
		{"after application data", func(r record) []record { return []record{{recordApplicationData, []byte("x")}, r} }, map[string]alert{"": alertUnexpectedMessage}},
		{"after a record of type 24", func(r record) []record { return []record{{24, []byte{1}}, r} }, map[string]alert{"": alertUnexpectedMessage}},
		{"after half an alert", func(r record) []record { return []record{{recordAlert, []byte{1}}, r} }, map[string]alert{"": alertDecodeError}},
		{"after 15 that it is cancelled", func(r record) []record {
			return append(slices.Repeat([]record{{recordAlert, []byte{1, byte(alertUserCanceled)}}}, 15), r) // and a ChangeCipherSpec
		}, map[string]alert{"": 0}},
		{"after 17 that it is cancelled", func(r record) []record {
			return append(slices.Repeat([]record{{recordAlert, []byte{1, byte(alertUserCanceled)}}}, 17), r)
		}, map[string]alert{"": alertUnexpectedMessage}},
		{"in records of one byte", func(r record) (fragments []record) {
			for _, b := range r.data {
				fragments = append(fragments, record{r.recordType, []byte{b}})
			}
			return fragments
		}, map[string]alert{"": 0}},
		{"cut by an alert", func(r record) []record {
			return []record{{r.recordType, r.data[:4]}, {recordAlert, []byte{1, byte(alertUserCanceled)}}, {r.recordType, r.data[4:]}}
		}, map[string]alert{"": alertUnexpectedMessage}},
		{"cut by application data", func(r record) []record {
			return []record{{r.recordType, r.data[:4]}, {recordApplicationData, []byte("x")}, {r.recordType, r.data[4:]}}
		}, map[string]alert{"": alertUnexpectedMessage}},
	} {
		for _, m := range client13Messages {
			t.Run(m.name+" "+tt.name, func(t *testing.T) {
				c := newStrangeClient13(t, m.messageType, tt.change)
				err := c.handshake()
				want, ok := tt.want[m.name]
				if !ok {
					want = tt.want[""]
				}
				checkOutcome(t, c.client, err, want)
			})
		}
	}
}

// Certificates and proofs that are none.
func TestBadClientCertificate13(t *testing.T) {
	p := testPKI()
	for _, tt := range []struct {
		name        string
		messageType uint8
		change      func([]byte) []byte
		client      func(*client13)
		want        alert
	}{
		{"none", 0, nil, func(c *client13) { c.certificate = nil }, alertCertificateRequired},
		{"a context", typeCertificate, func(m []byte) []byte { return slices.Insert(withFirst(m, 1), 5, 7) }, nil, alertIllegalParameter},
		{"an extension", typeCertificate, func(m []byte) []byte {
			list := append(m[8:len(m)-2:len(m)-2], 0, 4, 0, 5, 0, 0)
			return slices.Concat(m[:5], []byte{0, byte(len(list) >> 8), byte(len(list))}, list)
		}, nil, alertUnsupportedExtension},
		{"no certificate in it", typeCertificate, func(m []byte) []byte { return append(m[:5], 0, 0, 5, 0, 0, 0, 0, 0) }, nil, alertDecodeError},
		{"not a certificate", typeCertificate, func(m []byte) []byte { return append(m[:5], 0, 0, 6, 0, 0, 1, 0, 0, 0) }, nil, alertBadCertificate},
		{"PKCS #1", typeCertificateVerify, func(m []byte) []byte { m[4], m[5] = 4, 1; return m }, func(c *client13) { c.certificate = p.clientRSA }, alertIllegalParameter},
		{"another curve's scheme", typeCertificateVerify, func(m []byte) []byte { m[4], m[5] = 5, 3; return m }, nil, alertIllegalParameter},
		{"another key's scheme", typeCertificateVerify, func(m []byte) []byte { m[4], m[5] = 8, 4; return m }, nil, alertIllegalParameter},
		{"unknown scheme", typeCertificateVerify, func(m []byte) []byte { m[4], m[5] = 0xfe, 0xfe; return m }, nil, alertIllegalParameter},
		{"wrong signature", typeCertificateVerify, func(m []byte) []byte { m[len(m)-1] ^= 1; return m }, nil, alertDecryptError},
		{"wrong signature of RSA", typeCertificateVerify, func(m []byte) []byte { m[len(m)-1] ^= 1; return m }, func(c *client13) { c.certificate = p.clientRSA }, alertDecryptError},
		{"wrong signature of Ed25519", typeCertificateVerify, func(m []byte) []byte { m[20] ^= 1; return m }, func(c *client13) { c.certificate = p.clientEd25519 }, alertDecryptError},
		{"nobody's", 0, nil, func(c *client13) {
			c.server.config.ClientAuth, c.server.config.ClientCAs = tls.RequireAndVerifyClientCert, newAuthority().roots
		}, alertUnknownCA},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newStrangeClient13(t, tt.messageType, func(r record) []record {
				return []record{{r.recordType, withLength(tt.change(bytes.Clone(r.data)))}}
			})
			if tt.client != nil {
				tt.client(c)
			}
			_ = c.handshake()
			checkRefused(t, c.client, tt.want)
		})
	}
}

// withFirst sets the first byte of a message's body.
func withFirst(m []byte, b byte) []byte {
	m[messageHeaderLen] = b
	return m
}

// Records that are not protected, or not as they should be, while the handshake
// goes on and after it.
func TestBadRecords13(t *testing.T) {
	plain := func(recordType uint8, data ...byte) func(*client13) {
		return func(c *client13) { c.conn.toServer.Write(new(halfConn).seal(nil, recordType, data)) }
	}
	protected := func(recordType uint8, data ...byte) func(*client13) {
		return func(c *client13) { c.conn.toServer.Write(c.out.seal(nil, recordType, data)) }
	}
	ccs := func(n int) func(*client13) {
		return func(c *client13) {
			for range n {
				plain(recordChangeCipherSpec, 1)(c)
			}
		}
	}
	for _, tt := range []struct {
		name string
		send func(*client13)
		want [2]alert // before the client's Finished, and after it; 0 for none
	}{
		{"ChangeCipherSpec", ccs(1), [2]alert{0, alertUnexpectedMessage}},
		{"15 of them", ccs(15), [2]alert{0, alertUnexpectedMessage}},
		{"17 of them", ccs(17), [2]alert{alertUnexpectedMessage, alertUnexpectedMessage}},
		{"ChangeCipherSpec of another value", plain(recordChangeCipherSpec, 2), [2]alert{alertUnexpectedMessage, alertUnexpectedMessage}},
		{"ChangeCipherSpec of two bytes", plain(recordChangeCipherSpec, 1, 1), [2]alert{alertUnexpectedMessage, alertUnexpectedMessage}},
		{"ChangeCipherSpec that is protected", protected(recordChangeCipherSpec, 1), [2]alert{alertUnexpectedMessage, alertUnexpectedMessage}},
		{"handshake in the clear", plain(recordHandshake, typeFinished, 0, 0, 0), [2]alert{alertUnexpectedMessage, alertUnexpectedMessage}},
		{"data in the clear", plain(recordApplicationData, make([]byte, 100)...), [2]alert{alertBadRecordMAC, alertBadRecordMAC}},
		{"short data in the clear", plain(recordApplicationData, 1), [2]alert{alertBadRecordMAC, alertBadRecordMAC}},
		{"alert in the clear", plain(recordAlert, 2, byte(alertUnknownCA)), [2]alert{waits, alertUnexpectedMessage}},
		{"empty alert", protected(recordAlert), [2]alert{alertUnexpectedMessage, alertUnexpectedMessage}},
		{"empty alert in the clear", plain(recordAlert), [2]alert{alertUnexpectedMessage, alertUnexpectedMessage}},
		{"half an alert in the clear", plain(recordAlert, 2), [2]alert{alertDecodeError, alertUnexpectedMessage}},
		{"empty handshake record", protected(recordHandshake), [2]alert{alertUnexpectedMessage, alertUnexpectedMessage}},
		{"of type 25", protected(25, 1), [2]alert{alertUnexpectedMessage, alertUnexpectedMessage}},
		{"too long", func(c *client13) {
			c.conn.toServer.Write([]byte{23, 3, 3, byte((maxCiphertext13 + 1) >> 8), byte((maxCiphertext13 + 1) & 0xff)})
		}, [2]alert{alertRecordOverflow, alertRecordOverflow}},
		{"another version", func(c *client13) { c.conn.toServer.Write([]byte{23, 4, 3, 0, 100}) }, [2]alert{alertProtocolVersion, alertProtocolVersion}},
	} {
		for phase, want := range tt.want {
			t.Run(fmt.Sprintf("%s, phase %d", tt.name, phase), func(t *testing.T) {
				config := testConfig13()
				config.CurvePreferences = []tls.CurveID{tls.X25519}
				c := newClient13(t, config)
				sent := phase == 1
				c.send = func(r record) []record {
					if !sent && r.recordType == recordHandshake && r.data[0] == typeFinished {
						sent = true
						tt.send(c)
					}
					return []record{r}
				}
				err := c.handshake()
				if phase == 1 {
					must(err)
					tt.send(c)
				}
				switch want {
				case 0:
					if err != nil {
						t.Fatal(err)
					}
					c.exchange()
				case waits: // for nothing: it was refused
					if err := c.server.Handshake(); err == nil || err.Error() != "remote error: "+alertUnknownCA.Error() {
						t.Errorf("server: %v", err)
					}
				default:
					checkRefused(t, c.client, want)
				}
			})
		}
	}
}

// What comes behind the handshake and is no data.
func TestBadConnection13(t *testing.T) {
	for _, tt := range []struct {
		name string
		send func(*client13)
		want alert
	}{
		{"ClientHello", func(c *client13) { c.write(recordHandshake, mustMessage(typeClientHello, []byte{3})) }, alertUnexpectedMessage},
		{"NewSessionTicket", func(c *client13) { c.write(recordHandshake, mustMessage(typeNewSessionTicket, []byte{3})) }, alertUnexpectedMessage},
		{"long NewSessionTicket", func(c *client13) { c.write(recordHandshake, mustMessage(typeNewSessionTicket, make([]byte, 1000))) }, alertUnexpectedMessage},
		{"KeyUpdate that asks for what there is not", func(c *client13) { c.write(recordHandshake, keyUpdate(2)) }, alertIllegalParameter},
		{"KeyUpdate of two bytes", func(c *client13) { c.write(recordHandshake, mustMessage(typeKeyUpdate, []byte{0, 0})) }, alertDecodeError},
		{"KeyUpdate of none", func(c *client13) { c.write(recordHandshake, mustMessage(typeKeyUpdate, nil)) }, alertDecodeError},
		{"KeyUpdate of 16 MB", func(c *client13) { c.write(recordHandshake, []byte{typeKeyUpdate, 0xff, 0xff, 0xff}) }, alertDecodeError},
		{"KeyUpdate with something behind it", func(c *client13) { c.write(recordHandshake, append(keyUpdate(0), typeKeyUpdate)) }, alertUnexpectedMessage},
		{"an alert inside of a KeyUpdate", func(c *client13) {
			c.write(recordHandshake, keyUpdate(0)[:3])
			c.write(recordAlert, []byte{alertLevelWarning, byte(alertUserCanceled)})
		}, alertUnexpectedMessage},
		{"data inside of a KeyUpdate", func(c *client13) {
			c.write(recordHandshake, keyUpdate(0)[:3])
			c.write(recordApplicationData, []byte("x"))
		}, alertUnexpectedMessage},
		{"KeyUpdates without end", func(c *client13) {
			for range maxUseless + 1 {
				c.write(recordHandshake, keyUpdate(updateRequested))
				c.own = c.schedule.deriver.derive(c.own, "traffic upd", nil)
				c.out.setTraffic13(newAEAD13(c.schedule.deriver, c.suite, c.own), true)
			}
		}, alertUnexpectedMessage},
		{"empty records without end", func(c *client13) {
			for range maxUseless + 1 {
				c.write(recordApplicationData, nil)
			}
		}, alertUnexpectedMessage},
		{"the old keys behind a KeyUpdate", func(c *client13) {
			c.write(recordHandshake, keyUpdate(0))
			c.write(recordApplicationData, []byte("x"))
		}, alertBadRecordMAC},
		{"replayed", func(c *client13) { c.sendTwice() }, alertBadRecordMAC},
		{"a bit", func(c *client13) { c.sendAltered() }, alertBadRecordMAC},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient13(t, testConfig13())
			c.mustHandshake()
			tt.send(c)
			checkRefused(t, c.client, tt.want)
		})
	}
}

// The client's Finished, wrong in every byte: with a client certificate, without, and
// where a session is resumed.
func TestWrongFinished13(t *testing.T) {
	config := testConfig13()
	first := newClient13(t, config)
	first.mustHandshake()
	for i := range 48 {
		for _, session := range []*session13{nil, first.ticket} {
			c := newClient13(t, config)
			c.session = session
			c.send = func(r record) []record {
				if r.recordType == recordHandshake && r.data[0] == typeFinished {
					r.data[messageHeaderLen+i] ^= 0x10
				}
				return []record{r}
			}
			_ = c.handshake()
			if c.resumed != (session != nil) {
				t.Fatal("resumed:", c.resumed)
			}
			checkRefused(t, c.client, alertDecryptError)
		}
	}
	for i := range 48 {
		c := newStrangeClient13(t, typeFinished, func(r record) []record {
			r.data[messageHeaderLen+i] ^= 0x10
			return []record{r}
		})
		_ = c.handshake()
		checkRefused(t, c.client, alertDecryptError)
	}
}
