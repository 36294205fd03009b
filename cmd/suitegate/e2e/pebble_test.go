package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	gobuild "go/build"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// pebble is an ACME server: Let's Encrypt's, for tests.
type pebble struct {
	*process
	*authority
	config   pebbleConfig
	command  func() *exec.Cmd
	tlsPort  int // where it validates tls-alpn-01
	httpPort int // and http-01
	dns      *nameServer
}

// pebbleConfig is its configuration file, as far as the tests use it.
type pebbleConfig struct {
	ListenAddress           string `json:"listenAddress"`
	ManagementListenAddress string `json:"managementListenAddress"`
	Certificate             string `json:"certificate"`
	PrivateKey              string `json:"privateKey"`
	HTTPPort                int    `json:"httpPort"`
	TLSPort                 int    `json:"tlsPort"`

	ExternalAccountBindingRequired bool              `json:"externalAccountBindingRequired"`
	ExternalAccountMACKeys         map[string]string `json:"externalAccountMACKeys"`

	Profiles map[string]pebbleProfile `json:"profiles"`
}

type pebbleProfile struct {
	Description    string `json:"description"`
	ValidityPeriod int    `json:"validityPeriod"` // in seconds
}

// startPebble runs an ACME server whose certificates live for as long as given,
// until the test ends.
func startPebble(t *testing.T, life time.Duration, change func(*pebbleConfig)) *pebble {
	t.Helper()
	program := requireGoProgram(t, "pebble")
	p := &pebble{authority: pki(t), tlsPort: freePorts.next(), httpPort: freePorts.next(), dns: startNameServer(t)}
	p.config = pebbleConfig{
		ListenAddress: loopback(freePorts.next()), ManagementListenAddress: loopback(freePorts.next()),
		Certificate: filepath.Join(p.dir, "rsa.crt"), PrivateKey: filepath.Join(p.dir, "rsa.key"),
		HTTPPort: p.httpPort, TLSPort: p.tlsPort,
		Profiles: map[string]pebbleProfile{"default": {"for tests", int(life / time.Second)}},
	}
	if change != nil {
		change(&p.config)
	}
	dir := t.TempDir()
	text, err := json.Marshal(map[string]any{"pebble": p.config})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	if err := writeFiles(map[string]string{file: string(text)}); err != nil {
		t.Fatal(err)
	}
	p.command = func() *exec.Cmd {
		cmd := exec.Command(program, "-config", file, "-dnsserver", p.dns.address)
		cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
		return cmd
	}
	p.run(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("output of Pebble:\n%s", p.output())
		}
	})
	return p
}

// run starts the program, which knows nothing of a run before.
func (p *pebble) run(t *testing.T) {
	t.Helper()
	var err error
	if p.process, err = start("pebble", t.TempDir(), p.command()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endProcess(p.process) })
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		response, err := p.client().Get(p.directory())
		if err == nil {
			response.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("Pebble does not answer: %v\n%s", err, p.output())
		}
	}
}

// end ends the program, before the gateway's counters are compared with its
// log: validations come as long as there is somebody to make them.
func (p *pebble) end() { endProcess(p.process) }

func (p *pebble) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.pool}, DisableKeepAlives: true,
	}}
}

func (p *pebble) directory() string { return "https://" + p.config.ListenAddress + "/dir" }

// roots are what clients trust who know the ACME server's own root, which it
// makes each time it starts.
func (p *pebble) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(p.get(t, "/roots/0"))) {
		t.Fatal("Pebble has no root")
	}
	return pool
}

func (p *pebble) get(t *testing.T, path string) string {
	t.Helper()
	response, err := p.client().Get("https://" + p.config.ManagementListenAddress + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// acme is an entry of the gateway's configuration.
func (p *pebble) acme(more map[string]any) certificateConfig {
	settings := map[string]any{"email": "ops@example.com", "directory": p.directory(), "root": p.root}
	for key, value := range more {
		settings[key] = value
	}
	return certificateConfig{Name: "public", ACME: settings}
}

// orders counts the certificates that were issued, from the server's log.
func (p *pebble) orders(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "Issued certificate serial")
}

func endProcess(p *process) {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// requireGoProgram is requireProgram for what `go install` has installed.
func requireGoProgram(t *testing.T, name string) string {
	t.Helper()
	installed := filepath.Join(gobuild.Default.GOPATH, "bin", name)
	if _, err := os.Stat(installed); err == nil {
		return installed
	}
	return requireProgram(t, name)
}

// nameServer is a DNS server by which every name is 127.0.0.1, and whose TXT
// records change by RFC 2136.
type nameServer struct {
	address string
	mu      sync.Mutex
	texts   map[string][]string // by name
}

const (
	tsigName   = "gateway."
	tsigSecret = "c3VpdGVnYXRlIHRlc3RzIG9ubHk=" // base64
	dnsZone    = "example.com."
)

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	s := &nameServer{address: loopback(freePorts.next()), texts: make(map[string][]string)}
	for _, network := range []string{"udp", "tcp"} {
		started := make(chan struct{})
		server := &dns.Server{Addr: s.address, Net: network, Handler: s, TsigSecret: map[string]string{tsigName: tsigSecret},
			MsgAcceptFunc:     func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept },
			NotifyStartedFunc: func() { close(started) }}
		failed := make(chan error, 1)
		go func() { failed <- server.ListenAndServe() }()
		select {
		case <-started:
		case err := <-failed:
			t.Fatal(err)
		}
		t.Cleanup(func() {
			server.Shutdown()
			<-failed
		})
	}
	return s
}

func (s *nameServer) ServeDNS(w dns.ResponseWriter, request *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reply := new(dns.Msg)
	reply.SetReply(request)
	reply.Authoritative = true
	if request.Opcode == dns.OpcodeUpdate {
		if request.IsTsig() == nil || w.TsigStatus() != nil {
			reply.Rcode = dns.RcodeNotAuth
		} else {
			s.update(request.Ns)
			reply.SetTsig(tsigName, dns.HmacSHA256, 300, time.Now().Unix())
		}
	} else {
		for _, question := range request.Question {
			s.answer(question, reply)
		}
	}
	_ = w.WriteMsg(reply)
}

func (s *nameServer) update(records []dns.RR) {
	for _, record := range records {
		text, ok := record.(*dns.TXT)
		if !ok {
			continue
		}
		name, value := text.Hdr.Name, strings.Join(text.Txt, "")
		if text.Hdr.Class == dns.ClassNONE { // RFC 2136 section 2.5.4: delete it
			var left []string
			for _, v := range s.texts[name] {
				if v != value {
					left = append(left, v)
				}
			}
			s.texts[name] = left
			continue
		}
		s.texts[name] = append(s.texts[name], value)
	}
}

func (s *nameServer) answer(question dns.Question, reply *dns.Msg) {
	header := dns.RR_Header{Name: question.Name, Rrtype: question.Qtype, Class: dns.ClassINET, Ttl: 1}
	soa := &dns.SOA{Hdr: dns.RR_Header{Name: dnsZone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 1}, Ns: "ns." + dnsZone, Mbox: "ops." + dnsZone, Serial: 1}
	switch {
	case question.Qtype == dns.TypeA:
		reply.Answer = append(reply.Answer, &dns.A{Hdr: header, A: net.IPv4(127, 0, 0, 1)})
	case question.Qtype == dns.TypeTXT:
		for _, value := range s.texts[question.Name] {
			reply.Answer = append(reply.Answer, &dns.TXT{Hdr: header, Txt: []string{value}})
		}
	case question.Qtype == dns.TypeSOA && question.Name == dnsZone:
		reply.Answer = append(reply.Answer, soa)
	case question.Qtype == dns.TypeSOA:
		reply.Ns = append(reply.Ns, soa)
	}
}

// left counts the TXT records.
func (s *nameServer) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, texts := range s.texts {
		n += len(texts)
	}
	return n
}
