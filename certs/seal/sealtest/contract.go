package sealtest

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/suitegate/suitegate/certs/seal"
)

// A Contract is a key, and the server that it is kept by.
type Contract struct {
	Key    seal.Key
	Plan   *Plan      // of the server
	Faults []Fault    // that it can have
	Calls  func() int // how many requests it has had

	GenerateDataKey, Decrypt string // what the server calls the operations

	// DrawnHere says that the server only wraps what it is given: what it does to a
	// data key shows when that is opened.
	DrawnHere bool

	Secrets []string // which no error may show
}

var site = seal.Context{seal.ContextPrefix + "storage": "test", seal.ContextPrefix + "principal": "certificates/mq.example"}

// TestFaults has every fault happen to every operation, and wants each to have its
// cause after one request, since trying again is done elsewhere.
func (c *Contract) TestFaults(t *testing.T) {
	good, wrapped, err := c.Key.GenerateDataKey(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	operations := map[string]func(context.Context) ([]byte, error){
		c.GenerateDataKey: func(ctx context.Context) ([]byte, error) {
			plain, _, err := c.Key.GenerateDataKey(ctx, site)
			return plain, err
		},
		c.Decrypt: func(ctx context.Context) ([]byte, error) { return c.Key.Decrypt(ctx, wrapped, site) },
	}
	secrets := append([]string{base64.StdEncoding.EncodeToString(good)}, c.Secrets...)
	for _, fault := range c.Faults {
		for operation, do := range operations {
			t.Run(fmt.Sprint(operation, "/", fault), func(t *testing.T) {
				before := c.Calls()
				c.Plan.Fail(operation, 1, fault)
				ctx, cancel := context.WithTimeout(t.Context(), patience(fault))
				defer cancel()
				plain, err := do(ctx)
				if fault.Cause() == "" || c.DrawnHere && fault == ShortPlaintext && operation == c.GenerateDataKey {
					if err != nil || bytes.Equal(plain, good) {
						t.Errorf("error %v; want another data key", err)
					}
					return
				}
				WantCause(t, err, c.Key, fault.Cause())
				if plain != nil {
					t.Error("there is a data key beside the error")
				}
				wantNone(t, err, secrets)
				if n := c.Calls() - before; n != 1 {
					t.Errorf("%d requests", n)
				}
				if _, err := do(t.Context()); err != nil {
					t.Errorf("when the fault is gone: %v", err)
				}
			})
		}
	}
}

func patience(fault Fault) time.Duration {
	if fault == Slow {
		return 50 * time.Millisecond
	}
	return time.Minute
}

// wantNone fails the test if an error, or one that it wraps, shows a secret.
func wantNone(t *testing.T, err error, secrets []string) {
	t.Helper()
	for ; err != nil; err = errors.Unwrap(err) {
		text := fmt.Sprintf("%+v", err)
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("the error shows a secret: %s", text)
			}
		}
	}
}

// WantCause fails the test unless err is a *seal.KeyError of this key and cause.
func WantCause(t *testing.T, err error, key seal.Key, cause string) {
	t.Helper()
	keyErr, ok := err.(*seal.KeyError)
	if !ok || keyErr.Cause != cause || keyErr.Key != key.ID() {
		t.Errorf("error %v, want %s of %s", err, cause, key.ID())
	}
}

// TestContext wants what was wrapped to open with the same key and context, and no
// other. The other key is one that the same caller may use.
func (c *Contract) TestContext(t *testing.T, other seal.Key) {
	_, wrapped, err := c.Key.GenerateDataKey(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	for name, ec := range map[string]seal.Context{
		"none":    nil,
		"less":    {seal.ContextPrefix + "storage": "test"},
		"another": {seal.ContextPrefix + "storage": "test", seal.ContextPrefix + "principal": "certificates/other.example"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Key.Decrypt(t.Context(), wrapped, ec)
			WantCause(t, err, c.Key, seal.KeyInvalidValue)
		})
	}
	_, err = c.Key.Decrypt(t.Context(), append([]byte("x"), wrapped...), site)
	WantCause(t, err, c.Key, seal.KeyInvalidValue)
	_, err = other.Decrypt(t.Context(), wrapped, site)
	WantCause(t, err, other, seal.KeyInvalidValue)
}
