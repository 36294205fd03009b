package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

// oldClient is a real client that offers one suite, of DHE and CBC.
type oldClient struct {
	name     string // and that of a listener of its own
	protocol string
	upstream string
	suite    string // OpenSSL's name
	run      func(t *testing.T, server endpoint, s suite)
}

var oldClients = []oldClient{
	{"openwire", "openwire", "activemq-openwire", "DHE-RSA-AES256-SHA", func(t *testing.T, server endpoint, s suite) {
		t.Setenv("JDK_JAVA_OPTIONS", "-Djdk.tls.client.cipherSuites="+s.iana)
		exchangeOpenWire(t, server)
	}},
	{"mosquitto-pub-sub", "mqtt", "mosquitto-mqtt", "DHE-RSA-AES128-SHA", exchangeOldMosquitto},
	{"stomp-activemq", "stomp", "activemq-stomp", "DHE-RSA-AES256-SHA256", func(t *testing.T, server endpoint, s suite) {
		exchangeSTOMP(t, dialOpenSSL(t, server, s), prefetchActiveMQ)
	}},
	{"stomp-rabbitmq", "stomp", "rabbitmq-stomp", "DHE-RSA-AES128-SHA256", func(t *testing.T, server endpoint, s suite) {
		exchangeSTOMP(t, dialOpenSSL(t, server, s), prefetchRabbitMQ)
	}},
}

// TestOldClients carries ten thousand messages with each old client.
func TestOldClients(t *testing.T) {
	all := brokerUpstreams(t)
	c := config{Upstreams: make(map[string]upstreamConfig)}
	for _, client := range oldClients {
		c.Upstreams[client.upstream] = all[client.upstream]
		c.Listeners = append(c.Listeners, listenerConfig{Name: client.name, Protocol: client.protocol, Policy: "activemq", Upstream: client.upstream})
	}
	g := startGateway(t, c)
	for _, client := range oldClients {
		t.Run(client.name, func(t *testing.T) {
			s := activemqSuites[slices.IndexFunc(activemqSuites, func(s suite) bool { return s.openssl == client.suite })]
			client.run(t, g.endpoint(t, client.name, tls.VersionTLS12), s)
			g.log.await(t, "connection", func(r record) bool { return r.text("listener") == client.name }).want(t, record{
				"version": "TLSv1.2", "suite": s.iana, "group": "ffdhe2048", "certificate": "rsa", "engine": own12, "resumed": false,
				"protocol": client.protocol, "upstream": client.upstream,
			})
		})
	}
}

// exchangeOldMosquitto is exchangeMosquitto with the suite that Mosquitto's
// clients are told on their command line.
func exchangeOldMosquitto(t *testing.T, server endpoint, s suite) {
	pub, sub := requireProgram(t, "mosquitto_pub"), requireProgram(t, "mosquitto_sub")
	host, port, err := net.SplitHostPort(server.address)
	if err != nil {
		t.Fatal(err)
	}
	topic := destination(t)
	only := openSSLVersion(t, server.tls.MinVersion) // --tls-version is the lowest one alone
	client := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, append(args, "-h", host, "-p", port, "--cafile", pki(t).root, "-q", "1", "-t", topic,
			"--tls-version", "tlsv1.2", "--ciphers", s.openssl)...)
		cmd.Env = append(cmd.Environ(), only)
		return cmd
	}

	session := []string{"-i", topic, "-c"}
	if out, err := runClient(t, client(sub, append(session, "-E")...)); err != nil {
		t.Fatalf("subscribe: %v\n%s", err, out)
	}
	var lines bytes.Buffer
	for n := range messageCount {
		fmt.Fprintf(&lines, "%s line %d\n", topic, n)
	}
	publish := client(pub, "-l")
	publish.Stdin = bytes.NewReader(lines.Bytes())
	if out, err := runClient(t, publish); err != nil {
		t.Fatalf("publish: %v\n%s", err, out)
	}
	out, err := runClient(t, client(sub, append(session, "-C", strconv.Itoa(messageCount))...))
	if err != nil || out != lines.String() {
		t.Errorf("receive: %v; %d bytes came of %d, or not in order", err, len(out), lines.Len())
	}
}

// opensslConn is a connection through `openssl s_client`, for clients of Go,
// whose own TLS has no DHE.
type opensslConn struct {
	process *process
	in, out *os.File // of the client
}

func dialOpenSSL(t *testing.T, server endpoint, s suite) io.ReadWriteCloser {
	t.Helper()
	stdin, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	var complaints bytes.Buffer
	cmd := exec.Command(requireProgram(t, "openssl"), "s_client", "-quiet", "-verify_quiet", "-connect", server.address,
		"-CAfile", pki(t).root, "-verify_hostname", "localhost", "-verify_return_error",
		"-tls1_2", "-cipher", s.openssl)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, &complaints
	p, err := start("openssl", t.TempDir(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	conn := &opensslConn{p, in, out}
	t.Cleanup(func() {
		conn.Close()
		<-p.done
		if t.Failed() {
			t.Logf("openssl: %s", &complaints)
		}
	})
	return conn
}

func (c *opensslConn) Read(p []byte) (int, error)  { return c.out.Read(p) }
func (c *opensslConn) Write(p []byte) (int, error) { return c.in.Write(p) }

// Close ends the client, which would go on to receive after its input's end.
func (c *opensslConn) Close() error {
	c.process.signal(syscall.SIGTERM) // it may have ended with the connection
	return errors.Join(c.in.Close(), c.out.Close())
}
