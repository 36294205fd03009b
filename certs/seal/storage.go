package seal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/caddyserver/certmagic"
)

// Storage is a storage of certmagic's, of any kind, whose secrets are sealed.
// What is public (see [Public]) stands in it as it is, so that certificates can
// be looked at without a key.
//
// A storage is marked as sealed by a value of its own ([MarkName]): what is
// sealed is never taken for plain, nor the other way round.
type Storage struct {
	certmagic.Storage // that of the envelopes

	keyring *Keyring

	mu sync.Mutex
	id string // of the mark; "" until it has been read
}

// NewStorage returns a storage that seals what it stores. It touches nothing
// yet; the keyring is closed by whoever has made it.
func NewStorage(envelopes certmagic.Storage, keyring *Keyring) *Storage {
	return &Storage{Storage: envelopes, keyring: keyring}
}

// Public says whether the value of a name is no secret: certificates and what is
// known of their issuance, OCSP responses, the root for clients to trust, locks,
// and what the gateway keeps beside these in the same directory. Whatever is not
// known to be public is sealed.
func Public(name string) bool {
	dir, _, below := strings.Cut(name, "/")
	switch dir {
	case "certificates":
		return below && (strings.HasSuffix(name, ".crt") || strings.HasSuffix(name, ".json"))
	case "authority":
		return name == "authority/root.crt"
	case "ocsp", "locks", "impact":
		return below
	}
	return name == MarkName || name == "root.pem"
}

// Check makes sure that the storage is a sealed one, and that the key opens it. A
// storage without a secret in it becomes one.
func (s *Storage) Check(ctx context.Context) error {
	m, err := s.loadMark(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		m, err = s.begin(ctx)
	}
	if err != nil {
		return err
	}
	if err := m.verify(ctx, s.keyring); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id = m.ID
	return nil
}

// begin marks a storage that has no secret yet.
func (s *Storage) begin(ctx context.Context) (m *mark, err error) {
	err = locked(ctx, s.Storage, markLock, func() error {
		if m, err = s.loadMark(ctx); !errors.Is(err, fs.ErrNotExist) {
			return err // another process was faster
		}
		have, err := takeInventory(ctx, s.Storage)
		if err == nil {
			err = have.unmarked()
		}
		if err == nil && len(have.plain) > 0 {
			err = &Error{Cause: StoragePlain, Err: fmt.Errorf("the storage is not sealed, and holds %s: suitegate storage seal takes it in", counted(len(have.plain), have.plain[0]))}
		}
		if err == nil {
			err = have.clean(ctx, s.Storage)
		}
		if err != nil {
			return err
		}
		if m, err = newMark(ctx, s.keyring, stateSealed); err != nil {
			return err
		}
		return m.store(ctx, s.Storage)
	})
	return m, err
}

func counted(n int, first string) string {
	if n == 1 {
		return first
	}
	return fmt.Sprintf("%s and %d more secrets", first, n-1)
}

// loadMark reads the mark, and refuses one that does not say "sealed".
func (s *Storage) loadMark(ctx context.Context) (*mark, error) {
	m, err := loadMark(ctx, s.Storage)
	if err == nil && m.State != stateSealed {
		err = &Error{Cause: StorageSealing, Err: errors.New("sealing the storage was begun and not finished: run suitegate storage seal again")}
	}
	return m, err
}

// needMark is loadMark for a storage that has to be sealed.
func (s *Storage) needMark(ctx context.Context) (*mark, error) {
	m, err := s.loadMark(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		err = &Error{Cause: StoragePlain, Err: errors.New("the storage is not sealed")}
	}
	return m, err
}

// storageID is the ID of the mark, without which nothing is sealed or opened.
func (s *Storage) storageID(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id == "" {
		m, err := s.needMark(ctx)
		if err != nil {
			return "", err
		}
		s.id = m.ID
	}
	return s.id, nil
}

// Store implements [certmagic.Storage].
func (s *Storage) Store(ctx context.Context, name string, value []byte) error {
	if Public(name) {
		return s.Storage.Store(ctx, name, value)
	}
	id, err := s.storageID(ctx)
	if err != nil {
		return err
	}
	envelope, err := s.keyring.seal(ctx, id, name, value)
	if err != nil {
		return err
	}
	// Not between Rewrap's reading of a value and its writing the same again.
	return locked(ctx, s.Storage, valueLock(name), func() error { return s.Storage.Store(ctx, name, envelope) })
}

// Load implements [certmagic.Storage].
func (s *Storage) Load(ctx context.Context, name string) ([]byte, error) {
	data, err := s.Storage.Load(ctx, name)
	if err != nil || Public(name) {
		return data, err
	}
	if !IsSealed(data) {
		clear(data)
		return nil, &Error{Cause: ValuePlain, Name: name, Err: errors.New("a secret that is not sealed in a sealed storage: suitegate storage seal takes it in, if it is yours")}
	}
	id, err := s.storageID(ctx)
	if err != nil {
		return nil, err
	}
	return s.keyring.open(ctx, id, name, data)
}

// Plain is a storage that is not sealed, and refuses to be used once it is.
type Plain struct{ certmagic.Storage }

var errSealed = &Error{Cause: StorageSealed, Err: errors.New("the storage is sealed: the configuration has to name its key in storage.seal")}

// Check refuses a storage that is sealed, or was to be.
func (p Plain) Check(ctx context.Context) error {
	// Whatever it says. Stat, since whoever has no business with it may not read it.
	_, err := p.Stat(ctx, MarkName)
	switch {
	case err == nil:
		return errSealed
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// Store implements [certmagic.Storage]: another process may have begun to seal
// the storage meanwhile.
func (p Plain) Store(ctx context.Context, name string, value []byte) error {
	if !Public(name) {
		if err := p.Check(ctx); err != nil {
			return err
		}
	}
	return p.Storage.Store(ctx, name, value)
}

// Load implements [certmagic.Storage].
func (p Plain) Load(ctx context.Context, name string) ([]byte, error) {
	data, err := p.Storage.Load(ctx, name)
	if err == nil && IsSealed(data) {
		return nil, errSealed
	}
	return data, err
}
