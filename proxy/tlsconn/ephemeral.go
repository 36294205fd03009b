package tlsconn

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/cloudflare/circl/dh/x25519"
)

// An ephemeral is a key of an elliptic curve for one handshake.
type ephemeral interface {
	public() []byte
	// shared computes the secret that the peer computes, too. It refuses a public
	// key that is not on the curve, and results that anyone could have foreseen
	// (RFC 8446 §7.4.2, RFC 8422 §5.11).
	shared(peer []byte) ([]byte, error)
}

// newEphemeral draws a key of a curve, which must be one of curveOf.
func newEphemeral(group tls.CurveID) (ephemeral, error) {
	// Half of what a handshake costs beside its signature is X25519, and circl's
	// takes half of the time of crypto/ecdh's where it has assembler.
	if group == tls.X25519 && runtime.GOARCH == "amd64" {
		return newX25519Key(), nil
	}
	curve := curveOf(group)
	if curve == nil {
		return nil, fmt.Errorf("tlsconn: no curve %d", group)
	}
	private, err := curve.GenerateKey(rand.Reader)
	return ecdhKey{private}, err
}

type ecdhKey struct{ private *ecdh.PrivateKey }

func (k ecdhKey) public() []byte { return k.private.PublicKey().Bytes() }

func (k ecdhKey) shared(peer []byte) ([]byte, error) {
	public, err := k.private.Curve().NewPublicKey(peer)
	if err != nil {
		return nil, fmt.Errorf("public key of %d bytes is not on the curve", len(peer))
	}
	return k.private.ECDH(public)
}

// x25519Key is a key of X25519 (RFC 7748).
type x25519Key struct{ secret, own x25519.Key }

func newX25519Key() *x25519Key {
	k := new(x25519Key)
	rand.Read(k.secret[:]) // never fails
	x25519.KeyGen(&k.own, &k.secret)
	return k
}

func (k *x25519Key) public() []byte { return k.own[:] }

func (k *x25519Key) shared(peer []byte) ([]byte, error) {
	if len(peer) != x25519.Size {
		return nil, fmt.Errorf("public key of %d bytes", len(peer))
	}
	secret := new(x25519.Key)
	if !x25519.Shared(secret, &k.secret, (*x25519.Key)(peer)) {
		return nil, errors.New("public key of low order")
	}
	return secret[:], nil
}

// exchange13 is the server's part of a key exchange in TLS 1.3: its share, and
// the secret (RFC 8446 §4.2.8). The error says what is wrong with the client's
// share.
func exchange13(group tls.CurveID, share []byte) (own, secret []byte, err error) {
	if group == tls.X25519MLKEM768 {
		return exchangeHybrid(share)
	}
	key, err := newEphemeral(group)
	if err != nil {
		return nil, nil, err
	}
	secret, err = key.shared(share)
	return key.public(), secret, err
}

// exchangeHybrid is X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem §4): on both sides,
// and in the secret, ML-KEM comes first.
func exchangeHybrid(share []byte) (own, secret []byte, err error) {
	if len(share) != mlkem.EncapsulationKeySize768+x25519.Size {
		return nil, nil, fmt.Errorf("share of %d bytes", len(share))
	}
	encapsulation, err := mlkem.NewEncapsulationKey768(share[:mlkem.EncapsulationKeySize768])
	if err != nil {
		return nil, nil, err
	}
	own, secret, err = exchange13(tls.X25519, share[mlkem.EncapsulationKeySize768:])
	if err != nil {
		return nil, nil, err
	}
	postQuantum, ciphertext := encapsulation.Encapsulate()
	return slices.Concat(ciphertext, own), slices.Concat(postQuantum, secret), nil
}

// supported13 says whether a group is one for TLS 1.3.
func supported13(group tls.CurveID) bool {
	return group == tls.X25519MLKEM768 || curveOf(group) != nil
}
