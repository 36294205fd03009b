package tlsconn

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// TicketKeys are the keys of session tickets, to be shared by Configs of equal
// policy, certificates and client authentication, and by no others: a ticket
// carries a session to wherever its key is known. The zero value has no keys.
type TicketKeys struct {
	keys atomic.Pointer[[]ticketKey]
}

// A ticketKey encrypts tickets with AES-256-GCM: no weaker than any suite.
type ticketKey struct {
	name [ticketNameLen]byte
	aead cipher.AEAD
}

const (
	ticketNameLen  = 16 // as RFC 5077 §4 recommends
	ticketNonceLen = 12

	// maxTicket is what NewSessionTicket can carry.
	maxTicket = 1<<16 - 1
)

// Set replaces the keys: the first one encrypts, all decrypt. A random nonce for
// each ticket allows 2^32 of them with one key, so keys must be rotated, daily
// for instance. What encrypts is derived from them for this package alone; they
// may serve other purposes too.
func (t *TicketKeys) Set(keys [][32]byte) {
	list := make([]ticketKey, len(keys))
	for i, key := range keys {
		list[i] = newTicketKey(key)
	}
	t.keys.Store(&list)
}

func newTicketKey(secret [32]byte) ticketKey {
	const aesKeyLen = 32
	out, err := hkdf.Key(sha256.New, secret[:], nil, "suitegate tls12 session ticket", ticketNameLen+aesKeyLen)
	if err != nil {
		panic("tlsconn: " + err.Error()) // the lengths are constants
	}
	block, err := aes.NewCipher(out[ticketNameLen:])
	if err != nil {
		panic("tlsconn: " + err.Error()) // likewise
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("tlsconn: " + err.Error()) // likewise
	}
	return ticketKey{name: [ticketNameLen]byte(out), aead: aead}
}

// list returns the keys; none for nil.
func (t *TicketKeys) list() []ticketKey {
	if t == nil {
		return nil
	}
	if keys := t.keys.Load(); keys != nil {
		return *keys
	}
	return nil
}

// seal returns a ticket for a state, which opens in the same context only, or
// nil if there is no key or the ticket would be too long.
func (t *TicketKeys) seal(state []byte, context string) []byte {
	keys := t.list()
	if len(keys) == 0 {
		return nil
	}
	key := keys[0]
	ticket := make([]byte, ticketNameLen+ticketNonceLen, ticketNameLen+ticketNonceLen+len(state)+key.aead.Overhead())
	copy(ticket, key.name[:])
	nonce := ticket[ticketNameLen:]
	rand.Read(nonce) // never fails
	ticket = key.aead.Seal(ticket, nonce, state, key.authenticated(context))
	if len(ticket) > maxTicket {
		return nil
	}
	return ticket
}

// authenticated is what a ticket proves beside its state.
func (k *ticketKey) authenticated(context string) []byte { return append(k.name[:], context...) }

// open returns the state in a ticket, nil if it isn't one of ours and of this
// context. current says that the key is the one that encrypts.
func (t *TicketKeys) open(ticket []byte, context string) (state []byte, current bool) {
	if len(ticket) < ticketNameLen+ticketNonceLen {
		return nil, false
	}
	name, nonce, sealed := ticket[:ticketNameLen], ticket[ticketNameLen:][:ticketNonceLen], ticket[ticketNameLen+ticketNonceLen:]
	for i, key := range t.list() {
		if string(name) != string(key.name[:]) {
			continue
		}
		if state, err := key.aead.Open(nil, nonce, sealed, key.authenticated(context)); err == nil {
			return state, i == 0
		}
	}
	return nil, false
}

// A session is what an abbreviated handshake resumes.
type session struct {
	suite                uint16
	group                tls.CurveID // of the key exchange, 0 with RSA
	extendedMasterSecret bool
	created              time.Time // of the master secret
	masterSecret         []byte
	serverName           string
	peerCertificates     []*x509.Certificate
}

// sessionFormat is the first byte of a state. It changes when the rest does.
const sessionFormat = 1

func (s *session) marshal() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint8(sessionFormat)
	b.AddUint16(s.suite)
	b.AddUint16(uint16(s.group))
	b.AddUint8(boolByte(s.extendedMasterSecret))
	b.AddBytes(binary.BigEndian.AppendUint64(nil, uint64(s.created.Unix())))
	b.AddBytes(s.masterSecret)
	s.marshalClient(&b)
	return b.Bytes()
}

// marshalClient writes what a session knows of its client, to the end.
func (s *session) marshalClient(b *cryptobyte.Builder) {
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(s.serverName)) })
	for _, certificate := range s.peerCertificates {
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(certificate.Raw) })
	}
}

func (s *session) parseClient(b cryptobyte.String) error {
	var serverName cryptobyte.String
	if !b.ReadUint8LengthPrefixed(&serverName) {
		return errSession
	}
	s.serverName = string(serverName)
	for !b.Empty() {
		var der cryptobyte.String
		if !b.ReadUint24LengthPrefixed(&der) {
			return errSession
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		s.peerCertificates = append(s.peerCertificates, certificate)
	}
	return nil
}

var errSession = errors.New("tlsconn: session state is malformed")

func parseSession(state []byte) (*session, error) {
	s := cryptobyte.String(state)
	var m session
	var format, extended uint8
	var group uint16
	var created uint64
	if !s.ReadUint8(&format) || format != sessionFormat ||
		!s.ReadUint16(&m.suite) || !s.ReadUint16(&group) ||
		!s.ReadUint8(&extended) || extended > 1 || !s.ReadUint64(&created) ||
		!s.ReadBytes(&m.masterSecret, masterSecretLen) {
		return nil, errSession
	}
	m.group = tls.CurveID(group)
	m.extendedMasterSecret = extended == 1
	m.created = time.Unix(int64(created), 0)
	return &m, m.parseClient(s)
}

// sessionFormat13 is sessionFormat for sessions of TLS 1.3, whose secret is a
// pre-shared key, as long as the hash.
const sessionFormat13 = 2

func (s *session) marshal13() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint8(sessionFormat13)
	b.AddUint16(s.suite)
	b.AddBytes(binary.BigEndian.AppendUint64(nil, uint64(s.created.Unix())))
	b.AddBytes(s.masterSecret)
	s.marshalClient(&b)
	return b.Bytes()
}

func parseSession13(state []byte) (*session, error) {
	s := cryptobyte.String(state)
	var m session
	var format uint8
	var created uint64
	if !s.ReadUint8(&format) || format != sessionFormat13 || !s.ReadUint16(&m.suite) || !s.ReadUint64(&created) {
		return nil, errSession
	}
	suite := suite13ByID(m.suite)
	if suite == nil || !s.ReadBytes(&m.masterSecret, suite.hash.Size()) {
		return nil, errSession
	}
	m.created = time.Unix(int64(created), 0)
	return &m, m.parseClient(s)
}

func boolByte(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}
