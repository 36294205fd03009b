package configs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRedisStorage(t *testing.T) {
	for _, tt := range []struct {
		yaml, name string
		want       Redis
	}{
		{`{address: "redis.internal:6379"}`, "redis://redis.internal:6379/0/suitegate", Redis{Address: "redis.internal:6379", Prefix: "suitegate"}},
		{`{address: "[::1]:6379", username: gate, password_file: pass, database: 3, prefix: mq, tls: {}}`, "redis://[::1]:6379/3/mq",
			Redis{Address: "[::1]:6379", Username: "gate", PasswordFile: "dir/pass", Database: 3, Prefix: "mq", TLS: &RedisTLS{}}},
		{`{address: "127.0.0.1:6379", password_env: PASS, tls: {ca: ca.pem, certificate: /c.pem, key: k.pem}}`, "redis://127.0.0.1:6379/0/suitegate",
			Redis{Address: "127.0.0.1:6379", PasswordEnv: "PASS", Prefix: "suitegate", TLS: &RedisTLS{CA: "dir/ca.pem", Certificate: "/c.pem", Key: "dir/k.pem"}}},
	} {
		cfg := mustParse(t, "storage: {redis: "+tt.yaml+"}"+minimal)
		if diff := cmp.Diff(&tt.want, cfg.Redis); diff != "" || cfg.Storage != "" || cfg.StorageName() != tt.name {
			t.Errorf("%s: storage %q, %s (-want +got):\n%s", tt.yaml, cfg.Storage, cfg.StorageName(), diff)
		}
	}
	if cfg := mustParse(t, "storage: state"+minimal); cfg.Redis != nil || cfg.StorageName() != "dir/state" {
		t.Errorf("%+v, %s", cfg.Redis, cfg.StorageName())
	}
}
