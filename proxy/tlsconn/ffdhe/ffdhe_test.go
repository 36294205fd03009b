package ffdhe

import (
	"bytes"
	"crypto/rand"
	"errors"
	"math/big"
	"testing"
)

var all = []struct {
	id   uint16
	name string
	bits int
	x    int64 // of RFC 7919 appendix A
}{
	{FFDHE2048, "ffdhe2048", 2048, 560316},
	{FFDHE3072, "ffdhe3072", 3072, 2625351},
	{FFDHE4096, "ffdhe4096", 4096, 5736041},
}

// The primes are the RFC's: computed from its formula, safe, and with 2 as the
// generator of the large subgroup.
func TestPrimes(t *testing.T) {
	for _, g := range all {
		t.Run(g.name, func(t *testing.T) {
			one := big.NewInt(1)
			shifted := func(n int) *big.Int { return new(big.Int).Lsh(one, uint(n)) }
			// ⌊2^(n−130)·e⌋ from the series of 1/k!, with 256 bits to spare.
			e, term := new(big.Int), shifted(g.bits-130+256)
			for k := int64(1); term.Sign() > 0; k++ {
				e.Add(e, term)
				term.Div(term, big.NewInt(k))
			}
			e.Rsh(e, 256)
			p := new(big.Int).Add(e, big.NewInt(g.x))
			p.Lsh(p, 64)
			p.Add(p, shifted(g.bits))
			p.Sub(p, shifted(g.bits-64))
			p.Sub(p, one)
			if !bytes.Equal(p.Bytes(), byID(g.id).p) {
				t.Fatalf("p is not the RFC's %X", p)
			}
			q := new(big.Int).Rsh(p, 1)
			if !p.ProbablyPrime(1) || !q.ProbablyPrime(1) {
				t.Error("not a safe prime")
			}
			if new(big.Int).Exp(big.NewInt(2), q, p).Cmp(one) != 0 {
				t.Error("2 does not generate the subgroup of order (p-1)/2")
			}
		})
	}
}

// Against math/big, which is no use for secrets but knows the answer.
func TestExchange(t *testing.T) {
	for _, g := range all {
		t.Run(g.name, func(t *testing.T) {
			p := new(big.Int).SetBytes(byID(g.id).p)
			for range 8 {
				k, err := GenerateKey(g.id)
				if err != nil {
					t.Fatal(err)
				}
				prime, generator := k.Parameters()
				x := new(big.Int).SetBytes(k.exponent)
				want := new(big.Int).Exp(new(big.Int).SetBytes(generator), x, new(big.Int).SetBytes(prime))
				if got := new(big.Int).SetBytes(k.PublicKey()); got.Cmp(want) != 0 || len(k.PublicKey()) != g.bits/8 {
					t.Fatalf("public value of %x is wrong", k.exponent)
				}
				peer, err := rand.Int(rand.Reader, p)
				if err != nil {
					t.Fatal(err)
				}
				secret, err := k.SharedSecret(peer.Bytes())
				if err != nil || !bytes.Equal(secret, new(big.Int).Exp(peer, x, p).Bytes()) {
					t.Fatalf("secret of %x with %x is wrong: %v", k.exponent, peer, err)
				}
			}
			a, _ := GenerateKey(g.id)
			b, _ := GenerateKey(g.id)
			ab, err1 := a.SharedSecret(b.PublicKey())
			ba, err2 := b.SharedSecret(a.PublicKey())
			if err1 != nil || err2 != nil || !bytes.Equal(ab, ba) || bytes.Equal(a.PublicKey(), b.PublicKey()) {
				t.Error("two keys do not agree, or are one")
			}
		})
	}
}

// Exponents at the edges of the table's digits.
func TestExponentDigits(t *testing.T) {
	g := byID(FFDHE2048)
	p := new(big.Int).SetBytes(g.p)
	for _, pattern := range [][]byte{{0x00}, {0xFF}, {0x0F}, {0xF0}, {0x80}, {0x01}, {0x00, 0xFF}} {
		x := bytes.Repeat(pattern, g.exponentSize)[:g.exponentSize]
		got := g.exp(x).Bytes(g.modulus)
		want := new(big.Int).Exp(big.NewInt(2), new(big.Int).SetBytes(x), p)
		if new(big.Int).SetBytes(got).Cmp(want) != 0 {
			t.Errorf("2^%x is wrong", x)
		}
	}
}

func TestPublicValueRange(t *testing.T) {
	for _, g := range all {
		k, err := GenerateKey(g.id)
		if err != nil {
			t.Fatal(err)
		}
		p := new(big.Int).SetBytes(byID(g.id).p)
		plus := func(n int64) []byte { return new(big.Int).Add(p, big.NewInt(n)).Bytes() }
		for _, tt := range []struct {
			name string
			y    []byte
			ok   bool
		}{
			{"empty", nil, false},
			{"0", []byte{0}, false},
			{"1", []byte{1}, false},
			{"1, padded", append(make([]byte, g.bits/8-1), 1), false},
			{"2", []byte{2}, true},
			{"2, padded", append(make([]byte, g.bits/8-1), 2), true},
			{"p-2", plus(-2), true},
			{"p-1", plus(-1), false},
			{"p", plus(0), false},
			{"p+1", plus(1), false},
			{"largest of its length", bytes.Repeat([]byte{0xFF}, g.bits/8), false},
			{"longer than p", append([]byte{1}, plus(-2)...), false},
			{"longer than p by a zero", append([]byte{0}, plus(-2)...), false},
		} {
			if _, err := k.SharedSecret(tt.y); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrPublicKey) {
				t.Errorf("%s: Y = %s: %v", g.name, tt.name, err)
			}
		}
	}
}

// A secret with leading zeros loses them.
func TestLeadingZerosAreStripped(t *testing.T) {
	k, err := GenerateKey(FFDHE2048)
	if err != nil {
		t.Fatal(err)
	}
	k.exponent = append(make([]byte, len(k.exponent)-1), 3)
	secret, err := k.SharedSecret([]byte{2})
	if err != nil || !bytes.Equal(secret, []byte{8}) {
		t.Errorf("2^3 = %x, %v", secret, err)
	}
}

func TestUnknownGroup(t *testing.T) {
	for _, id := range []uint16{0, 23, 255, 259} {
		if _, err := GenerateKey(id); err == nil || Supported(id) {
			t.Errorf("group %d", id)
		}
	}
	for _, g := range all {
		if !Supported(g.id) {
			t.Errorf("%s is not supported", g.name)
		}
	}
}

func BenchmarkExchange(b *testing.B) {
	for _, g := range all {
		peer, err := GenerateKey(g.id)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(g.name+"/generate", func(b *testing.B) {
			for b.Loop() {
				_, _ = GenerateKey(g.id) // fails for unknown groups alone
			}
		})
		b.Run(g.name+"/agree", func(b *testing.B) {
			for b.Loop() {
				if _, err := peer.SharedSecret(peer.PublicKey()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A client agrees with whoever has the parameters: a named group is known by
// them, and any other prime is taken as it comes.
func TestGenerateKeyFor(t *testing.T) {
	for _, g := range all {
		server, err := GenerateKey(g.id)
		if err != nil {
			t.Fatal(err)
		}
		client, id, err := GenerateKeyFor(server.Parameters())
		if err != nil || id != g.id {
			t.Fatalf("%s: group %d, %v", g.name, id, err)
		}
		checkAgree(t, client, server)
	}
	p, err := rand.Prime(rand.Reader, 1536)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range [][]byte{{2}, {0, 5}} {
		client, id, err := GenerateKeyFor(append([]byte{0}, p.Bytes()...), g)
		if err != nil || id != 0 {
			t.Fatalf("a prime of 1536 bits: group %d, %v", id, err)
		}
		want := new(big.Int).Exp(new(big.Int).SetBytes(g), new(big.Int).SetBytes(client.exponent), p)
		if new(big.Int).SetBytes(client.PublicKey()).Cmp(want) != 0 {
			t.Errorf("public value for %x is wrong", g)
		}
		server, _, err := GenerateKeyFor(p.Bytes(), g)
		if err != nil {
			t.Fatal(err)
		}
		checkAgree(t, client, server)
	}
	known := byID(FFDHE2048).p
	if _, id, err := GenerateKeyFor(known, []byte{3}); err != nil || id != 0 {
		t.Errorf("ffdhe2048 with another generator: group %d, %v", id, err)
	}
	for _, bad := range [][2][]byte{{make([]byte, 256), {2}}, {known[:127], {2}}, {bytes.Repeat([]byte{0xFF}, 1025), {2}}, {known, append([]byte{1}, known...)}, {known, known}} {
		if _, _, err := GenerateKeyFor(bad[0], bad[1]); err == nil {
			t.Errorf("parameters of %d and %d bytes were taken", len(bad[0]), len(bad[1]))
		}
	}
}

func checkAgree(t *testing.T, client, server *PrivateKey) {
	t.Helper()
	a, err1 := client.SharedSecret(server.PublicKey())
	b, err2 := server.SharedSecret(client.PublicKey())
	if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
		t.Errorf("client and server do not agree: %v, %v", err1, err2)
	}
}
