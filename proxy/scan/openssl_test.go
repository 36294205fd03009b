package scan

import (
	"bufio"
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/policy"
)

// opensslCiphers is what OpenSSL makes of a list, in its order.
func opensslCiphers(t *testing.T, list string) (names, ids []string) {
	t.Helper()
	out, err := exec.Command("openssl", "ciphers", "-V", "-s", "-tls1_2", list+":@SECLEVEL=0").Output()
	if err != nil {
		t.Fatalf("this test needs openssl: %v", err)
	}
	for _, match := range regexp.MustCompile(`(?m)^\s*0x(..),0x(..) - (\S+)`).FindAllStringSubmatch(string(out), -1) {
		names, ids = append(names, match[3]), append(ids, "0x"+match[1]+match[2])
	}
	return names, ids
}

// pemFiles writes a certificate and its key.
func pemFiles(t *testing.T, name string, key any, certificate []byte) (certFile, keyFile string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: certificate},
		keyFile:  {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// startBoth runs `openssl s_server` with an RSA and an ECDSA certificate, and
// returns its address.
func startBoth(t *testing.T, args ...string) string {
	t.Helper()
	rsaPair, ecPair := rsaCertificate(t), ecdsaCertificate(t)
	rsaCert, rsaKey := pemFiles(t, "rsa", rsaPair.PrivateKey, rsaPair.Certificate[0])
	ecCert, ecKey := pemFiles(t, "ecdsa", ecPair.PrivateKey, ecPair.Certificate[0])
	return startSServer(t, append([]string{"-cert", rsaCert, "-key", rsaKey, "-dcert", ecCert, "-dkey", ecKey}, args...)...)
}

// startSServer runs `openssl s_server`, without the system's configuration, which
// may forbid old versions, and returns its address.
func startSServer(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("openssl", append([]string{"s_server", "-accept", "127.0.0.1:0", "-www"}, args...)...)
	cmd.Env = append(os.Environ(), "OPENSSL_CONF="+os.DevNull)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("this test needs openssl: %v", err)
	}
	var drained sync.WaitGroup
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it never ends by itself
		drained.Wait()
		_ = cmd.Wait()
	})
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if address, ok := strings.CutPrefix(lines.Text(), "ACCEPT "); ok {
			drained.Go(func() { _, _ = io.Copy(io.Discard, stdout) })
			return address
		}
	}
	t.Fatal("openssl s_server does not say where it listens")
	return ""
}

// TestOpenSSL compares with what OpenSSL says that its lists hold.
func TestOpenSSL(t *testing.T) {
	for _, list := range []string{
		"ECDHE+AESGCM:AES128-SHA:!PSK",
		"kRSA:!PSK:!SRP",
		"DHE+AES:CAMELLIA128-SHA:!PSK:!DSS",
		"ECDHE+CHACHA20:aNULL+AES:!PSK:!SRP",
		"AESCCM:ARIAGCM:eNULL:!PSK:!SRP:!DSS",
		"ALL:eNULL:!PSK:!SRP:!DSS",
	} {
		for _, preference := range []Preference{ByServer, ByClient} {
			t.Run(list+" by "+string(preference), func(t *testing.T) {
				_, want := opensslCiphers(t, list)
				args := []string{"-no_tls1_3", "-cipher", list + ":@SECLEVEL=0"}
				if preference == ByServer {
					args = append(args, "-serverpref")
				} else {
					slices.Sort(want)
				}
				r := scanned(t, startBoth(t, args...), Options{ServerName: "localhost"})
				if len(r.Versions) == 0 || r.Versions[0].Version != policy.TLS12 || len(r.Notes) > 0 {
					t.Fatalf("versions %+v, notes %q", r.Versions, r.Notes)
				}
				var got []string
				for _, s := range r.Versions[0].Suites {
					got = append(got, s.Hex)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("-openssl +scan:\n%s", diff)
				}
				if r.Versions[0].Preference != preference {
					t.Errorf("preference %s", r.Versions[0].Preference)
				}
			})
		}
	}
}

// TestOpenSSLFacts is about everything but the suites.
func TestOpenSSLFacts(t *testing.T) {
	address := startBoth(t, "-serverpref", "-cipher", "DHE-RSA-AES128-SHA:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-SHA:@SECLEVEL=0",
		"-ciphersuites", "TLS_AES_128_CCM_SHA256:TLS_AES_128_GCM_SHA256", "-groups", "P-521:X448:P-256", "-alpn", "stomp,mqtt", "-no_ticket", "-no_tls1", "-min_protocol", "TLSv1.1")
	want := []string{
		"TLSv1.3 by server: TLS_AES_128_CCM_SHA256 TLS_AES_128_GCM_SHA256; groups P-521 X448 P-256; alpn [stomp mqtt]",
		"TLSv1.2 by server: TLS_DHE_RSA_WITH_AES_128_CBC_SHA TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA; groups P-521 X448 P-256; dhe 2048, alpn [stomp mqtt], etm true, ems true, renegotiation true, tickets false",
		"TLSv1.1 by server: TLS_DHE_RSA_WITH_AES_128_CBC_SHA TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA; groups P-521 X448 P-256; dhe 2048, alpn [stomp mqtt], etm true, ems true, renegotiation true, tickets false",
		"ECDSA-P-256 CN=scanned of 1 in [TLSv1.3 TLSv1.2]",
		"RSA-2048 CN=scanned of 1 in [TLSv1.3 TLSv1.2 TLSv1.1]",
	}
	if diff := cmp.Diff(want, summary(scanned(t, address, Options{ServerName: "localhost"}))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// An ECDSA certificate is shown to nobody who does not know its curve. Other
// groups are found nevertheless, and where they cannot be, that is said.
func TestGroupsBehindCertificate(t *testing.T) {
	pair := ecdsaCertificate(t)
	cert, key := pemFiles(t, "ecdsa", pair.PrivateKey, pair.Certificate[0])
	for _, test := range []struct {
		groups, want string
		more         []string
	}{
		{"P-384:P-256:X25519", "groups P-384 P-256, some hidden behind P-256;", []string{"-serverpref"}},
		{"P-256:X25519", "groups P-256, some hidden behind P-256;", []string{"-serverpref"}},
		{"P-384:X25519", "groups P-384 X25519;", []string{"-serverpref"}}, // without the curve
		{"P-384:P-256:X25519", "groups X25519 P-384 P-256;", nil},
		{"P-384:X25519:P-256", "groups P-384 X25519 P-256;", []string{"-serverpref", "-cipher", "ECDHE-ECDSA-AES128-SHA:AECDH-AES128-SHA:@SECLEVEL=0"}},
	} {
		t.Run(test.groups+strings.Join(test.more, " "), func(t *testing.T) {
			args := append([]string{"-cert", cert, "-key", key, "-tls1_2", "-groups", test.groups}, test.more...)
			r := scanned(t, startSServer(t, args...), Options{})
			got := summary(r)
			hidden := strings.Contains(test.want, "hidden")
			if !strings.Contains(got[0], test.want) || (len(r.Notes) == 1) != hidden {
				t.Errorf("%q, want %s", got, test.want)
			}
		})
	}
}
