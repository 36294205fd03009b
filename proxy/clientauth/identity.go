package clientauth

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"math/big"
)

// Identity is who a client is, in the words of its certificate.
type Identity struct {
	Subject    string // distinguished name, as RFC 4514 writes it: "CN=sensor-1,O=Example"
	CommonName string // the most specific one of Subject; "" without one
	DNS        []string
	URIs       []string
	Emails     []string
	IPs        []string
	Serial     string // hexadecimal, in lower case
	Issuer     string // like Subject
	SPKI       [sha256.Size]byte
}

// IdentityOf reads a client's certificate. It judges nothing.
func IdentityOf(certificate *x509.Certificate) *Identity {
	id := &Identity{
		Subject:    formatDN(certificate.RawSubject),
		CommonName: certificate.Subject.CommonName,
		DNS:        certificate.DNSNames,
		Emails:     certificate.EmailAddresses,
		Serial:     formatSerial(certificate.SerialNumber),
		Issuer:     formatDN(certificate.RawIssuer),
		SPKI:       sha256.Sum256(certificate.RawSubjectPublicKeyInfo),
	}
	for _, uri := range certificate.URIs {
		id.URIs = append(id.URIs, uri.String())
	}
	for _, ip := range certificate.IPAddresses {
		id.IPs = append(id.IPs, ip.String())
	}
	return id
}

// SANs are the alternative names, each with its kind, as OpenSSL prints them:
// "DNS:sensor-1.example", "URI:spiffe://example/sensor/1".
func (id *Identity) SANs() []string {
	var names []string
	for _, of := range []struct {
		kind  string
		names []string
	}{{"DNS", id.DNS}, {"URI", id.URIs}, {"email", id.Emails}, {"IP", id.IPs}} {
		for _, name := range of.names {
			names = append(names, of.kind+":"+name)
		}
	}
	return names
}

func formatSerial(serial *big.Int) string { return hex.EncodeToString(serial.Bytes()) }
