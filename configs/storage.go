package configs

import "fmt"

// DefaultRedisPrefix is what the keys of a Redis storage begin with.
const DefaultRedisPrefix = "suitegate"

// Redis is a server where the gateways of a fleet keep what they share.
type Redis struct {
	Address  string // host:port
	Username string // Default: Redis's own, "default"

	// PasswordFile holds the password, or the environment variable PasswordEnv
	// does. Default: no password.
	PasswordFile, PasswordEnv string

	Database int    // Default: 0
	Prefix   string // of all keys. Default: DefaultRedisPrefix ("suitegate")

	TLS *RedisTLS // Default: no TLS
}

// RedisTLS says how to speak TLS to Redis. Its fields are PEM files.
type RedisTLS struct {
	CA               string // Default: those that the system trusts
	Certificate, Key string // for a server that wants to see one. Default: none
}

func (r *resolver) storage(f field[either[storageKeys]]) {
	k := f.value.value
	directory := f.value.text
	if k.Directory.ok {
		directory = k.Directory
	}
	if k.Directory.given() && k.Redis.given() {
		r.errorf(k.Redis.key, "storage: directory and redis exclude each other")
	}
	if f.ok && !f.value.text.given() && !k.Directory.given() && !k.Redis.given() && !k.Seal.given() {
		r.errorf(f.node, `storage: missing key "directory", "redis" or "seal"`)
	}
	switch {
	case directory.ok:
		r.cfg.Storage = resolvePath(r.file, string(directory.value))
	case k.Redis.ok:
		r.cfg.Storage, r.cfg.Redis = "", r.redis(k.Redis.value)
	}
	if k.Seal.ok {
		r.cfg.Seal = r.seal(k.Seal)
	}
}

func (r *resolver) redis(k redisKeys) *Redis {
	if k.PasswordFile.given() && k.PasswordEnv.given() {
		r.errorf(k.PasswordEnv.key, "password_file and password_env exclude each other")
	}
	redis := &Redis{
		Address:      k.Address.value.String(),
		Username:     string(k.Username.value),
		PasswordFile: r.path(k.PasswordFile),
		PasswordEnv:  string(k.PasswordEnv.value),
		Database:     int(k.Database.value),
		Prefix:       string(k.Prefix.or(DefaultRedisPrefix)),
	}
	if k.TLS.given() {
		t := k.TLS.value
		redis.TLS = &RedisTLS{CA: r.path(t.CA), Certificate: r.path(t.Certificate), Key: r.path(t.Key)}
		if t.Certificate.given() != t.Key.given() {
			r.errorf(k.TLS.node, "tls: certificate and key need each other")
		}
	}
	return redis
}

// StorageName says where the storage is, in words for a person.
func (c *Config) StorageName() string {
	if c.Redis == nil {
		return c.Storage
	}
	return fmt.Sprintf("redis://%s/%d/%s", c.Redis.Address, c.Redis.Database, c.Redis.Prefix)
}
