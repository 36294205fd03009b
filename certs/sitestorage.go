package certs

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// siteStorage is a storage in which the certificates of one variant have a
// place of their own. certmagic stores a certificate by its issuer's key and
// its name, and an ACME issuer's key is its URL alone: RSA and ECDSA would
// overwrite each other. An issuer of another key would be another type, and
// certmagic tells the authority which certificate an order replaces (RFC 9773
// section 5) for its own type alone. Accounts and challenges stay where they are.
//
// So have the locks of variants places of their own. certmagic holds one from the
// first try of an order to the last, a month later, and one kind of key that the
// authority does not care for must not keep the other from being renewed. That no
// two challenges for one name are open at once is seen to by orders.
type siteStorage struct {
	certmagic.Storage
	variant string
	orders  *orders // nil where nothing is ordered
}

const certificatesPrefix = "certificates/" // of certmagic's keys

// place turns certificates/ISSUER/… into certificates/ISSUER-variant/….
func (s siteStorage) place(key string) string {
	rest, ok := strings.CutPrefix(key, certificatesPrefix)
	if !ok {
		return key
	}
	issuer, rest, below := strings.Cut(rest, "/")
	key = certificatesPrefix + issuer + "-" + s.variant
	if below {
		key += "/" + rest
	}
	return key
}

// Store implements [certmagic.Storage].
func (s siteStorage) Store(ctx context.Context, key string, value []byte) error {
	if isStaple(key) {
		return stapleStorage{s.Storage, true}.Store(ctx, key, value)
	}
	return s.Storage.Store(ctx, s.place(key), value)
}

func (s siteStorage) Load(ctx context.Context, key string) ([]byte, error) {
	return s.Storage.Load(background(ctx), s.place(key))
}

func (s siteStorage) Delete(ctx context.Context, key string) error {
	return s.Storage.Delete(ctx, s.place(key))
}

func (s siteStorage) Exists(ctx context.Context, key string) bool {
	return s.Storage.Exists(ctx, s.place(key))
}

func (s siteStorage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	return s.Storage.Stat(ctx, s.place(key))
}

const issueLock = "issue_cert_" // what certmagic's locks for orders begin with

func (s siteStorage) lockName(name string) string {
	if strings.HasPrefix(name, issueLock) {
		return name + "-" + s.variant
	}
	return name
}

// Lock implements [certmagic.Locker].
func (s siteStorage) Lock(ctx context.Context, name string) error {
	return s.Storage.Lock(ctx, s.lockName(name))
}

// Unlock implements [certmagic.Locker].
func (s siteStorage) Unlock(ctx context.Context, name string) error {
	s.orders.end(ctx, strings.TrimPrefix(name, issueLock))
	return s.Storage.Unlock(ctx, s.lockName(name))
}

// TryLock implements [certmagic.TryLocker]; it waits where the storage cannot
// but do so.
func (s siteStorage) TryLock(ctx context.Context, name string) (bool, error) {
	if locker, ok := s.Storage.(certmagic.TryLocker); ok {
		return locker.TryLock(ctx, s.lockName(name))
	}
	err := s.Lock(ctx, name)
	return err == nil, err
}

// RenewLockLease implements [certmagic.LockLeaseRenewer], where the storage
// does. certmagic calls it when it begins to try again.
func (s siteStorage) RenewLockLease(ctx context.Context, name string, lease time.Duration) error {
	s.orders.end(ctx, strings.TrimPrefix(name, issueLock))
	if renewer, ok := s.Storage.(certmagic.LockLeaseRenewer); ok {
		return renewer.RenewLockLease(ctx, s.lockName(name), lease)
	}
	return nil
}

// orders are tries of a line's to obtain certificates. Each has a lock of the
// storage's for its name, that all kinds of key and all gateways share: a challenge
// answers for a name, and two of them would be taken for each other. Between two
// tries of one, others have their turn.
type orders struct {
	storage certmagic.Locker
	logger  *slog.Logger

	mu   sync.Mutex
	open map[string]bool // by name
}

func orderLock(name string) string { return "order_" + name }

func (o *orders) begin(ctx context.Context, name string) error {
	if err := o.storage.Lock(ctx, orderLock(name)); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open[name] = true
	return nil
}

// end is called when a try is over, and wherever it must have been over before.
func (o *orders) end(ctx context.Context, name string) {
	if o == nil {
		return
	}
	o.mu.Lock()
	was := o.open[name]
	delete(o.open, name)
	o.mu.Unlock()
	if !was {
		return
	}
	if err := o.storage.Unlock(context.WithoutCancel(ctx), orderLock(name)); err != nil {
		o.logger.Warn("the lock of an order cannot be given up; it ends by itself", "name", name, "error", err)
	}
}
