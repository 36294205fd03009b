// Package ffdhe is ephemeral Diffie-Hellman in the finite field groups of
// RFC 7919: ffdhe2048, ffdhe3072 and ffdhe4096.
//
// Every key is for one handshake. Exponents are short, as RFC 7919 §5.2 allows
// for these safe-prime groups; all arithmetic on them is filippo.io/bigmod's,
// whose time and memory accesses depend on lengths alone. Powers of the
// generator come from a table that is computed when a group is first used: a
// quarter of a mebibyte for ffdhe2048, three quarters for ffdhe4096.
//
// # Raccoon
//
// TLS 1.2 strips the leading zeros of the shared secret (RFC 5246 §8.1.2), so
// the time that the key derivation takes says something about its length. The
// Raccoon attack needs that for many guesses against one server key; a key
// here answers one client once, and never again.
package ffdhe

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	_ "unsafe" // for go:linkname

	"filippo.io/bigmod"
)

// Named groups (RFC 7919 §2).
const (
	FFDHE2048 uint16 = 256
	FFDHE3072 uint16 = 257
	FFDHE4096 uint16 = 258
)

// ErrPublicKey is returned for a peer's public value that is not in the range
// 1 < Y < p−1 (RFC 7919 §5.1), or longer than p. RFC 7919 §4 has
// handshake_failure for it.
var ErrPublicKey = errors.New("ffdhe: the peer's public value is out of range")

// group is a named group, ready for use.
type group struct {
	p            []byte
	modulus      *bigmod.Modulus
	exponentSize int // in bytes

	// powers[i] are g^(j·16^i) for the digits j, times the Montgomery constant R
	// (see montgomeryMul): powers[i][k][j] is limb k of the power for j.
	powers [][][1 << window]uint
}

// window is how many bits of an exponent one multiplication takes.
const window = 4

// The exponent sizes are what RFC 7919 appendix A asks for (225, 275 and 325
// bits), in whole bytes.
var (
	ffdhe2048 = sync.OnceValue(func() *group { return newGroup(prime2048, 29) })
	ffdhe3072 = sync.OnceValue(func() *group { return newGroup(prime3072, 35) })
	ffdhe4096 = sync.OnceValue(func() *group { return newGroup(prime4096, 41) })
)

// byID returns a group, or nil if there is none of that number.
func byID(id uint16) *group {
	switch id {
	case FFDHE2048:
		return ffdhe2048()
	case FFDHE3072:
		return ffdhe3072()
	case FFDHE4096:
		return ffdhe4096()
	}
	return nil
}

// Supported says whether a named group is one of this package's.
func Supported(id uint16) bool { return id == FFDHE2048 || id == FFDHE3072 || id == FFDHE4096 }

func newGroup(prime string, exponentSize int) *group {
	p, err := hex.DecodeString(strings.ToLower(prime))
	if err != nil {
		panic("ffdhe: " + err.Error()) // a constant of this package is wrong
	}
	modulus, err := bigmod.NewModulus(p)
	if err != nil {
		panic("ffdhe: " + err.Error()) // likewise
	}
	g := &group{p: p, modulus: modulus, exponentSize: exponentSize}

	// R is 2 to the number of bits of a group's prime, which are whole limbs.
	bits := 8 * len(p)
	r := g.nat(0).Exp(g.nat(2), []byte{byte(bits >> 8), byte(bits)}, modulus)
	base := g.nat(2) // g^(16^i); the generator is 2 in every group
	for range exponentSize * 8 / window {
		power := g.nat(1).Mul(r, modulus)
		row := make([][1 << window]uint, len(power.Bits()))
		for j := range 1 << window {
			for k, limb := range power.Bits() {
				row[k][j] = limb
			}
			power.Mul(base, modulus)
		}
		g.powers = append(g.powers, row)
		base = g.nat(0).Exp(base, []byte{1 << window}, modulus)
	}
	return g
}

// nat returns a small number in the form that the modulus works on.
func (g *group) nat(n uint) *bigmod.Nat {
	return bigmod.NewNat().SetUint(n).ExpandFor(g.modulus)
}

// exp returns 2^x mod p for a secret exponent of exponentSize bytes,
// big-endian. Every table entry of a row is read, so that which one is used
// does not show.
func (g *group) exp(x []byte) *bigmod.Nat {
	result, factor := g.nat(1), g.nat(0)
	limbs := factor.Bits()
	for i, row := range g.powers {
		digit := uint(x[len(x)-1-i/2]>>(i%2*window)) & (1<<window - 1)
		var m [1 << window]uint
		for j := range m {
			m[j] = equalMask(uint(j), digit)
		}
		for k := range limbs {
			p := &row[k]
			limbs[k] = p[0]&m[0] | p[1]&m[1] | p[2]&m[2] | p[3]&m[3] |
				p[4]&m[4] | p[5]&m[5] | p[6]&m[6] | p[7]&m[7] |
				p[8]&m[8] | p[9]&m[9] | p[10]&m[10] | p[11]&m[11] |
				p[12]&m[12] | p[13]&m[13] | p[14]&m[14] | p[15]&m[15]
		}
		montgomeryMul(result, result, factor, g.modulus)
	}
	return result
}

// montgomeryMul sets x to a·b/R mod m. It is bigmod's own step, of which Mul
// takes two, the first to bring a factor into Montgomery form. Those of the
// table are in it already, and that halves the time that a key takes. With a
// version of bigmod that lacks it, the program does not link.
//
//go:linkname montgomeryMul filippo.io/bigmod.(*Nat).montgomeryMul
func montgomeryMul(x, a, b *bigmod.Nat, m *bigmod.Modulus) *bigmod.Nat

// equalMask is all ones if a == b, else 0; both are small.
func equalMask(a, b uint) uint {
	return uint(int((a^b)-1) >> 63)
}

// PrivateKey is one side of one exchange.
type PrivateKey struct {
	group    *group
	exponent []byte
	public   []byte
}

// GenerateKey draws a fresh key in a named group.
func GenerateKey(id uint16) (*PrivateKey, error) {
	g := byID(id)
	if g == nil {
		return nil, fmt.Errorf("ffdhe: no group %d", id)
	}
	k := &PrivateKey{group: g, exponent: make([]byte, g.exponentSize)}
	rand.Read(k.exponent) // never fails
	k.public = g.exp(k.exponent).Bytes(g.modulus)
	return k, nil
}

// GenerateKeyFor draws a fresh key in the group of a server's parameters, for
// clients that measure servers: id is that of the named group, or 0 where it is
// another prime, of 1024 to 8192 bits. That such a number is a prime, let alone a
// safe one, is not checked, so the secret is none to rely on.
func GenerateKeyFor(p, g []byte) (k *PrivateKey, id uint16, err error) {
	if id := named(p, g); id != 0 {
		k, err := GenerateKey(id)
		return k, id, err
	}
	p = bytes.TrimLeft(p, "\x00")
	const least, most = 1024 / 8, 8192 / 8
	if len(p) < least || len(p) > most {
		return nil, 0, fmt.Errorf("ffdhe: a prime of %d bytes, not %d to %d", len(p), least, most)
	}
	modulus, err := bigmod.NewModulus(p)
	if err != nil {
		return nil, 0, fmt.Errorf("ffdhe: prime: %w", err)
	}
	padded, ok := leftPad(g, len(p))
	if !ok {
		return nil, 0, errors.New("ffdhe: the generator is longer than the prime")
	}
	generator, err := bigmod.NewNat().SetBytes(padded, modulus)
	if err != nil {
		return nil, 0, fmt.Errorf("ffdhe: generator: %w", err)
	}
	const exponentSize = 41 // the most that a named group has
	k = &PrivateKey{group: &group{p: p, modulus: modulus}, exponent: make([]byte, exponentSize)}
	rand.Read(k.exponent) // never fails
	k.public = bigmod.NewNat().Exp(generator, k.exponent, modulus).Bytes(modulus)
	return k, 0, nil
}

// named returns the group that has these parameters, or 0.
func named(p, g []byte) uint16 {
	var id uint16
	var prime string
	switch len(p) { // the groups' tables are not computed for this
	case 2048 / 8:
		id, prime = FFDHE2048, prime2048
	case 3072 / 8:
		id, prime = FFDHE3072, prime3072
	case 4096 / 8:
		id, prime = FFDHE4096, prime4096
	}
	if id == 0 || !bytes.Equal(g, []byte{2}) || !strings.EqualFold(hex.EncodeToString(p), prime) {
		return 0
	}
	return id
}

// leftPad puts zeros before a number, up to size bytes.
func leftPad(number []byte, size int) ([]byte, bool) {
	if len(number) > size {
		return nil, false
	}
	return append(make([]byte, size-len(number), size), number...), true
}

// Parameters returns the prime and the generator of a named group, as they stand
// in ServerDHParams (RFC 5246 §7.4.3). They must not be changed.
func (k *PrivateKey) Parameters() (p, g []byte) { return k.group.p, []byte{2} }

// PublicKey returns the public value, with as many bytes as the prime has.
func (k *PrivateKey) PublicKey() []byte { return k.public }

// SharedSecret returns the premaster secret for the peer's public value:
// without leading zeros, as RFC 5246 §8.1.2 wants it. The error is
// [ErrPublicKey].
func (k *PrivateKey) SharedSecret(peer []byte) ([]byte, error) {
	padded, ok := leftPad(peer, len(k.group.p))
	if !ok {
		return nil, ErrPublicKey
	}
	m := k.group.modulus
	y, err := bigmod.NewNat().SetBytes(padded, m)
	if err != nil || y.IsZero()|y.IsOne()|y.IsMinusOne(m) != 0 {
		return nil, ErrPublicKey
	}
	z := bigmod.NewNat().Exp(y, k.exponent, m)
	return bytes.TrimLeft(z.Bytes(m), "\x00"), nil
}
