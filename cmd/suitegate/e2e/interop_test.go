package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// session is a TLS 1.2 session as a client reports it.
type session struct {
	version, suite string // in the client's words
	etm            bool   // encrypt-then-MAC, RFC 7366
	ems            bool   // extended master secret, RFC 7627
	resumed        bool
}

// variant is what a client is told to offer.
type variant struct {
	suite
	etm, ems bool
}

func (s suite) isCBC() bool { return strings.Contains(s.iana, "_CBC_") }

// session is what has to come of an offer. An AEAD has no need of encrypt-then-MAC.
func (v variant) session(version, suite string, resumed bool) session {
	return session{version, suite, v.etm && v.isCBC(), v.ems, resumed}
}

// eachVariant runs f for each suite of activemq, with and without
// encrypt-then-MAC, where there is a MAC, and extended master secret.
func eachVariant(t *testing.T, f func(*testing.T, variant)) {
	t.Helper()
	for _, s := range activemqSuites {
		for _, etm := range []bool{true, false} {
			for _, ems := range []bool{true, false} {
				if !etm && !s.isCBC() {
					continue // it is the same offer
				}
				t.Run(fmt.Sprintf("%s EtM=%t EMS=%t", s.openssl, etm, ems), func(t *testing.T) { f(t, variant{s, etm, ems}) })
			}
		}
	}
}

// refusedByRabbitMQ are the suites of activemq that are not in rabbitmq.
func refusedByRabbitMQ() []suite {
	return slices.DeleteFunc(slices.Clone(activemqSuites), func(s suite) bool { return slices.Contains(rabbitmqSuites, s) })
}

// payload is what goes through the gateway each way: its length, and then
// bytes of every value.
func payload(size int) string {
	all := binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(size))
	all = all[:size]
	rand.NewChaCha8([32]byte{}).Read(all[4:])
	return string(all)
}

var (
	mebibyte = payload(1 << 20)
	page     = payload(1 << 12)
)

// echoPayload sends a payload back when all of it has come, and closes: not
// every client reads while it writes.
func echoPayload(conn net.Conn) {
	all := make([]byte, len(mebibyte))
	if _, err := io.ReadFull(conn, all[:4]); err != nil {
		return
	}
	size := max(4, min(binary.BigEndian.Uint32(all), uint32(len(all))))
	if _, err := io.ReadFull(conn, all[4:size]); err == nil {
		conn.Write(all[:size])
	}
}

// startInteropGateway has a listener for each built-in policy, by its name.
func startInteropGateway(t *testing.T) *gateway {
	t.Helper()
	return startGateway(t, config{
		Upstreams: map[string]upstreamConfig{"echo": {Nodes: []string{stubBroker(t, echoPayload)}}},
		Listeners: []listenerConfig{
			{Name: "rabbitmq", Protocol: "tcp", Policy: "rabbitmq", Upstream: "echo"},
			{Name: "activemq", Protocol: "tcp", Policy: "activemq", Upstream: "echo"},
		},
	})
}

// runSplit executes a program to its end, like runClient, and keeps apart what
// it prints and what it complains of.
func runSplit(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, err error) {
	t.Helper()
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	_, err = runToEnd(t, cmd)
	return out.String(), complaints.String(), err
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// wantCarried holds the log's line of a connection against what was carried
// over it.
func wantCarried(t *testing.T, line record, s suite, carried string, resumed bool) {
	t.Helper()
	line.want(t, record{
		"listener": "activemq", "version": "TLSv1.2", "suite": s.iana, "engine": s.engine, "resumed": resumed,
		"bytes_from_client": len(carried), "bytes_from_backend": len(carried), "alert": nil,
	})
}

// TestOpenSSLInterop shows every suite with OpenSSL's client, in a new session
// and in the same one again.
func TestOpenSSLInterop(t *testing.T) {
	t.Parallel()
	openssl := requireProgram(t, "openssl")
	g := startInteropGateway(t)
	dir := t.TempDir()
	withoutEMS := filepath.Join(dir, "openssl.cnf")
	if err := writeFiles(map[string]string{withoutEMS: `openssl_conf = settings
[settings]
ssl_conf = ssl
[ssl]
system_default = options
[options]
Options = -ExtendedMasterSecret
`}); err != nil {
		t.Fatal(err)
	}
	eachVariant(t, func(t *testing.T, v variant) {
		file := filepath.Join(t.TempDir(), "session.pem")
		for _, resumed := range []bool{false, true} {
			cmd := exec.Command(openssl, "s_client", "-connect", g.address(t, "activemq"), "-ign_eof", "-tlsextdebug",
				"-CAfile", pki(t).root, "-verify_hostname", "localhost", "-verify_return_error",
				"-tls1_2", "-cipher", v.openssl+":@SECLEVEL=0", "-sess_out", file)
			if resumed {
				cmd.Args = append(cmd.Args, "-sess_in", file)
			}
			if !v.etm {
				cmd.Args = append(cmd.Args, "-no_etm")
			}
			if !v.ems {
				cmd.Env = append(cmd.Environ(), "OPENSSL_CONF="+withoutEMS)
			}
			cmd.Stdin = strings.NewReader(mebibyte)
			out, complaints, err := runSplit(t, cmd)
			if err != nil {
				t.Fatalf("openssl: %v\n%s\n%.4000s", err, complaints, out)
			}
			report, end, intact := strings.Cut(out, mebibyte)
			if !intact || end != "closed\n" {
				t.Fatalf("the mebibyte did not come back whole, and nothing else after it:\n%.4000q", out)
			}
			if got, want := opensslSession(report), v.session("TLSv1.2", v.openssl, resumed); got != want {
				t.Errorf("OpenSSL reports %+v, want %+v\n%s", got, want, report)
			}
			wantCarried(t, g.connection(t), v.suite, mebibyte, resumed)
		}
	})
}

var opensslReport = regexp.MustCompile(`(?ms)^(New|Reused), .*^    Protocol  : (\S+)\n    Cipher    : (\S+)\n.*^    Extended master secret: (yes|no)\n`)

// opensslSession reads what `openssl s_client -tlsextdebug` prints before the
// first data.
func opensslSession(report string) session {
	m := opensslReport.FindStringSubmatch(report)
	if m == nil {
		return session{}
	}
	etm := strings.Contains(report, `TLS server extension "encrypt-then-mac"`)
	return session{version: m[2], suite: m[3], etm: etm, ems: m[4] == "yes", resumed: m[1] == "Reused"}
}

// gnutlsSuite is a suite's parts in the order in which GnuTLS names them.
func (s suite) gnutlsSuite() (exchange, cipher, mac string) {
	exchange, rest, _ := strings.Cut(strings.TrimPrefix(s.iana, "TLS_"), "_WITH_")
	exchange = strings.ReplaceAll(exchange, "_", "-")
	rest = strings.ReplaceAll(rest, "_", "-")
	hash := strings.LastIndexByte(rest, '-')
	cipher, mac = rest[:hash], rest[hash+1:]
	switch {
	case !s.isCBC():
		mac = "AEAD"
	case mac == "SHA":
		mac = "SHA1"
	}
	return exchange, cipher, mac
}

// gnutlsPriority makes GnuTLS offer one suite.
func (s suite) gnutlsPriority() string {
	exchange, cipher, mac := s.gnutlsSuite()
	return fmt.Sprintf("NONE:+VERS-TLS1.2:+COMP-NULL:+CTYPE-X509:+SIGN-ALL:+GROUP-ALL:+%s:+%s:+%s", exchange, cipher, mac)
}

// gnutls is a command of GnuTLS's client that sends data. What it reports goes
// to the file log, what it receives to its standard output.
func gnutls(t *testing.T, address, priority, log, data string) *exec.Cmd {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(requireProgram(t, "gnutls-cli"), "--resume", "--logfile", log, "--x509cafile", pki(t).root, "--verify-hostname", "localhost",
		"--priority", priority, "--port", port, host)
	cmd.Stdin = strings.NewReader(data)
	return cmd
}

// TestGnuTLSInterop shows the same with GnuTLS's, which connects for the
// session, and again in it to carry something. It writes what it receives byte
// by byte, so slowly that the variants that have no other records carry little.
func TestGnuTLSInterop(t *testing.T) {
	t.Parallel()
	g := startInteropGateway(t)
	eachVariant(t, func(t *testing.T, v variant) {
		priority := v.gnutlsPriority()
		if !v.etm {
			priority += ":%NO_ETM"
		}
		data := mebibyte
		if !v.ems {
			priority += ":%NO_SESSION_HASH"
			data = page
		}
		log := filepath.Join(t.TempDir(), "gnutls.log")
		out, complaints, err := runSplit(t, gnutls(t, g.address(t, "activemq"), priority, log, data))
		report := readFile(t, log)
		if err != nil {
			t.Fatalf("gnutls-cli: %v\n%s\n%s", err, complaints, report)
		}
		if out != data {
			t.Errorf("%d bytes came back, or others", len(out))
		}
		exchange, cipher, mac := v.gnutlsSuite()
		kind, _, _ := strings.Cut(exchange, "-")
		name := kind + " " + cipher
		if v.isCBC() {
			name += " " + mac
		}
		got := gnutlsSessions(report)
		want := []session{v.session("TLS1.2", name, false), v.session("TLS1.2", name, true)}
		if !slices.Equal(got, want) {
			t.Errorf("GnuTLS reports %+v, want %+v\n%s", got, want, report)
		}
		first, second := g.connection(t), g.connection(t)
		if first["resumed"] == true { // the second may end before the gateway has seen to the first's end
			first, second = second, first
		}
		wantCarried(t, first, v.suite, "", false)
		wantCarried(t, second, v.suite, data, true)
	})
}

// As in "(TLS1.2-X.509)-(DHE-FFDHE2048)-(RSA-SHA256)-(AES-128-CBC)-(SHA256)",
// where a resumed session has no signature, nor has RSA's key exchange.
var gnutlsReport = regexp.MustCompile(`(?m)^- Description: \((TLS[0-9.]+)-X\.509\)-\((\w+)[^)]*\)(?:-\(RSA-[^)]*\))?-\(([^)]*)\)(?:-\(([^)]*)\))?\n` +
	`- Session ID: .*\n- Options:(.*)\n- (Resume )?Handshake was completed\n`)

// gnutlsSessions reads what gnutls-cli reports of its connections.
func gnutlsSessions(report string) []session {
	var sessions []session
	for _, m := range gnutlsReport.FindAllStringSubmatch(report, -1) {
		s := session{version: m[1], suite: strings.TrimSpace(m[2] + " " + m[3] + " " + m[4])}
		s.etm = strings.Contains(m[5], " EtM,")
		s.ems = strings.Contains(m[5], " extended master secret,")
		s.resumed = m[6] != "" && strings.Contains(report, "*** This is a resumed session\n")
		sessions = append(sessions, s)
	}
	return sessions
}

// TestGnuTLSRefused shows that rabbitmq refuses GnuTLS the other sixteen.
func TestGnuTLSRefused(t *testing.T) {
	t.Parallel()
	g := startInteropGateway(t)
	for _, s := range refusedByRabbitMQ() {
		t.Run(s.openssl, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "gnutls.log")
			out, complaints, err := runSplit(t, gnutls(t, g.address(t, "rabbitmq"), s.gnutlsPriority(), log, page))
			if err == nil || len(out) > 0 {
				t.Errorf("the client got %d bytes, %v", len(out), err)
			}
			wantOutput(t, complaints+readFile(t, log), "Received alert [40]: Handshake failed\n")
			wantNoCommonSuite(t, g.connection(t))
		})
	}
}

func wantNoCommonSuite(t *testing.T, line record) {
	t.Helper()
	line.want(t, record{"listener": "rabbitmq", "reason": "no_common_suite", "alert": "handshake_failure", "suite": nil, "upstream": nil})
}

// javaPort is a listener's port, and Java's properties to trust it.
func javaPort(t *testing.T, g *gateway, listener string) (port string, properties []string) {
	t.Helper()
	properties = pki(t).javaProperties(t)
	_, port, err := net.SplitHostPort(g.address(t, listener))
	if err != nil {
		t.Fatal(err)
	}
	return port, properties
}

// TestJavaInterop shows the same with Java's own TLS, which has no
// encrypt-then-MAC. It discards tickets that name no lifetime (RFC 5077 §3.3:
// unspecified), so that it would resume none of crypto/tls's.
func TestJavaInterop(t *testing.T) {
	t.Parallel()
	g := startInteropGateway(t)
	port, properties := javaPort(t, g, "activemq")
	file := filepath.Join(t.TempDir(), "mebibyte")
	if err := writeFiles(map[string]string{file: mebibyte}); err != nil {
		t.Fatal(err)
	}
	for _, ems := range []bool{true, false} { // a start of Java each
		t.Run(fmt.Sprintf("EMS=%t", ems), func(t *testing.T) {
			cmd := exec.Command("java", append(properties, fmt.Sprintf("-Djdk.tls.useExtendedMasterSecret=%t", ems),
				"--add-opens", "java.base/sun.security.ssl=ALL-UNNAMED", filepath.Join("testdata", "Interop.java"), port, file)...)
			var want strings.Builder
			for _, s := range activemqSuites {
				cmd.Args = append(cmd.Args, s.iana)
				for _, again := range []bool{false, true} {
					fmt.Fprintf(&want, "TLSv1.2 %s ems=%t resumed=%t intact=true\n", s.iana, ems, again)
				}
			}
			out, complaints, err := runSplit(t, cmd)
			if err != nil || out != want.String() {
				t.Errorf("java: %v\n%s\nit reports\n%swant\n%s", err, complaints, out, want.String())
			}
			lines := g.connectionsInOrder(t, 2*len(activemqSuites))
			for i, s := range activemqSuites {
				wantCarried(t, lines[2*i], s, mebibyte, false)
				wantCarried(t, lines[2*i+1], s, mebibyte, true)
			}
		})
	}
}

// TestJavaRefused shows that rabbitmq refuses Java the other sixteen.
func TestJavaRefused(t *testing.T) {
	t.Parallel()
	g := startInteropGateway(t)
	port, properties := javaPort(t, g, "rabbitmq")
	cmd := exec.Command("java", append(properties, filepath.Join("testdata", "Handshake.java"), port)...)
	var want strings.Builder
	for _, s := range refusedByRabbitMQ() {
		cmd.Args = append(cmd.Args, "TLSv1.2", s.iana)
		fmt.Fprintf(&want, "TLSv1.2 %s Received fatal alert: handshake_failure\n", s.iana)
	}
	out, complaints, err := runSplit(t, cmd)
	if err != nil || out != want.String() {
		t.Errorf("java: %v\n%s\nit reports\n%swant\n%s", err, complaints, out, want.String())
	}
	for range refusedByRabbitMQ() {
		wantNoCommonSuite(t, g.connection(t))
	}
}
