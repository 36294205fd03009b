package scan_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy"
	"github.com/suitegate/suitegate/proxy/scan"
)

// keyFiles are a self-signed certificate and its key, apart and in one file.
type keyFiles struct{ cert, key, both string }

// newKeys makes a certificate of each kind that the servers of a test have.
func newKeys(t *testing.T) map[string]keyFiles {
	t.Helper()
	pair := scan.RSACertificate(t)
	keys := map[string]keyFiles{"rsa": writeKeys(t, "rsa", pair.PrivateKey.(crypto.Signer), pair.Certificate[0])}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		name := curve.Params().Name
		keys[name] = writeKeys(t, name, key, scan.NewCertificate(t, key).Certificate[0])
	}
	return keys
}

func writeKeys(t *testing.T, name string, key crypto.Signer, certificate []byte) (f keyFiles) {
	t.Helper()
	f.cert, f.key = scan.PEMFiles(t, name, key, certificate)
	f.both = filepath.Join(t.TempDir(), name+".pem")
	var text []byte
	for _, file := range []string{f.cert, f.key} {
		part, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, part...)
	}
	if err := os.WriteFile(f.both, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// peerCommand is a command that sees nothing of the system's configuration of
// OpenSSL: on Debian it raises the level of security, and so forbids old
// versions.
func peerCommand(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "OPENSSL_CONF="+os.DevNull)
	return cmd
}

// freePorts are so many that nobody listens on, at this moment.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// startOnPorts runs one process that listens on many ports, whose configuration
// file is the text that write returns. Since somebody may take a port before the
// process does, it is tried again with others.
func startOnPorts(t *testing.T, n int, write func(ports []int) string, command func(file string) *exec.Cmd) (addresses []string) {
	t.Helper()
	const tries = 5
	for try := range tries {
		ports := freePorts(t, n)
		file := filepath.Join(t.TempDir(), "server.conf")
		if err := os.WriteFile(file, []byte(write(ports)), 0o600); err != nil {
			t.Fatal(err)
		}
		err := startProcess(t, command(file), ports)
		if err == nil {
			for _, port := range ports {
				addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", port))
			}
			return addresses
		}
		if try == tries-1 {
			t.Fatal(err)
		}
		t.Logf("again: %v", err)
	}
	return nil
}

// startProcess returns when all ports are open, or the process has ended. It is
// killed at the end of the test.
func startProcess(t *testing.T, cmd *exec.Cmd, ports []int) error {
	t.Helper()
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("this test needs %s: %w", filepath.Base(cmd.Path), err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // output says what is wrong
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		closed := slices.IndexFunc(ports, func(port int) bool { return !isOpen(port) })
		select {
		case <-ended:
			return fmt.Errorf("%s has ended: %s", filepath.Base(cmd.Path), output.String())
		default:
		}
		if closed < 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not listen on port %d", filepath.Base(cmd.Path), ports[closed])
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func isOpen(port int) bool {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// openSSLName is what OpenSSL and nginx call a version. HAProxy says what we do.
func openSSLName(v policy.Version) string {
	if v == policy.TLS10 {
		return "TLSv1"
	}
	return v.String()
}

// startSServers runs a process of `openssl s_server` for each.
func startSServers(t *testing.T, servers []*server, keys map[string]keyFiles) {
	for _, s := range servers {
		args := []string{"-cipher", s.cipherList(), "-groups", strings.Join(s.groups, ":"),
			"-min_protocol", openSSLName(slices.Min(s.versions)), "-max_protocol", openSSLName(slices.Max(s.versions))}
		for i, name := range s.keys {
			prefix := []string{"-", "-d"}[i] // the second one's options begin with a d
			args = append(args, prefix+"cert", keys[name].cert, prefix+"key", keys[name].key)
		}
		if len(s.tls13) > 0 {
			args = append(args, "-ciphersuites", strings.Join(s.tls13, ":"))
		}
		if s.byServer {
			args = append(args, "-serverpref")
		}
		if s.chachaFirst {
			args = append(args, "-prioritize_chacha")
		}
		s.address = scan.StartSServer(t, args...)
	}
}

// startHAProxy runs one process with a port for each.
func startHAProxy(t *testing.T, servers []*server, keys map[string]keyFiles) {
	write := func(ports []int) string {
		var b strings.Builder
		b.WriteString("global\n tune.ssl.default-dh-param 2048\n" +
			"defaults\n mode http\n timeout connect 10s\n timeout client 10s\n timeout server 10s\n")
		for i, s := range servers {
			fmt.Fprintf(&b, "frontend f%d\n http-request return status 200\n bind 127.0.0.1:%d ssl crt %s ciphers %s curves %s ssl-min-ver %s ssl-max-ver %s",
				i, ports[i], keys[s.keys[0]].both, s.cipherList(), strings.Join(s.groups, ":"),
				slices.Min(s.versions), slices.Max(s.versions))
			if len(s.tls13) > 0 {
				fmt.Fprintf(&b, " ciphersuites %s", strings.Join(s.tls13, ":"))
			}
			if !s.byServer {
				b.WriteString(" prefer-client-ciphers")
			}
			b.WriteString("\n")
		}
		return b.String()
	}
	addresses := startOnPorts(t, len(servers), write, func(file string) *exec.Cmd {
		return peerCommand(context.Background(), program("haproxy"), "-db", "-f", file)
	})
	for i, address := range addresses {
		servers[i].address = address
	}
}

// startNginx runs one process with a port for each.
func startNginx(t *testing.T, servers []*server, keys map[string]keyFiles) {
	dir := t.TempDir()
	prime := filepath.Join(dir, "dh.pem")
	if out, err := peerCommand(t.Context(), "openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048", "-out", prime).CombinedOutput(); err != nil {
		t.Fatalf("this test needs openssl: %v: %s", err, out)
	}
	write := func(ports []int) string {
		var b strings.Builder
		fmt.Fprintf(&b, "daemon off;\nmaster_process off;\npid %s/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n", dir)
		for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			fmt.Fprintf(&b, "%s_temp_path %s/%s;\n", kind, dir, kind)
		}
		for i, s := range servers {
			fmt.Fprintf(&b, "server {\nlisten 127.0.0.1:%d ssl;\nreturn 200;\nssl_ciphers %s;\nssl_ecdh_curve %s;\nssl_dhparam %s;\nssl_protocols",
				ports[i], s.cipherList(), strings.Join(s.groups, ":"), prime)
			for _, v := range s.versions {
				b.WriteString(" " + openSSLName(v))
			}
			b.WriteString(";\n")
			for _, name := range s.keys {
				fmt.Fprintf(&b, "ssl_certificate %s;\nssl_certificate_key %s;\n", keys[name].cert, keys[name].key)
			}
			if len(s.tls13) > 0 {
				fmt.Fprintf(&b, "ssl_conf_command Ciphersuites %s;\n", strings.Join(s.tls13, ":"))
			}
			if s.byServer {
				b.WriteString("ssl_prefer_server_ciphers on;\n")
			}
			if s.chachaFirst {
				b.WriteString("ssl_conf_command Options PrioritizeChaCha;\n")
			}
			b.WriteString("}\n")
		}
		return b.String() + "}\n"
	}
	addresses := startOnPorts(t, len(servers), write, func(file string) *exec.Cmd {
		return peerCommand(context.Background(), program("nginx"), "-p", dir, "-e", "stderr", "-c", file)
	})
	for i, address := range addresses {
		servers[i].address = address
	}
}

// needPrograms skips the test where one is missing, but fails it in CI.
func needPrograms(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(program(name)); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("this test needs %s, which .ci/install installs", name)
		}
		t.Skipf("SKIPPED: this test needs %s, which .ci/install installs", name)
	}
}

// program is where Debian has a server, which is not everybody's PATH.
func program(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return "/usr/sbin/" + name
}

// startGateway serves all policies by a gateway of ours.
func startGateway(t *testing.T, servers []*server) {
	var policies, listeners strings.Builder
	for i, s := range servers {
		fmt.Fprintf(&policies, "  p%d: {tls12: [%s], tls13: [%s], groups: [%s]}\n", i, strings.Join(s.tls12, ", "), strings.Join(s.tls13, ", "), strings.Join(s.groups, ", "))
		fmt.Fprintf(&listeners, "  - {name: l%d, address: \"127.0.0.1:0\", protocol: tcp, policy: p%[1]d, upstream: broker}\n", i)
	}
	config, err := configs.Parse("gateway.yml", []byte(fmt.Sprintf("storage: %s\ncertificates: [{name: default, self_signed: {names: [localhost]}}]\n"+
		"policies:\n%supstreams: {broker: {nodes: [\"127.0.0.1:1\"]}}\nlisteners:\n%s", t.TempDir(), policies.String(), listeners.String())))
	if err != nil {
		t.Fatal(err)
	}
	config.Prove.Mode = configs.ProveOff // the test does so
	var gateway proxy.Server
	t.Cleanup(func() { gateway.Close() })
	if err := gateway.Apply(config); err != nil {
		t.Fatal(err)
	}
	for i, s := range servers {
		s.address = gateway.Address(fmt.Sprintf("l%d", i)).String()
	}
}
