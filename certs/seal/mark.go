package seal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/caddyserver/certmagic"
)

// MarkName is the name of the value that marks a storage as sealed.
const MarkName = "sealed.json"

// mark says that a storage is sealed, or is being sealed.
type mark struct {
	Version int    `json:"suitegate_storage"`
	ID      string `json:"id"`    // drawn once, bound to everything that is sealed here
	State   string `json:"state"` // sealing or sealed

	// Proof is an envelope that the key opens if it is the right one.
	Proof json.RawMessage `json:"proof"`
}

const (
	stateSealing = "sealing"
	stateSealed  = "sealed"

	markVersion = 1
	proofName   = MarkName
	proofValue  = "suitegate sealed storage"

	markLock = "sealed"
)

// newMark makes a mark of a new storage, with a proof by the keyring.
func newMark(ctx context.Context, keyring *Keyring, state string) (*mark, error) {
	m := &mark{Version: markVersion, ID: strings.ToLower(rand.Text()), State: state}
	return m, m.prove(ctx, keyring)
}

// prove replaces the proof by one of the key that seals.
func (m *mark) prove(ctx context.Context, keyring *Keyring) error {
	proof, err := keyring.seal(ctx, m.ID, proofName, []byte(proofValue))
	m.Proof = proof
	return err
}

// verify says whether the keyring has the key of the storage.
func (m *mark) verify(ctx context.Context, keyring *Keyring) error {
	value, err := keyring.open(ctx, m.ID, proofName, m.Proof)
	if err == nil && string(value) != proofValue {
		err = &Error{Cause: StorageUnknown, Name: MarkName, Err: errors.New("its proof is of something else")}
	}
	return err
}

func (m *mark) store(ctx context.Context, storage certmagic.Storage) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return storage.Store(ctx, MarkName, data)
}

// loadMark reads the mark. The error is fs.ErrNotExist if there is none.
func loadMark(ctx context.Context, storage certmagic.Storage) (*mark, error) {
	data, err := storage.Load(ctx, MarkName)
	if err != nil {
		return nil, err
	}
	m, err := parseMark(data)
	if err != nil {
		return nil, &Error{Cause: StorageUnknown, Name: MarkName, Err: err}
	}
	return m, nil
}

func parseMark(data []byte) (*mark, error) {
	if len(data) > maxEnvelope {
		return nil, fmt.Errorf("longer than %d bytes", maxEnvelope)
	}
	var m mark
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("not the mark of a sealed storage: %w", err)
	}
	switch {
	case m.Version != markVersion:
		return nil, fmt.Errorf("version %d of sealed storages is not known to this program", m.Version)
	case m.ID == "", m.State != stateSealing && m.State != stateSealed:
		return nil, errors.New("not the mark of a sealed storage")
	}
	return &m, nil
}

// secrets lists the names of what is to be sealed in a storage, and of what is.
func secrets(ctx context.Context, storage certmagic.Storage) (plain, sealed []string, err error) {
	names, err := storage.List(ctx, "", true)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	for _, name := range names {
		if Public(name) {
			continue
		}
		info, err := storage.Stat(ctx, name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsTerminal { // deleted meanwhile, or a directory
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		data, err := storage.Load(ctx, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, nil, err
		case IsSealed(data):
			sealed = append(sealed, name)
		default:
			plain = append(plain, name)
		}
		clear(data)
	}
	return plain, sealed, nil
}

// valueLock is the lock under which a value is replaced.
func valueLock(name string) string { return "sealed_" + Principal(name) }

// locked calls f while it holds a lock of the storage's.
func locked(ctx context.Context, storage certmagic.Storage, name string, f func() error) (err error) {
	if err := storage.Lock(ctx, name); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, storage.Unlock(context.WithoutCancel(ctx), name)) }()
	return f()
}
