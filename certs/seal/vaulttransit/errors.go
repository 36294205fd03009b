package vaulttransit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/suitegate/suitegate/certs/seal"
)

// refused turns an answer that is an error into a *seal.KeyError. Where the
// status has several meanings, the words tell them apart.
func (k *Key) refused(operation string, status int, messages []string) error {
	said := strings.Join(strings.Fields(strings.Join(messages, "; ")), " ")
	has := func(words ...string) bool {
		for _, word := range words {
			if strings.Contains(said, word) {
				return true
			}
		}
		return false
	}
	err := fmt.Errorf("status %d: %s", status, said)
	switch {
	case has("invalid token", "bad token", "missing client token") || status == http.StatusUnauthorized:
		return k.error(seal.KeyCredentials, err)
	case status == http.StatusForbidden, has("disallowed by policy"): // the latter by min_decryption_version
		return k.error(seal.KeyDenied, err)
	case status == http.StatusNotFound, has("key not found", "policy not found"):
		return k.error(seal.KeyNotFound, err)
	case has("non-AEAD"):
		return k.error(seal.KeyWrongAnswer, fmt.Errorf("the key is of a type without associated data: %w", err))
	case status == http.StatusBadRequest && operation == "decrypt":
		return k.error(seal.KeyInvalidValue, err)
	case status == http.StatusTooManyRequests:
		return k.error(seal.KeyThrottled, err)
	case status >= 300 && status < 400:
		return k.error(seal.KeyUnreachable, fmt.Errorf("status %d: a standby that sends elsewhere, which is not followed", status))
	case status == http.StatusPreconditionFailed: // a replica that is behind
		return k.error(seal.KeyUnreachable, err)
	case status == 472 || status == 473 || status >= 500: // standby; sealed, and all else
		return k.error(seal.KeyUnreachable, err)
	}
	return k.wrongAnswer(err)
}

// failed turns the error of a request that got no whole answer into a
// *seal.KeyError.
func (k *Key) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return k.error(seal.KeyTimeout, context.Cause(ctx))
	}
	if outer := (*url.Error)(nil); errors.As(err, &outer) {
		err = outer.Err // without the URL, which the ID is enough of
	}
	if network := net.Error(nil); errors.As(err, &network) && network.Timeout() {
		return k.error(seal.KeyTimeout, err)
	}
	return k.error(seal.KeyUnreachable, err)
}

func (k *Key) wrongAnswer(err error) error {
	return k.error(seal.KeyWrongAnswer, fmt.Errorf("the answer is not right: %w", err))
}

func (k *Key) error(cause string, err error) error {
	return &seal.KeyError{Cause: cause, Key: k.id, Err: err}
}
