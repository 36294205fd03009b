package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// told is what a broker hears of a client before the client's first bytes.
type told struct {
	source, destination string // "" where the header says nothing of them
	authority, alpn     string
	version, cipher     string
	commonName          string
	client              uint8 // flags of section 2.2.6
}

// tellingBroker echoes behind a PROXY header, and passes on what that says.
func tellingBroker(t *testing.T) (address string, heard chan told) {
	heard = make(chan told, 10)
	return broker(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		header, err := proxyproto.Read(r)
		if err != nil {
			t.Error(err)
			return
		}
		var got told
		if source, destination, ok := header.TCPAddrs(); ok {
			got.source, got.destination = source.String(), destination.String()
		}
		tlvs, err := header.TLVs()
		if err != nil {
			t.Error(err)
		}
		for _, tlv := range tlvs {
			switch tlv.Type {
			case proxyproto.PP2_TYPE_AUTHORITY:
				got.authority = string(tlv.Value)
			case proxyproto.PP2_TYPE_ALPN:
				got.alpn = string(tlv.Value)
			}
		}
		if ssl, ok := tlvparse.FindSSL(tlvs); ok {
			got.version, _ = ssl.SSLVersion()
			got.cipher, _ = ssl.SSLCipher()
			got.commonName, _ = ssl.ClientCN()
			got.client = ssl.Client
		}
		heard <- got
		_, _ = io.Copy(conn, r)
	}), heard
}

// splitConn sends its first bytes one by one.
type splitConn struct {
	net.Conn
	prefix string
}

func (c *splitConn) Write(p []byte) (int, error) {
	if c.prefix != "" {
		for b := range strings.SplitSeq(c.prefix, "") {
			if _, err := io.WriteString(c.Conn, b); err != nil {
				return 0, err
			}
		}
		c.prefix = ""
	}
	return c.Conn.Write(p)
}

// TestProxyProtocol leads a client through a proxy before the gateway to a
// broker that hears of it, whatever the protocol and version on either side.
func TestProxyProtocol(t *testing.T) {
	const source, destination = "[2001:db8::7]:56324", "[2001:db8::1]:5671"
	v1 := "PROXY TCP6 2001:db8::7 2001:db8::1 56324 5671\r\n"
	v2 := func(command byte) string {
		header := proxyproto.HeaderProxyFromAddrs(2,
			net.TCPAddrFromAddrPort(netip.MustParseAddrPort(source)), net.TCPAddrFromAddrPort(netip.MustParseAddrPort(destination)))
		header.Command = proxyproto.ProtocolVersionAndCommand(command)
		// What a proxy says of TLS is not taken: the gateway knows better.
		if err := header.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte("forged.example")}}); err != nil {
			t.Fatal(err)
		}
		raw, err := header.Format()
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for _, tt := range []struct {
		name, header string
		protocol     string
		toBroker     string
		tls          *tls.Config
		first        string
		want         told
	}{
		{"v1 to v2", v1, "amqp", "v2", &tls.Config{NextProtos: []string{"amqp"}}, "AMQP\x00\x00\x09\x01",
			told{source, destination, "localhost", "amqp", "TLSv1.3", "TLS_AES_256_GCM_SHA384", "", 1}},
		{"v2 to v2, TLS 1.2", v2(0x21), "amqp", "v2", &tls.Config{MaxVersion: tls.VersionTLS12}, "AMQP\x00\x00\x09\x01",
			told{source, destination, "localhost", "", "TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384", "", 1}},
		{"v2 to v1", v2(0x21), "amqp", "v1", &tls.Config{}, "AMQP\x00\x00\x09\x01", told{source: source, destination: destination}},
		{"the client says nothing", v2(0x21), "tcp", "v1", &tls.Config{}, "", told{source: source, destination: destination}},
		{"the broker speaks first", v1, "openwire", "v2", &tls.Config{}, "",
			told{source, destination, "localhost", "", "TLSv1.3", "TLS_AES_256_GCM_SHA384", "", 1}},
		{"a health check of the proxy's", v2(0x20), "tcp", "v1", &tls.Config{}, "", told{source: "socket", destination: "socket"}},
		{"unknown", "PROXY UNKNOWN\r\n", "tcp", "v2", &tls.Config{}, "x", told{"socket", "socket", "localhost", "", "TLSv1.3", "TLS_AES_256_GCM_SHA384", "", 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			node, heard := tellingBroker(t)
			g := start(t, strings.Replace(one(tt.protocol, "rabbitmq", node, `, proxy_protocol: {from: ["127.0.0.1"]}, alpn: [amqp]`),
				"]}", "], proxy_protocol: "+tt.toBroker+"}", 1))
			conn := g.dial("front")
			config := tt.tls.Clone()
			config.RootCAs, config.ServerName = g.client().RootCAs, "localhost"
			client := tls.Client(&splitConn{Conn: conn, prefix: tt.header}, config)
			if err := client.Handshake(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(client, tt.first); err != nil {
				t.Fatal(err)
			}
			local := tt.want.source == "socket"
			if local {
				tt.want.source, tt.want.destination = conn.LocalAddr().String(), conn.RemoteAddr().String()
			}
			if got := <-heard; got != tt.want {
				t.Errorf("the broker hears %+v, want %+v", got, tt.want)
			}
			echoed := make([]byte, len(tt.first))
			if _, err := io.ReadFull(client, echoed); err != nil || string(echoed) != tt.first {
				t.Errorf("echo %q, %v", echoed, err)
			}
			client.Close()
			line := g.line(1)
			by, proxied := line["proxied_by"]
			if line["client"] != tt.want.source || proxied == local || proxied && by != conn.LocalAddr().String() {
				t.Errorf("log line %v", line)
			}
			if got := line["bytes_from_client"]; got != float64(len(tt.first)) {
				t.Errorf("%v bytes from the client, want %d: a header is not the client's", got, len(tt.first))
			}
		})
	}
}

// A broker hears of a client's certificate, whoever terminates TLS, and whether
// it was shown in this connection or in an earlier one of the session.
func TestProxyHeaderOfCertificates(t *testing.T) {
	root := (&issuer{t: t}).authority("root")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	replace(t, ca, root.pem())
	node, heard := tellingBroker(t)
	g := start(t, strings.Replace(withClients(node, fmt.Sprintf("mode: request, ca: %q", ca)), "]}", "], proxy_protocol: v2}", 1))
	for _, way := range clientWays {
		t.Run(way.name, func(t *testing.T) {
			config := g.clientOf(way.version, way.suite)
			const tls, shown, session = 1, 2, 4
			for _, want := range []uint8{tls | shown | session, tls | session} {
				if _, err := g.visit(config, root.client("sensor")); err != nil {
					t.Fatal(err)
				}
				if got := <-heard; got.client != want || got.commonName != "sensor" {
					t.Errorf("the broker hears %+v, want the flags %#x", got, want)
				}
			}
			if _, err := g.visit(g.clientOf(way.version, way.suite), nil); err != nil {
				t.Fatal(err)
			}
			if got := <-heard; got.client != tls || got.commonName != "" {
				t.Errorf("the broker hears %+v of a client without a certificate", got)
			}
		})
	}
}

func TestTrusts(t *testing.T) {
	networks := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}
	for address, want := range map[string]bool{"10.1.2.3": true, "11.1.2.3": false, "fe80::1%eth0": true, "::1": false} {
		if got := trusts(networks, netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %t, want %t", address, got, want)
		}
	}
	if trusts(nil, netip.MustParseAddr("10.1.2.3")) {
		t.Error("nobody is trusted unless asked for")
	}
}
