// Package kmstest is a server that speaks what suitegate uses of AWS KMS: GenerateDataKey
// and Decrypt of symmetric keys, over HTTP. It verifies signatures, and enforces key
// policies, grants, states and encryption contexts. It is for tests.
package kmstest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	"github.com/suitegate/suitegate/certs/seal/sealtest"
)

// Region and Account are where all keys of a server are.
const (
	Region  = "eu-central-1"
	Account = "111122223333"
)

// Operations.
const (
	GenerateDataKey = "GenerateDataKey"
	Decrypt         = "Decrypt"
)

// Faults are those that the server can be made to have.
var Faults = []sealtest.Fault{
	sealtest.Denied, sealtest.Disabled, sealtest.PendingDeletion, sealtest.NotFound, sealtest.Throttled,
	sealtest.Expired, sealtest.Unavailable, sealtest.Internal, sealtest.Reset, sealtest.Cut, sealtest.Slow,
	sealtest.Garbage, sealtest.Empty, sealtest.WrongKeyID, sealtest.ShortPlaintext, sealtest.WrongPlaintext,
}

// A Principal is somebody who has credentials.
type Principal struct {
	ARN             string
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string // where the credentials are temporary
}

// A Call is what one request came to.
type Call struct {
	Operation string
	Key       string // as the request names it
	Principal string // ARN; "" where the signature says nothing
	Context   map[string]string
	Error     string // the exception, or the fault; "" where it succeeded
}

// A Server serves on loopback until Close.
type Server struct {
	sealtest.Plan
	URL string

	http *httptest.Server

	mu         sync.Mutex
	principals map[string]Principal // by access key ID
	keys       map[string]*key      // by ARN
	calls      []Call
}

// NewServer starts a server that knows nobody and has no key.
func NewServer() *Server {
	s := &Server{principals: make(map[string]Principal), keys: make(map[string]*key)}
	s.http = httptest.NewServer(s)
	s.URL = s.http.URL
	return s
}

// Close ends the server, and requests that it has not answered.
func (s *Server) Close() {
	s.http.CloseClientConnections()
	s.http.Close()
}

// AddPrincipal makes credentials of its own for somebody.
func (s *Server) AddPrincipal(name string) Principal {
	p := Principal{
		ARN:             fmt.Sprintf("arn:aws:iam::%s:user/%s", Account, name),
		AccessKeyID:     "AKIA" + rand.Text()[:16],
		SecretAccessKey: rand.Text() + rand.Text(),
	}
	s.SetPrincipal(p)
	return p
}

// SetPrincipal adds somebody, or changes the credentials of an access key ID.
func (s *Server) SetPrincipal(p Principal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.principals[p.AccessKeyID] = p
}

// Calls are those that are answered, or are not going to be.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// request has the fields of both operations.
type request struct {
	KeyId             string
	KeySpec           string            `json:",omitempty"`
	NumberOfBytes     int               `json:",omitempty"`
	CiphertextBlob    []byte            `json:",omitempty"`
	EncryptionContext map[string]string `json:",omitempty"`
	GrantTokens       []string          `json:",omitempty"`
}

// answer has the fields of both operations.
type answer struct {
	KeyId          string
	Plaintext      []byte
	CiphertextBlob []byte `json:",omitempty"`
}

// exception is an error in the words of the protocol.
type exception struct {
	Type    string `json:"__type"`
	Message string `json:"message"`
	status  int    // default: 400
}

func (e *exception) Error() string { return e.Type + ": " + e.Message }

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	operation := targetOperation(r)
	call := Call{Operation: operation}
	fault := s.Next(operation)
	result, refusal := s.handle(r, body, fault, &call)
	if refusal != nil {
		call.Error = refusal.Type
	} else if fault != sealtest.None {
		call.Error = string(fault)
	}
	s.mu.Lock()
	s.calls = append(s.calls, call)
	s.mu.Unlock()
	if refusal == nil && sealtest.Break(w, r, fault) {
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if refusal != nil {
		w.WriteHeader(max(refusal.status, http.StatusBadRequest))
		_ = json.NewEncoder(w).Encode(refusal) // the client is gone, if it fails
		return
	}
	_ = json.NewEncoder(w).Encode(result)
}

// handle does what is asked for, as far as the caller may.
func (s *Server) handle(r *http.Request, body []byte, fault sealtest.Fault, call *Call) (*answer, *exception) {
	s.mu.Lock()
	defer s.mu.Unlock()
	caller, refusal := s.authenticate(r, body)
	if refusal != nil {
		return nil, refusal
	}
	call.Principal = caller.ARN
	var asked request
	if err := json.Unmarshal(body, &asked); err != nil {
		return nil, &exception{Type: "SerializationException", Message: err.Error()}
	}
	call.Key, call.Context = asked.KeyId, maps.Clone(asked.EncryptionContext)
	if refusal := injected(fault, asked.KeyId); refusal != nil {
		return nil, refusal
	}
	k := s.keys[asked.KeyId]
	if k == nil {
		return nil, &exception{Type: "NotFoundException", Message: fmt.Sprintf("Key '%s' does not exist", asked.KeyId)}
	}
	if !k.allows(caller.ARN, call.Operation, &asked) {
		return nil, denied(caller.ARN, call.Operation, k.arn)
	}
	if refusal := k.usable(); refusal != nil {
		return nil, refusal
	}
	var result *answer
	switch call.Operation {
	case GenerateDataKey:
		result, refusal = k.generate(&asked)
	case Decrypt:
		result, refusal = k.decrypt(&asked)
	default:
		return nil, &exception{Type: "UnknownOperationException"}
	}
	if refusal != nil {
		return nil, refusal
	}
	switch fault {
	case sealtest.WrongKeyID:
		result.KeyId = newARN()
	case sealtest.ShortPlaintext:
		result.Plaintext = result.Plaintext[:16]
	case sealtest.WrongPlaintext:
		result.Plaintext = randomBytes(len(result.Plaintext))
	}
	return result, nil
}

func denied(caller, operation, key string) *exception {
	return &exception{Type: "AccessDeniedException", Message: fmt.Sprintf(
		"User: %s is not authorized to perform: kms:%s on resource: %s", caller, operation, key)}
}

// injected is a fault that is told in the words of the protocol.
func injected(fault sealtest.Fault, key string) *exception {
	switch fault {
	case sealtest.Denied:
		return denied("somebody", "it", key)
	case sealtest.Disabled:
		return disabled(key)
	case sealtest.PendingDeletion:
		return pendingDeletion(key)
	case sealtest.NotFound:
		return &exception{Type: "NotFoundException", Message: fmt.Sprintf("Key '%s' does not exist", key)}
	case sealtest.Throttled:
		return &exception{Type: "ThrottlingException", Message: "You have exceeded the rate at which you may call KMS."}
	case sealtest.Expired:
		return &exception{Type: "ExpiredTokenException", Message: "The security token included in the request is expired"}
	case sealtest.Unavailable:
		return &exception{Type: "KeyUnavailableException", Message: "try again", status: http.StatusInternalServerError}
	case sealtest.Internal:
		return &exception{Type: "KMSInternalException", Message: "try again", status: http.StatusInternalServerError}
	}
	return nil
}
