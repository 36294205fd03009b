package proxy

import (
	"context"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/configs"
)

// Certificates lists what the gateway would serve with a configuration, as it
// is in files and in the storage now. It makes and changes nothing. Its error
// holds the mistakes in the certificates, with their positions.
func Certificates(ctx context.Context, config *configs.Config) ([]certs.Stored, error) {
	stored, err := certs.List(ctx, certsConfig(config, nil))
	if err != nil {
		return nil, positioned(config, err)
	}
	return stored, nil
}

// ExportRoot returns the self-signed root in a configuration's storage, as PEM.
// It makes and changes nothing. Its error is [certs.ErrNoRoot] if there is none.
func ExportRoot(ctx context.Context, config *configs.Config) ([]byte, error) {
	return certs.ExportRoot(ctx, certs.Config{Storage: config.Storage, Redis: redisConfig(config.Redis)})
}
