package main

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"github.com/suitegate/suitegate/certs/seal"
	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy"
)

type storageCommand struct {
	Seal   storageSealCommand   `cmd:"" help:"Seal the secrets of a plain storage, with the key in storage.seal. Can be interrupted, and done again. Stop the gateways that have it open."`
	Rewrap storageRewrapCommand `cmd:"" help:"Seal anew what is sealed with keys in storage.seal.previous. Can be interrupted, and done again, while gateways run."`
	Verify storageVerifyCommand `cmd:"" help:"Open everything that is sealed; exit 1 if something cannot be."`
}

type storageFlags struct {
	Config string `required:"" placeholder:"FILE" help:"Configuration file, to take the storage and its keys from."`
}

type storageSealCommand struct{ storageFlags }

func (c *storageSealCommand) Run(out *console) error {
	return c.work(out, proxy.SealStorage, func(t seal.Tally) {
		out.printf("sealed %s, %d were already\n", count(t.Sealed, "secret"), t.Unchanged)
	})
}

type storageRewrapCommand struct{ storageFlags }

func (c *storageRewrapCommand) Run(out *console) error {
	return c.work(out, proxy.RewrapStorage, func(t seal.Tally) {
		out.printf("sealed %s anew, %d were already\n", count(t.Sealed, "secret"), t.Unchanged)
	})
}

type storageVerifyCommand struct{ storageFlags }

func (c *storageVerifyCommand) Run(out *console) error {
	return c.work(out, proxy.VerifyStorage, func(t seal.Tally) {
		out.printf("opened %s\n", count(t.Unchanged, "secret"))
	})
}

// work does something to the storage of the configuration, and says by which keys
// its secrets are sealed then.
func (c storageFlags) work(out *console, do func(context.Context, *configs.Config, *slog.Logger) (seal.Tally, error), report func(seal.Tally)) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	tally, err := do(context.Background(), cfg, out.warningLogger())
	if err == nil || len(tally.ByKey) > 0 {
		report(tally)
		for _, key := range slices.Sorted(maps.Keys(tally.ByKey)) {
			out.printf("  %d by %s\n", tally.ByKey[key], key)
		}
	}
	return err
}
