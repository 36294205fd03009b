package engine

import (
	"crypto/fips140"
	"crypto/tls"
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/suitegate/suitegate/proxy/tlsconn"
)

// inFIPSMode reports whether the process is in FIPS 140-3 mode. If it is not, it
// runs the test again in one that is.
func inFIPSMode(t *testing.T) bool {
	t.Helper()
	if fips140.Enabled() {
		return true
	}
	again := exec.Command(os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	again.Env = append(os.Environ(), "GODEBUG=fips140=on")
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("in FIPS 140-3 mode: %v\n%s", err, out)
	}
	return false
}

// In FIPS 140-3 mode there is crypto/tls alone, even for a suite that it has
// without countermeasures to Lucky 13, and package tlsconn refuses to work for
// whoever reaches it all the same.
func TestFIPSHasNoOwnEngine(t *testing.T) {
	if !inFIPSMode(t) {
		return
	}
	const ecdhe, dhe = 0xC027, 0x0033
	engines := New(Config{}, []uint16{ecdhe, dhe})
	if len(engines) != 1 || engines.For(ecdhe).Name() != "crypto/tls" || engines.Serves(dhe) {
		t.Errorf("engines %v", engines)
	}
	for _, tt := range []struct {
		own    *Own
		choice Choice
	}{
		{NewTLS12(Config{MaxVersion: tls.VersionTLS12}), Choice{Version: tls.VersionTLS12, Suite: ecdhe}},
		{NewTLS13(Config{MaxVersion: tls.VersionTLS13}), Choice{Version: tls.VersionTLS13, Suite: aes128}},
	} {
		if tt.own.Serves(ecdhe) || tt.own.Serves(dhe) || tt.own.Serves(aes128) {
			t.Errorf("%s serves a suite", tt.own.Name())
		}
		client := clientConfig()
		client.MaxVersion = tt.choice.Version
		tt.choice.Group, tt.choice.Certificate = tls.CurveP256, testCertificates().rsa
		if _, _, err, clientErr := handshake(t, tt.own, tt.choice, client); !errors.Is(err, tlsconn.ErrFIPS) || clientErr == nil {
			t.Errorf("%s: server %v, client %v", tt.own.Name(), err, clientErr)
		}
	}
}

// crypto/tls has one order of TLS 1.3's suites in FIPS 140-3 mode, AES-128 first,
// and what is decided by it is negotiated.
func TestFIPSChoices(t *testing.T) {
	if !inFIPSMode(t) {
		return
	}
	certificates := testCertificates()
	e := New(Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13}, nil)[0]
	for _, choice := range []Choice{
		{Version: tls.VersionTLS13, Suite: aes128, Group: tls.X25519MLKEM768, Certificate: certificates.ecdsa},
		{Version: tls.VersionTLS13, Suite: aes128, Group: tls.CurveP384, Certificate: certificates.rsa},
		{Version: tls.VersionTLS12, Suite: tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, Group: tls.CurveP256, Certificate: certificates.rsa},
		{Version: tls.VersionTLS12, Suite: tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, Group: tls.CurveP521, Certificate: certificates.rsa},
	} {
		client := clientConfig()
		client.MaxVersion = choice.Version
		server, _, serverErr, clientErr := handshake(t, e, choice, client)
		if serverErr != nil || clientErr != nil {
			t.Errorf("%s: server %v, client %v", tls.CipherSuiteName(choice.Suite), serverErr, clientErr)
		} else if err := Verify(server, choice); err != nil {
			t.Error(err)
		}
	}
}

// TLS 1.3's alert about a client certificate is crypto/tls's own: to exchange it
// takes encryption outside of the module.
func TestFIPSRefusalAlert(t *testing.T) {
	if !inFIPSMode(t) {
		return
	}
	err := alertError(49)
	if RefusalAlert(tls.VersionTLS12, err) != 49 || RefusalAlert(tls.VersionTLS13, err) != 42 {
		t.Error(RefusalAlert(tls.VersionTLS12, err), RefusalAlert(tls.VersionTLS13, err))
	}
}

type alertError uint8

func (a alertError) Error() string { return AlertName(uint8(a)) }
func (a alertError) Alert() uint8  { return uint8(a) }
