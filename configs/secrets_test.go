package configs

import (
	"crypto/rand"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
)

// secretExamples are made up, and none opens anything.
var secretExamples = map[string]string{
	"amqp://guest:hunter2@rabbit:5672":                                 "a URL with a user name or password in it",
	"https://hunter2@acme.example/directory":                           "a URL with a user name or password in it",
	"redis://:hunter2@10.0.0.1:6379":                                   "a URL with a user name or password in it",
	"guest:hunter2@rabbit.internal:5672":                               "a password before a host",
	":hunter2@127.0.0.1:6379":                                          "a password before a host",
	"host=rabbit;password=hunter2":                                     "a password or token",
	"https://names.example/ask?token=hunter2":                          "a password or token",
	"API_KEY: hunter2":                                                 "a password or token",
	`{"secret":"hunter2"}`:                                             "a password or token",
	"AKIAABCDEFGHIJKLMNOP":                                             "an access key of AWS",
	"mq-ASIAABCDEFGHIJKLMNOP":                                          "an access key of AWS",
	"hvs.CAESIJrandomlooking0123456789":                                "a token of Vault",
	"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJub2JvZHkifQ.c2lnbmF0dXJl":         "a JSON Web Token",
	"ghp_abcdefghijklmnopqrstuvwxyz0123456789":                         "a token of GitHub",
	"glpat-abcdefghijklmnopqrst":                                       "a token of GitLab",
	"xoxb-123456789012-abcdef":                                         "a token of Slack",
	"8f14e45fceea167a5a36dedd4bea25438f14e45fceea167a5a36dedd4bea2543": "a key in hexadecimal",
	"wJ4lrXU7tnF3EMI5K7MDE9bPx2RfiC8YE0XAMPL3":                         "random text, as keys and tokens are",
}

// ordinaryNames are what people and programs call things.
var ordinaryNames = []string{
	"amqps", "default", "rabbitmq-prod.eu-central-1", "Prod-EU1-MQ2-Gateway-Node3-AZ1b", "_internal",
	"rabbitmq-server-0.rabbitmq-nodes.messaging.svc.cluster.local", "suitegate-7d9f8b6c5d-x2x4z",
	"1234abcd-12ab-34cd-56ef-1234567890ab", "1234ABCD-12AB-34CD-56EF-1234567890AB",
	"b-1234abcd-12ab-34cd-56ef-1234567890ab.mq.eu-central-1.amazonaws.com",
	"d41d8cd98f00b204e9800998ecf8427e", "da39a3ee5e6b4b0d3255bfef95601890afd80709.example",
	"ip-10-0-12-34.eu-central-1.compute.internal", "ec2-203-0-113-25.compute-1.amazonaws.com",
	"ProductionBrokerForOrdersAndInvoices2024", "customerOrdersGatewayVersion2", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
	"xn--bcher-kva.example", "*.mq.example", "127.0.0.1:5671", "[2001:db8::1]:5671", "localhost:5672", ":5671",
	"h2", "http/1.1", "amqp", "x-amzn-mqtt-ca", "SUITEGATE_ADMIN_TOKEN", "REDIS_PASSWORD_2", "VAULT_TOKEN",
	"token", "password-reset.example", "secret-service", "tokens.example:8443", "AKIA", "hvs.example", "eyJ.example",
}

// ordinaryTexts may stand where any text may.
var ordinaryTexts = []string{
	"/etc/suitegate/tls.key", "/run/secrets/redis-password", "/run/secrets/token", "C:\\keys\\password", "./token:1",
	"/tmp/TestCheck3487652Xy9/001/A1b2C3d4E5f6G7h8I9j0K1/tls.crt", "CN=gateway,OU=Token Service,O=Example", "me@example.org",
	"spiffe://cluster.local/ns/messaging/sa/orders", "urn:uuid:1234abcd-12ab-34cd-56ef-1234567890ab", "https://acme.example/directory",
	"https://names.example/ask?for=mq", "RgM3wQ2bJzX7yD1kT9vLhN5sPcFeUoA8iK6mB4qWxYs=", "kid-V6iRR0p3XbN4mQz8LtYw2KcJ",
	"ISRG Root X1", "hmac-sha256",
}

func TestSecretsAreTold(t *testing.T) {
	for text, want := range secretExamples {
		if got := secretName(text); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		if shown := quote(text); strings.Contains(shown, "hunter2") || strings.Contains(shown, text) {
			t.Errorf("an error would show %s", shown)
		}
	}
	for _, text := range ordinaryNames {
		if got := secretName(text); got != "" {
			t.Errorf("%s: taken for %s", text, got)
		}
	}
	for _, text := range ordinaryTexts {
		if got := secretIn(text); got != "" {
			t.Errorf("%s: taken for %s", text, got)
		}
	}
}

// Of keys that are drawn, nearly all are told.
func TestRandomNames(t *testing.T) {
	const drawn = 1000
	missed := 0
	for range drawn {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // it never fails
		if secretName(base64.RawURLEncoding.EncodeToString(key)) == "" {
			missed++
		}
	}
	if missed > drawn/5 {
		t.Errorf("%d of %d keys are taken for names", missed, drawn)
	}
}

// No secret is accepted where a name or an address goes, nor shown by what is
// said of it, wherever in the file it stands.
func TestSecretsInConfiguration(t *testing.T) {
	const places = `
storage: {redis: {address: <127.0.0.1:6379>, prefix: <gateways>, username: <me>}}
certificates:
  - name: <default>
    self_signed: {names: [<mq.example>]}
  - name: public
    acme: {names: [<b.example>], email: <me@b.example>, directory: <https://acme.example/directory>, on_demand: {ask: <https://names.example/ask>}}
policies:
  <mine>: {tls13: [<TLS_AES_128_GCM_SHA256>]}
upstreams:
  <rabbit>: {nodes: [<rabbit.internal:5672>, {address: <127.0.0.1:5673>}]}
listeners:
  - {<name>: <amqps>, address: <localhost:5671>, protocol: <amqp>, policy: <mine>, certificates: [<default>], upstream: <rabbit>, alpn: [<amqp>]}
`
	place := regexp.MustCompile("<([^>]*)>")
	fill := func(at int, secret string) string {
		n := -1
		return place.ReplaceAllStringFunc(places, func(text string) string {
			if n++; n == at {
				return "'" + secret + "'"
			}
			return "'" + strings.Trim(text, "<>") + "'"
		})
	}
	if _, err := Parse("gateway.yml", []byte(fill(-1, ""))); err != nil {
		t.Fatal(err)
	}
	for secret, what := range secretExamples {
		for at, text := range place.FindAllString(places, -1) {
			_, err := Parse("gateway.yml", []byte(fill(at, secret)))
			if err == nil && secretIn(secret) == "" && text == "<me>" {
				continue // what a user of Redis is called may be anything
			}
			if err == nil {
				t.Errorf("%s is accepted instead of %s", what, text)
				continue
			}
			if shown := err.Error(); strings.Contains(shown, secret) || strings.Contains(shown, "hunter2") {
				t.Errorf("%s instead of %s: the error shows it:\n%s", what, text, shown)
			}
		}
	}
}
