package certs

import (
	"slices"

	"github.com/suitegate/suitegate/policy"
)

// Preview answers as a [Store] would that has everything its sources are to
// have: what is self-signed is made, what authorities issue is obtained, on
// demand, too, where that is allowed, and staples are there. It needs no storage.
type Preview struct {
	offers   []Offer
	snapshot snapshot
}

// NewPreview makes a preview of what [Inspect] found.
func NewPreview(offers []Offer) *Preview {
	p := &Preview{offers: offers, snapshot: make(snapshot)}
	for _, o := range offers {
		for _, key := range o.Keys {
			p.snapshot.addAs(&Certificate{Source: o.Source, Key: key}, o.Names)
		}
	}
	return p
}

// Match is [Store.Match].
func (p *Preview) Match(sources []string, serverName string) (keys policy.KeySet, named bool) {
	if o := p.demanded(sources, serverName); o != nil {
		return policy.Keys(o.Keys...), true
	}
	return p.snapshot.match(sources, serverName)
}

// Select is [Store.Select], as far as the source goes.
func (p *Preview) Select(sources []string, serverName string, key policy.KeyType) (source string, err error) {
	if o := p.demanded(sources, serverName); o != nil {
		return o.Source, nil
	}
	certificate, err := p.snapshot.choose(sources, serverName, key)
	return certificate.Source, err
}

// Pending is false: see [Preview].
func (p *Preview) Pending([]string, string) bool { return false }

// HeldBack is false, too.
func (p *Preview) HeldBack([]string, string) bool { return false }

// demanded is the source that obtains a certificate for a name that none has;
// nil if none does.
func (p *Preview) demanded(sources []string, serverName string) *Offer {
	if serverName == "" {
		return nil
	}
	if _, named := p.snapshot.match(sources, serverName); named {
		return nil
	}
	at := slices.IndexFunc(p.offers, func(o Offer) bool {
		return o.OnDemand != nil && slices.Contains(sources, o.Source) && o.OnDemand.allows(serverName)
	})
	if at < 0 {
		return nil
	}
	return &p.offers[at]
}
