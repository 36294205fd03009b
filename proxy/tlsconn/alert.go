package tlsconn

import (
	"fmt"
	"net"
)

// An alert is an AlertDescription (RFC 5246 §7.2).
type alert uint8

const (
	alertLevelWarning = 1
	alertLevelFatal   = 2
)

const (
	alertCloseNotify            alert = 0
	alertUnexpectedMessage      alert = 10
	alertBadRecordMAC           alert = 20
	alertRecordOverflow         alert = 22
	alertHandshakeFailure       alert = 40
	alertBadCertificate         alert = 42
	alertUnsupportedCertificate alert = 43
	alertCertificateRevoked     alert = 44
	alertCertificateExpired     alert = 45
	alertCertificateUnknown     alert = 46
	alertIllegalParameter       alert = 47
	alertUnknownCA              alert = 48
	alertAccessDenied           alert = 49
	alertDecodeError            alert = 50
	alertDecryptError           alert = 51
	alertProtocolVersion        alert = 70
	alertInsufficientSecurity   alert = 71
	alertInternalError          alert = 80
	alertInappropriateFallback  alert = 86 // RFC 7507 §2
	alertUserCanceled           alert = 90
	alertNoRenegotiation        alert = 100
	alertMissingExtension       alert = 109 // RFC 8446 §6.2
	alertUnsupportedExtension   alert = 110 // RFC 6066 §9
	alertUnrecognizedName       alert = 112
	alertBadStatusResponse      alert = 113
	alertCertificateRequired    alert = 116 // RFC 8446 §6.2
	alertNoApplicationProtocol  alert = 120 // RFC 7301 §3.2
)

// String is the name that the RFC gives the alert.
func (a alert) String() string {
	switch a {
	case alertCloseNotify:
		return "close_notify"
	case alertUnexpectedMessage:
		return "unexpected_message"
	case alertBadRecordMAC:
		return "bad_record_mac"
	case alertRecordOverflow:
		return "record_overflow"
	case alertHandshakeFailure:
		return "handshake_failure"
	case alertBadCertificate:
		return "bad_certificate"
	case alertUnsupportedCertificate:
		return "unsupported_certificate"
	case alertCertificateRevoked:
		return "certificate_revoked"
	case alertCertificateExpired:
		return "certificate_expired"
	case alertCertificateUnknown:
		return "certificate_unknown"
	case alertIllegalParameter:
		return "illegal_parameter"
	case alertUnknownCA:
		return "unknown_ca"
	case alertAccessDenied:
		return "access_denied"
	case alertDecodeError:
		return "decode_error"
	case alertDecryptError:
		return "decrypt_error"
	case alertProtocolVersion:
		return "protocol_version"
	case alertInsufficientSecurity:
		return "insufficient_security"
	case alertInternalError:
		return "internal_error"
	case alertInappropriateFallback:
		return "inappropriate_fallback"
	case alertUserCanceled:
		return "user_canceled"
	case alertNoRenegotiation:
		return "no_renegotiation"
	case alertMissingExtension:
		return "missing_extension"
	case alertUnsupportedExtension:
		return "unsupported_extension"
	case alertUnrecognizedName:
		return "unrecognized_name"
	case alertBadStatusResponse:
		return "bad_certificate_status_response"
	case alertCertificateRequired:
		return "certificate_required"
	case alertNoApplicationProtocol:
		return "no_application_protocol"
	}
	return fmt.Sprintf("alert %d", uint8(a))
}

func (a alert) Error() string { return "tlsconn: " + a.String() }

// A fault is something that the peer did wrong, or that we cannot do for it, and
// the alert that tells it so. The connection ends with it.
type fault struct {
	alert alert
	err   error
}

// refuse returns a fault. What the peer sent is formatted with %q or %x.
func refuse(a alert, format string, args ...any) error {
	return &fault{alert: a, err: fmt.Errorf(format, args...)}
}

func (f *fault) Error() string { return f.alert.Error() + ": " + f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// Alert is the AlertDescription that the peer was sent, for callers to name.
func (f *fault) Alert() uint8 { return uint8(f.alert) }

// A peerAlert is a fatal alert of the peer's, with which the connection has ended.
type peerAlert struct{ alert }

// localError is the error of a connection that a fault has ended, remoteError
// that of one that the peer has ended. crypto/tls marks the two by the same
// Op.
func localError(f *fault) error      { return &net.OpError{Op: "local error", Err: f} }
func remoteError(a *peerAlert) error { return &net.OpError{Op: "remote error", Err: a.alert} }
