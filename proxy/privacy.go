package proxy

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/clientauth"
	"github.com/suitegate/suitegate/proxy/shadow"
)

// privacy is how much the log, and who was refused last, say of the people behind
// connections.
type privacy struct {
	addresses                               string // of configs.Log
	serverNames, fingerprints, certificates bool
}

func newPrivacy(c configs.Log) *privacy {
	return &privacy{addresses: c.ClientAddresses, serverNames: c.ServerNames, fingerprints: c.Fingerprints, certificates: c.ClientCertificates}
}

// saysAll says that nothing is left out.
func (p *privacy) saysAll() bool {
	return p.addresses == configs.AddressesFull && p.serverNames && p.certificates
}

// address is what is said of a client's address, or "".
func (p *privacy) address(a netip.AddrPort) string {
	switch p.addresses {
	case configs.AddressesOff:
		return ""
	case configs.AddressesPrefix:
		return shadow.Network(a.Addr())
	}
	return a.String()
}

// maxWords is more than any error has to say, a panic's stack included; what a
// client sent may stand in it.
const maxWords = 8 << 10

// words are what an error of a connection says, without what is not to be said.
func (p *privacy) words(c *connection, err error) string {
	text := p.reduced(c, err)
	if len(text) > maxWords {
		text = text[:maxWords] + "…"
	}
	return text
}

func (p *privacy) reduced(c *connection, err error) string {
	text := err.Error()
	if p.saysAll() {
		return text
	}
	if !p.certificates {
		if verdict, ok := errors.AsType[*clientauth.Refusal](err); ok {
			text = strings.ReplaceAll(text, verdict.Error(), verdict.Anonymous())
		}
	}
	if !p.serverNames && c.serverName != "" {
		text = strings.ReplaceAll(text, strconv.Quote(c.serverName), "(server name)")
	}
	if p.addresses != configs.AddressesFull {
		for _, a := range []netip.AddrPort{c.source, c.proxiedBy} {
			if a.IsValid() {
				text = strings.ReplaceAll(text, a.String(), "(client)")
				text = strings.ReplaceAll(text, a.Addr().String(), "(client)")
			}
		}
	}
	return text
}
