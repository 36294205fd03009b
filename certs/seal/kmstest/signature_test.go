package kmstest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// A signature holds for one request, region, service and time, as AWS's own
// signer makes it, and for no other.
func TestSignature(t *testing.T) {
	s := NewServer()
	t.Cleanup(s.Close)
	p, arn := s.AddPrincipal("writer"), s.CreateKey()
	s.SetPolicy(arn, Permission{Principal: p.ARN, Operations: []string{GenerateDataKey}})
	body := fmt.Sprintf(`{"KeyId":%q,"KeySpec":"AES_256"}`, arn)
	for _, test := range []struct {
		name            string
		service, region string
		at              time.Time
		change          func(*http.Request)
		want            string // exception
	}{
		{"good", "kms", Region, time.Now(), func(*http.Request) {}, ""},
		{"another body", "kms", Region, time.Now(), func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(strings.Replace(body, "256", "128", 1)))
		}, "InvalidSignatureException"},
		{"another operation", "kms", Region, time.Now(), func(r *http.Request) { r.Header.Set("X-Amz-Target", "TrentService.Decrypt") }, "InvalidSignatureException"},
		{"another path", "kms", Region, time.Now(), func(r *http.Request) { r.URL.Path = "/x" }, "InvalidSignatureException"},
		{"a query", "kms", Region, time.Now(), func(r *http.Request) { r.URL.RawQuery = "x=y" }, "InvalidSignatureException"},
		{"another time", "kms", Region, time.Now(), func(r *http.Request) {
			r.Header.Set("X-Amz-Date", time.Now().Add(time.Minute).UTC().Format(signingTime))
		}, "InvalidSignatureException"},
		{"too old", "kms", Region, time.Now().Add(-time.Hour), func(*http.Request) {}, "InvalidSignatureException"},
		{"another region", "kms", "us-east-1", time.Now(), func(*http.Request) {}, "InvalidSignatureException"},
		{"another service", "sqs", Region, time.Now(), func(*http.Request) {}, "InvalidSignatureException"},
		{"target not signed", "kms", Region, time.Now(), func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), ";x-amz-target", "", 1))
		}, "InvalidSignatureException"},
		{"none", "kms", Region, time.Now(), func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthenticationTokenException"},
		{"garbage", "kms", Region, time.Now(), func(r *http.Request) { r.Header.Set("Authorization", signingAlgorithm+" =,=/,;") }, "UnrecognizedClientException"},
		{"a session nobody has", "kms", Region, time.Now(), func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") }, "UnrecognizedClientException"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Target", "TrentService."+GenerateDataKey)
		hash := sha256.Sum256([]byte(body))
		credentials := aws.Credentials{AccessKeyID: p.AccessKeyID, SecretAccessKey: p.SecretAccessKey}
		if err := v4.NewSigner().SignHTTP(context.Background(), credentials, r, hex.EncodeToString(hash[:]), test.service, test.region, test.at); err != nil {
			t.Fatal(err)
		}
		test.change(r)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if ok := response.StatusCode == http.StatusOK; ok != (test.want == "") || !strings.Contains(string(answer), test.want) {
			t.Errorf("%s: status %d, %s; want %q", test.name, response.StatusCode, answer, test.want)
		}
	}
}
