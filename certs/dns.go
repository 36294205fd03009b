package certs

import (
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"net"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/libdns/rfc2136"
	"go.uber.org/zap"
)

// DNS says how TXT records are made for dns-01 challenges. A provider is
// anything that implements certmagic.DNSProvider, as those of libdns do; one
// more is one more field here, and one more case in provider. Exactly one of
// them is set.
type DNS struct {
	RFC2136 *RFC2136

	// Resolvers are asked for the zone of a name, and whether its record can
	// be seen, as host:port. Default: those of the system find the zone, and
	// its own servers are asked.
	Resolvers []string

	// PropagationTimeout is how long to wait until the record can be seen.
	// Default: DefaultPropagationTimeout (2 minutes).
	PropagationTimeout time.Duration
}

// DefaultPropagationTimeout is the default of DNS.PropagationTimeout.
const DefaultPropagationTimeout = 2 * time.Minute

// RFC2136 is a server that takes dynamic updates, signed with TSIG (RFC 8945).
type RFC2136 struct {
	Server       string // host:port; TCP
	KeyName      string
	KeyAlgorithm string // default: hmac-sha256
	Key          Secret // base64
}

// solver returns what solves dns-01 challenges, and adds its secrets to
// contents.
func (d *DNS) solver(contents hash.Hash, fips bool) (*certmagic.DNS01Solver, error) {
	provider, err := d.provider(contents, fips)
	if err != nil {
		return nil, err
	}
	solver := &certmagic.DNS01Solver{DNSManager: certmagic.DNSManager{
		DNSProvider: provider, Resolvers: d.Resolvers, PropagationTimeout: d.PropagationTimeout, Logger: zap.NewNop(),
	}}
	if solver.PropagationTimeout == 0 {
		solver.PropagationTimeout = DefaultPropagationTimeout
	}
	return solver, nil
}

func (d *DNS) provider(contents hash.Hash, fips bool) (certmagic.DNSProvider, error) {
	switch {
	case d.RFC2136 != nil:
		return d.RFC2136.provider(contents, fips)
	}
	return nil, errors.New("no provider is set")
}

func (r *RFC2136) provider(contents hash.Hash, fips bool) (certmagic.DNSProvider, error) {
	if _, _, err := net.SplitHostPort(r.Server); err != nil {
		return nil, &fieldError{"dns.rfc2136.server", err}
	}
	key, err := r.Key.Read()
	if err != nil {
		return nil, &fieldError{"dns.rfc2136", err}
	}
	mac, err := base64.StdEncoding.DecodeString(string(key))
	if err != nil {
		return nil, &fieldError{"dns.rfc2136", errors.New("the TSIG key is not base64")}
	}
	if err := approvedMAC(mac); fips && err != nil {
		return nil, &fieldError{"dns.rfc2136", err}
	}
	fmt.Fprintf(contents, "rfc2136 %s", key)
	algorithm := r.KeyAlgorithm
	if algorithm == "" {
		algorithm = "hmac-sha256"
	}
	return &rfc2136.Provider{Server: r.Server, KeyName: r.KeyName, KeyAlg: algorithm, Key: string(key)}, nil
}
