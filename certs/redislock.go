package certs

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/redis/go-redis/v9"
)

// A redisLock is a key that expires, with a token that nobody else has: a holder
// that comes too late must neither keep nor give up the lock of the next.
//
// The scripts go to the server as they are. Libraries call scripts by their SHA-1,
// and calculate it when the program starts, which Go's FIPS 140-3 module answers
// with a panic where it is told to do only what it approves.
type redisLock struct {
	client     *redis.Client
	key, token string
}

// errLockLost is that of a lock that has expired.
var errLockLost = errors.New("certs: the lock has expired")

// obtainRedisLock returns nil if another has it.
func obtainRedisLock(ctx context.Context, client *redis.Client, key string) (*redisLock, error) {
	l := &redisLock{client, key, rand.Text()}
	if ok, err := client.SetNX(ctx, key, l.token, lockLease).Result(); !ok || err != nil {
		return nil, err
	}
	return l, nil
}

// renew begins another lease.
func (l *redisLock) renew(ctx context.Context) error {
	return l.ifHeld(ctx, `redis.call("pexpire", KEYS[1], ARGV[2])`, lockLease.Milliseconds())
}

// release gives the lock up.
func (l *redisLock) release(ctx context.Context) error {
	return l.ifHeld(ctx, `redis.call("del", KEYS[1])`)
}

// ifHeld has the server do something, unless the lock is not this one any more.
func (l *redisLock) ifHeld(ctx context.Context, do string, args ...any) error {
	script := `if redis.call("get", KEYS[1]) ~= ARGV[1] then return 0 end return ` + do
	done, err := l.client.Eval(ctx, script, []string{l.key}, append([]any{l.token}, args...)...).Int()
	if err == nil && done == 0 {
		err = errLockLost
	}
	return err
}
