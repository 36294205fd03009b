package tlsconn

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/tls"
	"slices"
	"testing"

	"github.com/cloudflare/circl/dh/x25519"
)

// x25519KeyOf returns the key with that secret.
func x25519KeyOf(secret []byte) *x25519Key {
	k := &x25519Key{secret: x25519.Key(secret)}
	x25519.KeyGen(&k.own, &k.secret)
	return k
}

// lowOrder are the points of Curve25519 and of its twist whose order divides eight,
// each as often as it can be written: with them every secret leads to zeros (RFC
// 7748 §6.1).
var lowOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000", // 0
	"0100000000000000000000000000000000000000000000000000000000000000", // 1
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", // of order 8
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157", // of order 8
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p - 1
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p, which is 0
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p + 1, which is 1
}

// circl's X25519 and crypto/ecdh's are one, and so is what they take: every string
// of 32 bytes, with a highest bit that does not count and numbers from p on as what
// they are modulo p (RFC 7748 §5).
func TestX25519(t *testing.T) {
	curve := ecdh.X25519()
	for i := range 200 {
		k := newX25519Key()
		same, err := curve.NewPrivateKey(k.secret[:])
		must(err)
		if !bytes.Equal(k.public(), same.PublicKey().Bytes()) {
			t.Fatalf("secret %x: public key %x, want %x", k.secret, k.public(), same.PublicKey().Bytes())
		}
		peer, err := curve.GenerateKey(rand.Reader)
		must(err)
		own, err := curve.NewPublicKey(k.public())
		must(err)
		want, err := peer.ECDH(own)
		must(err)
		if got, err := k.shared(peer.PublicKey().Bytes()); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("secret %x, peer %x: got %x, %v, want %x", k.secret, peer.PublicKey().Bytes(), got, err, want)
		}

		other := make([]byte, 32)
		rand.Read(other)
		if i%2 == 0 { // between p and 2^256
			copy(other, bytes.Repeat([]byte{0xff}, 32))
			other[0] = byte(0xef + i%16)
			other[31] = byte(0x7f + i%4<<6)
		}
		public, err := curve.NewPublicKey(other)
		must(err)
		want, wantErr := same.ECDH(public)
		if got, err := k.shared(other); (err != nil) != (wantErr != nil) || !bytes.Equal(got, want) {
			t.Fatalf("secret %x, peer %x: got %x, %v, want %x, %v", k.secret, other, got, err, want, wantErr)
		}
	}
}

func TestX25519Refuses(t *testing.T) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	must(err)
	for _, key := range []ephemeral{newX25519Key(), ecdhKey{private}} {
		for _, point := range lowOrder {
			for _, bit := range []byte{0, 0x80} {
				public := unhex(t, point)
				public[31] |= bit
				if secret, err := key.shared(public); err == nil || secret != nil {
					t.Errorf("%T, point %x: secret %x, error %v", key, public, secret, err)
				}
			}
		}
		for _, n := range []int{0, 1, 31, 33, 64} {
			if secret, err := key.shared(bytes.Repeat([]byte{9}, n)); err == nil || secret != nil {
				t.Errorf("%T, %d bytes: secret %x, error %v", key, n, secret, err)
			}
		}
	}
}

// Each group from the client's side, which is the standard library.
func TestExchange13(t *testing.T) {
	groups := (&Config{Version: tls.VersionTLS13}).groups()
	for _, group := range groups {
		if !supported13(group) {
			if _, _, err := exchange13(group, []byte{1}); err == nil {
				t.Errorf("group %d: no error", group)
			}
			continue
		}
		t.Run(group.String(), func(t *testing.T) {
			share, secret := clientShare(group)
			own, got, err := exchange13(group, share)
			if err != nil {
				t.Fatal(err)
			}
			if want := secret(own); !bytes.Equal(got, want) {
				t.Errorf("secret %x, want %x", got, want)
			}
			again, other, err := exchange13(group, share)
			if err != nil || bytes.Equal(again, own) || bytes.Equal(other, got) {
				t.Errorf("the second exchange is the first one, error %v", err)
			}

			for _, bad := range [][]byte{nil, {0}, share[:len(share)-1], append(slices.Clone(share), 0), make([]byte, len(share))} {
				if _, secret, err := exchange13(group, bad); err == nil || secret != nil {
					t.Errorf("share of %d bytes: secret %x, error %v", len(bad), secret, err)
				}
			}
			if curve := curveOf(group); curve != ecdh.X25519() && curve != nil {
				n := (len(share) - 1) / 2
				offCurve, compressed := slices.Clone(share), slices.Clone(share[:1+n])
				offCurve[len(offCurve)-1] ^= 1
				compressed[0] = 2 + share[len(share)-1]&1
				for _, bad := range [][]byte{offCurve, compressed, append([]byte{4}, bytes.Repeat([]byte{0xff}, 2*n)...)} {
					if _, secret, err := exchange13(group, bad); err == nil || secret != nil {
						t.Errorf("share %x: secret %x, error %v", bad, secret, err)
					}
				}
			}
		})
	}
}

// clientShare returns a client's share, and what it makes of the server's.
func clientShare(group tls.CurveID) (share []byte, secret func(own []byte) []byte) {
	if group == tls.X25519MLKEM768 {
		key, err := mlkem.GenerateKey768()
		must(err)
		share, elliptic := clientShare(tls.X25519)
		return append(key.EncapsulationKey().Bytes(), share...), func(own []byte) []byte {
			postQuantum, err := key.Decapsulate(own[:mlkem.CiphertextSize768])
			must(err)
			return append(postQuantum, elliptic(own[mlkem.CiphertextSize768:])...)
		}
	}
	key, err := curveOf(group).GenerateKey(rand.Reader)
	must(err)
	return key.PublicKey().Bytes(), func(own []byte) []byte {
		public, err := curveOf(group).NewPublicKey(own)
		must(err)
		secret, err := key.ECDH(public)
		must(err)
		return secret
	}
}

// Both parts of X25519MLKEM768 are looked at.
func TestHybridRefuses(t *testing.T) {
	share, _ := clientShare(tls.X25519MLKEM768)
	const kem = mlkem.EncapsulationKeySize768
	change := func(f func([]byte)) []byte {
		bad := slices.Clone(share)
		f(bad)
		return bad
	}
	cases := map[string][]byte{
		"nothing":              nil,
		"ML-KEM alone":         share[:kem],
		"X25519 alone":         share[kem:],
		"a byte missing":       share[:len(share)-1],
		"a byte more":          append(slices.Clone(share), 0),
		"X25519 first":         slices.Concat(share[kem:], share[:kem]),
		"a coefficient of q":   change(func(b []byte) { b[0], b[1] = 0x01, b[1]&0xf0|0x0d }), // FIPS 203 §7.2 checks for less
		"the last coefficient": change(func(b []byte) { b[kem-32-1] = 0xff }),
	}
	for _, point := range lowOrder {
		cases["low order "+point] = slices.Concat(share[:kem], unhex(t, point))
	}
	for name, bad := range cases {
		own, secret, err := exchange13(tls.X25519MLKEM768, bad)
		if err == nil || secret != nil || own != nil {
			t.Errorf("%s: share of %d bytes, secret %x, error %v", name, len(own), secret, err)
		}
	}
}
