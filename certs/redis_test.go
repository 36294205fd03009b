package certs

import (
	"crypto/elliptic"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisServer is a Redis of a test's own.
type redisServer struct {
	config  Redis
	process *os.Process
}

const redisPassword = "correct horse"

// startRedis starts one on loopback, with a password. CI installs it.
func startRedis(t *testing.T, settings ...string) *redisServer {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatalf("redis-server is needed for this test (.ci/install): %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(address)
	server := exec.Command(program, append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(),
		"--save", "", "--appendonly", "yes", "--requirepass", redisPassword, "--logfile", "redis.log"}, settings...)...)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	r := &redisServer{process: server.Process, config: Redis{Address: address, Password: Secret{File: write(t, "password", redisPassword+"\n")}}}
	client := r.client()
	defer client.Close()
	for deadline := time.Now().Add(timeout); client.Ping(t.Context()).Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("Redis does not answer")
		}
	}
	return r
}

// client is a way to Redis beside the storage.
func (r *redisServer) client() *redis.Client {
	muteRedis()
	return redis.NewClient(&redis.Options{Addr: r.config.Address, Password: redisPassword})
}

// What makes a Redis unfit, or likely to forget, is said at the start.
func TestRedisCheck(t *testing.T) {
	t.Setenv("SUITEGATE_TEST_PASSWORD", redisPassword)
	server := startRedis(t)
	check := func(t *testing.T, change func(*Redis)) (string, error) {
		config := server.config
		change(&config)
		var log logBuffer
		s, err := newRedisStorage(config, log.logger(slog.LevelInfo))
		if err != nil {
			return "", storageError(err)
		}
		defer s.close()
		err = s.check(t.Context())
		return log.String(), err
	}
	for _, tt := range []struct {
		name   string
		change func(*Redis)
		cause  string
		want   string // of the error's text
	}{
		{"as it should be", func(*Redis) {}, "", ""},
		{"password in the environment", func(r *Redis) { r.Password = Secret{Env: "SUITEGATE_TEST_PASSWORD"} }, "", ""},
		{"no password", func(r *Redis) { r.Password = Secret{} }, StorageDenied, "NOAUTH"},
		{"wrong password", func(r *Redis) { r.Password.File = write(t, "wrong", "x") }, StorageDenied, "WRONGPASS"},
		{"no such file", func(r *Redis) { r.Password.File = "none" }, StorageOther, "password of Redis: open none: no such file"},
		{"no such variable", func(r *Redis) { r.Password = Secret{Env: "SUITEGATE_NONE"} }, StorageOther, "password of Redis: the environment variable SUITEGATE_NONE is not set"},
		{"nobody there", func(r *Redis) { r.Address = "127.0.0.1:1" }, StorageUnreachable, "connection refused"},
		{"no such CA", func(r *Redis) { r.TLS, r.CA = true, "none" }, StorageOther, "TLS to Redis: open none: no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log, err := check(t, tt.change)
			if tt.want == "" {
				if err != nil || log != "" {
					t.Errorf("%v, logged %q", err, log)
				}
				return
			}
			var named *StorageError
			if !errors.As(err, &named) || tt.cause != "" && named.Reason() != tt.cause || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v", err)
			}
			if err != nil && strings.Contains(err.Error(), redisPassword) {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}

	client := server.client()
	defer client.Close()
	for _, tt := range []struct{ setting, value, logged string }{
		{"maxmemory", "100mb", ""},
		{"maxmemory-policy", "allkeys-lru", "Redis evicts keys"},
		{"appendonly", "no", "it loses what is new when it stops"},
	} {
		if err := client.ConfigSet(t.Context(), tt.setting, tt.value).Err(); err != nil {
			t.Fatal(err)
		}
		log, err := check(t, func(*Redis) {})
		if err != nil || !strings.Contains(log, tt.logged) || tt.logged == "" && log != "" {
			t.Errorf("%s %s: %v, logged %q", tt.setting, tt.value, err, log)
		}
	}
	if err := client.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ setting, value, cause string }{
		{"min-replicas-to-write", "1", StorageReadOnly},
		{"maxmemory", "1", StorageFull},
	} {
		if err := client.ConfigSet(t.Context(), tt.setting, tt.value).Err(); err != nil {
			t.Fatal(err)
		}
		var named *StorageError
		if _, err := check(t, func(*Redis) {}); !errors.As(err, &named) || named.Reason() != tt.cause {
			t.Errorf("%s %s: %v", tt.setting, tt.value, err)
		}
		if err := client.ConfigSet(t.Context(), tt.setting, "0").Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// Redis is spoken to in TLS, and verified, and shown who the gateway is.
func TestRedisOverTLS(t *testing.T) {
	key := newECDSA(elliptic.P256())
	certificate := write(t, "tls.crt", certPEM(issue(t, key, []string{"127.0.0.1"})))
	keyFile := write(t, "tls.key", keyPEM(t, key))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	server := startRedis(t, "--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", keyFile, "--tls-ca-cert-file", certificate)
	config := server.config
	config.Address, config.TLS, config.CA, config.Certificate, config.Key = l.Addr().String(), true, certificate, certificate, keyFile
	for _, tt := range []struct {
		name   string
		change func(*Redis)
		want   string
	}{
		{"as it should be", func(*Redis) {}, ""},
		{"nobody that the system trusts", func(r *Redis) { r.CA = "" }, "x509: "},
		{"no client certificate", func(r *Redis) { r.Certificate = "" }, "tls: certificate required"},
		{"no such key", func(r *Redis) { r.Key = "none" }, "TLS to Redis: " + certificate + ", none: open none: no such file"},
	} {
		config := config
		tt.change(&config)
		s, err := newStorage(Config{Redis: &config})
		if err == nil {
			err = s.check(t.Context())
			s.close()
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// A lock is renewed while its holder lives, lost when somebody else has it, and
// free within its lease when the holder is gone.
func TestRedisLease(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	var log logBuffer
	s, err := newRedisStorage(server.config, log.logger(slog.LevelInfo))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	client, ctx := server.client(), t.Context()
	defer client.Close()
	if err := s.Lock(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	left := func() time.Duration {
		ttl, err := client.PTTL(ctx, "suitegate:lock:x").Result()
		if err != nil {
			t.Fatal(err)
		}
		return ttl
	}
	if ttl := left(); ttl <= 0 || ttl > lockLease {
		t.Errorf("the lock is there for %v", ttl)
	}
	// As if most of the lease had passed already.
	if err := client.PExpire(ctx, "suitegate:lock:x", lockLease/2).Err(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(timeout); left() <= lockLease/2; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not renewed")
		}
	}
	if err := client.Set(ctx, "suitegate:lock:x", "another's", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(timeout); !strings.Contains(log.String(), `msg="a lock was lost before its work was done" storage=`+s.where+" lock=x"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the loss was not noticed: %s", log.String())
		}
	}
	if err := s.Unlock(ctx, "x"); err != nil {
		t.Error(err)
	}
	if got := client.Get(ctx, "suitegate:lock:x").Val(); got != "another's" {
		t.Errorf("another's lock was taken away: %q", got)
	}
}

// A store does with Redis what it does with a directory.
func TestStoreInRedis(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	cfg := Config{Redis: &server.config, Sources: selfSignedSource}
	first, second := open(t, cfg), open(t, cfg)
	for _, key := range leafTypes {
		if !selectLeaf(t, first, key).Leaf.Equal(selectLeaf(t, second, key).Leaf) {
			t.Errorf("%v: two leaves", key)
		}
	}
	client := server.client()
	defer client.Close()
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil || strings.Join(keys, " ") != "suitegate:data" {
		t.Errorf("left: %q, %v", keys, err)
	}
	root, err := ExportRoot(t.Context(), cfg)
	if err != nil || !strings.HasPrefix(string(root), "-----BEGIN CERTIFICATE-----") {
		t.Errorf("%v\n%s", err, root)
	}
	if want := fmt.Sprintf("redis://%s/0/suitegate/root.pem", server.config.Address); first.Root() != want {
		t.Errorf("Root() = %s, want %s", first.Root(), want)
	}

	// Gone for good: what is there is served on, and a new store is refused.
	_ = server.process.Kill()
	var named *StorageError
	if s, err := Open(t.Context(), cfg); !errors.As(err, &named) {
		if err == nil {
			s.Close()
		}
		t.Errorf("opened without Redis: %v", err)
	}
	selectLeaf(t, first, leafTypes[0])
}

// A Redis that takes nothing any more, full or turned into a replica, is still
// read from, and the cause is counted.
func TestRedisFailsLater(t *testing.T) {
	server := startRedis(t)
	var causes []string
	s, err := newStorage(Config{Redis: &server.config, StorageFailed: func(operation, cause string) { causes = append(causes, operation+" "+cause) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	client, ctx := server.client(), t.Context()
	defer client.Close()
	if err := s.Store(ctx, "key", []byte("value")); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][]any{{"CONFIG", "SET", "maxmemory", "1"}, {"REPLICAOF", "127.0.0.1", "1"}} {
		if err := client.Do(ctx, change...).Err(); err != nil {
			t.Fatal(err)
		}
		if err := s.Store(ctx, "key", []byte("another")); err == nil {
			t.Errorf("%v: stored", change)
		}
		if value, err := s.Load(ctx, "key"); err != nil || string(value) != "value" {
			t.Errorf("%v: %q, %v", change, value, err)
		}
		if err := s.Lock(ctx, "x"); err == nil {
			t.Errorf("%v: locked", change)
		}
		if err := client.Do(ctx, "CONFIG", "SET", "maxmemory", "0").Err(); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(causes, ", "); got != "store full, lock full, store read_only, lock read_only" {
		t.Errorf("counted %s", got)
	}
}
