// Package awskms wraps data keys with a key of AWS Key Management Service.
//
// Credentials, and what else is not in [Config], are found where AWS's own tools
// find them: environment, shared configuration files, web identity, container,
// instance.
//
// A plaintext data key passes through buffers of TLS, HTTP and JSON, which are not
// ours to wipe.
package awskms

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go/logging"

	"github.com/suitegate/suitegate/certs/seal"
)

// Config says which key to use, and how to reach it.
type Config struct {
	// Key is the key's ARN. An alias will not do: whoever moves it to another key
	// takes away what was sealed.
	Key string

	Region   string // Default: the ARN's
	Endpoint string // URL of the service. Default: AWS's for the region, or as AWS_ENDPOINT_URL_KMS says
	FIPS     bool   // of AWS's own endpoints take the one with validated cryptography

	// GrantTokens let in by a grant that is new, and not known everywhere yet.
	GrantTokens []string
}

// Key is a key in KMS. It is a [seal.Key].
type Key struct {
	arn         string
	grantTokens []string
	client      *kms.Client
	credentials aws.CredentialsProvider
}

var _ seal.Key = (*Key)(nil)

// New returns a key, once it has read the files and variables that AWS's tools
// are configured by. It connects to nothing.
func New(ctx context.Context, c Config) (*Key, error) {
	name, err := ParseKey(c.Key)
	if err != nil {
		return nil, fmt.Errorf("awskms: %w", err)
	}
	if c.Region == "" {
		c.Region = name.Region
	}
	options := []func(*config.LoadOptions) error{
		config.WithRegion(c.Region),
		// Who calls tries again, by one budget for all kinds of keys.
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
		config.WithLogger(logging.Nop{}), // what goes wrong is in errors
	}
	if c.FIPS {
		options = append(options, config.WithUseFIPSEndpoint(aws.FIPSEndpointStateEnabled))
	}
	sdk, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("awskms: %w", err)
	}
	client := kms.NewFromConfig(sdk, func(o *kms.Options) {
		if c.Endpoint != "" {
			o.BaseEndpoint = &c.Endpoint
		}
		if o.BaseEndpoint != nil { // which AWS's may stand behind, but the SDK refuses to say so
			o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateDisabled
		}
	})
	// It may be from AWS's configuration, too.
	if endpoint := client.Options().BaseEndpoint; endpoint != nil {
		if err := seal.CheckEndpoint(*endpoint); err != nil {
			return nil, fmt.Errorf("awskms: %w", err)
		}
	}
	return &Key{
		arn:         c.Key,
		grantTokens: slices.Clone(c.GrantTokens),
		client:      client,
		credentials: sdk.Credentials,
	}, nil
}

var keyResource = regexp.MustCompile(`^key/(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)

// ParseKey reads the ARN of a key, and refuses what else KMS would take for one.
func ParseKey(text string) (arn.ARN, error) {
	name, err := arn.Parse(text)
	switch {
	case strings.HasPrefix(text, "alias/") || err == nil && strings.HasPrefix(name.Resource, "alias/"):
		return arn.ARN{}, fmt.Errorf("%q is an alias: when it is moved to another key, nothing opens that was sealed before; want the key's ARN", text)
	case err != nil:
		return arn.ARN{}, fmt.Errorf("%q is not the ARN of a key; want arn:aws:kms:REGION:ACCOUNT:key/ID", text)
	case name.Service != "kms":
		return arn.ARN{}, fmt.Errorf("%q is an ARN of %s, not of kms", text, name.Service)
	case !keyResource.MatchString(name.Resource):
		return arn.ARN{}, fmt.Errorf("%q is not the ARN of a key: it ends in %q, not in key/ID", text, name.Resource)
	case !regexp.MustCompile(`^[0-9]{12}$`).MatchString(name.AccountID):
		return arn.ARN{}, fmt.Errorf("%q has no account: %q is not a number of 12 digits", text, name.AccountID)
	case !regexp.MustCompile(`^[a-z]+(-[a-z]+)+-[0-9]+$`).MatchString(name.Region):
		return arn.ARN{}, fmt.Errorf("%q has no region: %q is none", text, name.Region)
	case !regexp.MustCompile(`^aws(-[a-z]+)*$`).MatchString(name.Partition):
		return arn.ARN{}, fmt.Errorf("%q: %q is no partition of AWS", text, name.Partition)
	}
	return name, nil
}

// ID is the ARN of the key.
func (k *Key) ID() string { return k.arn }

// Caller names the credentials that are in use, for the audit log: where they are
// from, and the access key ID, which is no secret. It is "" where there are none.
func (k *Key) Caller(ctx context.Context) string {
	c, err := k.credentials.Retrieve(ctx)
	if err != nil {
		return ""
	}
	return c.Source + ":" + c.AccessKeyID
}

// GenerateDataKey implements [seal.Key].
func (k *Key) GenerateDataKey(ctx context.Context, ec seal.Context) (plain, wrapped []byte, err error) {
	if err := k.authenticate(ctx); err != nil {
		return nil, nil, err
	}
	out, err := k.client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
		KeyId:             &k.arn,
		KeySpec:           types.DataKeySpecAes256,
		EncryptionContext: ec,
		GrantTokens:       k.grantTokens,
	})
	if err != nil {
		return nil, nil, k.failed(ctx, err)
	}
	if err := k.checkAnswer(out.KeyId, out.Plaintext); err != nil {
		return nil, nil, err
	}
	if len(out.CiphertextBlob) == 0 {
		clear(out.Plaintext)
		return nil, nil, k.wrongAnswer(errors.New("no wrapped data key in it"))
	}
	return out.Plaintext, out.CiphertextBlob, nil
}

// Decrypt implements [seal.Key].
func (k *Key) Decrypt(ctx context.Context, wrapped []byte, ec seal.Context) (plain []byte, err error) {
	if err := k.authenticate(ctx); err != nil {
		return nil, err
	}
	out, err := k.client.Decrypt(ctx, &kms.DecryptInput{
		KeyId:             &k.arn,
		CiphertextBlob:    wrapped,
		EncryptionContext: ec,
		GrantTokens:       k.grantTokens,
	})
	if err != nil {
		return nil, k.failed(ctx, err)
	}
	if err := k.checkAnswer(out.KeyId, out.Plaintext); err != nil {
		return nil, err
	}
	return out.Plaintext, nil
}

// checkAnswer returns an error, and wipes the data key, if the answer is not one
// of this key's.
func (k *Key) checkAnswer(id *string, plain []byte) error {
	var err error
	switch {
	case id == nil:
		err = errors.New("it names no key")
	case *id != k.arn:
		err = fmt.Errorf("it is of another key, %s", *id)
	case len(plain) != seal.DataKeySize:
		err = fmt.Errorf("a data key of %d bytes, not of %d", len(plain), seal.DataKeySize)
	default:
		return nil
	}
	clear(plain)
	return k.wrongAnswer(err)
}

// Files are those that AWS's tools read whenever they need credentials, so that
// who takes away access to files can leave these. Some may not exist.
func Files() []string {
	var files []string
	for _, file := range []struct{ variable, usual string }{
		{"AWS_CONFIG_FILE", "config"},
		{"AWS_SHARED_CREDENTIALS_FILE", "credentials"},
	} {
		path := os.Getenv(file.variable)
		if home, err := os.UserHomeDir(); path == "" && err == nil {
			path = filepath.Join(home, ".aws", file.usual)
		}
		files = append(files, path)
	}
	for _, variable := range []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CA_BUNDLE"} {
		files = append(files, os.Getenv(variable))
	}
	return slices.DeleteFunc(files, func(path string) bool { return path == "" })
}
