package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/suitegate/suitegate/proxy/audit"
)

// MinToken is how long the token of the admin address has to be at least, in
// bytes: as text in hexadecimal it is 128 bits then.
const MinToken = 32

// peerKey is the context key of the operator at the other end of a Unix socket.
type peerKey struct{}

// SocketContext is for [http.Server.ConnContext] of a server on a Unix socket:
// whoever could connect to it may change the gateway, and is known by conn.
func SocketContext(ctx context.Context, conn net.Conn) context.Context {
	by := audit.Operator{Via: audit.ViaSocket}
	if unix, ok := conn.(*net.UnixConn); ok {
		by.Peer = audit.PeerOf(unix)
	}
	return context.WithValue(ctx, peerKey{}, by)
}

// authority decides who may change the gateway.
type authority struct {
	token       []byte // none if empty: the address is read-only
	crossOrigin *http.CrossOriginProtection
}

func newAuthority(token []byte) authority {
	return authority{token: token, crossOrigin: http.NewCrossOriginProtection()}
}

var (
	errReadOnly = errors.New("this address is read-only: set admin.token_file or admin.token_env, or use admin.socket")
	errNoToken  = errors.New("the header is missing that has the token: Authorization: Bearer …")
	errBadToken = errors.New("the token is not the one of admin.token_file or admin.token_env")
)

// judge returns who sends a request that changes something. Its error is a
// [Failure], which says what is missing.
func (a authority) judge(r *http.Request) (audit.Operator, error) {
	if r.Method != http.MethodPost {
		return audit.Operator{}, &Failure{Status: http.StatusMethodNotAllowed, Err: fmt.Errorf("this changes the gateway: it takes POST, not %q", r.Method)}
	}
	if by, ok := r.Context().Value(peerKey{}).(audit.Operator); ok {
		return by, nil
	}
	by := audit.Operator{Via: audit.ViaToken, Address: r.RemoteAddr}
	// A page of another site cannot know the token. It need not get as far as
	// that.
	if err := a.crossOrigin.Check(r); err != nil {
		return by, &Failure{Status: http.StatusForbidden, Err: err}
	}
	if len(a.token) == 0 {
		return by, &Failure{Status: http.StatusForbidden, Err: errReadOnly}
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return by, &Failure{Status: http.StatusUnauthorized, Err: errNoToken}
	}
	// Of sums, so that the time says nothing of the length either.
	want, got := sha256.Sum256(a.token), sha256.Sum256([]byte(strings.TrimSpace(token)))
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return by, &Failure{Status: http.StatusUnauthorized, Err: errBadToken}
	}
	return by, nil
}

// rebound says that a request came to a loopback address by a name that is not
// loopback's. A browser sends such a one for a page whose name was made to lead
// here (DNS rebinding), so that the page may read the answer.
func rebound(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !local.IP.IsLoopback() {
		return false
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	// No name leads to where an address stands.
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err != nil && host != "" && host != "localhost" && !strings.HasSuffix(host, ".localhost")
}
