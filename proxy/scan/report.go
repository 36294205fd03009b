package scan

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/suitegate/suitegate/policy"
)

// Report is what a server accepts.
type Report struct {
	Address      string        `json:"address"`
	ServerName   string        `json:"server_name"` // that was asked for; "" if none was
	Versions     []Version     `json:"versions"`    // the newest first
	Certificates []Certificate `json:"certificates"`
	OCSPStapled  bool          `json:"ocsp_stapled"`
	AsksClient   bool          `json:"client_certificate_requested"`
	Hellos       int           `json:"hellos"` // how many it took
	Notes        []string      `json:"notes"`  // what may have kept something hidden
}

// Version is a version that a server accepts.
type Version struct {
	Version    policy.Version `json:"-"`
	Name       string         `json:"version"`    // as in "TLSv1.2"
	Preference Preference     `json:"preference"` // "" with a single suite
	Suites     []Suite        `json:"suites"`     // in the server's order, or by number if it has none
	Groups     []Group        `json:"groups"`     // in the order in which the server chose them

	// GroupsHiddenBehind is the curve of the server's ECDSA certificate, where
	// there is no other to ask with, and the server has an order of its own: it may
	// accept groups that it likes less, but then no client gets them. "" if
	// nothing is hidden.
	GroupsHiddenBehind string `json:"groups_hidden_behind,omitempty"`

	DHEBits    int         `json:"dhe_bits"`   // the largest prime that was seen; 0 without DHE
	ALPN       []string    `json:"alpn"`       // of those that were asked for
	Extensions *Extensions `json:"extensions"` // null in TLS 1.3, which needs none of them, and in SSL 3.0
	AsksClient bool        `json:"client_certificate_requested"`
}

// Preference is whose order of suites counts.
type Preference string

// Who decides.
const (
	ByServer Preference = "server"
	ByClient Preference = "client"
	Mixed    Preference = "mixed" // the server has an order, and makes exceptions
)

// Suite is a cipher suite that a server accepts.
type Suite struct {
	ID   uint16 `json:"-"`
	Hex  string `json:"id"`   // as in "0xC02F"
	Name string `json:"name"` // IANA's
}

func newSuite(id uint16) Suite {
	return Suite{ID: id, Hex: fmt.Sprintf("0x%04X", id), Name: policy.SuiteName(id)}
}

// Group is a group that a server exchanges keys in.
type Group struct {
	ID   policy.Group `json:"id"`
	Name string       `json:"name"`
}

// Extensions are those of the handshake that a server answers.
type Extensions struct {
	EncryptThenMAC       bool `json:"encrypt_then_mac"`       // RFC 7366
	ExtendedMasterSecret bool `json:"extended_master_secret"` // RFC 7627
	SecureRenegotiation  bool `json:"secure_renegotiation"`   // RFC 5746
	SessionTickets       bool `json:"session_tickets"`        // RFC 5077
}

// Certificate is the first of a chain that a server shows. Nothing about it is
// verified.
type Certificate struct {
	Key      string    `json:"key"` // "RSA-2048", "ECDSA-P-256", "Ed25519"
	Subject  string    `json:"subject"`
	Names    []string  `json:"names"`
	Issuer   string    `json:"issuer"`
	NotAfter time.Time `json:"not_after"`
	Chain    int       `json:"chain"` // how many certificates, this one included
	SHA256   string    `json:"sha256"`
	Versions []string  `json:"versions"` // in which it is shown, the newest first
}

// note writes down what answers have told by the way.
func (r *Report) note(s *seen) {
	r.OCSPStapled, r.AsksClient = s.stapled, len(s.asks) > 0
	for i := range r.Versions {
		r.Versions[i].AsksClient = slices.Contains(s.asks, r.Versions[i].Version)
	}
	r.Certificates, r.Notes = []Certificate{}, append([]string{}, slices.Sorted(slices.Values(s.notes))...)
	for _, seen := range s.chains {
		leaf, err := x509.ParseCertificate(seen.chain[0])
		if err != nil {
			r.Notes = append(r.Notes, fmt.Sprintf("a certificate cannot be read: %v", err))
			continue
		}
		c := Certificate{
			Key:      keyName(leaf),
			Subject:  leaf.Subject.String(),
			Names:    append([]string{}, leaf.DNSNames...),
			Issuer:   leaf.Issuer.String(),
			NotAfter: leaf.NotAfter.UTC(),
			Chain:    len(seen.chain),
			SHA256:   fmt.Sprintf("%x", sha256.Sum256(leaf.Raw)),
		}
		for _, v := range versions {
			if slices.Contains(seen.versions, v) {
				c.Versions = append(c.Versions, v.String())
			}
		}
		for _, ip := range leaf.IPAddresses {
			c.Names = append(c.Names, ip.String())
		}
		r.Certificates = append(r.Certificates, c)
	}
	slices.SortFunc(r.Certificates, func(a, b Certificate) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.SHA256, b.SHA256))
	})
	for _, odd := range []struct {
		hellos int
		answer string
	}{
		{s.closed, "the end of the connection"},
		{s.failed, "alert internal_error"},
		{s.silent, "silence"},
	} {
		if odd.hellos > 0 {
			r.Notes = append(r.Notes, fmt.Sprintf("hellos that were answered by %s, twice: %d; they count as refused, but a limit on clients would look the same", odd.answer, odd.hellos))
		}
	}
}

func keyName(c *x509.Certificate) string {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA-%d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA-" + key.Curve.Params().Name
	}
	return c.PublicKeyAlgorithm.String()
}
