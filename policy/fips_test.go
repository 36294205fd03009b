package policy

import (
	"crypto/fips140"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/crypto/cryptobyte"
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

// TestFIPSAgainstCryptoTLS holds what is said to be approved against crypto/tls
// in FIPS 140-3 mode, suite by suite and group by group, with hellos that its own
// client would not send there. That it refuses nothing of it in the other mode
// shows that it is for FIPS.
func TestFIPSAgainstCryptoTLS(t *testing.T) {
	fips := inFIPSMode(t)
	config := &tls.Config{CipherSuites: []uint16{}, SessionTicketsDisabled: true}
	for _, key := range keyPreference {
		config.Certificates = append(config.Certificates, certificates()[key])
	}
	var groups []Group
	for _, g := range append(DefaultGroups(), P521) {
		groups = append(groups, g)
		config.CurvePreferences = append(config.CurvePreferences, tls.CurveID(g))
	}
	both := []uint16{tls.TLS_AES_256_GCM_SHA384, tls.TLS_AES_128_GCM_SHA256}
	for _, s := range Suites() {
		if servedByCryptoTLS(s.ID) {
			config.CipherSuites = append(config.CipherSuites, s.ID)
		}
	}
	check := func(what string, approved bool, hello []byte) {
		if got := answers(t, config, hello); got != (approved || !fips) {
			t.Errorf("FIPS 140-3 mode %t: %s: served %t, and said to be approved %t", fips, what, got, approved)
		}
	}
	for _, s := range Suites() {
		if servedByCryptoTLS(s.ID) {
			check(s.Name, s.FIPS(), rawHello(s.TLS13(), []uint16{s.ID}, P256))
		} else if s.FIPS() {
			t.Errorf("%s is not crypto/tls's, and said to be approved", s)
		}
	}
	for _, g := range groups {
		check("TLS 1.3 "+g.String(), g.FIPS(), rawHello(true, both, g))
		if g.kind() == ellipticCurve {
			check("TLS 1.2 "+g.String(), g.FIPS(), rawHello(false, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, g))
		}
	}
	for _, g := range []Group{FFDHE2048, FFDHE3072, FFDHE4096} {
		if g.FIPS() {
			t.Errorf("%s is not crypto/tls's, and said to be approved", g)
		}
	}
}

// rawHello is a ClientHello of one version, with one group and no key share, and
// with all signature algorithms that are worth one.
func rawHello(tls13 bool, suites []uint16, group Group) []byte {
	var b cryptobyte.Builder
	extension := func(b *cryptobyte.Builder, id uint16, data cryptobyte.BuilderContinuation) {
		b.AddUint16(id)
		b.AddUint16LengthPrefixed(data)
	}
	b.AddBytes([]byte{22, 3, 1})
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(1) // ClientHello
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint16(uint16(TLS12))
			b.AddBytes(make([]byte, 32))
			b.AddUint8(0)
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, id := range suites {
					b.AddUint16(id)
				}
			})
			b.AddBytes([]byte{1, 0})
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				extension(b, 10, func(b *cryptobyte.Builder) { b.AddBytes([]byte{0, 2, byte(group >> 8), byte(group)}) })
				extension(b, 11, func(b *cryptobyte.Builder) { b.AddBytes([]byte{1, 0}) })
				extension(b, 13, func(b *cryptobyte.Builder) {
					b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
						for _, s := range []SignatureScheme{rsaPSSSHA256, rsaPKCS1SHA256, ecdsaP256, ecdsaP384, eddsaEd25519} {
							b.AddUint16(uint16(s))
						}
					})
				})
				extension(b, 23, func(*cryptobyte.Builder) {}) // extended_master_secret
				if tls13 {
					extension(b, 43, func(b *cryptobyte.Builder) { b.AddBytes([]byte{2, 3, 4}) })
					extension(b, 51, func(b *cryptobyte.Builder) { b.AddBytes([]byte{0, 0}) })
				}
			})
		})
	})
	return b.BytesOrPanic()
}

// answers reports whether a server goes on after a hello, with a ServerHello or
// HelloRetryRequest, rather than an alert.
func answers(t *testing.T, config *tls.Config, hello []byte) bool {
	t.Helper()
	near, far := connection()
	defer near.Close()
	go func() {
		defer far.Close()
		tls.Server(far, config).Handshake() // never ends well
	}()
	kind := make([]byte, 1)
	if _, err := near.Write(hello); err != nil {
		t.Fatal(err)
	}
	if _, err := near.Read(kind); err != nil {
		t.Fatal(err)
	}
	return kind[0] == 22
}

// TestFIPSAgainstCryptoTLSClients is TestAgainstCryptoTLSClients in FIPS 140-3
// mode: what a policy decides there, crypto/tls does, the TLS 1.3 suite too.
func TestFIPSAgainstCryptoTLSClients(t *testing.T) {
	if inFIPSMode(t) {
		againstCryptoTLSClients(t, (*Policy).FIPS)
	}
}

func TestFIPSPolicy(t *testing.T) {
	p := bind(mustBuiltin(t, "rfc9325-2022-11").FIPS(), RSA)
	if got := fmt.Sprint(p.TLS13, p.Preference(), p.Groups); got != "[TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384] "+
		"[TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256] [P-256]" {
		t.Error(got)
	}
	// What is approved of activemq keeps its order.
	active := mustBuiltin(t, "activemq")
	if got := fmt.Sprint(active.FIPS().Preference()); got != "[TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 "+
		"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256]" {
		t.Error(got)
	}
	if not := active.NotFIPS(); len(not) != 15 || slices.ContainsFunc(not, Suite.FIPS) || len(active.TLS12) != 18 {
		t.Errorf("%d: %v", len(not), not)
	}
	for _, name := range []string{"rabbitmq", "fips-140-3-2026-02"} {
		if not := mustBuiltin(t, name).NotFIPS(); len(not) > 0 {
			t.Errorf("%s: %v", name, not)
		}
	}
}

// Without extended master secret crypto/tls breaks off, so the policy refuses.
func TestFIPSExtendedMasterSecret(t *testing.T) {
	plain := bind(mustBuiltin(t, "rabbitmq"), RSA)
	fips := bind(mustBuiltin(t, "rabbitmq").FIPS(), RSA)
	o := tls12Only(rsaGCM128)
	o.Groups = []Group{P256}
	if _, err := plain.Select(o); err != nil {
		t.Error(err)
	}
	_, err := fips.Select(o)
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Cause != NoExtendedMasterSecret || refusal.Alert != 40 || refusal.Version != TLS12 ||
		refusal.Detail != "TLSv1.2: client offers no extended_master_secret, which FIPS 140-3 mode needs" {
		t.Errorf("%+v", err)
	}
	if trace := fips.Explain(Have{Keys: []KeyType{RSA}}, o); trace.Change != nil {
		t.Errorf("%+v would help", trace.Change)
	}
	o.ExtendedMasterSecret = true
	if _, err := fips.Select(o); err != nil {
		t.Error(err)
	}
	// Nothing that is not approved is said to help.
	o.Suites, o.Groups = []uint16{rsaChaCha, plainSHA128}, []Group{X25519}
	if trace := fips.Explain(Have{Keys: []KeyType{RSA}}, o); trace.Change != nil {
		t.Errorf("%+v would help", trace.Change)
	}
}
