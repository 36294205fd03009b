package proxy

import (
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
	"math/big"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/configs"
)

// A process cannot be brought into FIPS 140-3 mode by a configuration, and says
// where that asks for it.
func TestFIPSInForce(t *testing.T) {
	const file = `certificates: [{name: a, self_signed: {}}]
upstreams: {u: {nodes: ["127.0.0.1:9"]}}
listeners: [{name: a, address: ":1", protocol: tcp, policy: rabbitmq, upstream: u}]
fips: `
	for _, mode := range []string{configs.FIPSAuto, configs.FIPSRequired} {
		config, err := configs.Parse("gateway.yml", []byte(file+mode))
		if err != nil {
			t.Fatal(err)
		}
		err = fipsInForce(config)
		var errs configs.Errors
		if (err != nil) != (mode == configs.FIPSRequired) || err != nil && (!errors.As(err, &errs) || len(errs) != 1 ||
			!strings.HasPrefix(errs[0].Error(), "gateway.yml:4:7: fips: the process is not in FIPS 140-3 mode, ")) {
			t.Errorf("%s: %v", mode, err)
		}
		if _, _, err := Check(config, nil); err != nil {
			t.Errorf("%s: check: %v", mode, err)
		}
	}
}

// Each certificate has to serve a handshake of both versions, in FIPS 140-3 mode.
func TestSelfTest(t *testing.T) {
	if !fips140.Enabled() {
		if err := selfTest(t.Context(), []certs.Certificate{{Certificate: &tls.Certificate{}}}); err != nil {
			t.Errorf("in no such mode: %v", err)
		}
		again := exec.Command(os.Args[0], "-test.v", "-test.run=^TestSelfTest$")
		again.Env = append(os.Environ(), "GODEBUG=fips140=only")
		if out, err := again.CombinedOutput(); err != nil {
			t.Errorf("in FIPS 140-3 mode: %v\n%s", err, out)
		}
		return
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var list []certs.Certificate
	for _, key := range []crypto.Signer{rsaKey, p384, edwards} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, certs.Certificate{Certificate: &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, Source: "good"})
	}
	if err := selfTest(t.Context(), list); err != nil {
		t.Error(err)
	}
	wrong := *list[1].Certificate
	wrong.PrivateKey = edwards
	err = selfTest(t.Context(), append(list, certs.Certificate{Certificate: &wrong, Source: "wrong"}))
	if err == nil || !strings.HasPrefix(err.Error(), "proxy: certificate wrong: FIPS 140-3 mode: handshake of TLS 1.2 with itself: ") {
		t.Error(err)
	}
}
