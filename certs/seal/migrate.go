package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/caddyserver/certmagic"
)

// Tally is what a walk through a storage has come to.
type Tally struct {
	Sealed    int            // values that were sealed, or sealed anew
	Unchanged int            // values that were as they are to be
	ByKey     map[string]int // values by the ID of the key that they are sealed with now
}

func (t *Tally) count(key string, changed bool) {
	if t.ByKey == nil {
		t.ByKey = make(map[string]int)
	}
	t.ByKey[key]++
	if changed {
		t.Sealed++
	} else {
		t.Unchanged++
	}
}

// Seal takes the secrets of a plain storage in. It can be interrupted at any
// point, and done again: each value is replaced at once, by an envelope that has
// been opened again before, and until all of them are, the storage can be used by
// nobody else. What has come into a sealed storage as it is, is sealed as well, and
// what interrupted writes have left is deleted.
//
// What a file system or a server keeps of former values is theirs.
func Seal(ctx context.Context, storage certmagic.Storage, keyring *Keyring) (tally Tally, err error) {
	err = locked(ctx, storage, markLock, func() error {
		m, err := loadMark(ctx, storage)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			have, err := takeInventory(ctx, storage)
			if err == nil {
				err = have.unmarked()
			}
			if err != nil {
				return err
			}
			if m, err = newMark(ctx, keyring, stateSealing); err != nil {
				return err
			}
			if err := m.store(ctx, storage); err != nil {
				return err
			}
		case err != nil:
			return err
		}
		if err := m.verify(ctx, keyring); err != nil {
			return err
		}
		tally = Tally{}
		w := walk{storage, keyring, m.ID, &tally}
		// Until nothing is left that a gateway has stored which had begun to do so
		// before the mark was there.
		for more := true; more; {
			if err := w.each(ctx, w.seal); err != nil {
				return err
			}
			have, err := takeInventory(ctx, storage)
			if err != nil {
				return err
			}
			if err := have.clean(ctx, storage); err != nil {
				return err
			}
			more = len(have.plain) > 0
		}
		if m.State == stateSealed {
			return nil
		}
		m.State = stateSealed
		return m.store(ctx, storage)
	})
	return tally, err
}

// Rewrap seals everything anew that is sealed with another key than the one that
// seals. Gateways may use the storage meanwhile, if they have both keys. It can be
// interrupted at any point, and done again.
func Rewrap(ctx context.Context, storage certmagic.Storage, keyring *Keyring) (tally Tally, err error) {
	err = locked(ctx, storage, markLock, func() error {
		m, err := sealedMark(ctx, storage, keyring)
		if err != nil {
			return err
		}
		w := walk{storage, keyring, m.ID, &tally}
		if err := w.each(ctx, w.rewrap); err != nil {
			return err
		}
		have, err := takeInventory(ctx, storage)
		if err != nil {
			return err
		}
		if err := have.clean(ctx, storage); err != nil {
			return err
		}
		// The mark last: whoever finds its key retired finds all of it done.
		proof, err := parseEnvelope(m.Proof)
		if err != nil || proof.Key == keyring.KeyID() {
			return err
		}
		if err := m.prove(ctx, keyring); err != nil {
			return err
		}
		return m.store(ctx, storage)
	})
	return tally, err
}

// Verify opens everything, and reports all that cannot be, joined.
func Verify(ctx context.Context, storage certmagic.Storage, keyring *Keyring) (tally Tally, err error) {
	m, err := sealedMark(ctx, storage, keyring)
	if err != nil {
		return tally, err
	}
	w := walk{storage, keyring, m.ID, &tally}
	return tally, w.each(ctx, w.verify)
}

// sealedMark reads and verifies the mark of a storage that has to be sealed.
func sealedMark(ctx context.Context, storage certmagic.Storage, keyring *Keyring) (*mark, error) {
	m, err := NewStorage(storage, keyring).needMark(ctx)
	if err != nil {
		return nil, err
	}
	return m, m.verify(ctx, keyring)
}

// walk does the same to every secret of a storage.
type walk struct {
	storage certmagic.Storage
	keyring *Keyring
	id      string // of the storage
	tally   *Tally
}

// each calls do for each secret, and goes on where one fails, unless nothing can
// succeed any more. The errors are joined.
func (w walk) each(ctx context.Context, do func(ctx context.Context, name string) error) error {
	have, err := takeInventory(ctx, w.storage)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range slices.Sorted(slices.Values(slices.Concat(have.plain, have.sealed))) {
		err := do(ctx, name)
		if err == nil || errors.Is(err, fs.ErrNotExist) { // deleted meanwhile
			continue
		}
		errs = append(errs, err)
		var failed *KeyError
		if ctx.Err() != nil || errors.As(err, &failed) && failed.unavailable() {
			break
		}
	}
	return errors.Join(errs...)
}

func (w walk) seal(ctx context.Context, name string) error {
	return locked(ctx, w.storage, valueLock(name), func() error {
		data, err := w.storage.Load(ctx, name)
		if err != nil {
			return err
		}
		defer clear(data)
		if IsSealed(data) {
			return w.check(ctx, name, data)
		}
		return w.replace(ctx, name, data)
	})
}

func (w walk) rewrap(ctx context.Context, name string) error {
	return locked(ctx, w.storage, valueLock(name), func() error {
		data, err := w.storage.Load(ctx, name)
		if err != nil {
			return err
		}
		if e, err := parseEnvelope(data); err == nil && e.Key == w.keyring.KeyID() {
			return w.check(ctx, name, data)
		}
		value, err := w.open(ctx, name, data)
		if err != nil {
			return err
		}
		defer clear(value)
		return w.replace(ctx, name, value)
	})
}

func (w walk) verify(ctx context.Context, name string) error {
	data, err := w.storage.Load(ctx, name)
	if err != nil {
		return err
	}
	return w.check(ctx, name, data)
}

// check opens a value that is to stay as it is.
func (w walk) check(ctx context.Context, name string, data []byte) error {
	value, err := w.open(ctx, name, data)
	clear(value)
	if err != nil {
		return err
	}
	e, err := parseEnvelope(data)
	if err == nil {
		w.tally.count(e.Key, false)
	}
	return err
}

func (w walk) open(ctx context.Context, name string, data []byte) ([]byte, error) {
	if !IsSealed(data) {
		return nil, &Error{Cause: ValuePlain, Name: name, Err: errors.New("a secret that is not sealed")}
	}
	return w.keyring.open(ctx, w.id, name, data)
}

// replace puts an envelope in the place of a value, once it has been seen to open.
func (w walk) replace(ctx context.Context, name string, value []byte) error {
	envelope, err := w.keyring.seal(ctx, w.id, name, value)
	if err != nil {
		return err
	}
	again, err := w.keyring.open(ctx, w.id, name, envelope)
	defer clear(again)
	if err != nil {
		return err
	}
	if !bytes.Equal(value, again) {
		return fmt.Errorf("seal: %s: what was sealed is not what was opened", name)
	}
	if err := w.storage.Store(ctx, name, envelope); err != nil {
		return err
	}
	w.tally.count(w.keyring.KeyID(), true)
	return nil
}
