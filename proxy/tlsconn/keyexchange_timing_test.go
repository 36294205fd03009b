package tlsconn

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"maps"
	"math/big"
	"slices"
	"testing"

	"golang.org/x/crypto/cryptobyte"

	"github.com/suitegate/suitegate/proxy/tlsconn/ffdhe"
)

// The key exchanges, by the method that timing_test.go describes, from
// ClientKeyExchange to the master secret:
//
//	go test -run '^$' -bench 'Timing(RSA|DHE)' -benchtime 100000x ./proxy/tlsconn

// perClass is how many messages stand for a class.
const perClass = 50

// BenchmarkTimingRSA compares good ciphertexts with those that Bleichenbacher's
// attack, and the ones after it, would tell from them.
func BenchmarkTimingRSA(b *testing.B) {
	key := mustRSA(2048)
	size := key.Size()
	// encrypted returns a message whose block, before it is encrypted, is good
	// but for a change.
	encrypted := func(secret int, change func(block []byte)) func() []byte {
		return func() []byte {
			block := make([]byte, size)
			rand.Read(block)
			for i, v := range block {
				block[i] = max(v, 1) // padding has no zeros
			}
			block[0], block[1], block[size-secret-1] = 0, 2, 0
			if secret >= 2 {
				block[size-secret], block[size-secret+1] = 3, 3
			}
			if change != nil {
				change(block)
			}
			m := new(big.Int).SetBytes(block)
			return vector16(m.Exp(m, big.NewInt(int64(key.E)), key.N).FillBytes(make([]byte, size)))
		}
	}
	good := encrypted(masterSecretLen, nil)
	set := func(i int, v byte) func([]byte) { return func(block []byte) { block[i] = v } }
	pairs := map[string][2]func() []byte{
		"good twice":              {good, good},
		"wrong version":           {good, encrypted(masterSecretLen, set(size-masterSecretLen+1, 2))},
		"wrong block type":        {good, encrypted(masterSecretLen, set(1, 1))},
		"wrong first byte":        {good, encrypted(masterSecretLen, set(0, 1))},
		"no separator":            {good, encrypted(masterSecretLen, set(size-masterSecretLen-1, 1))},
		"separator in padding":    {good, encrypted(masterSecretLen, set(5, 0))},
		"secret of 47 bytes":      {good, encrypted(masterSecretLen-1, nil)},
		"secret of 49 bytes":      {good, encrypted(masterSecretLen+1, nil)},
		"secret of 1 byte":        {good, encrypted(1, nil)},
		"wrong type or separator": {encrypted(masterSecretLen, set(1, 1)), encrypted(masterSecretLen, set(size-masterSecretLen-1, 1))},
	}
	compareExchanges(b, &rsaAgreement{key, 0x0303}, pairs)
}

// BenchmarkTimingRSAControl compares good ciphertexts with numbers above the
// modulus, which are refused at once, and may be: anybody can see them.
func BenchmarkTimingRSAControl(b *testing.B) {
	key := mustRSA(2048)
	good := func() []byte {
		//lint:ignore SA1019 what these suites are
		ciphertext, err := rsa.EncryptPKCS1v15(rand.Reader, &key.PublicKey, append([]byte{3, 3}, make([]byte, 46)...))
		must(err)
		return vector16(ciphertext)
	}
	above := func() []byte { return vector16(bytes.Repeat([]byte{0xff}, key.Size())) }
	t := timeExchanges(b, &rsaAgreement{key, 0x0303}, [2]func() []byte{good, above})
	if b.N >= fewestToFail && t < certainLeak {
		b.Errorf("|t| is %.1f: too noisy a machine to find what leaks", t)
	}
}

// BenchmarkTimingDHE compares public values whose secrets have a leading zero
// byte, which is stripped, with those whose secrets have none (Raccoon). That
// takes a key that is used often, which is what the server never does.
func BenchmarkTimingDHE(b *testing.B) {
	key, err := ffdhe.GenerateKey(ffdhe.FFDHE2048)
	must(err)
	p, _ := key.Parameters()
	exchange := func(stripped bool) func() []byte {
		return func() []byte {
			for {
				public := make([]byte, len(p))
				rand.Read(public[1:])
				secret, err := key.SharedSecret(public)
				must(err)
				if (len(secret) < len(p)) == stripped {
					return vector16(public)
				}
			}
		}
	}
	compareExchanges(b, &dheAgreement{key}, map[string][2]func() []byte{
		"no leading zeros, twice": {exchange(false), exchange(false)},
		"leading zeros":           {exchange(false), exchange(true)},
	})
}

func compareExchanges(b *testing.B, agreement keyAgreement, pairs map[string][2]func() []byte) {
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		b.Run(name, func(b *testing.B) {
			if t := timeExchanges(b, agreement, pairs[name]); b.N >= fewestToFail && t > certainLeak {
				b.Errorf("|t| is %.1f: the times differ", t)
			}
		})
	}
}

func timeExchanges(b *testing.B, agreement keyAgreement, classes [2]func() []byte) (t float64) {
	var inputs [2][][]byte
	for i := range 2 * perClass {
		inputs[i%2] = append(inputs[i%2], classes[i%2]())
	}
	random := make([]byte, randomLen)
	body := make([]byte, len(inputs[0][0]))
	return compareTimes(b, inputs, func(input []byte) { copy(body, input) }, func() {
		secret, err := agreement.premasterSecret(cryptobyte.String(body))
		must(err)
		masterSecret(crypto.SHA256, secret, random, random)
	})
}

func vector16(v []byte) []byte {
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(v) })
	return b.BytesOrPanic()
}
