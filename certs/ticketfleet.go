package certs

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

const (
	ticketDir  = "tickets" // in the storage, with a directory for each rotation
	ticketLock = "tickets"
	ticketPEM  = "SUITEGATE TICKET SECRET"

	// ticketPatience is for the storage, the lease of a lock included.
	ticketPatience = 30 * time.Second

	// ticketRetry is how long after a failure the storage is tried again, if the
	// schedule does not ask for more.
	ticketRetry = time.Minute

	// foreignLifetime is when secrets of other rotations are deleted: no
	// lifetime is longer.
	foreignLifetime = 7 * 24 * time.Hour
)

// ticketFleet shares the secrets of [TicketKeys] through a storage.
//
// Each is drawn by whoever needs it first, under a lock, and one rotation before
// it encrypts: so all have it when the first one does, although clocks differ
// and the storage may be out of reach for a while. It is deleted when its
// lifetime is over. Nothing else is kept from which it could be derived.
type ticketFleet struct {
	storage  *storage
	schedule TicketSchedule
	logger   *slog.Logger

	// For the goroutine of Keep alone, after OpenTicketKeys.
	failed time.Time // the last try, zero if it succeeded
	alone  bool      // the current secret is the process's own
}

// OpenTicketKeys returns keys that are shared with everybody who has the same
// storage and rotation; of cfg only what is about storage and the log is used.
// The error is that of the storage. It must be kept, or closed.
func OpenTicketKeys(ctx context.Context, schedule TicketSchedule, cfg Config) (*TicketKeys, error) {
	storage, err := newStorage(cfg)
	if err != nil {
		return nil, err
	}
	t := NewTicketKeys(schedule)
	t.fleet = &ticketFleet{storage: storage, schedule: t.schedule, logger: cfg.logger()}
	if err := storage.check(ctx); err != nil {
		storage.close()
		return nil, err
	}
	t.fleet.refresh(ctx, t, time.Now())
	return t, nil
}

// retry is when to try the storage again, zero if nothing has failed.
func (f *ticketFleet) retry(now time.Time) time.Time {
	if f == nil || f.failed.IsZero() {
		return time.Time{}
	}
	again := f.failed.Add(min(ticketRetry, f.schedule.Rotation/4))
	if again.Before(now) {
		return now
	}
	return again
}

// refresh brings the secrets up to date. What fails is tried again, and counted
// and logged by the storage.
func (f *ticketFleet) refresh(ctx context.Context, t *TicketKeys, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, ticketPatience)
	defer cancel()
	err := f.complete(ctx, t, now)
	if ctx.Err() == context.Canceled {
		return // the process ends
	}
	f.failed = time.Time{}
	if err != nil {
		f.failed = now
	}
	t.mu.Lock()
	alone := t.secrets[f.schedule.epoch(now)].fleet == nil
	t.mu.Unlock()
	switch {
	case alone && !f.alone:
		f.logger.Warn("the fleet's session ticket key cannot be had; new tickets are good on this gateway alone", "error", err)
	case !alone && f.alone:
		f.logger.Info("the fleet's session ticket key is in use again")
	}
	f.alone = alone
}

// complete loads the secrets that the storage has, makes the current one and
// the next where they are missing, and deletes those that are over.
func (f *ticketFleet) complete(ctx context.Context, t *TicketKeys, now time.Time) error {
	current := f.schedule.epoch(now)
	var missing bool
	for epoch := f.schedule.first(now); epoch <= current+1; epoch++ {
		err := f.load(ctx, t, epoch)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = missing || epoch >= current
		case err != nil:
			return err
		}
	}
	if missing {
		if err := f.create(ctx, t, current); err != nil {
			return err
		}
	}
	return f.clean(ctx, now)
}

// load takes a secret over from the storage, unless it is there already.
func (f *ticketFleet) load(ctx context.Context, t *TicketKeys, epoch int64) error {
	t.mu.Lock()
	have := t.secrets[epoch].fleet != nil
	t.mu.Unlock()
	if have {
		return nil
	}
	key := f.key(epoch)
	data, err := f.storage.Load(ctx, key)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != ticketPEM || len(block.Bytes) != len(ticketSecret{}) {
		f.logger.Warn("not a secret of session tickets; making another", "key", f.storage.place(key))
		return fs.ErrNotExist
	}
	f.take(t, epoch, ticketSecret(block.Bytes))
	return nil
}

func (f *ticketFleet) take(t *TicketKeys, epoch int64, secret ticketSecret) {
	t.mu.Lock()
	defer t.mu.Unlock()
	secrets := t.secrets[epoch]
	secrets.fleet = &secret
	t.secrets[epoch] = secrets
}

// create draws the secrets of the current epoch and the next, unless somebody
// was faster.
func (f *ticketFleet) create(ctx context.Context, t *TicketKeys, current int64) (err error) {
	if err := f.storage.Lock(ctx, ticketLock); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.storage.Unlock(context.WithoutCancel(ctx), ticketLock)) }()
	for _, epoch := range []int64{current, current + 1} {
		if err := f.load(ctx, t, epoch); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return err
			}
			continue
		}
		secret := newTicketSecret()
		text := pem.EncodeToMemory(&pem.Block{Type: ticketPEM, Bytes: secret[:]})
		if err := f.storage.Store(ctx, f.key(epoch), text); err != nil {
			return err
		}
		f.take(t, epoch, *secret)
	}
	return nil
}

// clean deletes secrets that nobody accepts any more.
func (f *ticketFleet) clean(ctx context.Context, now time.Time) error {
	keys, err := f.storage.List(ctx, ticketDir, true)
	if err != nil {
		return err
	}
	for _, key := range keys {
		schedule, epoch, ok := parseTicketKey(key)
		if !ok {
			continue
		}
		schedule.Lifetime = foreignLifetime
		if schedule.Rotation == f.schedule.Rotation {
			schedule.Lifetime = f.schedule.Lifetime
		}
		if !now.Before(schedule.end(epoch)) {
			if err := f.storage.Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// key is where the secret of an epoch is: gateways of another rotation count
// other epochs.
func (f *ticketFleet) key(epoch int64) string {
	return fmt.Sprintf("%s/%v/%d", ticketDir, f.schedule.Rotation, epoch)
}

func parseTicketKey(key string) (schedule TicketSchedule, epoch int64, ok bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 3 {
		return TicketSchedule{}, 0, false
	}
	rotation, rotationErr := time.ParseDuration(parts[1])
	epoch, epochErr := strconv.ParseInt(parts[2], 10, 64)
	return TicketSchedule{Rotation: rotation}, epoch, rotationErr == nil && epochErr == nil && rotation > 0
}
