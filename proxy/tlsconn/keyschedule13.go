package tlsconn

import (
	"crypto"
	"crypto/hkdf"
	"fmt"
	"hash"
)

// A deriver is HMAC (RFC 2104) and what TLS 1.3 builds on it (RFC 8446 §7.1), for
// one secret after another, with one hash. crypto/hmac makes three objects for a
// key: a handshake has some twenty keys, most of them for a single use, and that
// was a third of its time beside key exchange and signature.
type deriver struct {
	hash hash.Hash
	pad  [maxHashBlock]byte
	sum  [maxMACLen]byte
	info []byte
}

func newDeriver(hash crypto.Hash) *deriver { return &deriver{hash: hash.New()} }

// mac returns the HMAC of data. The key is no longer than the hash.
func (d *deriver) mac(key, data []byte) []byte {
	const inner, outer = 0x36, 0x5c
	pad := d.pad[:d.hash.BlockSize()]
	clear(pad)
	if copy(pad, key) < len(key) {
		panic("tlsconn: HMAC key longer than a block")
	}
	for i := range pad {
		pad[i] ^= inner
	}
	d.hash.Reset()
	d.hash.Write(pad)
	d.hash.Write(data)
	sum := d.hash.Sum(d.sum[:0])
	for i := range pad {
		pad[i] ^= inner ^ outer
	}
	d.hash.Reset()
	d.hash.Write(pad)
	d.hash.Write(sum)
	return d.hash.Sum(nil)
}

// extract is HKDF-Extract (RFC 5869 §2.2), where no input is as many zeros as the
// hash is long.
func (d *deriver) extract(salt, input []byte) []byte {
	if input == nil {
		input = make([]byte, d.hash.Size())
	}
	return d.mac(salt, input)
}

// expand is HKDF-Expand-Label (RFC 8446 §7.1), for what is no longer than the hash:
// one round of HKDF-Expand (RFC 5869 §2.3).
func (d *deriver) expand(secret []byte, label string, context []byte, length int) []byte {
	if length > d.hash.Size() {
		panic("tlsconn: more than one round of HKDF-Expand")
	}
	const round = 1
	d.info = append(appendLabel(d.info[:0], label, context, length), round)
	return d.mac(secret, d.info)[:length]
}

// appendLabel appends HkdfLabel (RFC 8446 §7.1).
func appendLabel(b []byte, label string, context []byte, length int) []byte {
	const prefix = "tls13 "
	b = append(b, byte(length>>8), byte(length), byte(len(prefix)+len(label)))
	b = append(b, prefix...)
	b = append(b, label...)
	b = append(b, byte(len(context)))
	return append(b, context...)
}

// derive is Derive-Secret, with the hash of the messages (RFC 8446 §7.1).
func (d *deriver) derive(secret []byte, label string, transcript []byte) []byte {
	return d.expand(secret, label, transcript, d.hash.Size())
}

// empty is the hash of no messages.
func (d *deriver) empty() []byte {
	d.hash.Reset()
	return d.hash.Sum(nil)
}

// verifyData is what a Finished message shows, or a binder (RFC 8446 §4.4.4,
// §4.2.11.2): a MAC of the messages' hash under a key of a secret's.
func (d *deriver) verifyData(secret, transcript []byte) []byte {
	return d.mac(d.expand(secret, "finished", nil, d.hash.Size()), transcript)
}

// A keySchedule is where TLS 1.3's secrets come from (RFC 8446 §7.1): one goes
// into the next, and of each others are derived.
type keySchedule struct {
	*deriver
	secret []byte // the latest
}

// newKeySchedule returns the schedule at the early secret. Without a pre-shared
// key, psk is nil.
func newKeySchedule(d *deriver, psk []byte) *keySchedule {
	return &keySchedule{d, d.extract(nil, psk)}
}

// advance goes on to the next secret, of this one and an input.
func (s *keySchedule) advance(input []byte) {
	s.secret = s.extract(s.derive("derived", s.empty()), input)
}

// derive derives a secret of the latest.
func (s *keySchedule) derive(label string, transcript []byte) []byte {
	return s.deriver.derive(s.secret, label, transcript)
}

// exportKeyingMaterial13 is the exporter of TLS 1.3 (RFC 8446 §7.5). A nil
// context is the same as an empty one.
func exportKeyingMaterial13(hash crypto.Hash, exporterSecret []byte, label string, context []byte, length int) ([]byte, error) {
	const rounds = 255 // at most, of HKDF-Expand
	if length < 0 || length > rounds*hash.Size() {
		return nil, fmt.Errorf("tlsconn: exporter length of %d bytes", length)
	}
	if const8 := 255 - len("tls13 "); len(label) > const8 {
		return nil, fmt.Errorf("tlsconn: exporter label of %d bytes is longer than %d", len(label), const8)
	}
	d := newDeriver(hash)
	secret := d.derive(exporterSecret, label, d.empty())
	d.hash.Reset()
	d.hash.Write(context)
	info := appendLabel(nil, "exporter", d.hash.Sum(nil), length)
	return hkdf.Expand(hash.New, secret, string(info), length)
}
