package seal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// dataKey is a data key for as long as its period lasts.
type dataKey struct {
	wrapped []byte
	ends    time.Time

	mu    sync.Mutex // held while plain is used, or wiped
	plain *[DataKeySize]byte
}

// errOver says that a data key has been wiped since it was found.
var errOver = errors.New("seal: the period of the data key is over")

// seal encrypts a value, bound to what additional says.
func (k *dataKey) seal(value, additional []byte) (sealed []byte, err error) {
	err = k.use(func(aead cipher.AEAD) error {
		sealed = aead.Seal(nil, nil, value, additional)
		return nil
	})
	return sealed, err
}

func (k *dataKey) open(sealed, additional []byte) (value []byte, err error) {
	err = k.use(func(aead cipher.AEAD) error {
		value, err = aead.Open(nil, nil, sealed, additional)
		return err
	})
	return value, err
}

// use calls f with the cipher. What that allocates is erased, as far as the
// build has it: an expanded AES key begins with the key itself.
func (k *dataKey) use(f func(cipher.AEAD) error) (err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.plain == nil || !time.Now().Before(k.ends) {
		return errOver
	}
	erasing(func() {
		var block cipher.Block
		if block, err = aes.NewCipher(k.plain[:]); err != nil {
			return
		}
		var aead cipher.AEAD
		// With nonces of its own, which a FIPS 140-3 module insists on.
		if aead, err = cipher.NewGCMWithRandomNonce(block); err == nil {
			err = f(aead)
		}
	})
	return err
}

func (k *dataKey) wipe() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.plain != nil {
		clear(k.plain[:])
		k.plain = nil
	}
}

// maxCached bounds a cache: whoever can write to the storage decides how many
// data keys are in use.
const maxCached = 4096

// cache holds data keys for one period each.
type cache struct {
	reuse   time.Duration
	flights singleflight.Group

	mu     sync.Mutex
	held   map[string]*held
	closed bool
}

type held struct {
	key   *dataKey
	timer *time.Timer
}

func newCache(reuse time.Duration) *cache {
	return &cache{reuse: reuse, held: make(map[string]*held)}
}

// get returns the data key that stands under a name, obtaining it where there is
// none. Callers who want the same one at once wait for one request, which goes on
// when they do not.
func (c *cache) get(ctx context.Context, name string, obtain func(context.Context) (*dataKey, error)) (*dataKey, error) {
	if key := c.find(name); key != nil {
		return key, nil
	}
	flight := c.flights.DoChan(name, func() (any, error) {
		if key := c.find(name); key != nil {
			return key, nil
		}
		key, err := obtain(context.WithoutCancel(ctx))
		if err == nil {
			c.put(name, key)
		}
		return key, err
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case result := <-flight:
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(*dataKey), nil
	}
}

func (c *cache) find(name string) *dataKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.held[name]; h != nil && time.Now().Before(h.key.ends) {
		return h.key
	}
	return nil
}

// put keeps a key for one period from now on.
func (c *cache) put(name string, key *dataKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key.ends = time.Now().Add(c.reuse)
	if c.closed {
		key.wipe()
		return
	}
	for other := range c.held {
		if len(c.held) < maxCached {
			break
		}
		c.drop(other)
	}
	if c.held[name] != nil {
		c.drop(name)
	}
	h := &held{key: key}
	h.timer = time.AfterFunc(c.reuse, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.held[name] == h {
			c.drop(name)
		}
	})
	c.held[name] = h
}

// drop wipes a key. The caller holds mu.
func (c *cache) drop(name string) {
	h := c.held[name]
	h.timer.Stop()
	h.key.wipe()
	delete(c.held, name)
}

// close wipes all keys, and those that come later.
func (c *cache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for name := range c.held {
		c.drop(name)
	}
}
