package configs

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/policy"
)

const diffBase = `
admin: {address: "127.0.0.1:9090"}
storage: state
certificates:
  - {name: default, files: {certificate: tls.crt, key: tls.key}}
  - {name: public, acme: {names: [a.example], email: ops@a.example, on_demand: {ask: "http://127.0.0.1:8081/ask?key=secret"}}}
policies:
  strict: {tls12: [ECDHE-RSA-AES256-GCM-SHA384, ECDHE-RSA-AES128-GCM-SHA256]}
upstreams:
  rabbit: {nodes: ["10.0.0.1:5672", "10.0.0.2:5672"]}
listeners:
  - {name: amqps, address: ":5671", protocol: amqp, policy: strict, upstream: rabbit}
  - {name: auto, address: ":5700", protocol: auto, policy: strict, upstreams: {amqp: rabbit}}
`

func TestDiff(t *testing.T) {
	for _, test := range []struct {
		name    string
		replace []string // in diffBase
		want    []string
	}{
		{"nothing", nil, []string{}},
		{"a default written out", []string{"storage: state", "storage: state\ndrain_timeout: 25s\n# and a comment"}, []string{}},
		{"values", []string{"storage: state", "storage: other\ndrain_timeout: 1m", "127.0.0.1:9090\"", "127.0.0.1:9091\", pprof: true, socket: run/s"}, []string{
			"admin.address: 127.0.0.1:9090 → 127.0.0.1:9091", "admin.pprof: false → true", "admin.socket: none → dir/run/s",
			"storage: dir/state → dir/other", "drain_timeout: 25s → 1m0s",
		}},
		{"a proof", []string{"storage: state", "storage: state\nprove: {mode: warn, evidence: proof.json}"}, []string{
			"prove.mode: enforce → warn", "prove.evidence: none → dir/proof.json",
		}},
		{"another storage", []string{"storage: state", `storage: {redis: {address: "127.0.0.1:6379", password_env: PASSWORD}}`}, []string{
			"storage: dir/state → none", "storage.redis: added",
		}},
		{"a policy", []string{"ECDHE-RSA-AES128-GCM-SHA256]", "ECDHE-RSA-AES128-SHA256], tls13: [TLS_AES_128_GCM_SHA256]"}, []string{
			"policies.strict.tls12: +TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, -TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
			"policies.strict.tls13: +TLS_AES_128_GCM_SHA256",
		}},
		{"an order", []string{"[ECDHE-RSA-AES256-GCM-SHA384, ECDHE-RSA-AES128-GCM-SHA256]", "[ECDHE-RSA-AES128-GCM-SHA256, ECDHE-RSA-AES256-GCM-SHA384]"}, []string{
			"policies.strict.tls12: reordered",
		}},
		{"nodes", []string{`"10.0.0.2:5672"`, `"10.0.0.3:5672"`}, []string{"upstreams.rabbit.nodes: +10.0.0.3:5672, -10.0.0.2:5672"}},
		{"listeners", []string{"{name: auto", "{name: any", "policy: strict, upstream: rabbit", "policy: rabbitmq, upstream: rabbit, max_connections: 7, client_certificates: {mode: require, ca: ca.pem, allow: {cn: [a]}}"}, []string{
			"listeners.amqps.policy: strict → rabbitmq", "listeners.amqps.client_certificates.mode: off → require",
			"listeners.amqps.client_certificates.ca: none → dir/ca.pem", "listeners.amqps.client_certificates.allow.cn: +a",
			"listeners.amqps.max_connections: 0 → 7", "listeners.auto: removed", "listeners.any: added",
		}},
		{"limits", []string{"protocol: amqp,", "protocol: amqp, handshake_rate: 100/s, max_connection_age: 24h, deny: [192.0.2.0/24],"}, []string{
			"listeners.amqps.deny: +192.0.2.0/24", "listeners.amqps.handshake_rate: none → 100/s", "listeners.amqps.max_connection_age: 0s → 24h0m0s",
		}},
		{"branches", []string{"upstreams: {amqp: rabbit}", "upstreams: {mqtt: rabbit}"}, []string{"listeners.auto.upstreams.amqp: removed", "listeners.auto.upstreams.mqtt: added"}},
		{"certificates", []string{"key: tls.key}", "key: new.key}, ocsp_stapling: false", "secret", "other", "127.0.0.1:8081", "127.0.0.1:8082"}, []string{
			"certificates.default.files.key: dir/tls.key → dir/new.key", "certificates.default.ocsp_stapling: true → false",
			"certificates.public.acme.on_demand.ask: http://127.0.0.1:8081/ask?… → http://127.0.0.1:8082/ask?…",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			changes := Diff(mustParse(t, diffBase), mustParse(t, strings.NewReplacer(test.replace...).Replace(diffBase)))
			if diff := cmp.Diff(test.want, changes.Strings()); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

// Every setting has a place in the difference: against an empty configuration
// all of reference.yml's sections are there, by the names of their keys.
func TestDiffPaths(t *testing.T) {
	plain, _, _ := readReference(t)
	paths := make(map[string]bool)
	for _, change := range Diff(&Config{}, mustParse(t, plain)) {
		section, _, _ := strings.Cut(change.Path, ".")
		paths[section] = true
	}
	for _, section := range []string{"admin", "log", "audit", "storage", "drain_timeout", "tickets", "certificates", "policies", "upstreams", "listeners"} {
		if !paths[section] {
			t.Errorf("nothing of %s", section)
		}
	}
}

// The paths of a difference are made of the names of keys, since fields are named
// by them.
func TestDiffKeys(t *testing.T) {
	known := make(map[string]bool)
	eachKey(reflect.TypeFor[document](), nil, "", func(_ reflect.Type, path string, _ bool) {
		for key := range strings.SplitSeq(path, ".") {
			known[key] = true
		}
	})
	seen := make(map[reflect.Type]bool)
	var look func(path string, typ reflect.Type)
	look = func(path string, typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] || typ.Implements(reflect.TypeFor[fmt.Stringer]()) || typ == reflect.TypeFor[policy.Suite]() {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			field := typ.Field(i)
			if !field.IsExported() || field.Type == reflect.TypeFor[Errors]() || field.Name == "File" && path == "" || field.Name == "NoStapling" {
				continue
			}
			below := join(path, keyOf(field.Name))
			if field.Type != reflect.TypeFor[Pos]() {
				for key := range strings.SplitSeq(keyOf(field.Name), ".") {
					if !known[key] {
						t.Errorf("%s is no key", below)
					}
				}
			}
			look(below, field.Type)
		}
	}
	look("", reflect.TypeFor[Config]())
	if len(seen) < 15 {
		t.Errorf("%d types looked at", len(seen))
	}
}
