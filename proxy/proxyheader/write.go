package proxyheader

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// Version is a version of the PROXY protocol; 0 is none.
type Version int

// The versions that there are.
const (
	V1 Version = 1 // a line of text, addresses alone
	V2 Version = 2 // binary, and with it what is known of TLS
)

// maxCommonName is the longest that is passed on: X.520 allows 64 characters,
// but nothing enforces that, and a header has room for 64 KiB.
const maxCommonName = 1024

// A Client is what a header of ours tells a broker.
type Client struct {
	Source, Destination netip.AddrPort

	// What follows is in version 2 alone.

	Authority string // the server name that the client asked for; "" for none
	ALPN      string // what was negotiated; "" for none
	TLS       string // "TLSv1.3"; "" for a connection without
	Cipher    string // as OpenSSL calls it

	// Certificate says that the client has proved to have a good one, and
	// CommonName is of its subject, "" for none. Resumed says that it did so in
	// an earlier connection of its session.
	Certificate bool
	CommonName  string
	Resumed     bool
}

// Append appends the header for c to b. Where one address is IPv4 and the other
// IPv6, both are written as IPv6, since a header has one family.
func (v Version) Append(b []byte, c Client) ([]byte, error) {
	header := proxyproto.HeaderProxyFromAddrs(byte(v), net.TCPAddrFromAddrPort(c.Source), net.TCPAddrFromAddrPort(c.Destination))
	if v == V2 {
		tlvs, err := c.tlvs()
		if err != nil {
			return nil, fmt.Errorf("proxyheader: %w", err)
		}
		if err := header.SetTLVs(tlvs); err != nil {
			return nil, fmt.Errorf("proxyheader: %w", err)
		}
	}
	raw, err := header.Format()
	if err != nil {
		return nil, fmt.Errorf("proxyheader: %w", err)
	}
	return append(b, raw...), nil
}

// Own is the header for a connection of our own to a broker, such as a health
// check: its client is the gateway. It is nil for version 0. The protocol has
// LOCAL and UNKNOWN for that, and RabbitMQ 3.10 falls over both.
func (v Version) Own(conn net.Conn) ([]byte, error) {
	if v == 0 {
		return nil, nil
	}
	return v.Append(nil, Client{Source: AddrPort(conn.LocalAddr()), Destination: AddrPort(conn.RemoteAddr())})
}

// AddrPort is a TCP address, an IPv4 one without regard to the socket that it is
// of; zero for one of another kind.
func AddrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// tlvs are what version 2 adds (section 2.2), in the order of their numbers.
func (c Client) tlvs() ([]proxyproto.TLV, error) {
	var tlvs []proxyproto.TLV
	add := func(to *[]proxyproto.TLV, kind proxyproto.PP2Type, value string) {
		if value != "" {
			*to = append(*to, proxyproto.TLV{Type: kind, Value: []byte(value)})
		}
	}
	add(&tlvs, proxyproto.PP2_TYPE_ALPN, c.ALPN)
	add(&tlvs, proxyproto.PP2_TYPE_AUTHORITY, c.Authority)

	if c.TLS == "" {
		return tlvs, nil
	}
	// Verify "will be zero if the client presented a certificate and it was
	// successfully verified, and non-zero otherwise".
	tls := tlvparse.PP2SSL{Client: tlvparse.PP2_BITFIELD_CLIENT_SSL, Verify: 1}
	if c.Certificate {
		tls.Verify = 0
		tls.Client |= tlvparse.PP2_BITFIELD_CLIENT_CERT_SESS
		if !c.Resumed {
			tls.Client |= tlvparse.PP2_BITFIELD_CLIENT_CERT_CONN
		}
	}
	add(&tls.TLV, proxyproto.PP2_SUBTYPE_SSL_VERSION, c.TLS)
	if len(c.CommonName) <= maxCommonName { // a part of it would be somebody else
		add(&tls.TLV, proxyproto.PP2_SUBTYPE_SSL_CN, c.CommonName)
	}
	add(&tls.TLV, proxyproto.PP2_SUBTYPE_SSL_CIPHER, c.Cipher)
	packed, err := tls.Marshal()
	if err != nil {
		return nil, err
	}
	return append(tlvs, packed), nil
}
