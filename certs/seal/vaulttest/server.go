// Package vaulttest is a server that speaks what suitegate uses of Vault's transit
// engine: encrypt and decrypt, over HTTP, with tokens, namespaces, associated data
// and versions of keys. It is for tests.
package vaulttest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/suitegate/suitegate/certs/seal/sealtest"
)

// Operations.
const (
	Encrypt = "encrypt"
	Decrypt = "decrypt"
)

// Faults are those that the server can be made to have.
var Faults = []sealtest.Fault{
	sealtest.Denied, sealtest.NotFound, sealtest.Throttled, sealtest.Expired, sealtest.Unavailable, sealtest.Internal,
	sealtest.Reset, sealtest.Cut, sealtest.Slow, sealtest.Garbage, sealtest.Empty, sealtest.ShortPlaintext, sealtest.WrongPlaintext,
}

// A Call is what one request came to.
type Call struct {
	Operation      string
	Key            string // [NAMESPACE/]MOUNT/NAME
	Token          string
	AssociatedData string
	Status         int
}

// A Server serves on loopback until Close.
type Server struct {
	sealtest.Plan
	URL string
	CA  []byte // PEM, of NewTLSServer

	// TooOld has the server take no notice of associated data, and say so.
	TooOld bool

	http *httptest.Server

	mu     sync.Mutex
	sealed bool
	tokens map[string][]string // what each may update
	keys   map[string]*key
	calls  []Call
}

type key struct {
	versions      []cipher.AEAD // the first is version 1
	minDecryption int
	rsa           bool
}

// NewServer starts a server without TLS, which has no token and no key.
func NewServer() *Server { return start(httptest.NewServer) }

// NewTLSServer starts one with a certificate that CA verifies.
func NewTLSServer() *Server {
	s := start(httptest.NewTLSServer)
	s.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
	return s
}

func start(with func(http.Handler) *httptest.Server) *Server {
	s := &Server{tokens: make(map[string][]string), keys: make(map[string]*key)}
	s.http = with(s)
	s.URL = s.http.URL
	return s
}

// Close ends the server, and requests that it has not answered.
func (s *Server) Close() {
	s.http.CloseClientConnections()
	s.http.Close()
}

// CreateKey makes a key of type aes256-gcm96; its path is [NAMESPACE/]MOUNT/NAME.
func (s *Server) CreateKey(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[path] = &key{versions: []cipher.AEAD{newVersion()}}
}

// CreateRSAKey makes a key that has no associated data.
func (s *Server) CreateRSAKey(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[path] = &key{rsa: true}
}

// RotateKey has a key encrypt with a new version of it. What is older than
// minDecryption is not decrypted any more.
func (s *Server) RotateKey(path string, minDecryption int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[path]
	k.versions = append(k.versions, newVersion())
	k.minDecryption = minDecryption
}

// DeleteKey deletes a key for good.
func (s *Server) DeleteKey(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, path)
}

// CreateToken makes a token that may update some paths, such as
// "transit/encrypt/suitegate".
func (s *Server) CreateToken(paths ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := "hvs." + rand.Text()
	s.tokens[token] = paths
	return token
}

// RevokeToken ends a token.
func (s *Server) RevokeToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, token)
}

// Seal seals or unseals the whole server.
func (s *Server) Seal(sealed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = sealed
}

// Calls are those that are answered, or are not going to be.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

type request struct {
	Plaintext      *string `json:"plaintext"`
	Ciphertext     string  `json:"ciphertext"`
	AssociatedData []byte  `json:"associated_data"`
}

type answer struct {
	Data     map[string]any `json:"data,omitempty"`
	Warnings []string       `json:"warnings,omitempty"`
	Errors   []string       `json:"errors,omitempty"`
	status   int
}

func failure(status int, errors ...string) *answer { return &answer{status: status, Errors: errors} }

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	full := path.Join(r.Header.Get("X-Vault-Namespace"), strings.TrimPrefix(r.URL.Path, "/v1/"))
	mount, name := path.Split(full)
	mount, operation := path.Split(path.Clean(mount))
	call := Call{Operation: operation, Key: mount + name, Token: r.Header.Get("X-Vault-Token")}
	fault := s.Next(operation)
	result := s.handle(&call, full, body, fault)
	call.Status = result.status
	s.mu.Lock()
	s.calls = append(s.calls, call)
	s.mu.Unlock()
	if result.status == http.StatusOK && sealtest.Break(w, r, fault) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(result.status)
	_ = json.NewEncoder(w).Encode(result) // the client is gone, if it fails
}

// handle does what is asked for, as far as the token may.
func (s *Server) handle(call *Call, full string, body []byte, fault sealtest.Fault) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	paths, ok := s.tokens[call.Token]
	switch {
	case s.sealed || fault == sealtest.Unavailable:
		return failure(http.StatusServiceUnavailable, "Vault is sealed")
	case call.Token == "":
		return failure(http.StatusForbidden, "missing client token")
	case !ok || fault == sealtest.Expired:
		return failure(http.StatusForbidden, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
	case !slices.Contains(paths, full) || fault == sealtest.Denied:
		return failure(http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
	case fault == sealtest.NotFound:
		return failure(http.StatusNotFound, fmt.Sprintf("no handler for route %q. route entry not found.", full))
	case fault == sealtest.Throttled:
		return failure(http.StatusTooManyRequests, "request path \"transit\": rate limit quota exceeded")
	case fault == sealtest.Internal:
		return failure(http.StatusInternalServerError, "1 error occurred:\n\t* internal error\n\n")
	}
	var asked request
	if err := json.Unmarshal(body, &asked); err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	call.AssociatedData = string(asked.AssociatedData)
	k := s.keys[call.Key]
	switch {
	case k == nil && call.Operation == Encrypt: // it would be created, which takes another capability
		return failure(http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
	case k == nil:
		return failure(http.StatusBadRequest, "encryption key not found")
	case k.rsa && len(asked.AssociatedData) > 0:
		return failure(http.StatusBadRequest, "'[0].associated_data' provided for non-AEAD cipher suite rsa-4096")
	}
	if s.TooOld {
		asked.AssociatedData = nil
	}
	result := failure(http.StatusNotFound, "unsupported path")
	switch call.Operation {
	case Encrypt:
		result = k.encrypt(&asked, fault)
	case Decrypt:
		result = k.decrypt(&asked, fault)
	}
	if s.TooOld {
		result.Warnings = []string{"Endpoint ignored these unrecognized parameters: [associated_data]"}
	}
	return result
}

func (k *key) encrypt(asked *request, fault sealtest.Fault) *answer {
	if asked.Plaintext == nil {
		return failure(http.StatusBadRequest, "missing plaintext to encrypt")
	}
	plain, err := base64.StdEncoding.DecodeString(*asked.Plaintext)
	if err != nil {
		return failure(http.StatusBadRequest, "failed to base64-decode plaintext")
	}
	switch fault {
	case sealtest.ShortPlaintext:
		plain = plain[:16]
	case sealtest.WrongPlaintext:
		_, _ = rand.Read(plain) // it never fails
	}
	wrapped := k.versions[len(k.versions)-1].Seal(nil, nil, plain, asked.AssociatedData)
	return &answer{status: http.StatusOK, Data: map[string]any{
		"ciphertext":  fmt.Sprintf("vault:v%d:%s", len(k.versions), base64.StdEncoding.EncodeToString(wrapped)),
		"key_version": len(k.versions),
	}}
}

func (k *key) decrypt(asked *request, fault sealtest.Fault) *answer {
	var version int
	var encoded string
	if _, err := fmt.Sscanf(asked.Ciphertext, "vault:v%d:%s", &version, &encoded); err != nil || version < 1 || version > len(k.versions) {
		return failure(http.StatusBadRequest, "invalid ciphertext: no prefix")
	}
	if version < k.minDecryption {
		return failure(http.StatusBadRequest, "ciphertext or signature version is disallowed by policy (too old)")
	}
	wrapped, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return failure(http.StatusBadRequest, "invalid ciphertext: could not decode base64")
	}
	plain, err := k.versions[version-1].Open(nil, nil, wrapped, asked.AssociatedData)
	if err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	switch fault {
	case sealtest.ShortPlaintext:
		plain = plain[:16]
	case sealtest.WrongPlaintext:
		_, _ = rand.Read(plain)
	}
	return &answer{status: http.StatusOK, Data: map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plain)}}
}

func newVersion() cipher.AEAD {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // it never fails
	block, err := aes.NewCipher(secret)
	if err != nil {
		panic(err) // the length is right
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}
