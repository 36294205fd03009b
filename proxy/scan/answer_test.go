package scan

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/clienthello"
)

// wireHello makes a handshake record of messages.
func wireHello(messages ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddBytes([]byte{recordHandshake, 3, 3})
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, m := range messages {
			b.AddBytes(m)
		}
	})
	return b.BytesOrPanic()
}

// serverHello makes one with extensions as they stand on the wire.
func serverHello(version, suite uint16, random []byte, compression uint8, extensions string) []byte {
	var b cryptobyte.Builder
	b.AddUint16(version)
	b.AddBytes(random)
	b.AddUint8(0)
	b.AddUint16(suite)
	b.AddUint8(compression)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(extensions)) })
	return message(typeServerHello, b.BytesOrPanic())
}

// hellos are those that answers are read against.
func hellos() (tls12, tls13 *hello) {
	tls12 = &hello{version: policy.TLS12, suites: []uint16{0xC02F, 0x009E, 0x009C, 0xC035}, groups: allGroups(), alpn: []string{"mqtt"}}
	tls13 = &hello{version: policy.TLS13, suites: []uint16{0x1301}, groups: allGroups()}
	return tls12, tls13
}

func TestReadAnswer(t *testing.T) {
	tls12, tls13 := hellos()
	random := make([]byte, 32)
	done := message(typeServerHelloDone, nil)
	retry := helloRetryRequest[:]
	for name, test := range map[string]struct {
		hello *hello
		wire  []byte
		want  string // of an error
	}{
		"RSA":                    {tls12, wireHello(serverHello(0x0303, 0x009C, random, 0, ""), done), ""},
		"an older version":       {tls12, wireHello(serverHello(0x0301, 0x009C, random, 0, ""), done), ""},
		"a warning before":       {tls12, append([]byte{recordAlert, 3, 3, 0, 2, 1, 112}, wireHello(serverHello(0x0303, 0x009C, random, 0, ""), done)...), ""},
		"two records":            {tls12, append(wireHello(serverHello(0x0303, 0x009C, random, 0, "")), wireHello(done)...), ""},
		"a curve":                {tls12, wireHello(serverHello(0x0303, 0xC02F, random, 0, ""), message(typeServerKeyExchange, []byte{3, 0, 29, 1, 4}), done), ""},
		"a hint before a curve":  {tls12, wireHello(serverHello(0x0303, 0xC035, random, 0, ""), message(typeServerKeyExchange, []byte{0, 1, 'h', 3, 0, 29, 1, 4}), done), ""},
		"a retry":                {tls13, wireHello(serverHello(0x0303, 0x1301, retry, 0, "\x00\x2b\x00\x02\x03\x04\x00\x33\x00\x02\x00\x1d")), ""},
		"TLS 1.2 for 1.3":        {&hello{version: policy.TLS13, suites: []uint16{0x009C}}, wireHello(serverHello(0x0303, 0x009C, random, 0, ""), done), ""},
		"handshake_failure":      {tls12, []byte{recordAlert, 3, 3, 0, 2, 2, 40}, "alert 40"},
		"an alert after a hello": {tls12, append(wireHello(serverHello(0x0303, 0x009C, random, 0, "")), recordAlert, 3, 3, 0, 2, 2, 40), "alert 40"},
		"close_notify":           {tls12, []byte{recordAlert, 3, 3, 0, 2, 1, 0}, "EOF"},
		"nothing":                {tls12, nil, "EOF"},
		"an end after the hello": {tls12, wireHello(serverHello(0x0303, 0x009C, random, 0, "")), "EOF"},
		"an end in a record":     {tls12, wireHello(done)[:6], "EOF"},
		"HTTP":                   {tls12, []byte("HTTP/1.1 400 Bad Request\r\n"), `"HTTP/"`},
		"no hello":               {tls12, wireHello(done), "message 14 out of order"},
		"two hellos":             {tls12, wireHello(serverHello(0x0303, 0x009C, random, 0, ""), serverHello(0x0303, 0x009C, random, 0, "")), "message 2 out of order"},
		"another suite":          {tls12, wireHello(serverHello(0x0303, 0x009D, random, 0, "")), "suite TLS_RSA_WITH_AES_256_GCM_SHA384, which was not offered"},
		"a newer version":        {tls12, wireHello(serverHello(0x0304, 0x009C, random, 0, "")), "version TLSv1.3, which was not offered"},
		"SSL 2.0":                {tls12, wireHello(serverHello(0x0002, 0x009C, random, 0, "")), "version 0x0002, which was not offered"},
		"compression":            {tls12, wireHello(serverHello(0x0303, 0x009C, random, 1, "")), "compression method 1"},
		"an extension":           {tls12, wireHello(serverHello(0x0303, 0x009C, random, 0, "\x00\x0f\x00\x00")), "extension 15"},
		"an extension twice":     {tls12, wireHello(serverHello(0x0303, 0x009C, random, 0, "\x00\x17\x00\x00\x00\x17\x00\x00")), "extension 23"},
		"a share for no share":   {tls13, wireHello(serverHello(0x0303, 0x1301, random, 0, "\x00\x2b\x00\x02\x03\x04\x00\x33\x00\x02\x00\x1d")), "extension 51"},
		"no group":               {tls13, wireHello(serverHello(0x0303, 0x1301, retry, 0, "\x00\x2b\x00\x02\x03\x04")), "no group"},
		"no protocol":            {tls12, wireHello(serverHello(0x0303, 0x009C, random, 0, "\x00\x10\x00\x02\x00\x00")), "extension 16"},
		"a short hello":          {tls12, wireHello(message(typeServerHello, make([]byte, 20))), "ServerHello"},
		"an explicit curve":      {tls12, wireHello(serverHello(0x0303, 0xC02F, random, 0, ""), message(typeServerKeyExchange, []byte{1, 0, 29})), "curve of ServerKeyExchange"},
		"a short prime":          {tls12, wireHello(serverHello(0x0303, 0x009E, random, 0, ""), message(typeServerKeyExchange, []byte{1, 0, 29})), "prime of ServerKeyExchange"},
		"an empty certificate":   {tls12, wireHello(serverHello(0x0303, 0x009C, random, 0, ""), message(typeCertificate, []byte{0, 0, 3, 0, 0, 0})), "Certificate"},
		"an empty record":        {tls12, []byte{recordHandshake, 3, 3, 0, 0}, "record of 0 bytes"},
		"a long record":          {tls12, []byte{recordHandshake, 3, 3, 0xff, 0xff}, "record of 65535 bytes"},
		"a long alert":           {tls12, []byte{recordAlert, 3, 3, 0, 3, 2, 40, 0}, "alert of 3 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := readAnswer(iotest.OneByteReader(bytes.NewReader(test.wire)), test.hello)
			switch {
			case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want %q", err, test.want)
			case err == nil && a.group == 0 && a.suite != 0x009C, err == nil && a.group != 0 && a.group != policy.X25519:
				t.Errorf("suite %#04x, group %s", a.suite, a.group)
			}
		})
	}
}

// Our own strict parser takes every hello, and reads what was meant.
func TestHello(t *testing.T) {
	for _, v := range versions {
		h := &hello{version: v, suites: policy.RegisteredSuites()[:chunk], groups: allGroups(), serverName: "localhost", alpn: protocols[:]}
		wire, err := h.marshal()
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := clienthello.Read(bytes.NewReader(wire), clienthello.MaxSize)
		if err != nil {
			t.Errorf("%s: %v", v, err)
			continue
		}
		if got := parsed.Versions()[0]; got != uint16(v) {
			t.Errorf("%s: version %#04x", v, got)
		}
		extensions := v != policy.SSL30
		if got := parsed.CipherSuites[:chunk]; got[chunk-1] != h.suites[chunk-1] || (parsed.ServerName == "localhost") != extensions ||
			(len(parsed.Groups) == len(groups)) != extensions || (len(parsed.ALPN) == len(protocols)) != extensions ||
			parsed.SecureRenegotiation != (v != policy.TLS13) || len(parsed.KeyShares) != 0 {
			t.Errorf("%s: %+v", v, parsed)
		}
		for _, extension := range parsed.Extensions {
			if extension != extSignatureAlgorithms && !h.offers(extension) {
				t.Errorf("%s: no answer to extension %d is expected", v, extension)
			}
		}
	}
}

// FuzzReadAnswer holds that what is read does not depend on how it arrives, and
// that nothing is taken for accepted that was not offered.
func FuzzReadAnswer(f *testing.F) {
	tls12, tls13 := hellos()
	f.Add(false, recorded(f, tls12))
	f.Add(true, recorded(f, tls13))
	f.Add(false, []byte{recordAlert, 3, 3, 0, 2, 2, 40})
	f.Fuzz(func(t *testing.T, newest bool, wire []byte) {
		h := tls12
		if newest {
			h = tls13
		}
		a, err := readAnswer(bytes.NewReader(wire), h)
		again, errAgain := readAnswer(iotest.OneByteReader(bytes.NewReader(wire)), h)
		if (err == nil) != (errAgain == nil) || err != nil && err.Error() != errAgain.Error() {
			t.Fatalf("%v at once, %v byte by byte", err, errAgain)
		}
		if err != nil {
			return
		}
		if a.suite != again.suite || a.group != again.group || a.version > h.version || !bytes.Contains([]byte{0xC0, 0x2F, 0x00, 0x9E, 0x00, 0x9C, 0xC0, 0x35, 0x13, 0x01}, []byte{byte(a.suite >> 8), byte(a.suite)}) {
			t.Errorf("%+v, %+v", a, again)
		}
	})
}

// recorded is what crypto/tls answers to a hello.
func recorded(f *testing.F, h *hello) []byte {
	f.Helper()
	wire, err := h.marshal()
	if err != nil {
		f.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{rsaCertificate(f)}, NextProtos: []string{"mqtt"}}
	client, server := net.Pipe()
	defer client.Close()
	served := make(chan error, 1)
	go func() { served <- tls.Server(server, config).Handshake() }()
	if _, err := client.Write(wire); err != nil {
		f.Fatal(err)
	}
	var answer bytes.Buffer
	if err := client.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		f.Fatal(err)
	}
	if _, err := readAnswer(io.TeeReader(client, &answer), h); err != nil {
		f.Fatal(err)
	}
	client.Close()
	if err := <-served; err == nil {
		f.Fatalf("the handshake ended with %v", err)
	}
	return answer.Bytes()
}
