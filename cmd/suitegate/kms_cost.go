package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/suitegate/suitegate/certs/seal"
)

type kmsCostCommand struct {
	BillingPeriod time.Duration `default:"744h" placeholder:"TIME" help:"For which time (${default}, a month of 31 days)."`
	Reuse         time.Duration `default:"5m" placeholder:"TIME" help:"data_key_reuse of the configuration, from 1m to 24h (${default})."`
	Producers     []int         `default:"1" placeholder:"N" help:"Principals that seal in one period; given again for each storage that shares the key (${default})."`
	Consumers     []int         `default:"1" placeholder:"N" help:"Principals that open; as often as producers (${default})."`
	Price         *float64      `name:"price-per-10000" placeholder:"PRICE" help:"What 10,000 requests cost, in any currency; the key itself has a price of its own."`
	JSON          bool          `help:"Print JSON, for programs."`
}

// Errors in what was typed for an estimate.
var (
	errBillingPeriod = errors.New("the billing period has to be above zero")
	errReuse         = fmt.Errorf("data keys are reused for %s to %s", shortDuration(seal.MinReuse), shortDuration(seal.MaxReuse))
	errPairs         = errors.New("producers and consumers are given together, as often as there are storages")
	errNegative      = errors.New("a number below zero")
)

func (k *kmsCostCommand) check() error {
	switch {
	case k.BillingPeriod <= 0:
		return fmt.Errorf("%s: %w", k.BillingPeriod, errBillingPeriod)
	case k.Reuse < seal.MinReuse || k.Reuse > seal.MaxReuse:
		return fmt.Errorf("%s: %w", k.Reuse, errReuse)
	case len(k.Producers) != len(k.Consumers):
		return fmt.Errorf("%d and %d: %w", len(k.Producers), len(k.Consumers), errPairs)
	case slices.Min(k.Producers) < 0 || slices.Min(k.Consumers) < 0 || k.Price != nil && *k.Price < 0:
		return errNegative
	}
	return nil
}

func (k *kmsCostCommand) Run(out *console) error {
	if err := k.check(); err != nil {
		return usageHint(err, "suitegate kms cost --help")
	}
	total := int64(0)
	var parts []string
	for i := range k.Producers {
		requests := seal.Requests(k.BillingPeriod, k.Reuse, k.Producers[i], k.Consumers[i])
		total += requests
		parts = append(parts, fmt.Sprintf("%s / %s × (2 × %d + %d) = %s", shortDuration(k.BillingPeriod), shortDuration(k.Reuse),
			k.Producers[i], k.Consumers[i], thousands(requests)))
	}
	if k.JSON {
		estimate := struct {
			Requests int64    `json:"requests"`
			Price    *float64 `json:"price,omitempty"`
		}{Requests: total}
		if k.Price != nil {
			price := k.price(total)
			estimate.Price = &price
		}
		return out.json(estimate)
	}
	out.printf("R = (B / D) × (2P + C): billing period B, reuse D, producers P, consumers C\n\n")
	for _, part := range parts {
		out.printf("  %s\n", part)
	}
	out.printf("\nR = %s\n", thousands(total))
	if k.Price != nil {
		out.printf("price = %s / 10,000 × %s = %.2f\n", thousands(total), strconv.FormatFloat(*k.Price, 'f', -1, 64), k.price(total))
	}
	return nil
}

func (k *kmsCostCommand) price(requests int64) float64 { return float64(requests) / 10_000 * *k.Price }

// shortDuration is a time without the units that are zero: 24h, 5m, 1h30m.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// thousands is a number in groups of three digits.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
