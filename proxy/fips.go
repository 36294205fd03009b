package proxy

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"runtime/debug"
	"strings"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/admin"
)

// FIPSStatus says what cryptography the process has, and in which FIPS 140-3 mode
// it is.
func FIPSStatus() admin.FIPS {
	status := admin.FIPS{Module: "Go Cryptographic Module", Version: fips140.Version(), Mode: "off"}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			// Of a frozen version, which of several it is: "v1.0.0-c2097c7c".
			if setting.Key == "GOFIPS140" && strings.HasPrefix(setting.Value, status.Version+"-") {
				status.Version = setting.Value
			}
		}
	}
	switch {
	case fips140.Enforced():
		status.Mode = "only"
	case fips140.Enabled():
		status.Mode = "on"
	}
	return status
}

// fipsInForce refuses a configuration that requires FIPS 140-3 mode from a process
// that is in none.
func fipsInForce(config *configs.Config) error {
	if config.FIPS != configs.FIPSRequired || fips140.Enabled() {
		return nil
	}
	return configs.Errors{{Pos: config.Position("fips", "", ""),
		Reason: "fips: the process is not in FIPS 140-3 mode, which is settled when it starts: start it anew, with GODEBUG=fips140=on"}}
}

// selfTest uses, in FIPS 140-3 mode, what the gateway and its clients may: the
// module tests an algorithm when it is first needed, and ends the process if that
// fails, which is to be now, and not when the first client comes. Each certificate
// serves a handshake of each version, and so do keys made for it, of the other
// kinds that clients' certificates may have.
func selfTest(ctx context.Context, certificates []certs.Certificate) error {
	if !fips140.Enabled() {
		return nil
	}
	made, err := testCertificates()
	if err != nil {
		return fmt.Errorf("proxy: FIPS 140-3 mode: %w", err)
	}
	for _, c := range append(made, certificates...) {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			if err := handshakeWith(ctx, c.Certificate, version); err != nil {
				return fmt.Errorf("proxy: certificate %s: FIPS 140-3 mode: handshake of %s with itself: %w", c.Source, tls.VersionName(version), err)
			}
		}
	}
	// RSA keys take too long to make: a signature that is wrong is verified, too.
	modulus := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 2048), big.NewInt(1))
	_ = rsa.VerifyPKCS1v15(&rsa.PublicKey{N: modulus, E: 65537}, crypto.SHA256, make([]byte, 32), make([]byte, 256))
	return nil
}

// testCertificates are of keys that nobody else has.
func testCertificates() (made []certs.Certificate, err error) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	for _, key := range []crypto.Signer{p256, edwards} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return nil, err
		}
		made = append(made, certs.Certificate{Certificate: &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, Source: "of the self-test"})
	}
	return made, nil
}

// handshakeWith runs both sides of a handshake, within the process.
func handshakeWith(ctx context.Context, certificate *tls.Certificate, version uint16) error {
	near, far := net.Pipe()
	defer near.Close()
	served := make(chan error, 1)
	go func() {
		defer far.Close()
		served <- tls.Server(far, &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: version, MaxVersion: version,
			SessionTicketsDisabled: true}).HandshakeContext(ctx) // a ticket would wait for a client that reads
	}()
	client := tls.Client(near, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}) // whose it is does not matter
	err := client.HandshakeContext(ctx)
	if err != nil {
		near.Close()
		return errors.Join(err, <-served)
	}
	return <-served
}
