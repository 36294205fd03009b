package awskms

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/suitegate/suitegate/certs/seal"
)

// causes are those of the exceptions that say all by their name. Throttling has
// more names, which the SDK knows.
var causes = map[string]string{
	"AccessDenied":               seal.KeyDenied,
	"AccessDeniedException":      seal.KeyDenied,
	"InvalidGrantTokenException": seal.KeyDenied,
	"NotAuthorized":              seal.KeyDenied,
	"OptInRequired":              seal.KeyDenied,

	"DisabledException": seal.KeyDisabled,

	"InvalidArnException": seal.KeyNotFound,
	"NotFoundException":   seal.KeyNotFound,

	"CloudHsmClusterInvalidConfigurationException": seal.KeyUnreachable,
	"CloudHsmClusterNotActiveException":            seal.KeyUnreachable,
	"CustomKeyStoreInvalidStateException":          seal.KeyUnreachable,
	"DependencyTimeoutException":                   seal.KeyUnreachable,
	"InternalFailure":                              seal.KeyUnreachable,
	"InternalServerError":                          seal.KeyUnreachable,
	"KeyUnavailableException":                      seal.KeyUnreachable,
	"KMSInternalException":                         seal.KeyUnreachable,
	"RequestTimeout":                               seal.KeyUnreachable,
	"RequestTimeoutException":                      seal.KeyUnreachable,
	"ServiceUnavailable":                           seal.KeyUnreachable,
	"ServiceUnavailableException":                  seal.KeyUnreachable,

	"IncorrectKeyException":      seal.KeyInvalidValue,
	"InvalidCiphertextException": seal.KeyInvalidValue,

	"ExpiredToken":                        seal.KeyCredentials,
	"ExpiredTokenException":               seal.KeyCredentials,
	"IncompleteSignature":                 seal.KeyCredentials,
	"IncompleteSignatureException":        seal.KeyCredentials,
	"InvalidClientTokenId":                seal.KeyCredentials,
	"InvalidSignatureException":           seal.KeyCredentials,
	"MissingAuthenticationToken":          seal.KeyCredentials,
	"MissingAuthenticationTokenException": seal.KeyCredentials,
	"RequestExpired":                      seal.KeyCredentials,
	"SignatureDoesNotMatch":               seal.KeyCredentials,
	"UnrecognizedClientException":         seal.KeyCredentials,
}

// causeOf is the cause of an answer that is an error.
func causeOf(answer smithy.APIError, status int) string {
	code := answer.ErrorCode()
	if cause, ok := causes[code]; ok {
		return cause
	}
	if _, ok := retry.DefaultThrottleErrorCodes[code]; ok {
		return seal.KeyThrottled
	}
	switch {
	case code == "KMSInvalidStateException":
		// What state the message alone says: Enabled is the only good one.
		message := strings.ToLower(answer.ErrorMessage())
		switch {
		case strings.Contains(message, "deletion"): // pending deletion, pending replica deletion
			return seal.KeyPendingDeletion
		case strings.Contains(message, "disabled"):
			return seal.KeyDisabled
		}
		return seal.KeyUnreachable // creating, updating, unavailable, pending import
	case status >= http.StatusInternalServerError:
		return seal.KeyUnreachable
	}
	return seal.KeyWrongAnswer
}

// authenticate says whether there are credentials to sign a request with. They
// are asked for once more when it is signed, which costs nothing: they are kept.
func (k *Key) authenticate(ctx context.Context) error {
	_, err := k.credentials.Retrieve(ctx)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return k.error(seal.KeyTimeout, ctx.Err())
	}
	return k.error(seal.KeyCredentials, err)
}

// failed turns an error of the SDK's into a *seal.KeyError. It keeps the answer
// to a request, but not what surrounds it: an answer that cannot be read may have a
// data key in it.
func (k *Key) failed(ctx context.Context, err error) error {
	var response *smithyhttp.ResponseError
	status := 0
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	var (
		answer     smithy.APIError
		unreadable *smithy.DeserializationError
		network    net.Error
	)
	switch {
	case ctx.Err() != nil:
		return k.error(seal.KeyTimeout, context.Cause(ctx))
	case errors.As(err, &answer):
		return k.error(causeOf(answer, status), fmt.Errorf("%s: %s", answer.ErrorCode(), answer.ErrorMessage()))
	case errors.As(err, &network):
		if network.Timeout() {
			return k.error(seal.KeyTimeout, network)
		}
		return k.error(seal.KeyUnreachable, network)
	case errors.As(err, &unreadable) && status >= http.StatusInternalServerError:
		return k.error(seal.KeyUnreachable, fmt.Errorf("an answer with status %d", status))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return k.error(seal.KeyUnreachable, errors.New("the answer breaks off"))
	case errors.As(err, &unreadable):
		return k.wrongAnswer(fmt.Errorf("it cannot be read (status %d)", status))
	}
	var sent *smithyhttp.RequestSendError
	if errors.As(err, &sent) {
		return k.error(seal.KeyUnreachable, sent.Err)
	}
	return k.wrongAnswer(err)
}

func (k *Key) wrongAnswer(err error) error {
	return k.error(seal.KeyWrongAnswer, fmt.Errorf("the answer is not right: %w", err))
}

func (k *Key) error(cause string, err error) error {
	return &seal.KeyError{Cause: cause, Key: k.arn, Err: err}
}
