package configs

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What holds for keys of storage.seal that the file leaves out.
const (
	DefaultDataKeyReuse = 5 * time.Minute
	DefaultVaultMount   = "transit"
)

// Bounds of Seal.Reuse, those of Amazon SQS.
const (
	minDataKeyReuse = 60 * time.Second
	maxDataKeyReuse = 24 * time.Hour
)

// Seal says how what is secret in the storage is sealed.
type Seal struct {
	Key      SealingKey
	Previous []SealingKey // that open what they have sealed. Default: none

	// Reuse is how long a data key is used. Default: DefaultDataKeyReuse (5 m).
	Reuse time.Duration

	// Context is added to the encryption context of data keys. Default: nothing.
	Context map[string]string
}

// KMS says whether one of the keys is in AWS KMS.
func (s *Seal) KMS() bool {
	return s != nil && (s.Key.KMS != nil || slices.ContainsFunc(s.Previous, func(k SealingKey) bool { return k.KMS != nil }))
}

// SealingKey is a key encryption key. Exactly one of its fields is set.
type SealingKey struct {
	KMS   *KMS
	Vault *Vault

	File                          string // holds 32 bytes in base64
	PassphraseFile, PassphraseEnv string
}

// text is the key in a few words: "kms arn:…", "file sealing.key".
func (k SealingKey) text() string {
	switch {
	case k.KMS != nil:
		return "kms " + k.KMS.Key
	case k.Vault != nil:
		return fmt.Sprintf("vault %s/%s", k.Vault.Mount, k.Vault.Key)
	case k.File != "":
		return "file " + k.File
	case k.PassphraseFile != "":
		return "passphrase_file " + k.PassphraseFile
	}
	return "passphrase_env " + k.PassphraseEnv
}

// KMS is a key in AWS KMS. Credentials are found as the AWS SDK finds them.
type KMS struct {
	Key         string   // ARN
	Region      string   // Default: "", the ARN's
	Endpoint    string   // URL. Default: "", that of the region
	GrantTokens []string // of grants that are too new to be known everywhere. Default: none
}

// Vault is a key of the transit engine of HashiCorp Vault. TokenFile or TokenEnv
// is set.
type Vault struct {
	Address   string // URL
	Mount     string // Default: DefaultVaultMount (transit)
	Key       string
	Namespace string // Default: "", none
	TokenFile string // holds the token, and is read again when it changes
	TokenEnv  string // names the environment variable that holds it
	CA        string // PEM file. Default: "", those that the system trusts
}

func (r *resolver) seal(f field[sealKeys]) *Seal {
	k := f.value
	s := &Seal{Key: r.sealingKey(k.Key), Reuse: durationOr(k.Reuse, DefaultDataKeyReuse)}
	for _, previous := range k.Previous {
		if previous.ok {
			s.Previous = append(s.Previous, r.sealingKey(previous))
		}
	}
	if s.Reuse < minDataKeyReuse || s.Reuse > maxDataKeyReuse {
		r.errorf(k.Reuse.node, "data_key_reuse: %v; want 60s to 24h", s.Reuse)
	}
	for _, pair := range k.Context {
		if s.Context == nil {
			s.Context = make(map[string]string)
		}
		s.Context[string(pair.name)] = string(pair.value)
	}
	return s
}

// sealingKey settles which kind of key it is.
func (r *resolver) sealingKey(f field[sealingKeyKeys]) SealingKey {
	k := f.value
	kinds := 0
	for _, given := range []bool{k.KMS.given(), k.Vault.given(), k.File.given(), k.PassphraseFile.given(), k.PassphraseEnv.given()} {
		if given {
			kinds++
		}
	}
	if f.ok && kinds != 1 {
		r.errorf(f.node, "seal: a key is exactly one of kms, vault, file, passphrase_file and passphrase_env")
	}
	key := SealingKey{File: r.path(k.File), PassphraseFile: r.path(k.PassphraseFile), PassphraseEnv: string(k.PassphraseEnv.value)}
	if k.KMS.given() {
		kms := k.KMS.value
		key.KMS = &KMS{Key: string(kms.Key.value), Region: string(kms.Region.value), Endpoint: string(kms.Endpoint.value)}
		for _, token := range valid(kms.GrantTokens) {
			key.KMS.GrantTokens = append(key.KMS.GrantTokens, string(token.value))
		}
	}
	if k.Vault.given() {
		key.Vault = r.vault(k.Vault)
	}
	return key
}

func (r *resolver) vault(f field[vaultKeys]) *Vault {
	k := f.value
	switch file, env := k.TokenFile.given(), k.TokenEnv.given(); {
	case !f.ok:
	case file && env:
		r.errorf(k.TokenEnv.key, "token_file and token_env exclude each other")
	case !file && !env:
		r.errorf(f.node, `vault: missing key "token_file" or "token_env"`)
	}
	return &Vault{
		Address: string(k.Address.value), Mount: string(k.Mount.or(DefaultVaultMount)), Key: string(k.Key.value),
		Namespace: string(k.Namespace.value), TokenFile: r.path(k.TokenFile), TokenEnv: string(k.TokenEnv.value), CA: r.path(k.CA),
	}
}

// mount is a path in Vault.
type mount string

func (*mount) kind() (tag, want string) { return "!!str", "a path in Vault" }

func (m *mount) parse(s string) error {
	const longest = 256
	if s == "" || len(s) > longest || !madeOf(s, "-._/") || strings.Trim(s, "/") != s || strings.Contains(s, "//") {
		return fmt.Errorf("bad path %s; want names with '/' between them, at most %d bytes", quote(s), longest)
	}
	*m = mount(s)
	return nil
}
