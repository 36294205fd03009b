package tlsconn

import (
	"crypto"
	"crypto/hmac"
	_ "crypto/sha1" // linked in for crypto.SHA1
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	masterSecretLen = 48 // RFC 5246 §8.1
	verifyDataLen   = 12 // RFC 5246 §7.4.9

	labelMasterSecret         = "master secret"
	labelExtendedMasterSecret = "extended master secret"
	labelKeyExpansion         = "key expansion"
	labelClientFinished       = "client finished"
	labelServerFinished       = "server finished"
)

// prf fills out with TLS 1.2's pseudorandom function (RFC 5246 §5) of the
// secret, the label and the concatenated seeds.
func prf(hash crypto.Hash, out, secret []byte, label string, seeds ...[]byte) {
	h := hmac.New(hash.New, secret)
	writeSeed := func() {
		h.Write([]byte(label))
		for _, seed := range seeds {
			h.Write(seed)
		}
	}

	// P_hash: A(1) = HMAC(seed), A(i+1) = HMAC(A(i)), and the output is the
	// sequence of HMAC(A(i) + seed).
	writeSeed()
	a := h.Sum(nil)
	var b []byte
	for len(out) > 0 {
		h.Reset()
		h.Write(a)
		writeSeed()
		b = h.Sum(b[:0])
		out = out[copy(out, b):]

		h.Reset()
		h.Write(a)
		a = h.Sum(a[:0])
	}
}

// masterSecret derives the master secret of a client that does not offer
// extended_master_secret (RFC 5246 §8.1).
func masterSecret(hash crypto.Hash, premaster, clientRandom, serverRandom []byte) []byte {
	out := make([]byte, masterSecretLen)
	prf(hash, out, premaster, labelMasterSecret, clientRandom, serverRandom)
	return out
}

// extendedMasterSecret derives the master secret from sessionHash, the hash
// of all handshake messages up to and including ClientKeyExchange (RFC 7627
// §4).
func extendedMasterSecret(hash crypto.Hash, premaster, sessionHash []byte) []byte {
	out := make([]byte, masterSecretLen)
	prf(hash, out, premaster, labelExtendedMasterSecret, sessionHash)
	return out
}

// connectionKeys are the parts of the key block (RFC 5246 §6.3), each as long
// as the suite says.
type connectionKeys struct {
	clientMAC, serverMAC []byte
	clientKey, serverKey []byte
	clientIV, serverIV   []byte
}

// keysFromMaster expands the master secret into the keys of both directions.
func keysFromMaster(suite *cipherSuite, master, clientRandom, serverRandom []byte) connectionKeys {
	block := make([]byte, 2*(suite.macLen+suite.keyLen+suite.ivLen))
	// Server first, unlike in the master secret.
	prf(suite.hash, block, master, labelKeyExpansion, serverRandom, clientRandom)
	next := func(n int) []byte {
		part := block[:n:n]
		block = block[n:]
		return part
	}
	return connectionKeys{
		clientMAC: next(suite.macLen),
		serverMAC: next(suite.macLen),
		clientKey: next(suite.keyLen),
		serverKey: next(suite.keyLen),
		clientIV:  next(suite.ivLen),
		serverIV:  next(suite.ivLen),
	}
}

// finishedSum returns the verify_data of a Finished message (RFC 5246
// §7.4.9). The label is labelClientFinished or labelServerFinished,
// transcript the hash of the handshake messages before that Finished.
func finishedSum(hash crypto.Hash, master []byte, label string, transcript []byte) []byte {
	out := make([]byte, verifyDataLen)
	prf(hash, out, master, label, transcript)
	return out
}

// exportKeyingMaterial returns length bytes of the exporter of RFC 5705 §4. A
// nil context means none, which differs from an empty one. It fails for the
// labels that the protocol itself uses, for a context of more than 2^16-1
// bytes, and for a negative length. Without extended_master_secret the result is
// not bound to the handshake: that is for the caller to refuse (RFC 7627
// §5.4).
func exportKeyingMaterial(hash crypto.Hash, master, clientRandom, serverRandom []byte, label string, context []byte, length int) ([]byte, error) {
	switch label {
	case labelMasterSecret, labelExtendedMasterSecret, labelKeyExpansion, labelClientFinished, labelServerFinished:
		return nil, fmt.Errorf("tlsconn: exporter label %q is reserved", label)
	}
	if len(context) > 1<<16-1 {
		return nil, fmt.Errorf("tlsconn: exporter context of %d bytes is longer than 65535", len(context))
	}
	if length < 0 {
		return nil, errors.New("tlsconn: exporter length is negative")
	}
	seeds := [][]byte{clientRandom, serverRandom}
	if context != nil {
		seeds = append(seeds, binary.BigEndian.AppendUint16(nil, uint16(len(context))), context)
	}
	out := make([]byte, length)
	prf(hash, out, master, label, seeds...)
	return out, nil
}
