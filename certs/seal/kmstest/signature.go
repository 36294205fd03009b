package kmstest

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	signingAlgorithm = "AWS4-HMAC-SHA256"
	signingTime      = "20060102T150405Z"
	maxSkew          = 5 * time.Minute
)

// mustSign are the headers that a signature has to cover.
var mustSign = []string{"host", "x-amz-date", "x-amz-target"}

func targetOperation(r *http.Request) string {
	operation, _ := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	return operation
}

// authenticate verifies the signature of a request (Signature Version 4), and
// says whose it is.
func (s *Server) authenticate(r *http.Request, body []byte) (Principal, *exception) {
	algorithm, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if algorithm != signingAlgorithm {
		return Principal{}, &exception{Type: "MissingAuthenticationTokenException", Message: "Request is missing Authentication Token"}
	}
	fields := make(map[string]string)
	for field := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		fields[name] = value
	}
	id, scope, _ := strings.Cut(fields["Credential"], "/")
	caller, ok := s.principals[id]
	if !ok || r.Header.Get("X-Amz-Security-Token") != caller.SessionToken {
		return Principal{}, &exception{Type: "UnrecognizedClientException", Message: "The security token included in the request is invalid."}
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	required := mustSign
	if caller.SessionToken != "" {
		required = append(slices.Clone(mustSign), "x-amz-security-token")
	}
	at, err := time.Parse(signingTime, r.Header.Get("X-Amz-Date"))
	wantScope := fmt.Sprintf("%s/%s/kms/aws4_request", at.Format("20060102"), Region)
	switch {
	case err != nil || time.Since(at).Abs() > maxSkew:
		return Principal{}, badSignature("Signature expired")
	case scope != wantScope:
		return Principal{}, badSignature("Credential should be scoped to " + wantScope)
	case slices.ContainsFunc(required, func(name string) bool { return !slices.Contains(signed, name) }):
		return Principal{}, badSignature("not all headers are signed that have to be")
	}
	key := []byte("AWS4" + caller.SecretAccessKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	request := sha256.Sum256([]byte(canonicalRequest(r, signed, body)))
	text := strings.Join([]string{signingAlgorithm, r.Header.Get("X-Amz-Date"), scope, hex.EncodeToString(request[:])}, "\n")
	want := hex.EncodeToString(mac(key, text))
	if subtle.ConstantTimeCompare([]byte(want), []byte(fields["Signature"])) == 0 {
		return Principal{}, badSignature("The request signature we calculated does not match the signature you provided.")
	}
	return caller, nil
}

func badSignature(why string) *exception {
	return &exception{Type: "InvalidSignatureException", Message: why}
}

// canonicalRequest is the request as both sides hash it.
func canonicalRequest(r *http.Request, signed []string, body []byte) string {
	lines := []string{r.Method, r.URL.EscapedPath(), r.URL.Query().Encode()}
	for _, name := range signed {
		values := slices.Clone(r.Header.Values(name))
		switch name {
		case "host":
			values = []string{r.Host}
		case "content-length":
			values = []string{fmt.Sprint(r.ContentLength)}
		}
		for i, value := range values {
			values[i] = strings.Join(strings.Fields(value), " ")
		}
		lines = append(lines, name+":"+strings.Join(values, ","))
	}
	hash := sha256.Sum256(body)
	lines = append(lines, "", strings.Join(signed, ";"), hex.EncodeToString(hash[:]))
	return strings.Join(lines, "\n")
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
