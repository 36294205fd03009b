package certs

import (
	"context"

	"github.com/caddyserver/certmagic"

	"github.com/suitegate/suitegate/certs/seal"
)

// SealStorage seals the plain storage of cfg with its keyring: see [seal.Seal].
func SealStorage(ctx context.Context, cfg Config) (seal.Tally, error) {
	return walkStorage(ctx, cfg, seal.Seal)
}

// RewrapStorage seals anew what is sealed with another key than that of cfg's
// keyring: see [seal.Rewrap].
func RewrapStorage(ctx context.Context, cfg Config) (seal.Tally, error) {
	return walkStorage(ctx, cfg, seal.Rewrap)
}

// VerifyStorage opens everything in the storage of cfg: see [seal.Verify].
func VerifyStorage(ctx context.Context, cfg Config) (seal.Tally, error) {
	return walkStorage(ctx, cfg, seal.Verify)
}

func walkStorage(ctx context.Context, cfg Config, walk func(context.Context, certmagic.Storage, *seal.Keyring) (seal.Tally, error)) (seal.Tally, error) {
	kept, err := newBackend(cfg)
	if err != nil {
		return seal.Tally{}, err
	}
	defer kept.close()
	if err := kept.check(ctx); err != nil {
		return seal.Tally{}, err
	}
	return walk(ctx, kept, cfg.Keyring)
}
