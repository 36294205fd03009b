// Package vaulttransit wraps data keys with a key of the transit engine of
// HashiCorp Vault, or of OpenBao.
//
// A data key is drawn here and sent to the engine's encrypt. Its own datakey takes
// no associated data: what it makes would open in any encryption context. So the
// key has to be of a type that has associated data (aes128-gcm96, aes256-gcm96,
// chacha20-poly1305), and Vault 1.9 or newer. Derived keys serve, too: the
// context of the derivation is the same text.
//
// The token needs the capability update, on MOUNT/encrypt/NAME to seal and on
// MOUNT/decrypt/NAME, and must not have create on the former: with it, Vault makes a
// new key in the place of one that is gone.
package vaulttransit

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/suitegate/suitegate/certs/seal"
)

// DefaultMount is where the engine usually is.
const DefaultMount = "transit"

// Config says which key to use, and how to reach it.
type Config struct {
	Address   string // URL of the server: https, or http on this host
	Namespace string // Default: none
	Mount     string // path of the engine. Default: DefaultMount ("transit")
	Name      string // of the key

	// Token returns the token, in memory of its own. It is called for each
	// request, because agents replace tokens.
	Token func() ([]byte, error)

	CA string // PEM file of those who sign the server's certificate. Default: the system's
}

// Key is a key of a transit engine. It is a [seal.Key].
type Key struct {
	id        string
	base      *url.URL // of the engine
	name      string
	namespace string
	token     func() ([]byte, error)
	client    *http.Client
}

var _ seal.Key = (*Key)(nil)

// pathSegments are what a mount, a namespace or a key can be called: nothing that
// leads elsewhere in a URL.
var pathSegments = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$`)

// New returns a key. It connects to nothing.
func New(c Config) (*Key, error) {
	if err := seal.CheckEndpoint(c.Address); err != nil {
		return nil, fmt.Errorf("vaulttransit: %w", err)
	}
	c.Namespace, c.Mount = strings.Trim(c.Namespace, "/"), strings.Trim(c.Mount, "/")
	if c.Mount == "" {
		c.Mount = DefaultMount
	}
	switch {
	case c.Namespace != "" && !pathSegments.MatchString(c.Namespace):
		return nil, fmt.Errorf("vaulttransit: %q is no namespace", c.Namespace)
	case !pathSegments.MatchString(c.Mount):
		return nil, fmt.Errorf("vaulttransit: %q is no path of an engine", c.Mount)
	case !pathSegments.MatchString(c.Name) || strings.Contains(c.Name, "/"):
		return nil, fmt.Errorf("vaulttransit: %q is no name of a key", c.Name)
	case c.Token == nil:
		return nil, errors.New("vaulttransit: no token")
	}
	address, err := url.Parse(c.Address)
	if err != nil {
		return nil, fmt.Errorf("vaulttransit: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if transport.TLSClientConfig, err = tlsConfig(c.CA); err != nil {
		return nil, fmt.Errorf("vaulttransit: %w", err)
	}
	id := c.Mount + "/" + c.Name
	if c.Namespace != "" {
		id = c.Namespace + "/" + id // as Vault itself takes it
	}
	return &Key{
		id:        "vault:" + id,
		base:      address.JoinPath("v1", c.Mount),
		name:      c.Name,
		namespace: c.Namespace,
		token:     c.Token,
		client: &http.Client{
			Transport: transport,
			// A token goes where the configuration says, and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func tlsConfig(ca string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca == "" {
		return config, nil
	}
	data, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s: no certificate in it", ca)
	}
	return config, nil
}

// ID is "vault:MOUNT/NAME", with the namespace before the mount if there is one.
func (k *Key) ID() string { return k.id }

// Caller is a fingerprint of the token, for the audit log: the beginning of its
// SHA-256. It is "" where there is none.
func (k *Key) Caller(context.Context) string {
	token, err := k.token()
	if err != nil {
		return ""
	}
	defer clear(token)
	return fmt.Sprintf("token-sha256:%x", sha256.Sum256(token))[:len("token-sha256:")+12]
}

// GenerateDataKey implements [seal.Key].
func (k *Key) GenerateDataKey(ctx context.Context, ec seal.Context) (plain, wrapped []byte, err error) {
	plain = make([]byte, seal.DataKeySize)
	_, _ = rand.Read(plain) // it never fails
	bound := canonical(ec)
	answer, err := k.call(ctx, "encrypt", &request{Plaintext: plain, AssociatedData: bound, Context: bound})
	if err == nil && !strings.HasPrefix(answer.Data.Ciphertext, "vault:v") {
		err = k.wrongAnswer(errors.New("no wrapped data key in it"))
	}
	if err != nil {
		clear(plain)
		return nil, nil, err
	}
	return plain, []byte(answer.Data.Ciphertext), nil
}

// Decrypt implements [seal.Key].
func (k *Key) Decrypt(ctx context.Context, wrapped []byte, ec seal.Context) (plain []byte, err error) {
	bound := canonical(ec)
	answer, err := k.call(ctx, "decrypt", &request{Ciphertext: string(wrapped), AssociatedData: bound, Context: bound})
	if err != nil {
		return nil, err
	}
	if n := len(answer.Data.Plaintext); n != seal.DataKeySize {
		clear(answer.Data.Plaintext)
		return nil, k.wrongAnswer(fmt.Errorf("a data key of %d bytes, not of %d", n, seal.DataKeySize))
	}
	return answer.Data.Plaintext, nil
}

// canonical is the one text of an encryption context: JSON, sorted by name.
func canonical(ec seal.Context) []byte {
	if len(ec) == 0 {
		return []byte("{}")
	}
	text, err := json.Marshal(ec)
	if err != nil {
		panic(err) // texts alone are in it
	}
	return text
}

// request is what encrypt and decrypt take. Bytes are base64 in JSON, as Vault
// wants them.
type request struct {
	Plaintext      []byte `json:"plaintext,omitempty"`
	Ciphertext     string `json:"ciphertext,omitempty"`
	AssociatedData []byte `json:"associated_data"`
	Context        []byte `json:"context"`
}

type answer struct {
	Data struct {
		Plaintext  []byte `json:"plaintext"`
		Ciphertext string `json:"ciphertext"`
	} `json:"data"`
	Warnings []string `json:"warnings"`
	Errors   []string `json:"errors"`
}

// maxAnswer is more than any answer has.
const maxAnswer = 64 << 10

// call makes one request.
func (k *Key) call(ctx context.Context, operation string, asked *request) (*answer, error) {
	token, err := k.token()
	if err != nil {
		return nil, k.error(seal.KeyCredentials, err)
	}
	defer clear(token)
	if len(token) == 0 || bytes.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, k.error(seal.KeyCredentials, errors.New("the token is empty, or has characters that no token has"))
	}
	text, err := json.Marshal(asked)
	if err != nil {
		return nil, k.error(seal.KeyWrongAnswer, err)
	}
	body := &wipedBody{text: text}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, k.base.JoinPath(operation, k.name).String(), body)
	if err != nil {
		clear(text)
		return nil, k.error(seal.KeyWrongAnswer, err)
	}
	r.ContentLength = int64(len(text))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Vault-Request", "true") // an agent may insist on it
	r.Header.Set("X-Vault-Token", string(token))
	if k.namespace != "" {
		r.Header.Set("X-Vault-Namespace", k.namespace)
	}
	response, err := k.client.Do(r)
	if err != nil {
		return nil, k.failed(ctx, err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	defer clear(data)
	if err != nil {
		return nil, k.failed(ctx, err)
	}
	var got answer
	unreadable := json.Unmarshal(data, &got)
	if response.StatusCode != http.StatusOK {
		return nil, k.refused(operation, response.StatusCode, got.Errors)
	}
	if unreadable != nil {
		return nil, k.wrongAnswer(errors.New("it is not JSON of the right form"))
	}
	for _, warning := range got.Warnings {
		// Vault before 1.9 encrypts all the same, and binds nothing.
		if strings.Contains(warning, "associated_data") {
			clear(got.Data.Plaintext)
			return nil, k.wrongAnswer(errors.New("this Vault is too old to bind a data key to its context: " + warning))
		}
	}
	return &got, nil
}
