package certs

import (
	"context"
	"slices"

	"github.com/caddyserver/certmagic"

	"github.com/suitegate/suitegate/policy"
)

// selfSigned is a source whose certificates the store's own root issues: one
// of each kind, with all names.
type selfSigned struct {
	entry    string
	identity identity

	cache  *certmagic.Cache
	places []*cached
}

func newSelfSigned(name string, settings SelfSigned) (source, []error) {
	hosts := settings.Names
	if len(hosts) == 0 {
		hosts = []string{"localhost", "127.0.0.1", "::1"}
	}
	names, errs := parseNames(name, "self_signed.names", hosts)
	if len(errs) > 0 {
		return nil, errs
	}
	return &selfSigned{entry: name, identity: names}, nil
}

func (s *selfSigned) name() string                 { return s.entry }
func (s *selfSigned) names() []string              { return s.identity.all() }
func (s *selfSigned) writes() bool                 { return true }
func (s *selfSigned) certificates() []*Certificate { return findAll(s.cache, s.places) }

func (s *selfSigned) keyTypes() (keys []policy.KeyType) {
	for _, kind := range leafKinds {
		keys = append(keys, kind.key)
	}
	return keys
}

func (s *selfSigned) open(ctx context.Context, store *Store) error {
	s.cache = store.cache
	for _, kind := range leafKinds {
		if err := s.obtain(ctx, store, &leafIssuer{ca: store.ca, kind: kind, names: s.identity}); err != nil {
			return &SourceError{Source: s.entry, Field: "self_signed", Err: err}
		}
	}
	return nil
}

// obtain loads the issuer's certificate or has it issued, and has it renewed
// from then on.
func (s *selfSigned) obtain(ctx context.Context, store *Store, issuer *leafIssuer) error {
	s.places = append(s.places, &cached{source: s.entry, key: issuer.kind.key, lookup: issuer.names.primary(), holds: issuer.issued})
	same := func(other certmagic.Issuer) bool { return other.IssuerKey() == issuer.IssuerKey() }
	if slices.ContainsFunc(store.managed, func(m managed) bool { return slices.ContainsFunc(m.config.Issuers, same) }) {
		return nil // another source with the same names
	}
	template := store.newConfig(s.entry)
	template.Issuers = []certmagic.Issuer{issuer}
	template.KeySource = certmagic.StandardKeyGenerator{KeyType: issuer.kind.generator}
	template.OnEvent = func(_ context.Context, event string, data map[string]any) error {
		switch event {
		case "cert_obtained":
			store.logger.Info("issued a self-signed certificate", "certificate", s.entry,
				"names", issuer.names.all(), "key", string(issuer.kind.generator), "renewal", data["renewal"])
		case "cached_managed_cert":
			store.refresh()
		}
		return nil
	}
	config := certmagic.New(store.cache, template)
	store.manage(config, issuer.issued)
	return issuer.manage(ctx, store.cache, config, store.logger.With("certificate", s.entry))
}
