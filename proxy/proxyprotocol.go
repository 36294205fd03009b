package proxy

import (
	"net/netip"
	"slices"

	"github.com/suitegate/suitegate/proxy/proxyheader"
)

// readProxyHeader learns from a trusted proxy who the client is. The proxy has
// to say so, since "the receiver must not guess": the header's absence would
// otherwise be up to the client. From everyone else nothing is read here.
func (c *connection) readProxyHeader() error {
	if !trusts(c.route.ProxyProtocol.From, c.source.Addr()) {
		return nil
	}
	header, err := proxyheader.Read(c.socket)
	if err != nil || header.Local {
		return err
	}
	c.proxiedBy, c.source, c.destination = c.source, header.Source, header.Destination
	return nil
}

// trusts says whether one of the networks has the address.
func trusts(networks []netip.Prefix, a netip.Addr) bool {
	a = a.WithZone("") // no network has one
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
}

// proxyHeader is what the broker is told of the client before the client's
// first byte; nil if it is told nothing.
func (c *connection) proxyHeader() ([]byte, error) {
	version := c.pool.ProxyProtocol()
	if version == 0 {
		return nil, nil
	}
	client := proxyheader.Client{
		Source: c.source, Destination: c.destination,
		Authority: c.serverName, ALPN: c.alpn, TLS: c.decision.Version.String(), Cipher: c.decision.Suite.OpenSSLName,
		Certificate: c.identity != nil, Resumed: c.resumed,
	}
	if c.identity != nil {
		client.CommonName = c.identity.CommonName
	}
	return version.Append(nil, client)
}
