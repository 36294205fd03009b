package bench

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/suitegate/suitegate/policy"
)

const (
	handshakeSeconds = 2         // of one measurement of one server
	bulkBytes        = 128 << 20 // likewise
)

// BenchmarkSuites measures each suite of activemq on the gateway as a process
// with one worker, beside OpenSSL's own server and, where it is installed,
// HAProxy with one thread: all with the same RSA-2048 certificate, and in turn
// in each round, because the machine's mood is what varies most.
//
//	go test -run '^$' -bench Suites -benchtime 3x ./bench
//
// measures three rounds and reports their medians: "cpu-ms/hs", the processor
// time of the server's process for a full handshake, from /proc; "hs/s", what
// one client that shares the machine got done; "MB/s" to one client, and
// "MB/cpu-s". A "ratio" is the gateway's processor time divided by the peer's
// in the same round. The gateway and HAProxy dial a broker for every handshake
// and read the bulk from one; OpenSSL's server is its own.
func BenchmarkSuites(b *testing.B) {
	servers := startServers(b)
	activemq, _ := policy.Builtin("activemq")
	for _, suite := range activemq.TLS12 {
		b.Run("handshake/"+suite.OpenSSLName, func(b *testing.B) {
			var r rounds
			for b.Loop() {
				for _, s := range servers {
					r.add(s.name, s.handshakes(b, suite))
				}
			}
			r.report(b, servers, "hs/s", func(m measured) (string, float64) { return "cpu-ms/hs", 1000 * m.perUnit() })
		})
		b.Run("bulk/"+suite.OpenSSLName, func(b *testing.B) {
			var r rounds
			for b.Loop() {
				for _, s := range servers {
					r.add(s.name, s.bulk(b, suite))
				}
			}
			r.report(b, servers, "MB/s", func(m measured) (string, float64) { return "MB/cpu-s", 1 / m.perUnit() })
		})
	}
}

// measured is what a server did in a while: handshakes or megabytes.
type measured struct {
	units        float64
	elapsed, cpu time.Duration
}

// perUnit is processor time in seconds. A tick of its clock is added where
// there was none.
func (m measured) perUnit() float64 { return max(m.cpu, tick).Seconds() / m.units }

// rounds are the measurements of each server, by its name.
type rounds map[string][]measured

func (r *rounds) add(name string, m measured) {
	if *r == nil {
		*r = make(rounds)
	}
	(*r)[name] = append((*r)[name], m)
}

// report writes the medians. The first server is compared with the others.
func (r rounds) report(b *testing.B, servers []*server, rate string, cost func(measured) (unit string, value float64)) {
	b.ReportMetric(0, "ns/op") // of a round, which says nothing
	first := r[servers[0].name]
	for i, s := range servers {
		var rates, costs, ratios []float64
		var unit string
		for round, m := range r[s.name] {
			var value float64
			unit, value = cost(m)
			rates = append(rates, m.units/m.elapsed.Seconds())
			costs = append(costs, value)
			ratios = append(ratios, first[round].perUnit()/m.perUnit())
		}
		b.ReportMetric(median(rates), s.name+"-"+rate)
		b.ReportMetric(median(costs), s.name+"-"+unit)
		if i > 0 {
			b.ReportMetric(median(ratios), s.name+"-ratio")
		}
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// server is a process that is measured.
type server struct {
	name             string
	handshake, large string // addresses: of handshakes, and of bulk
	cmd              *exec.Cmd
}

// startServers starts the gateway and its peers, the gateway first.
func startServers(b *testing.B) []*server {
	b.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		b.Skip("it reads the processor time of processes from /proc: ", err)
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		b.Skip("openssl is the client, and not installed: ", err)
	}
	dir := b.TempDir()
	pair := newKeyPair(b, dir, "rsa")
	quiet := listen(b, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	loud := listen(b, sendBulk)
	servers := []*server{startGateway(b, dir, pair, quiet, loud), startOpenSSL(b, dir, pair)}
	if _, err := exec.LookPath("haproxy"); err != nil {
		b.Log("HAProxy is not installed, and not compared: ", err)
		return servers
	}
	return append(servers, startHAProxy(b, dir, pair, quiet, loud))
}

// bulkRequest is what makes OpenSSL's server send the file "bulk"; the broker
// takes any.
const bulkRequest = "GET /bulk HTTP/1.0\r\n\r\n"

// sendBulk is the broker that answers the first bytes of a client.
func sendBulk(conn net.Conn) {
	if _, err := io.ReadFull(conn, make([]byte, len(bulkRequest))); err != nil {
		return // the client tells
	}
	chunk := make([]byte, 64<<10)
	for range bulkBytes / len(chunk) {
		if _, err := conn.Write(chunk); err != nil {
			return
		}
	}
}

func startGateway(b *testing.B, dir string, pair keyPair, quiet, loud string) *server {
	b.Helper()
	program := filepath.Join(dir, "suitegate")
	build := exec.Command("go", "build", "-o", program, "github.com/suitegate/suitegate/cmd/suitegate")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	s := &server{name: "suitegate", handshake: freeAddress(b), large: freeAddress(b)}
	config := writeFile(b, dir, "suitegate.yml", fmt.Sprintf(`admin: {address: "127.0.0.1:0"}
storage: %q
certificates: [{name: rsa, files: {certificate: %q, key: %q}}]
upstreams: {quiet: {nodes: [%q]}, loud: {nodes: [%q]}}
listeners:
  - {name: handshake, address: %q, protocol: tcp, policy: activemq, upstream: quiet}
  - {name: large, address: %q, protocol: tcp, policy: activemq, upstream: loud}
`, dir, pair.certFile, pair.keyFile, quiet, loud, s.handshake, s.large))
	s.cmd = exec.Command(program, "serve", "--config", config)
	s.cmd.Env = append(s.cmd.Environ(), "GOMAXPROCS=1")
	s.start(b, dir)
	return s
}

func startOpenSSL(b *testing.B, dir string, pair keyPair) *server {
	b.Helper()
	bulk := writeFile(b, dir, "bulk", "")
	if err := os.Truncate(bulk, bulkBytes); err != nil {
		b.Fatal(err)
	}
	address := freeAddress(b)
	s := &server{name: "openssl", handshake: address, large: address}
	s.cmd = exec.Command("openssl", "s_server", "-accept", address, "-quiet", "-WWW",
		"-cert", pair.certFile, "-key", pair.keyFile, "-tls1_2", "-cipher", "ALL:@SECLEVEL=0")
	s.start(b, dir)
	return s
}

func startHAProxy(b *testing.B, dir string, pair keyPair, quiet, loud string) *server {
	b.Helper()
	var both strings.Builder
	for _, file := range []string{pair.certFile, pair.keyFile} {
		content, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		both.Write(content)
	}
	pem := writeFile(b, dir, "haproxy.pem", both.String())
	s := &server{name: "haproxy", handshake: freeAddress(b), large: freeAddress(b)}
	const bind = "ssl crt %s ciphers ALL:@SECLEVEL=0 ssl-max-ver TLSv1.2 no-tls-tickets\n"
	config := writeFile(b, dir, "haproxy.cfg", fmt.Sprintf(`global
  nbthread 1
  tune.ssl.default-dh-param 2048
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
listen handshake
  bind %s `+bind+`  server broker %s
listen large
  bind %s `+bind+`  server broker %s
`, s.handshake, pem, quiet, s.large, pem, loud))
	s.cmd = exec.Command("haproxy", "-f", config, "-db")
	s.start(b, dir)
	return s
}

// start runs the server until the benchmark ends, and returns when it listens.
func (s *server) start(b *testing.B, dir string) {
	b.Helper()
	log, err := os.Create(filepath.Join(dir, s.name+".log"))
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, log, log
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait() // killed, as it says
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", s.large)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			out, _ := os.ReadFile(log.Name())
			b.Fatalf("%s does not listen: %v\n%s", s.name, err, out)
		}
	}
}

var connections = regexp.MustCompile(`(?m)^(\d+) connections in \d+ real seconds`)

// handshakes lets a client connect one time after the other.
func (s *server) handshakes(b *testing.B, suite policy.Suite) measured {
	b.Helper()
	client := exec.Command("openssl", "s_time", "-connect", s.handshake, "-new", "-time", strconv.Itoa(handshakeSeconds),
		"-tls1_2", "-cipher", suite.OpenSSLName+":@SECLEVEL=0")
	m, out := s.measure(b, client)
	n := connections.FindStringSubmatch(out)
	if n == nil || n[1] == "0" {
		b.Fatalf("%s: no handshakes of %s:\n%s", s.name, suite, out)
	}
	m.units, _ = strconv.ParseFloat(n[1], 64) // digits
	return m
}

// bulk lets a client receive.
func (s *server) bulk(b *testing.B, suite policy.Suite) measured {
	b.Helper()
	client := exec.Command("openssl", "s_client", "-connect", s.large, "-quiet", "-tls1_2", "-cipher", suite.OpenSSLName+":@SECLEVEL=0")
	client.Stdin = strings.NewReader(bulkRequest)
	counter := new(countingWriter)
	client.Stdout = counter
	m, _ := s.measure(b, client)
	if counter.n < bulkBytes {
		b.Fatalf("%s: %d bytes came of %d over %s", s.name, counter.n, bulkBytes, suite)
	}
	m.units = float64(counter.n) / 1e6
	return m
}

type countingWriter struct{ n int }

func (w *countingWriter) Write(p []byte) (int, error) {
	w.n += len(p)
	return len(p), nil
}

// measure runs a client to its end, and returns what it printed, if it has no
// output yet.
func (s *server) measure(b *testing.B, client *exec.Cmd) (m measured, printed string) {
	b.Helper()
	var out strings.Builder
	if client.Stdout == nil {
		client.Stdout = &out
	}
	client.Stderr = &out
	begin, before := time.Now(), s.cpu(b)
	if err := client.Run(); err != nil {
		b.Fatalf("%s: %v: %v\n%s", s.name, client.Args, err, out.String())
	}
	return measured{elapsed: time.Since(begin), cpu: s.cpu(b) - before}, out.String()
}

// tick is the unit of processor time in /proc, on every platform of Linux
// (USER_HZ, proc(5)).
const tick = 10 * time.Millisecond

// cpu is the processor time of the server's process until now.
func (s *server) cpu(b *testing.B) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	ticks, err := processorTicks(string(stat))
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(ticks) * tick
}

// processorTicks reads utime and stime, fields 14 and 15 of /proc/PID/stat. The
// second field is the program's name in parentheses, which may hold anything.
func processorTicks(stat string) (int64, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("bench: /proc/PID/stat is %q", stat)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return user + system, errors.Join(err, err2)
}

// freeAddress is one that nothing listens on.
func freeAddress(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func writeFile(b *testing.B, dir, name, content string) string {
	b.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		b.Fatal(err)
	}
	return file
}
