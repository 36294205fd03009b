package seal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// DefaultReuse is the default of Config.Reuse, that of Amazon SQS.
const DefaultReuse = 5 * time.Minute

// Config configures a Keyring.
type Config struct {
	Key      Key   // seals, and opens what it has sealed
	Previous []Key // open what they have sealed. Default: none

	// Context is added to the encryption context of every data key. Default:
	// nothing is.
	Context Context

	// Reuse is how long a data key is used, from MinReuse to MaxReuse. Default:
	// DefaultReuse (5 minutes).
	Reuse time.Duration

	// Caller is on whose behalf keys are used, for the audit log: "serve",
	// "storage seal".
	Caller string

	// Used is told of every request to a key. It must not block for long.
	// Default: nobody is told.
	Used func(Use)

	Logger *slog.Logger // default: no logging
}

// Keyring seals values, and opens them, with data keys that it gets from key
// encryption keys and uses again for a while. Its methods may be called from
// several goroutines.
type Keyring struct {
	key     Key
	keys    map[string]Key // by ID; all of them
	context Context

	sealing *cache // by storage and principal
	opening *cache // by the envelope's key, context and wrapped data key

	requests *requests
}

// NewKeyring returns a keyring, and asks no key for anything yet. It has to be
// closed.
func NewKeyring(cfg Config) (*Keyring, error) {
	reuse := cmp.Or(cfg.Reuse, DefaultReuse)
	if reuse < MinReuse || reuse > MaxReuse {
		return nil, fmt.Errorf("seal: data keys are reused for %v; want %v to %v", reuse, MinReuse, MaxReuse)
	}
	r := &Keyring{
		key: cfg.Key, keys: map[string]Key{cfg.Key.ID(): cfg.Key}, context: cfg.Context,
		sealing: newCache(reuse), opening: newCache(reuse), requests: newRequests(cfg),
	}
	for _, key := range cfg.Previous {
		if r.keys[key.ID()] != nil {
			return nil, fmt.Errorf("seal: the key %s is named twice", key.ID())
		}
		r.keys[key.ID()] = key
	}
	return r, nil
}

// Close wipes the data keys. Values can be neither sealed nor opened from then
// on. Requests that are under way end on their own.
func (r *Keyring) Close() {
	r.requests.close()
	r.sealing.close()
	r.opening.close()
}

// Degraded returns the causes for which keys cannot be used at present, sorted;
// none when all is well, or nothing has been asked yet.
func (r *Keyring) Degraded() []string {
	if r == nil {
		return nil
	}
	return r.requests.degraded()
}

// KeyID is the ID of the key that seals.
func (r *Keyring) KeyID() string { return r.key.ID() }

// seal returns the envelope of a value that is to stand under a name in a
// storage.
func (r *Keyring) seal(ctx context.Context, storage, name string, value []byte) ([]byte, error) {
	if len(value) > MaxValue {
		return nil, fmt.Errorf("seal: %s: longer than %d bytes", name, MaxValue)
	}
	id := r.key.ID()
	bound := additional(storage, name, id)
	principal := Principal(name)
	for {
		key, err := r.sealing.get(ctx, storage+"\x00"+principal, func(ctx context.Context) (*dataKey, error) {
			got, err := r.requests.generate(ctx, r.key, contextFor(storage, principal, r.context))
			if err != nil {
				return nil, err
			}
			return newDataKey(got), nil
		})
		if err != nil {
			return nil, err
		}
		sealed, err := key.seal(value, bound)
		if errors.Is(err, errOver) && !r.requests.closed() {
			continue // between the two lines above
		}
		if err != nil {
			return nil, err
		}
		return json.Marshal(&envelope{Version: envelopeVersion, Key: id, Context: r.context, DataKey: key.wrapped, Value: sealed})
	}
}

// open returns the value in an envelope that stands under a name in a storage.
func (r *Keyring) open(ctx context.Context, storage, name string, data []byte) ([]byte, error) {
	e, err := parseEnvelope(data)
	if err != nil {
		return nil, &Error{Cause: ValueDamaged, Name: name, Err: err}
	}
	key := r.keys[e.Key]
	if key == nil {
		return nil, &KeyError{Cause: KeyNotConfigured, Key: e.Key, Err: fmt.Errorf("%s is sealed with a key that the configuration does not name", name)}
	}
	bound := additional(storage, name, e.Key)
	ec := contextFor(storage, Principal(name), e.Context)
	for {
		found, err := r.opening.get(ctx, cacheName(e, ec), func(ctx context.Context) (*dataKey, error) {
			got, err := r.requests.decrypt(ctx, key, e.DataKey, ec)
			if err != nil {
				return nil, err
			}
			return newDataKey(got), nil
		})
		if err != nil {
			return nil, err
		}
		value, err := found.open(e.Value, bound)
		if errors.Is(err, errOver) && !r.requests.closed() {
			continue
		}
		if err != nil && !errors.Is(err, errOver) {
			err = &Error{Cause: ValueDamaged, Name: name, Err: errors.New("it was changed, or was sealed under another name or in another storage")}
		}
		return value, err
	}
}

// cacheName tells data keys for opening apart.
func cacheName(e *envelope, ec Context) string {
	h := sha256.New()
	h.Write(additional(e.Key, string(ec.Canonical()), string(e.DataKey)))
	return string(h.Sum(nil))
}

// newDataKey takes an answer over, and wipes the slice that its plaintext came in.
func newDataKey(got answer) *dataKey {
	k := &dataKey{wrapped: got.wrapped, plain: new([DataKeySize]byte)}
	copy(k.plain[:], got.plain)
	clear(got.plain)
	return k
}
