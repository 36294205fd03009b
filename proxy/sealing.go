package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/certs/seal"
	"github.com/suitegate/suitegate/certs/seal/awskms"
	"github.com/suitegate/suitegate/certs/seal/localkey"
	"github.com/suitegate/suitegate/certs/seal/vaulttransit"
	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/audit"
)

// keyring is that of a configuration: the previous generation's where it is to
// be the same, and nil where nothing is sealed.
func (s *Server) keyring(config *configs.Config, previous *generation) (*seal.Keyring, error) {
	if config.Seal == nil {
		return nil, nil
	}
	if previous == nil {
		// Keys are used before there is a generation whose audit log is in use.
		file, errs := openAudit(config)
		if len(errs) > 0 {
			return nil, errs
		}
		s.audit.Fallback, s.audit.Failed = s.Log, s.Metrics.AuditFailed
		s.audit.Use(file)
	} else if reflect.DeepEqual(previous.config.Seal, config.Seal) {
		return previous.keyring, nil
	}
	return newKeyring(config, "serve", s.keyUsed, s.log())
}

// dropKeyring closes a keyring that the generation does not have. The generation
// may be nil.
func (g *generation) dropKeyring(keyring *seal.Keyring) {
	if keyring != nil && (g == nil || g.keyring != keyring) {
		keyring.Close()
	}
}

// keyUsed counts a request to a key, and writes it down.
func (s *Server) keyUsed(use seal.Use) {
	result := "ok"
	var failed *seal.KeyError
	if errors.As(use.Err, &failed) {
		result = failed.Cause
	}
	s.Metrics.KeyUsed(use.Operation, result)
	s.Record(keyEntry(use, audit.Operator{Via: audit.ViaGateway}))
}

// keyActions are the actions of entries about keys.
var keyActions = map[string]string{seal.GenerateDataKey: "key_generate_data_key", seal.Decrypt: "key_decrypt"}

func keyEntry(use seal.Use, by audit.Operator) audit.Entry {
	var ec []any
	for _, name := range slices.Sorted(maps.Keys(use.Context)) {
		ec = append(ec, slog.String(name, use.Context[name]))
	}
	return audit.Entry{Action: keyActions[use.Operation], By: by, Err: use.Err, More: []slog.Attr{
		slog.String("key", use.Key), slog.String("purpose", use.Purpose), slog.String("caller", use.Caller),
		slog.Group("encryption_context", ec...), slog.Duration("took", use.Took),
	}}
}

// degraded are the causes for which keys of the storage cannot be used.
func (s *Server) degraded() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil
	}
	return s.current.keyring.Degraded()
}

// newKeyring makes the keyring of a configuration, without asking a key for
// anything. The error has the position of each mistake.
func newKeyring(config *configs.Config, caller string, used func(seal.Use), logger *slog.Logger) (*seal.Keyring, error) {
	keys, errs := sealingKeys(config)
	if len(errs) > 0 {
		return nil, errs
	}
	keyring, err := seal.NewKeyring(seal.Config{
		Key: keys[0], Previous: keys[1:], Context: config.Seal.Context, Reuse: config.Seal.Reuse,
		Caller: caller, Used: used, Logger: logger,
	})
	if err != nil {
		return nil, configs.Errors{{Pos: config.Position("storage", "", "seal"), Reason: err.Error()}}
	}
	return keyring, nil
}

// sealingKeys are the keys of a configuration, the one that seals first.
func sealingKeys(config *configs.Config) ([]seal.Key, configs.Errors) {
	var keys []seal.Key
	var errs configs.Errors
	add := func(field string, settings configs.SealingKey) {
		key, err := newSealingKey(settings, config.FIPSMode())
		if err != nil {
			errs = append(errs, configs.Error{Pos: config.Position("storage", "", field), Reason: "seal: " + err.Error()})
			return
		}
		keys = append(keys, key)
	}
	add("seal.key", config.Seal.Key)
	for i, settings := range config.Seal.Previous {
		add(fmt.Sprintf("seal.previous.%d", i), settings)
	}
	return keys, errs
}

func newSealingKey(k configs.SealingKey, fips bool) (seal.Key, error) {
	switch {
	case k.File != "":
		return localKey(localkey.File, certs.Secret{File: k.File})
	case k.PassphraseFile != "" || k.PassphraseEnv != "":
		return localKey(localkey.Passphrase, certs.Secret{File: k.PassphraseFile, Env: k.PassphraseEnv})
	}
	if v := k.Vault; v != nil {
		return vaulttransit.New(vaulttransit.Config{Address: v.Address, Namespace: v.Namespace, Mount: v.Mount, Name: v.Key, CA: v.CA,
			Token: certs.Secret{File: v.TokenFile, Env: v.TokenEnv}.Read})
	}
	return awskms.New(context.Background(), awskms.Config{
		Key: k.KMS.Key, Region: k.KMS.Region, Endpoint: k.KMS.Endpoint, FIPS: fips, GrantTokens: k.KMS.GrantTokens})
}

// localKey makes a key of what a file or variable holds.
func localKey(from func([]byte) (*localkey.Key, error), secret certs.Secret) (seal.Key, error) {
	text, err := secret.Read()
	if err != nil {
		return nil, err
	}
	key, err := from(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", secret.Name(), err)
	}
	return key, nil
}

// storageWork is what is done to a storage as a whole.
type storageWork func(context.Context, certs.Config) (seal.Tally, error)

// SealStorage takes the plain storage of a configuration in: see [seal.Seal].
func SealStorage(ctx context.Context, config *configs.Config, log *slog.Logger) (seal.Tally, error) {
	return workOn(ctx, config, log, "storage seal", certs.SealStorage)
}

// RewrapStorage moves what is sealed to the key that seals now: see [seal.Rewrap].
func RewrapStorage(ctx context.Context, config *configs.Config, log *slog.Logger) (seal.Tally, error) {
	return workOn(ctx, config, log, "storage rewrap", certs.RewrapStorage)
}

// VerifyStorage opens everything in the storage: see [seal.Verify].
func VerifyStorage(ctx context.Context, config *configs.Config, log *slog.Logger) (seal.Tally, error) {
	return workOn(ctx, config, log, "storage verify", certs.VerifyStorage)
}

// workOn works on the storage of a configuration, which has to name a key. What
// that does with keys goes to the configuration's audit log, or to log.
func workOn(ctx context.Context, config *configs.Config, log *slog.Logger, caller string, work storageWork) (seal.Tally, error) {
	if config.Seal == nil {
		return seal.Tally{}, configs.Errors{{Pos: config.Position("storage", "", ""), Reason: "storage: no key is named in storage.seal"}}
	}
	file, errs := openAudit(config)
	if len(errs) > 0 {
		return seal.Tally{}, errs
	}
	entries := audit.Log{Fallback: log}
	entries.Use(file)
	defer entries.Use(nil)
	used := func(use seal.Use) { entries.Record(keyEntry(use, audit.Operator{Via: audit.ViaStart})) }
	keyring, err := newKeyring(config, caller, used, log)
	if err != nil {
		return seal.Tally{}, err
	}
	defer keyring.Close()
	return work(ctx, certs.Config{Storage: config.Storage, Redis: redisConfig(config.Redis), Keyring: keyring, Logger: log})
}
