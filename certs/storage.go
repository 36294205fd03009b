package certs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"sync"
	"syscall"

	"github.com/caddyserver/certmagic"

	"github.com/suitegate/suitegate/certs/seal"
)

// Causes for which a storage fails: the [StorageError.Reason], and what
// Config.StorageFailed is told.
const (
	StorageReadOnly    = "read_only"
	StorageFull        = "full"
	StorageDenied      = "permission_denied"
	StorageExposed     = "accessible_to_others"
	StorageUnreachable = "unreachable"
	StorageTimeout     = "timeout"
	StorageOther       = "other"
)

// Beside these there are the causes of package seal, by the names that they have
// there: for which a key encryption key cannot be used, or what is stored is not
// taken.

// StorageError is a storage that is not fit for use.
type StorageError struct {
	Cause string // one of the constants above
	Err   error
}

func (e *StorageError) Error() string { return "certs: storage: " + e.Err.Error() }
func (e *StorageError) Unwrap() error { return e.Err }

// Reason is the stable name of the cause.
func (e *StorageError) Reason() string { return e.Cause }

func storageError(err error) error { return &StorageError{Cause: causeOf(err), Err: err} }

// causeOf names what an operation of a storage failed for.
func causeOf(err error) string {
	var network *net.OpError
	var refused *seal.Error
	var key *seal.KeyError
	switch {
	case errors.As(err, &key):
		return key.Cause
	case errors.As(err, &refused):
		return refused.Cause
	case errors.Is(err, syscall.EROFS):
		return StorageReadOnly
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return StorageFull
	case errors.Is(err, fs.ErrPermission):
		return StorageDenied
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return StorageTimeout
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return StorageUnreachable
	}
	return cmp.Or(redisCause(err), StorageOther)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// backend is where a storage keeps its things.
type backend interface {
	certmagic.Storage
	certmagic.TryLocker

	// check makes what is missing, and reports a storage that is not fit. The
	// error is a *StorageError.
	check(ctx context.Context) error

	// place says where a key is, in words for a person; "" is the whole.
	place(key string) string

	// close gives up locks and connections. Operations fail from then on.
	close()
}

// storage is a backend whose failures are counted, and logged once for each
// cause until it has passed: certmagic tries again and again.
type storage struct {
	backend
	logger *slog.Logger
	failed func(operation, cause string)

	mu      sync.Mutex
	failing map[string]map[string]bool // operations by cause
}

// newStorage returns the storage that cfg names, and touches nothing yet.
func newStorage(cfg Config) (*storage, error) {
	s := &storage{logger: cfg.logger(), failed: cfg.StorageFailed, failing: make(map[string]map[string]bool)}
	if s.failed == nil {
		s.failed = func(_, _ string) {}
	}
	kept, err := newBackend(cfg)
	if err != nil {
		return nil, err
	}
	s.backend = guarded{kept, seal.Plain{Storage: kept}}
	if cfg.Keyring != nil {
		s.backend = guarded{kept, seal.NewStorage(kept, cfg.Keyring)}
	}
	return s, nil
}

// newBackend returns what the storage that cfg names is kept in, as it is.
func newBackend(cfg Config) (backend, error) {
	if cfg.Redis == nil {
		return newFileStorage(cfg.Storage), nil
	}
	shared, err := newRedisStorage(*cfg.Redis, cfg.logger())
	if err != nil {
		return nil, storageError(err)
	}
	return shared, nil
}

// guarded is a backend whose values are sealed, or known not to be.
type guarded struct {
	backend
	values interface {
		Check(ctx context.Context) error
		Store(ctx context.Context, name string, value []byte) error
		Load(ctx context.Context, name string) ([]byte, error)
	}
}

func (g guarded) check(ctx context.Context) error {
	if err := g.backend.check(ctx); err != nil {
		return err
	}
	if err := g.values.Check(ctx); err != nil {
		return &StorageError{Cause: causeOf(err), Err: fmt.Errorf("%s: %w", g.place(""), err)}
	}
	return nil
}

func (g guarded) Store(ctx context.Context, name string, value []byte) error {
	return g.values.Store(ctx, name, value)
}

func (g guarded) Load(ctx context.Context, name string) ([]byte, error) {
	return g.values.Load(ctx, name)
}

// observe takes note of how an operation ended, and returns its error.
func (s *storage) observe(operation string, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err // the caller's own doing
	case err == nil, errors.Is(err, fs.ErrNotExist):
		s.recovered(operation)
		return err
	}
	cause := causeOf(err)
	s.failed(operation, cause)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing[cause] == nil {
		s.failing[cause] = make(map[string]bool)
		s.logger.Error("storage fails; what is served goes on as it is", "storage", s.place(""), "cause", cause, "operation", operation, "error", err)
	}
	s.failing[cause][operation] = true
	return err
}

func (s *storage) recovered(operation string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for cause, operations := range s.failing {
		delete(operations, operation)
		if len(operations) == 0 {
			delete(s.failing, cause)
			s.logger.Info("storage works again", "storage", s.place(""), "cause", cause)
		}
	}
}

// Store implements [certmagic.Storage].
func (s *storage) Store(ctx context.Context, key string, value []byte) error {
	return s.observe("store", s.backend.Store(ctx, key, value))
}

// Load implements [certmagic.Storage].
func (s *storage) Load(ctx context.Context, key string) ([]byte, error) {
	value, err := s.backend.Load(ctx, key)
	return value, s.observe("load", err)
}

// Delete implements [certmagic.Storage].
func (s *storage) Delete(ctx context.Context, key string) error {
	return s.observe("delete", s.backend.Delete(ctx, key))
}

// List implements [certmagic.Storage].
func (s *storage) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	keys, err := s.backend.List(ctx, path, recursive)
	return keys, s.observe("list", err)
}

// Stat implements [certmagic.Storage].
func (s *storage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	info, err := s.backend.Stat(ctx, key)
	return info, s.observe("stat", err)
}

// Lock implements [certmagic.Locker].
func (s *storage) Lock(ctx context.Context, name string) error {
	return s.observe("lock", s.backend.Lock(ctx, name))
}

// TryLock implements [certmagic.TryLocker].
func (s *storage) TryLock(ctx context.Context, name string) (bool, error) {
	ok, err := s.backend.TryLock(ctx, name)
	return ok, s.observe("lock", err)
}

// Unlock implements [certmagic.Locker].
func (s *storage) Unlock(ctx context.Context, name string) error {
	return s.observe("unlock", s.backend.Unlock(ctx, name))
}
