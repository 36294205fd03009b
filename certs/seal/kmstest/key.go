package kmstest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// A State is what can be done with a key.
type State string

const (
	Enabled         State = "Enabled"
	Disabled        State = "Disabled"
	PendingDeletion State = "PendingDeletion"
)

// A Permission lets a principal do something with a key.
type Permission struct {
	Principal  string // ARN
	Operations []string

	// ContextEquals, if it is set, is the only encryption context for which it
	// holds, and ContextSubset what every such context must have.
	ContextEquals, ContextSubset map[string]string
}

type key struct {
	arn    string
	state  State
	secret cipher.AEAD
	policy []Permission
	grants []*grant
}

type grant struct {
	Permission
	token   string
	settled bool // known everywhere: it works without its token
}

// CreateKey makes a key that nobody may use yet, and returns its ARN.
func (s *Server) CreateKey() string {
	block, err := aes.NewCipher(randomBytes(32))
	if err != nil {
		panic(err) // the length is right
	}
	secret, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	k := &key{arn: newARN(), state: Enabled, secret: secret}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[k.arn] = k
	return k.arn
}

// DeleteKey deletes a key for good.
func (s *Server) DeleteKey(arn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, arn)
}

// SetState changes the state of a key.
func (s *Server) SetState(arn string, state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[arn].state = state
}

// SetPolicy replaces the policy of a key.
func (s *Server) SetPolicy(arn string, policy ...Permission) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[arn].policy = policy
}

// Grant adds a grant to a key. Until Settle only those who show its token are
// let in by it, as AWS says of grants that are new (eventual consistency).
func (s *Server) Grant(arn string, permission Permission) (token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := &grant{Permission: permission, token: rand.Text()}
	s.keys[arn].grants = append(s.keys[arn].grants, g)
	return g.token
}

// RevokeGrants takes back all grants of a key.
func (s *Server) RevokeGrants(arn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[arn].grants = nil
}

// Settle makes all grants known everywhere.
func (s *Server) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		for _, g := range k.grants {
			g.settled = true
		}
	}
}

func (p *Permission) covers(caller, operation string, ec map[string]string) bool {
	if p.Principal != caller || !slices.Contains(p.Operations, operation) {
		return false
	}
	if p.ContextEquals != nil && !maps.Equal(p.ContextEquals, ec) {
		return false
	}
	for name, value := range p.ContextSubset {
		if got, ok := ec[name]; !ok || got != value {
			return false
		}
	}
	return true
}

func (k *key) allows(caller, operation string, asked *request) bool {
	for i := range k.policy {
		if k.policy[i].covers(caller, operation, asked.EncryptionContext) {
			return true
		}
	}
	return slices.ContainsFunc(k.grants, func(g *grant) bool {
		return (g.settled || slices.Contains(asked.GrantTokens, g.token)) &&
			g.covers(caller, operation, asked.EncryptionContext)
	})
}

func (k *key) usable() *exception {
	switch k.state {
	case Disabled:
		return disabled(k.arn)
	case PendingDeletion:
		return pendingDeletion(k.arn)
	}
	return nil
}

func disabled(arn string) *exception {
	return &exception{Type: "DisabledException", Message: arn + " is disabled."}
}

func pendingDeletion(arn string) *exception {
	return &exception{Type: "KMSInvalidStateException", Message: arn + " is pending deletion."}
}

// blob is what a wrapped data key is made of.
type blob struct {
	Key    string
	Sealed []byte
}

func (k *key) generate(asked *request) (*answer, *exception) {
	size := asked.NumberOfBytes
	if asked.KeySpec == "AES_256" {
		size = 32
	}
	if size < 1 || size > 1024 {
		return nil, &exception{Type: "ValidationException", Message: "one of KeySpec and NumberOfBytes, please"}
	}
	plain := randomBytes(size)
	wrapped, err := json.Marshal(blob{k.arn, k.secret.Seal(nil, nil, plain, canonical(asked.EncryptionContext))})
	if err != nil {
		panic(err) // it has nothing that JSON lacks
	}
	return &answer{KeyId: k.arn, Plaintext: plain, CiphertextBlob: wrapped}, nil
}

func (k *key) decrypt(asked *request) (*answer, *exception) {
	var wrapped blob
	if err := json.Unmarshal(asked.CiphertextBlob, &wrapped); err != nil {
		return nil, &exception{Type: "InvalidCiphertextException"}
	}
	if wrapped.Key != k.arn {
		return nil, &exception{Type: "IncorrectKeyException",
			Message: "The key ID in the request does not identify a CMK that can perform this operation."}
	}
	plain, err := k.secret.Open(nil, nil, wrapped.Sealed, canonical(asked.EncryptionContext))
	if err != nil {
		return nil, &exception{Type: "InvalidCiphertextException"}
	}
	return &answer{KeyId: k.arn, Plaintext: plain}, nil
}

// canonical is one text for each encryption context.
func canonical(ec map[string]string) []byte {
	text, err := json.Marshal(ec) // sorted by name
	if err != nil {
		panic(err)
	}
	return text
}

func newARN() string {
	id := randomBytes(16)
	return fmt.Sprintf("arn:aws:kms:%s:%s:key/%x-%x-%x-%x-%x", Region, Account, id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return b
}
