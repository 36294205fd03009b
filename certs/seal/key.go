package seal

import (
	"context"
	"fmt"
)

// DataKeySize is the length of a data key in bytes: AES-256.
const DataKeySize = 32

// A Context is the encryption context that a data key is bound to: names that
// are not secret, and that have to be given again to decrypt it.
type Context map[string]string

// A Key is a key encryption key. It wraps data keys, and never leaves the place
// where it is kept. Its methods may be called from several goroutines; each makes
// one request, without trying again, and ends when ctx does.
//
// Errors are *KeyError. What the caller gets is its own, to overwrite.
type Key interface {
	// ID is the name of the key, which stands beside what was sealed with it and
	// in the audit log: the ARN of a KMS key, "vault:MOUNT/NAME", "file:" and a
	// fingerprint. Two keys with the same ID are the same key.
	ID() string

	// GenerateDataKey returns a new data key of DataKeySize bytes, plain and
	// wrapped.
	GenerateDataKey(ctx context.Context, ec Context) (plain, wrapped []byte, err error)

	// Decrypt returns the data key that was wrapped by this key in the same
	// encryption context. Another context is a mistake.
	Decrypt(ctx context.Context, wrapped []byte, ec Context) (plain []byte, err error)
}

// Causes for which a key cannot be used: the [KeyError.Cause].
const (
	KeyDenied          = "key_access_denied"    // by a policy, or there is no grant
	KeyDisabled        = "key_disabled"         // until somebody enables it
	KeyPendingDeletion = "key_pending_deletion" // until somebody cancels that
	KeyNotFound        = "key_not_found"        // deleted, or never there
	KeyThrottled       = "key_throttled"        // too many requests
	KeyUnreachable     = "key_unreachable"      // no connection, or the service says it is not available
	KeyTimeout         = "key_timeout"          // no answer in time
	KeyWrongAnswer     = "key_wrong_answer"     // not what the protocol has, or not the data key it was
	KeyCredentials     = "key_credentials"      // none are found, or they are expired or not accepted
	KeyInvalidValue    = "key_invalid_value"    // the wrapped data key is not this key's, damaged, or of another context
	KeyNotConfigured   = "key_not_configured"   // a value is sealed with a key that the configuration does not name
)

// KeyError says why a key could not be used. It holds no key material.
type KeyError struct {
	Cause string // one of the constants above
	Key   string // its ID
	Err   error
}

func (e *KeyError) Error() string { return fmt.Sprintf("%s: %s: %v", e.Key, e.Cause, e.Err) }
func (e *KeyError) Unwrap() error { return e.Err }

// Reason is the stable name of the cause.
func (e *KeyError) Reason() string { return e.Cause }

// retryable says whether the same request may succeed soon.
func (e *KeyError) retryable() bool {
	return e.Cause == KeyThrottled || e.Cause == KeyUnreachable || e.Cause == KeyTimeout
}

// unavailable says whether the cause is the key, and not what was asked of it.
func (e *KeyError) unavailable() bool {
	return e.Cause != KeyInvalidValue && e.Cause != KeyNotConfigured
}
