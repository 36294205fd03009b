package awskms_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/suitegate/suitegate/certs/seal/awskms"
	"github.com/suitegate/suitegate/certs/seal/kmstest"
)

const goodKey = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

func TestNewRefuses(t *testing.T) {
	use(t, kmstest.Principal{})
	for name, test := range map[string]struct {
		config awskms.Config
		want   string
	}{
		"alias":            {awskms.Config{Key: "alias/suitegate"}, "is an alias"},
		"ARN of an alias":  {awskms.Config{Key: "arn:aws:kms:eu-central-1:111122223333:alias/suitegate"}, "is an alias"},
		"bare ID":          {awskms.Config{Key: "1234abcd-12ab-34cd-56ef-1234567890ab"}, "is not the ARN of a key"},
		"nothing":          {awskms.Config{}, "is not the ARN of a key"},
		"another service":  {awskms.Config{Key: "arn:aws:sqs:eu-central-1:111122223333:queue"}, "is an ARN of sqs"},
		"no key":           {awskms.Config{Key: "arn:aws:kms:eu-central-1:111122223333:key/"}, `it ends in "key/"`},
		"no account":       {awskms.Config{Key: strings.Replace(goodKey, "111122223333", "", 1)}, "has no account"},
		"no region":        {awskms.Config{Key: strings.Replace(goodKey, "eu-central-1", "", 1)}, "has no region"},
		"no partition":     {awskms.Config{Key: strings.Replace(goodKey, "arn:aws", "arn:gcp", 1)}, "no partition"},
		"plaintext":        {awskms.Config{Key: goodKey, Endpoint: "http://kms.example"}, "neither https nor on this host"},
		"password in it":   {awskms.Config{Key: goodKey, Endpoint: "https://me:hunter2@kms.example"}, "user name or password"},
		"accepted":         {awskms.Config{Key: goodKey}, ""},
		"accepted, FIPS":   {awskms.Config{Key: goodKey, FIPS: true}, ""},
		"accepted, https":  {awskms.Config{Key: goodKey, Endpoint: "https://kms.example"}, ""},
		"accepted, region": {awskms.Config{Key: strings.Replace(goodKey, "key/1234abcd-12ab-34cd-56ef-1234567890ab", "key/mrk-1234abcd12ab34cd56ef1234567890ab", 1)}, ""},
		"accepted, China":  {awskms.Config{Key: strings.Replace(strings.Replace(goodKey, "arn:aws", "arn:aws-cn", 1), "eu-central-1", "cn-north-1", 1)}, ""},
		"accepted, GovCl.": {awskms.Config{Key: strings.Replace(strings.Replace(goodKey, "arn:aws", "arn:aws-us-gov", 1), "eu-central-1", "us-gov-west-1", 1)}, ""},
	} {
		_, err := awskms.New(t.Context(), test.config)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows a password", name)
		}
	}
}

// What AWS's own configuration says of the endpoint holds, with the same rule.
func TestEndpointOfTheEnvironment(t *testing.T) {
	server, _, arn := newServer(t)
	t.Setenv("AWS_ENDPOINT_URL_KMS", server.URL)
	for _, fips := range []bool{false, true} { // it comes before AWS's own for FIPS
		if _, _, err := newKey(t, awskms.Config{Key: arn, FIPS: fips}).GenerateDataKey(t.Context(), site); err != nil {
			t.Errorf("FIPS %t: %v", fips, err)
		}
	}
	t.Setenv("AWS_ENDPOINT_URL_KMS", "http://kms.example")
	if _, err := awskms.New(t.Context(), awskms.Config{Key: arn}); err == nil {
		t.Error("an endpoint without TLS was accepted")
	}
}

func TestFiles(t *testing.T) {
	t.Setenv("HOME", "/home/me")
	t.Setenv("AWS_CONFIG_FILE", "")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/etc/aws/credentials")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/run/token")
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "")
	t.Setenv("AWS_CA_BUNDLE", "")
	want := []string{"/home/me/.aws/config", "/etc/aws/credentials", "/run/token"}
	if got := awskms.Files(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
