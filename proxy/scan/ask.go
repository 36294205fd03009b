package scan

import (
	"errors"
	"net"

	"github.com/suitegate/suitegate/policy"
)

// Hello is a ClientHello for somebody who knows what to ask: everything that is
// not in it is the same as in the hellos of [Scan].
type Hello struct {
	Version    policy.Version // this one and no other
	Suites     []uint16
	Groups     []policy.Group
	ServerName string // "" sends none
}

// Answer is what a server says to a [Hello]: a refusal by an alert, or else what
// it chooses.
type Answer struct {
	Alert   uint8 // TLS AlertDescription; 0 if the client is let in
	Version policy.Version
	Suite   uint16
	Group   policy.Group // 0 with RSA key exchange
}

// Offer is what the hello means to a policy.
func (h Hello) Offer() policy.Offer {
	o := policy.Offer{LegacyVersion: min(h.Version, policy.TLS12), Suites: h.Suites}
	if h.Version == policy.SSL30 {
		return o // it knows no extensions
	}
	o.Groups, o.PointFormats, o.ServerName = h.Groups, []uint8{0}, h.ServerName
	if h.Version >= policy.TLS12 {
		for _, s := range signatureSchemes {
			o.Signatures = append(o.Signatures, policy.SignatureScheme(s))
		}
	}
	o.ExtendedMasterSecret = h.Version < policy.TLS13
	if h.Version == policy.TLS13 {
		o.Versions = []policy.Version{policy.TLS13}
	}
	return o
}

// Ask sends the hello, and reads the answer up to where the server waits for the
// client or goes on encrypted. The caller sets the deadline, and closes conn.
func (h Hello) Ask(conn net.Conn) (Answer, error) {
	asked := &hello{version: h.Version, suites: h.Suites, groups: h.Groups, serverName: h.ServerName}
	wire, err := asked.marshal()
	if err != nil {
		return Answer{}, err
	}
	if _, err := conn.Write(wire); err != nil && !isClosed(err) { // there may be an alert to read
		return Answer{}, err
	}
	a, err := readAnswer(conn, asked)
	if alert, ok := errors.AsType[alertError](err); ok {
		return Answer{Alert: uint8(alert)}, nil
	}
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Version: a.version, Suite: a.suite, Group: a.group}
	if a.dheBits > 0 {
		answer.Group = finiteField(a.dheBits)
	}
	return answer, nil
}

// finiteField is the group of RFC 7919 with a prime of so many bits, or the
// number of bits itself, which is no group's.
func finiteField(bits int) policy.Group {
	switch bits {
	case 2048:
		return policy.FFDHE2048
	case 3072:
		return policy.FFDHE3072
	case 4096:
		return policy.FFDHE4096
	}
	return policy.Group(bits)
}

// Groups are all that [Scan] asks for.
func Groups() []policy.Group { return allGroups() }

// GroupName is the group's usual name, or its number in hexadecimal.
func GroupName(g policy.Group) string { return groupName(g) }
