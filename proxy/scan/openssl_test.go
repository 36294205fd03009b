package scan

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/rand/v2"
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

// startSServer runs `openssl s_server` with an RSA and an ECDSA certificate, and
// returns its address.
func startSServer(t *testing.T, args ...string) string {
	t.Helper()
	rsaPair := rsaCertificate(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaCert, rsaKey := pemFiles(t, "rsa", rsaPair.PrivateKey, rsaPair.Certificate[0])
	ecCert, ecKey := pemFiles(t, "ecdsa", key, certificate(t, key).Certificate[0])
	cmd := exec.Command("openssl", append([]string{"s_server", "-accept", "127.0.0.1:0", "-www",
		"-cert", rsaCert, "-key", rsaKey, "-dcert", ecCert, "-dkey", ecKey}, args...)...)
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
				r := scanned(t, startSServer(t, args...), Options{ServerName: "localhost"})
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
	address := startSServer(t, "-serverpref", "-cipher", "DHE-RSA-AES128-SHA:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-SHA:@SECLEVEL=0",
		"-ciphersuites", "TLS_AES_128_CCM_SHA256:TLS_AES_128_GCM_SHA256", "-groups", "P-521:X448:P-256", "-alpn", "stomp,mqtt", "-no_ticket", "-no_tls1", "-min_protocol", "TLSv1.1")
	want := []string{
		"TLSv1.3 by server: TLS_AES_128_CCM_SHA256 TLS_AES_128_GCM_SHA256; groups P-521 X448 P-256",
		"TLSv1.2 by server: TLS_DHE_RSA_WITH_AES_128_CBC_SHA TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA; groups P-521 X448 P-256; dhe 2048, alpn [stomp mqtt], etm true, ems true, renegotiation true, tickets false",
		"TLSv1.1 by server: TLS_DHE_RSA_WITH_AES_128_CBC_SHA TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA; groups P-521 X448 P-256; dhe 2048, alpn [stomp mqtt], etm true, ems true, renegotiation true, tickets false",
		"ECDSA-P-256 CN=scanned of 1",
		"RSA-2048 CN=scanned of 1",
	}
	if diff := cmp.Diff(want, summary(scanned(t, address, Options{ServerName: "localhost"}))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestSSLScan compares with sslscan over servers that are put together at
// random. Neither is told what the server accepts.
func TestSSLScan(t *testing.T) {
	const servers = 32
	all, _ := opensslCiphers(t, "ALL:eNULL:!PSK:!SRP:!DSS")
	random := rand.New(rand.NewPCG(6, 24)) // the same ones each time
	oldest := []string{"TLSv1", "TLSv1.1", "TLSv1.2"}
	type trial struct {
		args    []string
		address string
		peer    chan sslscanned
	}
	var trials []trial
	for range servers {
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		args := []string{"-cipher", strings.Join(all[:1+random.IntN(20)], ":") + ":@SECLEVEL=0", "-min_protocol", oldest[random.IntN(3)]}
		if random.IntN(2) == 0 {
			args = append(args, "-serverpref")
		}
		if random.IntN(3) == 0 {
			args = append(args, "-no_tls1_3")
		}
		// sslscan sleeps for most of its time, so all do it together.
		tr := trial{args: args, address: startSServer(t, args...), peer: make(chan sslscanned, 1)}
		go func() { tr.peer <- sslscan(tr.address) }()
		trials = append(trials, tr)
	}
	for _, tr := range trials {
		t.Run(strings.Join(tr.args, " "), func(t *testing.T) {
			peer := <-tr.peer
			if peer.err != nil {
				t.Fatalf("this test needs sslscan: %v", peer.err)
			}
			byServer := slices.Contains(tr.args, "-serverpref")
			want, got := peer.accepted, []string(nil)
			for _, v := range scanned(t, tr.address, Options{ServerName: "localhost"}).Versions {
				if (v.Preference == ByServer) != byServer && len(v.Suites) > 1 {
					t.Errorf("%s: preference %s", v.Version, v.Preference)
				}
				for _, s := range v.Suites {
					got = append(got, v.Name+" "+s.Hex)
				}
			}
			if !byServer { // each tells of the order in which it asks
				slices.Sort(got)
				slices.Sort(want)
			}
			if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
				t.Errorf("-sslscan +scan:\n%s", diff)
			}
		})
	}
}

// sslscanned is what sslscan says that a server accepts, as in "TLSv1.2 0xC02F".
type sslscanned struct {
	accepted []string
	err      error
}

var sslscanLine = regexp.MustCompile(`(?m)^(?:Preferred|Accepted) +(TLSv1\.\d) .* bits +(0x[0-9A-F]{4}) `)

func sslscan(address string) (s sslscanned) {
	var out []byte
	out, s.err = exec.Command("sslscan", "--no-colour", "--show-cipher-ids", "--no-heartbleed", "--no-fallback", "--no-compression",
		"--no-renegotiation", "--no-groups", "--no-check-certificate", "--sni-name=localhost", address).Output()
	for _, match := range sslscanLine.FindAllStringSubmatch(string(out), -1) {
		s.accepted = append(s.accepted, match[1]+" "+match[2])
	}
	return s
}
