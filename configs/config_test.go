package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/suitegate/suitegate/policy"
)

// ignoreTree leaves the parsed file out of comparisons, and policies to their
// names.
var ignoreTree = cmp.Options{
	cmpopts.IgnoreUnexported(Config{}),
	cmpopts.EquateComparable(netip.Prefix{}),
	cmp.Transformer("policyName", func(p *policy.Policy) string {
		if p == nil {
			return ""
		}
		return p.Name
	}),
}

// mustParse parses a file that has no mistakes.
func mustParse(t *testing.T, data string) *Config {
	t.Helper()
	cfg, err := Parse("dir/suitegate.yml", []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

const minimal = `
certificates:
  - name: default
    files: {certificate: tls.crt, key: /etc/tls.key}
upstreams:
  rabbit: {nodes: ["127.0.0.1:5672"]}
listeners:
  - name: amqps
    address: 127.0.0.1:5671
    protocol: amqp
    policy: rabbitmq
    upstream: rabbit
`

func TestDefaults(t *testing.T) {
	got := mustParse(t, minimal)
	want := &Config{
		File:         "dir/suitegate.yml",
		Log:          Log{Format: "json", Level: "info", RefusalsPerMinute: 100, ClientAddresses: "full", ServerNames: true, Fingerprints: true, ClientCertificates: true},
		Storage:      defaultStorage(os.Geteuid() == 0, os.Getenv),
		DrainTimeout: 25 * time.Second,
		Prove:        Prove{Mode: DefaultProve},
		Hardening:    Hardening{Landlock: "auto"},
		FIPS:         "auto",
		Tickets:      Tickets{Rotation: 12 * time.Hour, Lifetime: 24 * time.Hour},
		Certificates: []Certificate{{
			Name:  "default",
			Files: &Files{Certificate: "dir/tls.crt", Key: "/etc/tls.key"},
			Pos:   Pos{"dir/suitegate.yml", 3, 5},
		}},
		Policies: map[string]*policy.Policy{},
		Upstreams: map[string]Upstream{"rabbit": {Nodes: []Node{{"127.0.0.1:5672", 1}}, Balance: "round_robin",
			ConnectTimeout: 5 * time.Second, DialTimeout: 10 * time.Second, ResolveInterval: 30 * time.Second}},
		Listeners: []Listener{{
			Name:               "amqps",
			Address:            "127.0.0.1:5671",
			Protocol:           "amqp",
			Policy:             &policy.Policy{Name: "rabbitmq"},
			Certificates:       []string{"default"},
			ServerName:         "any",
			ClientCertificates: ClientCertificates{Mode: "off", StaleCRL: "hard", MaxDepth: 4},
			Upstream:           "rabbit",
			SessionTickets:     true,
			HandshakeTimeout:   10 * time.Second,
			HelloTimeout:       10 * time.Second,
			FirstBytesTimeout:  10 * time.Second,
			MaxHandshakes:      4096,
			MaxAgeJitter:       10,
			Pos:                Pos{"dir/suitegate.yml", 8, 5},
		}},
	}
	if diff := cmp.Diff(want, got, ignoreTree); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEverythingSet(t *testing.T) {
	got := mustParse(t, `
admin: {address: "[::1]:9090", socket: admin.sock, token_file: admin.token}
log: {format: text, level: debug, refusals_per_minute: 0, client_addresses: prefix, server_names: false, client_certificates: false}
storage: state
drain_timeout: 1m30s
tickets: {rotation: 1h, lifetime: 20h, shared: true}
certificates:
  - {name: rsa, self_signed: {}}
  - {name: ecdsa, self_signed: {names: ["*.example.com", "2001:db8::1"]}}
policies:
  strict: {tls12: [ecdhe-rsa-aes256-gcm-sha384], tls13: [TLS_AES_256_GCM_SHA384], groups: [P-256]}
upstreams:
  broker:
    nodes: [{address: "a.internal:05672", weight: 3}, "[::1]:5672"]
    balance: least_connections
    connect_timeout: 500ms
    dial_timeout: 3s
    slow_start: 20s
    resolve_interval: 10s
    health_check: {protocol: amqp, interval: 4s, timeout: 1s, rise: 1, fall: 2}
    proxy_protocol: v2
    required: true
listeners:
  - name: wss
    address: :61619
    protocol: websocket
    proxy_protocol: {from: [192.0.2.7, "2001:db8::/32", 0.0.0.0/0]}
    policy: strict
    certificates: [ecdsa]
    server_name: known
    default_certificate: ecdsa
    client_certificates:
      mode: require
      ca: clients.pem
      allow: {dn: ["CN=a,O=Example"], cn: [a], dns: ["*.example"], uri: ["spiffe://example/**"], email: [a@example.com], spki: [00ff]}
      crl: [crls, /etc/root.crl]
      stale_crl: soft
      max_depth: 0
    upstreams: {mqtt: broker, stomp: broker}
    alpn: [http/1.1]
    session_tickets: false
    handshake_timeout: 3s
    first_bytes_timeout: 4s
    hello_timeout: 2s
    max_connections: 100
    max_connections_per_client: 20
    max_handshakes: 0
    max_handshakes_per_client: 10
    handshake_rate: 500/s
    handshake_rate_per_client: 30/m
    allow: [192.0.2.0/24, "2001:db8::/32"]
    deny: [192.0.2.7]
    idle_timeout: 1h
    max_connection_age: 24h
    max_connection_age_jitter: 0%
prove: {mode: warn, evidence: proof.json}
hardening: {landlock: required, core_dumps: true}
fips: auto
audit: {file: audit.log}
reload: {watch: true}
restart: {reuse_port: true}
`)
	want := &Config{
		File:         "dir/suitegate.yml",
		Admin:        Admin{Address: "[::1]:9090", Socket: "dir/admin.sock", TokenFile: "dir/admin.token"},
		Log:          Log{Format: "text", Level: "debug", ClientAddresses: "prefix", Fingerprints: true},
		Audit:        Audit{File: "dir/audit.log"},
		Watch:        true,
		ReusePort:    true,
		Storage:      "dir/state",
		DrainTimeout: 90 * time.Second,
		Prove:        Prove{Mode: ProveWarn, Evidence: "dir/proof.json"},
		Hardening:    Hardening{Landlock: "required", CoreDumps: true},
		FIPS:         "auto",
		Tickets:      Tickets{Rotation: time.Hour, Lifetime: 20 * time.Hour, Shared: true},
		Certificates: []Certificate{
			{Name: "rsa", SelfSigned: &SelfSigned{Names: []string{"localhost", "127.0.0.1", "::1"}}, Pos: Pos{"dir/suitegate.yml", 8, 5}},
			{Name: "ecdsa", SelfSigned: &SelfSigned{Names: []string{"*.example.com", "2001:db8::1"}}, Pos: Pos{"dir/suitegate.yml", 9, 5}},
		},
		Policies: map[string]*policy.Policy{"strict": {Name: "strict"}},
		Upstreams: map[string]Upstream{"broker": {Nodes: []Node{{"a.internal:5672", 3}, {"[::1]:5672", 1}}, Balance: "least_connections",
			ConnectTimeout: 500 * time.Millisecond, DialTimeout: 3 * time.Second, SlowStart: 20 * time.Second, ResolveInterval: 10 * time.Second,
			HealthCheck:   &HealthCheck{Protocol: "amqp", Interval: 4 * time.Second, Timeout: time.Second, Rise: 1, Fall: 2},
			ProxyProtocol: 2, Required: true}},
		Listeners: []Listener{{
			Name:     "wss",
			Address:  ":61619",
			Protocol: "websocket",
			ProxyProtocol: ProxyProtocol{From: []netip.Prefix{
				netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("0.0.0.0/0"),
			}},
			Policy:             &policy.Policy{Name: "strict"},
			Certificates:       []string{"ecdsa"},
			ServerName:         "known",
			DefaultCertificate: "ecdsa",
			ClientCertificates: ClientCertificates{
				Mode: "require", CA: "dir/clients.pem", CRL: []string{"dir/crls", "/etc/root.crl"}, StaleCRL: "soft",
				Allow: AllowedClients{DN: []string{"CN=a,O=Example"}, CN: []string{"a"}, DNS: []string{"*.example"},
					URI: []string{"spiffe://example/**"}, Email: []string{"a@example.com"}, SPKI: []string{"00ff"}},
			},
			Upstreams:         map[string]string{"mqtt": "broker", "stomp": "broker"},
			ALPN:              []string{"http/1.1"},
			HandshakeTimeout:  3 * time.Second,
			FirstBytesTimeout: 4 * time.Second,
			HelloTimeout:      2 * time.Second,
			MaxConnections:    100,

			MaxConnectionsPerClient: 20,
			MaxHandshakesPerClient:  10,
			HandshakeRate:           Rate{500, time.Second},
			HandshakeRatePerClient:  Rate{30, time.Minute},
			Allow:                   []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
			Deny:                    []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")},

			IdleTimeout: time.Hour,
			MaxAge:      24 * time.Hour,
			Pos:         Pos{"dir/suitegate.yml", 24, 5},
		}},
		Warnings: Errors{{Pos{"dir/suitegate.yml", 8, 12}, `certificate "rsa" is not used by any listener`},
			{Pos{"dir/suitegate.yml", 27, 57}, "from: 0.0.0.0/0 trusts everyone to say who they are"}},
	}
	if diff := cmp.Diff(want, got, ignoreTree); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	suites := got.Listeners[0].Policy.TLS12
	if len(suites) != 1 || suites[0].Name != "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" {
		t.Errorf("TLS 1.2 suites of strict: %v", suites)
	}
}

// What nothing uses is a warning with its place, and the file is loaded.
func TestWarnings(t *testing.T) {
	cfg := mustParse(t, `certificates:
  - {name: used, self_signed: {}}
  - {name: unused, self_signed: {}}
policies:
  unused: {tls13: [TLS_AES_128_GCM_SHA256]}
  used: {tls13: [TLS_AES_128_GCM_SHA256]}
upstreams:
  used: {nodes: ["127.0.0.1:5672"]}
  unused: {nodes: ["127.0.0.1:5673"]}
  branch: {nodes: ["127.0.0.1:1883"]}
listeners:
  - {name: a, address: ":1", protocol: tcp, policy: used, upstream: used, certificates: [used]}
  - {name: b, address: ":2", protocol: auto, policy: used, upstreams: {mqtt: branch}, certificates: [used], server_name: required, default_certificate: used}
`)
	const want = `dir/suitegate.yml:3:12: certificate "unused" is not used by any listener
dir/suitegate.yml:5:3: policy "unused" is not used by any listener
dir/suitegate.yml:9:3: upstream "unused" is not used by any listener
dir/suitegate.yml:13:132: default_certificate: with server_name required no client gets it`
	if got := cfg.Warnings.Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A listener can have every built-in policy, by its dated name or an alias, and
// has it under the name that was written.
func TestBuiltinPolicies(t *testing.T) {
	for _, p := range policy.Builtins() {
		cfg := mustParse(t, strings.Replace(minimal, "policy: rabbitmq", "policy: "+p.Name, 1))
		if got := cfg.Listeners[0].Policy; got.Name != p.Name || !policy.Diff(got, p).Empty() {
			t.Errorf("policy %s is %s", p.Name, got.Name)
		}
	}
}

// Anchors and aliases are plain YAML, and may be used.
func TestAlias(t *testing.T) {
	cfg := mustParse(t, strings.NewReplacer(
		"policy: rabbitmq", "policy: &p strict",
		"upstream: rabbit\n", `upstream: rabbit
  - {name: second, address: ":5673", protocol: amqp, policy: *p, upstream: rabbit}
policies:
  strict: {tls12: &suites [ECDHE-RSA-AES128-GCM-SHA256], tls13: [TLS_AES_128_GCM_SHA256]}
  lax: {tls12: *suites}
`).Replace(minimal))
	if got := cfg.Listeners[1].Policy.Name; got != "strict" {
		t.Errorf("policy %q through an alias, want strict", got)
	}
	if got := cfg.Policies["lax"].TLS12; len(got) != 1 {
		t.Errorf("suites %v through an alias, want one", got)
	}
}

func TestDefaultStorage(t *testing.T) {
	for _, test := range []struct {
		root       bool
		xdg, home  string
		want, what string
	}{
		{true, "/xdg", "/root", "/var/lib/suitegate", "root"},
		{false, "/xdg", "/home/u", "/xdg/suitegate", "XDG_DATA_HOME"},
		{false, "xdg", "/home/u", "/home/u/.local/share/suitegate", "relative XDG_DATA_HOME"},
		{false, "", "/home/u", "/home/u/.local/share/suitegate", "home"},
		{false, "", "", "/var/lib/suitegate", "no home"},
	} {
		env := map[string]string{"XDG_DATA_HOME": test.xdg, "HOME": test.home}
		if got := defaultStorage(test.root, func(key string) string { return env[key] }); got != test.want {
			t.Errorf("%s: %s, want %s", test.what, got, test.want)
		}
	}
}

func TestLoadUnreadable(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "missing.yml")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "missing.yml") {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("directory: %v", err)
	}
}

func TestMaxSize(t *testing.T) {
	data := minimal + strings.Repeat("#", MaxSize-len(minimal))
	mustParse(t, data)
	_, err := Parse("f.yml", []byte(data+"#"))
	if want := "f.yml:1:1: the file is larger than 1024 KiB"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// A few lines of aliases stand for millions of values: reading stops in time.
func TestAliasBomb(t *testing.T) {
	data := strings.Replace(minimal, "nodes:", "nodes: &l0", 1)
	for i := range 9 {
		below := fmt.Sprintf("*l%d", i)
		data += fmt.Sprintf("l%d: &l%d [%s]\n", i+1, i+1, below+strings.Repeat(", "+below, 9))
	}
	if _, err := Parse("f.yml", []byte(data)); err == nil || strings.Contains(err.Error(), "values") {
		t.Errorf("under keys that nobody reads: error %v, want unknown keys alone", err)
	}
	// Where a list is expected: every listener has a thousand protocols.
	data = minimal + "    alpn: &protocols ["
	for i := range 1000 {
		data += fmt.Sprintf("p%d, ", i)
	}
	data += "]\n"
	for i := range 1000 {
		data += fmt.Sprintf("  - {name: n%d, address: \":%d\", protocol: tcp, policy: rabbitmq, upstream: rabbit, alpn: *protocols}\n", i, 10000+i)
	}
	_, err := Parse("f.yml", []byte(data))
	if err == nil || !strings.Contains(err.Error(), "more than 100000 values") {
		t.Errorf("error %.300v, want one about the number of values", err)
	}
}

// A file of nothing but mistakes has its errors cut off.
func TestTooManyMistakes(t *testing.T) {
	_, err := Parse("f.yml", []byte(strings.Repeat("? x\n? []\n", 5000)))
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != maxErrors+1 {
		t.Fatalf("%d errors, want %d", len(errs), maxErrors+1)
	}
	if last := errs[maxErrors].Reason; last != "more than 200 mistakes; from here on they are not all listed" {
		t.Errorf("last error: %s", last)
	}
}

// What a file costs is in proportion to its size, whatever it is full of. An
// eighth of the largest size is enough to see that.
func TestCostOfHugeFiles(t *testing.T) {
	const size, limit = MaxSize / 8, 200 << 20 // bytes
	for _, test := range []struct{ name, begin, each, end string }{
		{"listeners without keys", "listeners: [", "{},", "]"},
		{"listeners of the wrong kind", "listeners: [", "a,", "]"},
		{"unknown keys", "", "k%d: 1\n", ""},
		{"unknown suites", "policies:\n  p:\n    tls12:\n", "    - ECDHE-RSA-AES256-GCM-SHA%d\n", ""},
		{"policies", "policies:\n", "  p%d: {tls12: [X]}\n", ""},
		{"upstreams", "upstreams:\n", "  u%d: {nodes: [h:1]}\n", ""},
		{"listeners", "listeners:\n", "- {name: n%d, address: h:1, protocol: tcp, policy: p, upstream: u}\n", ""},
		{"anchors", "", "a%[1]d: &a%[1]d x\n", ""},
		{"nesting", "", "[", ""},
		{"text", `storage: "`, "x", `"`},
	} {
		data := test.begin
		var middle strings.Builder
		for i := 0; middle.Len() < size; i++ {
			if strings.Contains(test.each, "%") {
				fmt.Fprintf(&middle, test.each, i)
			} else {
				middle.WriteString(test.each)
			}
		}
		data += middle.String() + test.end
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Parse("f.yml", []byte(data))
		runtime.ReadMemStats(&after)
		if err == nil || strings.Contains(err.Error(), "larger than") {
			t.Errorf("%s: error %v", test.name, err)
		}
		if cost := after.TotalAlloc - before.TotalAlloc; cost > limit {
			t.Errorf("%s: %d MiB allocated", test.name, cost>>20)
		}
	}
}

func TestErrors(t *testing.T) {
	errs := Errors{
		{Pos{"b.yml", 1, 1}, "four"},
		{Pos{"a.yml", 2, 1}, "three"},
		{Pos{"a.yml", 1, 9}, "two"},
		{Pos{File: "a.yml"}, "one"},
	}
	errs.Sort()
	const want = "a.yml: one\na.yml:1:9: two\na.yml:2:1: three\nb.yml:1:1: four"
	if got := errs.Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var one Error
	if !errors.As(error(errs), &one) || one.Reason != "one" {
		t.Errorf("errors.As gives %v, want the first", one)
	}
}

func TestPosition(t *testing.T) {
	cfg := mustParse(t, `admin: {address: ":9090"}
certificates:
  - name: a.b
    files:
      certificate: tls.crt
      key: tls.key
  - {name: c, self_signed: {}}
upstreams:
  rabbit:
    nodes: ["127.0.0.1:5672", "127.0.0.1:5673"]
listeners:
  - name: amqps
    address: &a "127.0.0.1:5671"
    protocol: auto
    policy: rabbitmq
    upstreams:
      mqtt: rabbit
`)
	for _, test := range []struct {
		section, name, field string
		line, column         int
	}{
		{"admin", "", "address", 1, 18},
		{"admin", "", "", 1, 8},
		{"certificates", "a.b", "files.key", 6, 12},
		{"certificates", "a.b", "files", 4, 5},
		{"certificates", "a.b", "", 3, 5},
		{"certificates", "c", "self_signed", 7, 28},
		{"certificates", "c", "files.key", 7, 5},
		{"certificates", "none", "files.key", 2, 1},
		{"upstreams", "rabbit", "nodes.1", 10, 31},
		{"upstreams", "rabbit", "nodes.2", 10, 12},
		{"upstreams", "rabbit", "connect_timeout", 9, 3},
		{"listeners", "amqps", "policy", 15, 13},
		{"listeners", "amqps", "upstreams.mqtt", 17, 13},
		{"listeners", "amqps", "address", 13, 14},
		{"storage", "", "", 1, 1},
	} {
		got := cfg.Position(test.section, test.name, test.field)
		if want := (Pos{"dir/suitegate.yml", test.line, test.column}); got != want {
			t.Errorf("%s, %s, %s: %v, want %v", test.section, test.name, test.field, got, want)
		}
	}
	if got, want := (&Config{File: "f.yml"}).Position("admin", "", ""), (Pos{File: "f.yml"}); got != want {
		t.Errorf("without a file: %v, want %v", got, want)
	}
}

func TestClosest(t *testing.T) {
	known := []string{"rabbitmq", "activemq", "listeners", "tcp"}
	for _, test := range []struct{ name, want string }{
		{"rabitmq", "rabbitmq"},
		{"RabbitMQ", "rabbitmq"},
		{"rabbitqm", "rabbitmq"}, // neighbours swapped
		{"active", "activemq"},   // cut short
		{"listener", "listeners"},
		{"tpc", ""}, // nothing is better than a guess
		{"tcpp", "tcp"},
		{"udp", ""},
		{"", ""},
		{"kafka", ""},
		{strings.Repeat("rabbitmq", 100), ""},
	} {
		if got := closest(test.name, known); got != test.want {
			t.Errorf("closest to %q: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestQuote(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"a\nb", `"a\nb"`},
		{strings.Repeat("ü", 64), `"` + strings.Repeat("ü", 64) + `"`},
		{strings.Repeat("ü", 65), `"` + strings.Repeat("ü", 64) + `"…`},
	} {
		if got := quote(test.in); got != test.want {
			t.Errorf("quote %q: %s, want %s", test.in, got, test.want)
		}
	}
}

// Certificates come as two files or as a bundle, with a password where needed.
func TestCertificateFiles(t *testing.T) {
	got := mustParse(t, `
certificates:
  - {name: a, files: {certificate: a.crt, key: a.key, password_file: /run/secrets/a}}
  - {name: b, files: {pkcs12: b.p12, password_env: B_PASSWORD}}
  - {name: c, files: {pkcs12: /etc/c.p12}}
upstreams: {u: {nodes: ["127.0.0.1:5672"]}}
listeners: [{name: l, address: "127.0.0.1:5671", protocol: tcp, policy: rabbitmq, upstream: u}]
`)
	want := []*Files{
		{Certificate: "dir/a.crt", Key: "dir/a.key", PasswordFile: "/run/secrets/a"},
		{PKCS12: "dir/b.p12", PasswordEnv: "B_PASSWORD"},
		{PKCS12: "/etc/c.p12"},
	}
	for i, c := range got.Certificates {
		if diff := cmp.Diff(want[i], c.Files); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.Name, diff)
		}
	}
}
