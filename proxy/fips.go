package proxy

import (
	"context"
	"crypto/fips140"
	"crypto/tls"
	"errors"
	"fmt"
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

// selfTest has each certificate serve a handshake of each version, in FIPS 140-3
// mode. The module tests an algorithm when it is first needed, and ends the
// process if it fails: that is to be now, and not when the first client comes.
func selfTest(ctx context.Context, certificates []certs.Certificate) error {
	if !fips140.Enabled() {
		return nil
	}
	for _, c := range certificates {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			if err := handshakeWith(ctx, c.Certificate, version); err != nil {
				return fmt.Errorf("proxy: certificate %s: FIPS 140-3 mode: handshake of %s with itself: %w", c.Source, tls.VersionName(version), err)
			}
		}
	}
	return nil
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
