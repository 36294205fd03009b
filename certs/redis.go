package certs

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Redis is a server (7.0 or newer, or Valkey) where the gateways of a fleet
// keep what they share.
type Redis struct {
	Address  string // host:port
	Username string // default: Redis's own, "default"
	Password Secret // default: none
	Database int
	Prefix   string // of the keys; default "suitegate"

	TLS         bool
	CA          string // PEM file of those who sign the server's certificate; default: the system's
	Certificate string // PEM file for a server that wants to see one
	Key         string // of Certificate
}

func (r Redis) tlsConfig() (*tls.Config, error) {
	if !r.TLS {
		return nil, nil
	}
	host, _, err := net.SplitHostPort(r.Address)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{ServerName: host}
	if r.CA != "" {
		data, err := os.ReadFile(r.CA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("%s: no certificate in it", r.CA)
		}
	}
	if r.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(r.Certificate, r.Key)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", r.Certificate, r.Key, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

const (
	// lockLease is for how long a lock outlives its holder. It is renewed three
	// times in each, so that two failures in a row do no harm.
	lockLease = 10 * time.Second

	redisTimeout = 3 * time.Second // of one command
)

// redisStorage keeps everything in one hash, so that every command is atomic
// and a listing whole, and each lock in a key of its own that expires.
type redisStorage struct {
	client *redis.Client
	where  string // redis://address/database/prefix
	data   string // key of the hash
	locks  string // what the keys of locks begin with
	logger *slog.Logger

	mu   sync.Mutex
	held map[string]*lease // by name
}

// lease is a lock that is renewed until it is released.
type lease struct {
	lock *redisLock
	stop context.CancelFunc
	done chan struct{}
}

// muteRedis keeps the client library, which has one logger for the process,
// from writing to stderr by itself. What it would say comes back as errors.
var muteRedis = sync.OnceFunc(logging.Disable)

// newRedisStorage reads what cfg points to, and does not connect yet.
func newRedisStorage(cfg Redis, logger *slog.Logger) (*redisStorage, error) {
	muteRedis()
	cfg.Prefix = cmp.Or(cfg.Prefix, "suitegate")
	var password []byte
	if cfg.Password != (Secret{}) {
		var err error
		if password, err = cfg.Password.Read(); err != nil {
			return nil, fmt.Errorf("password of Redis: %w", err)
		}
	}
	tlsConfig, err := cfg.tlsConfig()
	if err != nil {
		return nil, fmt.Errorf("TLS to Redis: %w", err)
	}
	client := redis.NewClient(&redis.Options{
		Addr: cfg.Address, Username: cfg.Username, Password: string(password), DB: cfg.Database, TLSConfig: tlsConfig,
		DialTimeout: redisTimeout, ReadTimeout: redisTimeout, WriteTimeout: redisTimeout, ContextTimeoutEnabled: true,
		PoolSize: 4, MaxIdleConns: 1, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	return &redisStorage{
		client: client,
		where:  fmt.Sprintf("redis://%s/%d/%s", cfg.Address, cfg.Database, cfg.Prefix),
		data:   cfg.Prefix + ":data",
		locks:  cfg.Prefix + ":lock:",
		logger: logger,
		held:   make(map[string]*lease),
	}, nil
}

func (s *redisStorage) place(key string) string {
	if key == "" {
		return s.where
	}
	return s.where + "/" + key
}

// redisCause is the cause of an error that Redis answered with, or "".
func redisCause(err error) string {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return ""
	}
	switch code, _, _ := strings.Cut(answer.Error(), " "); code {
	case "READONLY", "NOREPLICAS":
		return StorageReadOnly
	case "OOM", "MISCONF": // MISCONF: it cannot write its own files
		return StorageFull
	case "NOAUTH", "WRONGPASS", "NOPERM":
		return StorageDenied
	case "LOADING", "MASTERDOWN", "CLUSTERDOWN":
		return StorageUnreachable
	}
	return ""
}

// check writes what a lock is, which a replica, a full server or one that
// denies the user refuses. What makes Redis forget is warned of.
func (s *redisStorage) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*redisTimeout)
	defer cancel()
	probe := s.locks + "check"
	err := s.client.Set(ctx, probe, "", time.Second).Err()
	if err == nil {
		err = cmp.Or(s.client.Del(ctx, probe).Err(), s.client.HExists(ctx, s.data, "").Err())
	}
	if err != nil {
		return &StorageError{Cause: causeOf(err), Err: fmt.Errorf("%s: %w", s.where, err)}
	}
	info, err := s.client.Info(ctx, "persistence", "memory").Result()
	if err != nil {
		return nil // not everybody may ask
	}
	fields := strings.Fields(info)
	if slices.Contains(fields, "aof_enabled:0") {
		s.logger.Warn("Redis does not write each change to its disk (appendonly no): it loses what is new when it stops", "storage", s.where)
	}
	if !slices.Contains(fields, "maxmemory:0") && !slices.Contains(fields, "maxmemory_policy:noeviction") {
		s.logger.Warn("Redis evicts keys when its memory is full (maxmemory-policy is not noeviction): certificates can be lost", "storage", s.where)
	}
	return nil
}

// A value stands behind the time when it was stored, in nanoseconds since 1970.
const stampLen = 8

// Store implements [certmagic.Storage].
func (s *redisStorage) Store(ctx context.Context, key string, value []byte) error {
	stamped := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
	return s.client.HSet(ctx, s.data, key, append(stamped, value...)).Err()
}

// Load implements [certmagic.Storage].
func (s *redisStorage) Load(ctx context.Context, key string) ([]byte, error) {
	_, value, err := s.get(ctx, key)
	return value, err
}

func (s *redisStorage) get(ctx context.Context, key string) (stored time.Time, value []byte, err error) {
	stamped, err := s.client.HGet(ctx, s.data, key).Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return time.Time{}, nil, fmt.Errorf("%s: %w", s.place(key), fs.ErrNotExist)
	case err != nil:
		return time.Time{}, nil, err
	case len(stamped) < stampLen:
		return time.Time{}, nil, fmt.Errorf("%s: not a value of ours", s.place(key))
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(stamped))), stamped[stampLen:], nil
}

// Delete implements [certmagic.Storage].
func (s *redisStorage) Delete(ctx context.Context, key string) error {
	keys, err := s.below(ctx, key)
	if err != nil {
		return err
	}
	return s.client.HDel(ctx, s.data, append(keys, key)...).Err()
}

// Exists implements [certmagic.Storage].
func (s *redisStorage) Exists(ctx context.Context, key string) bool {
	_, err := s.Stat(ctx, key)
	return err == nil
}

// below returns the keys that have a directory as their prefix.
func (s *redisStorage) below(ctx context.Context, dir string) ([]string, error) {
	keys, err := s.client.HKeys(ctx, s.data).Result()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(keys, func(key string) bool { return dir != "" && !strings.HasPrefix(key, dir+"/") }), nil
}

// List implements [certmagic.Storage]: directories are listed as keys are, as
// certmagic's FileStorage does.
func (s *redisStorage) List(ctx context.Context, dir string, recursive bool) ([]string, error) {
	keys, err := s.below(ctx, dir)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 && dir != "" {
		return nil, fmt.Errorf("%s: %w", s.place(dir), fs.ErrNotExist)
	}
	start := 0
	if dir != "" {
		start = len(dir) + 1
	}
	var listed []string
	for _, key := range keys {
		for i := start; i <= len(key); i++ {
			if i < len(key) && key[i] != '/' {
				continue
			}
			listed = append(listed, key[:i])
			if !recursive {
				break
			}
		}
	}
	slices.Sort(listed)
	return slices.Compact(listed), nil
}

// Stat implements [certmagic.Storage].
func (s *redisStorage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	stored, value, err := s.get(ctx, key)
	if err == nil {
		return certmagic.KeyInfo{Key: key, Modified: stored, Size: int64(len(value)), IsTerminal: true}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return certmagic.KeyInfo{}, err
	}
	keys, belowErr := s.below(ctx, key)
	switch {
	case belowErr != nil:
		return certmagic.KeyInfo{}, belowErr
	case len(keys) == 0:
		return certmagic.KeyInfo{}, err
	}
	return certmagic.KeyInfo{Key: key}, nil
}

// Lock implements [certmagic.Locker].
func (s *redisStorage) Lock(ctx context.Context, name string) error {
	for {
		ok, err := s.TryLock(ctx, name)
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// TryLock implements [certmagic.TryLocker].
func (s *redisStorage) TryLock(ctx context.Context, name string) (bool, error) {
	lock, err := obtainRedisLock(ctx, s.client, s.locks+name)
	if lock == nil {
		return false, err
	}
	l := &lease{lock: lock, done: make(chan struct{})}
	var renewing context.Context
	renewing, l.stop = context.WithCancel(context.Background())
	s.mu.Lock()
	s.held[name] = l
	s.mu.Unlock()
	go s.renew(renewing, name, l)
	return true, nil
}

// renew keeps a lock until it is released or lost. It can be lost when the
// server cannot be reached for as long as a lease, or the process stands still:
// what the lock is for must be, and is, harmless when it is done twice.
func (s *redisStorage) renew(ctx context.Context, name string, l *lease) {
	defer close(l.done)
	ticker := time.NewTicker(lockLease / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := l.lock.renew(ctx); errors.Is(err, errLockLost) {
			s.logger.Warn("a lock was lost before its work was done", "storage", s.where, "lock", name)
			return
		}
	}
}

// Unlock implements [certmagic.Locker].
func (s *redisStorage) Unlock(ctx context.Context, name string) error {
	s.mu.Lock()
	l := s.held[name]
	delete(s.held, name)
	s.mu.Unlock()
	if l == nil {
		return fmt.Errorf("%s: the lock is not held", name)
	}
	l.stop()
	<-l.done
	if err := l.lock.release(ctx); err != nil && !errors.Is(err, errLockLost) {
		return err
	}
	return nil
}

// close lets go of the connections. Locks that are held expire.
func (s *redisStorage) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.held {
		l.stop()
	}
	_ = s.client.Close() // nothing is pending that anybody waits for
}
