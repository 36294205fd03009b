package seal

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/time/rate"
)

// Operations of keys, by the names that AWS KMS has for them: the
// [Use.Operation].
const (
	GenerateDataKey = "GenerateDataKey"
	Decrypt         = "Decrypt"
)

// Use is one request to a key, of which nothing is secret.
type Use struct {
	Key       string // its ID
	Operation string // GenerateDataKey or Decrypt
	Context   Context
	Purpose   string // "seal", "compare" a new data key, "open", "probe" a key that has failed
	Caller    string // on whose behalf, and with which credentials where the key can tell
	Took      time.Duration
	Err       error // a *KeyError; nil if it was granted
}

// Identified is implemented by a [Key] that can name the credentials it uses,
// without what is secret of them.
type Identified interface{ Caller(context.Context) string }

const (
	requestTimeout = 5 * time.Second // for one answer
	maxTries       = 4               // of one request
	firstPause     = 200 * time.Millisecond
	longestPause   = 2 * time.Second

	// retryBudget bounds what repeats add to the trouble of a service that many
	// gateways ask at once: so many of them at first, and then one for each
	// retryRefill.
	retryBudget = 20
	retryRefill = 5 * time.Second

	// A key that has failed is asked again after firstProbe, then after twice as
	// long, until every longestProbe.
	firstProbe   = 5 * time.Second
	longestProbe = time.Minute
)

// requests asks keys for what a keyring needs, again where that may help, and
// knows which of them cannot be used.
type requests struct {
	caller string
	used   func(Use)
	logger *slog.Logger
	budget *rate.Limiter

	mu     sync.Mutex
	failed map[request]*failure
	over   bool
}

// request is what fails and recovers as one: permissions are by operation.
type request struct{ key, operation string }

// failure is a request that cannot be had at present.
type failure struct {
	cause string
	probe *time.Timer
	pause time.Duration
}

func newRequests(cfg Config) *requests {
	r := &requests{caller: cfg.Caller, used: cfg.Used, logger: cfg.Logger,
		budget: rate.NewLimiter(rate.Every(retryRefill), retryBudget), failed: make(map[request]*failure)}
	if r.used == nil {
		r.used = func(Use) {}
	}
	if r.logger == nil {
		r.logger = slog.New(slog.DiscardHandler)
	}
	return r
}

// answer is what a key gives. Its plaintext is the asker's to wipe.
type answer struct{ plain, wrapped []byte }

// ask makes one request.
type ask func(context.Context) (answer, error)

// generate takes a new data key, and has it decrypted before anybody uses it:
// what cannot be opened again must not seal anything.
func (r *requests) generate(ctx context.Context, key Key, ec Context) (answer, error) {
	use := Use{Key: key.ID(), Operation: GenerateDataKey, Purpose: "seal", Context: ec}
	got, err := r.generateBy(ctx, key, use, r.try)
	r.settle(use, err, func(ctx context.Context) error {
		use.Purpose = "probe"
		got, err := r.generateBy(ctx, key, use, r.once)
		clear(got.plain)
		return err
	})
	return got, err
}

// generateBy takes a new data key and compares it with what it decrypts to.
func (r *requests) generateBy(ctx context.Context, key Key, use Use, by func(context.Context, Key, Use, ask) (answer, error)) (answer, error) {
	got, err := by(ctx, key, use, func(ctx context.Context) (got answer, err error) {
		got.plain, got.wrapped, err = key.GenerateDataKey(ctx, use.Context)
		if n := len(got.wrapped); err == nil && (n == 0 || n > maxWrapped) {
			err = fmt.Errorf("a wrapped data key of %d bytes", n)
		}
		return got, err
	})
	if err != nil {
		return answer{}, err
	}
	purpose := use.Purpose
	if purpose == "seal" {
		purpose = "compare"
	}
	again, err := r.decryptBy(ctx, key, Use{Key: key.ID(), Operation: Decrypt, Purpose: purpose, Context: use.Context}, got.wrapped, by)
	defer clear(again.plain)
	if err == nil && subtle.ConstantTimeCompare(got.plain, again.plain) != 1 {
		err = named(key, errors.New("a new data key is not the one that its wrapped form decrypts to"))
	}
	if err != nil {
		clear(got.plain)
		return answer{}, err
	}
	return got, nil
}

// decrypt returns the data key that has been wrapped.
func (r *requests) decrypt(ctx context.Context, key Key, wrapped []byte, ec Context) (answer, error) {
	use := Use{Key: key.ID(), Operation: Decrypt, Purpose: "open", Context: ec}
	got, err := r.decryptBy(ctx, key, use, wrapped, r.try)
	r.settle(use, err, func(ctx context.Context) error {
		use.Purpose = "probe"
		got, err := r.decryptBy(ctx, key, use, wrapped, r.once)
		clear(got.plain)
		return err
	})
	return got, err
}

func (r *requests) decryptBy(ctx context.Context, key Key, use Use, wrapped []byte, by func(context.Context, Key, Use, ask) (answer, error)) (answer, error) {
	return by(ctx, key, use, func(ctx context.Context) (got answer, err error) {
		got.plain, err = key.Decrypt(ctx, wrapped, use.Context)
		return got, err
	})
}

// try makes a request, until it succeeds, repeating does not help, or there has
// been enough of it.
func (r *requests) try(ctx context.Context, key Key, use Use, request ask) (answer, error) {
	pauses := &backoff.ExponentialBackOff{InitialInterval: firstPause, MaxInterval: longestPause, Multiplier: 2, RandomizationFactor: backoff.DefaultRandomizationFactor}
	tries := 0
	got, err := backoff.Retry(ctx, func() (answer, error) {
		got, err := r.once(ctx, key, use, request)
		tries++
		var failed *KeyError
		again := errors.As(err, &failed) && failed.retryable() && tries < maxTries && r.budget.Allow()
		if err != nil && !again {
			err = backoff.Permanent(err)
		}
		return got, err
	}, backoff.WithBackOff(pauses), backoff.WithMaxElapsedTime(0))
	var permanent *backoff.PermanentError
	if errors.As(err, &permanent) {
		err = permanent.Unwrap()
	}
	return got, err
}

// once makes a request, and tells of it.
func (r *requests) once(ctx context.Context, key Key, use Use, request ask) (answer, error) {
	if r.closed() {
		return answer{}, errClosed
	}
	asking, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	use.Caller = r.caller
	if identified, ok := key.(Identified); ok {
		use.Caller += " as " + identified.Caller(asking)
	}
	begin := time.Now()
	got, err := request(asking)
	if n := len(got.plain); err == nil && n != DataKeySize {
		err = fmt.Errorf("a data key of %d bytes instead of %d", n, DataKeySize)
	}
	if err != nil {
		clear(got.plain)
		got = answer{}
		if ctx.Err() != nil {
			return got, ctx.Err() // nobody waits any more
		}
	}
	use.Took, use.Err = time.Since(begin), named(key, err)
	r.used(use)
	return got, use.Err
}

// errClosed is the error of a keyring that is closed.
var errClosed = fmt.Errorf("seal: the keyring is closed: %w", context.Canceled)

// named is an error with its cause: whatever has none is not what the protocol
// has.
func named(key Key, err error) error {
	var failed *KeyError
	switch {
	case err == nil, errors.As(err, &failed):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return &KeyError{Cause: KeyTimeout, Key: key.ID(), Err: err}
	}
	return &KeyError{Cause: KeyWrongAnswer, Key: key.ID(), Err: err}
}

// settle takes note of how a request has ended. One that failed for the key's
// sake is made again from time to time, until it succeeds: whoever waits for the
// key, and whoever looks at the gateway, learns of its return by itself.
func (r *requests) settle(use Use, err error, again func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var failed *KeyError
	if r.over || err != nil && !errors.As(err, &failed) { // nobody waited for it
		return
	}
	id := request{use.Key, use.Operation}
	was := r.failed[id]
	switch {
	case err != nil && failed.unavailable() && was == nil:
		r.logger.Error("key encryption key cannot be used; what is in memory goes on being served, and nothing is written",
			"key", id.key, "operation", id.operation, "cause", failed.Cause, "error", failed.Err)
		was = &failure{pause: firstProbe}
		was.probe = time.AfterFunc(was.pause, func() { r.probe(use, was, again) })
		r.failed[id] = was
	case err != nil && failed.unavailable():
	case was != nil:
		was.probe.Stop()
		delete(r.failed, id)
		r.logger.Info("key encryption key can be used again", "key", id.key, "operation", id.operation)
		return
	default:
		return
	}
	was.cause = failed.Cause
}

// probe makes a request that has failed again, once, and comes back later if it
// fails still.
func (r *requests) probe(use Use, was *failure, again func(context.Context) error) {
	r.settle(use, again(context.Background()), again)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed[request{use.Key, use.Operation}] == was && !r.over {
		was.pause = min(2*was.pause, longestProbe)
		was.probe.Reset(was.pause)
	}
}

// degraded are the causes of what fails at present.
func (r *requests) degraded() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	causes := make(map[string]bool)
	for _, f := range r.failed {
		causes[f.cause] = true
	}
	return slices.Sorted(maps.Keys(causes))
}

func (r *requests) closed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

func (r *requests) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	for _, f := range r.failed {
		f.probe.Stop()
	}
}

// canonical is a context in the one form that is compared.
func (c Context) canonical() []byte {
	text, _ := json.Marshal(c) // sorted; texts cannot fail
	return text
}
