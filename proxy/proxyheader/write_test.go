package proxyheader

import (
	"bufio"
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

func TestAppend(t *testing.T) {
	a4, b4 := netip.MustParseAddrPort("192.0.2.7:56324"), netip.MustParseAddrPort("198.51.100.1:5671")
	b6 := netip.MustParseAddrPort("[::1]:5671")
	tls13 := Client{Source: a4, Destination: b4, TLS: "TLSv1.3", Cipher: "TLS_AES_256_GCM_SHA384"}
	const tlsTLV = "\x20\x00\x28\x01\x00\x00\x00\x01\x21\x00\x07TLSv1.3\x23\x00\x16TLS_AES_256_GCM_SHA384"
	for _, tt := range []struct {
		name    string
		version Version
		client  Client
		want    string
	}{
		{"v1", V1, tls13, "PROXY TCP4 192.0.2.7 198.51.100.1 56324 5671\r\n"},
		{"v1, both families", V1, Client{Source: a4, Destination: b6}, "PROXY TCP6 ::ffff:192.0.2.7 ::1 56324 5671\r\n"},
		{"v2", V2, tls13, v2(0x21, 0x11, addresses4+tlsTLV)},
		{"v2, both families", V2, Client{Source: a4, Destination: b6, TLS: "TLSv1.2", Cipher: "AES128-SHA"},
			v2(0x21, 0x21, strings.Repeat("\x00", 10)+"\xff\xff\xc0\x00\x02\x07"+strings.Repeat("\x00", 15)+"\x01\xdc\x04\x16\x27"+
				"\x20\x00\x1c\x01\x00\x00\x00\x01\x21\x00\x07TLSv1.2\x23\x00\x0aAES128-SHA")},
		{"v2, no addresses", V2, Client{TLS: "TLSv1.3", Cipher: "TLS_AES_256_GCM_SHA384"}, v2(0x20, 0x00, tlsTLV)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.version.Append([]byte("x"), tt.client)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff("x"+tt.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What a broker reads of the client, with the library that also is in brokers.
func TestTLVs(t *testing.T) {
	base := Client{
		Source: ipv4.Source, Destination: ipv4.Destination, Authority: "mq.example", ALPN: "mqtt",
		TLS: "TLSv1.2", Cipher: "ECDHE-RSA-AES256-GCM-SHA384",
	}
	for _, tt := range []struct {
		name     string
		change   func(*Client)
		flags    uint8
		verified bool
		cn       string
	}{
		{"no certificate", func(c *Client) {}, 0x01, false, ""},
		{"certificate", func(c *Client) { c.Certificate, c.CommonName = true, "sensör-1" }, 0x07, true, "sensör-1"},
		{"of the session", func(c *Client) { c.Certificate, c.CommonName, c.Resumed = true, "sensor-1", true }, 0x05, true, "sensor-1"},
		{"without a common name", func(c *Client) { c.Certificate = true }, 0x07, true, ""},
		{"with one that nobody needs", func(c *Client) { c.Certificate, c.CommonName = true, strings.Repeat("a", 1<<16) }, 0x07, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := base
			tt.change(&client)
			raw, err := V2.Append(nil, client)
			if err != nil {
				t.Fatal(err)
			}
			header, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(raw)))
			if err != nil {
				t.Fatal(err)
			}
			tlvs, err := header.TLVs()
			if err != nil || len(tlvs) != 3 {
				t.Fatalf("%d TLVs, %v", len(tlvs), err)
			}
			if string(tlvs[0].Value) != "mqtt" || tlvs[0].Type != 1 || string(tlvs[1].Value) != "mq.example" || tlvs[1].Type != 2 {
				t.Errorf("ALPN and authority: %q", tlvs[:2])
			}
			ssl, ok := tlvparse.FindSSL(tlvs)
			if !ok {
				t.Fatal("no TLV of TLS")
			}
			version, _ := ssl.SSLVersion()
			cipher, _ := ssl.SSLCipher()
			cn, _ := ssl.ClientCN()
			if ssl.Client != tt.flags || ssl.Verified() != tt.verified || version != "TLSv1.2" || cipher != "ECDHE-RSA-AES256-GCM-SHA384" || cn != tt.cn {
				t.Errorf("flags %#x, verified %t, %s, %s, CN %q; want %#x, %t, CN %q", ssl.Client, ssl.Verified(), version, cipher, cn, tt.flags, tt.verified, tt.cn)
			}
		})
	}
}

func TestOwn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, v := range []Version{V1, V2} {
		raw, err := v.Own(conn)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Read(bytes.NewReader(raw))
		if err != nil || got.Source.String() != conn.LocalAddr().String() || got.Destination.String() != l.Addr().String() {
			t.Errorf("v%d: %v, %v", v, got, err)
		}
	}
	if raw, err := Version(0).Own(conn); raw != nil || err != nil {
		t.Errorf("without a version %q, %v", raw, err)
	}
}
