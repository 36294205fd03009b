package configs

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSeal(t *testing.T) {
	const arn = "arn:aws:kms:eu-central-1:111122223333:key/1"
	for yaml, want := range map[string]Seal{
		"{key: {file: k}}": {Key: SealingKey{File: "dir/k"}, Reuse: 5 * time.Minute},
		"{key: {passphrase_env: P}, data_key_reuse: 24h, context: {stage: prod}}": {
			Key: SealingKey{PassphraseEnv: "P"}, Reuse: 24 * time.Hour, Context: map[string]string{"stage": "prod"}},
		"{key: {kms: {key: " + arn + "}}, previous: [{passphrase_file: /p}]}": {
			Key: SealingKey{KMS: &KMS{Key: arn}}, Previous: []SealingKey{{PassphraseFile: "/p"}}, Reuse: 5 * time.Minute},
		`{key: {kms: {key: k, region: us-east-1, endpoint: "http://127.0.0.1:1", grant_tokens: [a, b]}}}`: {
			Key: SealingKey{KMS: &KMS{Key: "k", Region: "us-east-1", Endpoint: "http://127.0.0.1:1", GrantTokens: []string{"a", "b"}}}, Reuse: 5 * time.Minute},
		`{key: {vault: {address: "https://v", key: k, token_file: t}}}`: {
			Key: SealingKey{Vault: &Vault{Address: "https://v", Mount: "transit", Key: "k", TokenFile: "dir/t"}}, Reuse: 5 * time.Minute},
		`{key: {vault: {address: "https://v", mount: a/b, namespace: n, key: k, token_env: T, ca: ca.pem}}}`: {
			Key: SealingKey{Vault: &Vault{Address: "https://v", Mount: "a/b", Namespace: "n", Key: "k", TokenEnv: "T", CA: "dir/ca.pem"}}, Reuse: 5 * time.Minute},
	} {
		cfg := mustParse(t, "storage: {directory: state, seal: "+yaml+"}"+minimal)
		if diff := cmp.Diff(&want, cfg.Seal); diff != "" || cfg.Storage != "dir/state" {
			t.Errorf("%s: storage %q (-want +got):\n%s", yaml, cfg.Storage, diff)
		}
	}
	if cfg := mustParse(t, "storage: {seal: {key: {file: k}}}"+minimal); cfg.Storage != mustParse(t, minimal).Storage {
		t.Errorf("storage %q is not the default", cfg.Storage)
	}
}

func TestSealChanges(t *testing.T) {
	parse := func(seal string) *Config { return mustParse(t, "storage: {seal: "+seal+"}"+minimal) }
	before := parse("{key: {kms: {key: one}}}")
	for seal, want := range map[string][]string{
		"{key: {kms: {key: one}}}":                                       {},
		"{key: {kms: {key: two}}, previous: [{kms: {key: one}}]}":        {"storage.seal.key.kms.key: one → two", "storage.seal.previous: +kms one"},
		"{key: {file: k}, data_key_reuse: 1h}":                           {"storage.seal.key.kms: removed", "storage.seal.key.file: none → dir/k", "storage.seal.data_key_reuse: 5m0s → 1h0m0s"},
		"{key: {kms: {key: one, endpoint: https://k}}, context: {a: b}}": {"storage.seal.key.kms.endpoint: none → https://k", "storage.seal.context.a: added"},
	} {
		if diff := cmp.Diff(want, Diff(before, parse(seal)).Strings()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", seal, diff)
		}
	}
}
