package scan_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/scan"
)

// server is one that is put together at random.
type server struct {
	address     string
	versions    []policy.Version // the oldest first; without gaps, but for nginx
	tls12       []string         // suites below TLS 1.3
	tls13       []string
	groups      []string
	keys        []string // of newKeys
	byServer    bool     // whose order of suites counts
	chachaFirst bool     // the exception that OpenSSL can make of it
	noDH        bool     // it has no Diffie-Hellman prime
	ours        bool     // a listener of the gateway
}

// String is what it takes to put the server together again.
func (s *server) String() string {
	return fmt.Sprintf("%v %v %v groups %v keys %v, by server %t, ChaCha20 first %t", s.versions, s.tls12, s.tls13, s.groups, s.keys, s.byServer, s.chachaFirst)
}

// cipherList is for OpenSSL. The level of security is what lets old versions in.
func (s *server) cipherList() string { return strings.Join(s.tls12, ":") + ":@SECLEVEL=0" }

// suite is a line of `openssl ciphers -V`.
type suite struct{ id, since, exchange, auth string }

var suiteLine = regexp.MustCompile(`(?m)^\s*0x(..),0x(..) - (\S+)\s+(\S+)\s+Kx=(\S+)\s+Au=(\S+)`)

// opensslSuites is what OpenSSL says that lists hold, in its order, which is not
// always that of the list.
func opensslSuites(t *testing.T, list, tls13 string) (suites []suite, names []string) {
	t.Helper()
	out, err := peerCommand(t.Context(), "openssl", "ciphers", "-V", "-s", "-ciphersuites", tls13, list).Output()
	if err != nil {
		t.Fatalf("this test needs openssl: %v", err)
	}
	for _, m := range suiteLine.FindAllStringSubmatch(string(out), -1) {
		suites = append(suites, suite{id: "0x" + m[1] + m[2], since: m[4], exchange: m[5], auth: m[6]})
		names = append(names, m[3])
	}
	return suites, names
}

// implied is what the configuration says that the server accepts, as lines of
// version and suite.
func (s *server) implied(t *testing.T) (lines []string) {
	t.Helper()
	suites, _ := opensslSuites(t, s.cipherList(), strings.Join(s.tls13, ":"))
	rsa := slices.Contains(s.keys, "rsa")
	ecdsa := !rsa || len(s.keys) > 1
	for _, v := range slices.Backward(policyVersions) {
		if !slices.Contains(s.versions, v) {
			continue
		}
		for _, c := range suites {
			since := c.since == "SSLv3" || c.since == "TLSv1" || c.since == "TLSv1.2" && v == policy.TLS12
			has := c.auth == "RSA" && rsa || c.auth == "ECDSA" && ecdsa || c.auth == "None" && (c.exchange != "DH" || !s.noDH)
			if v == policy.TLS13 && c.since == "TLSv1.3" || v < policy.TLS13 && since && has {
				lines = append(lines, v.String()+" "+c.id)
			}
		}
	}
	return lines
}

var (
	policyVersions = []policy.Version{policy.TLS10, policy.TLS11, policy.TLS12, policy.TLS13}
	tls13Suites    = []string{"TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256", "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"}
	curves         = []string{"X25519", "P-256", "P-384", "P-521", "X448"}
)

// some takes at least one.
func some[T any](random *rand.Rand, all []T, most int) []T {
	all = slices.Clone(all)
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+random.IntN(min(most, len(all)))]
}

// randomServer is one that accepts something at least. kind is who serves.
func randomServer(t *testing.T, random *rand.Rand, kind string, tls12 []string) *server {
	t.Helper()
	for {
		s := &server{
			tls12: some(random, tls12, 20), tls13: some(random, tls13Suites, 5), groups: some(random, curves, 5),
			byServer: random.IntN(2) == 0,
		}
		from := random.IntN(4)
		s.versions = policyVersions[from : from+1+random.IntN(4-from)]
		s.keys = [][]string{{"rsa"}, {"P-256"}, {"P-384"}, {"rsa", "P-256"}}[random.IntN(4)]
		switch kind {
		case "haproxy":
			s.keys = s.keys[:1]
			s.chachaFirst = s.byServer  // it always says so
			s.noDH = s.keys[0] != "rsa" // it looks for a prime as strong as the key
		case "nginx":
			s.versions = slices.Sorted(slices.Values(some(random, policyVersions, 4))) // with gaps
			fallthrough
		case "s_server":
			s.chachaFirst = s.byServer && random.IntN(2) == 0
		}
		if !slices.Contains(s.versions, policy.TLS13) {
			s.tls13 = nil
		}
		// OpenSSL takes what is below a gap for all that there is, when it sees to
		// it that there are suites.
		if lines := s.implied(t); len(lines) > 0 && strings.HasPrefix(lines[len(lines)-1], s.versions[0].String()) {
			return s
		}
	}
}

// randomListener is one of ours.
func randomListener(random *rand.Rand) *server {
	s := &server{groups: some(random, []string{"X25519", "P-256", "P-384", "P-521"}, 4), byServer: true, ours: true}
	if random.IntN(2) == 0 {
		s.groups = append(s.groups, "X25519MLKEM768") // which is for TLS 1.3 alone
	}
	var tls12, tls13 []string
	for _, known := range policy.Suites() {
		if known.TLS13() {
			tls13 = append(tls13, known.OpenSSLName)
		} else {
			tls12 = append(tls12, known.OpenSSLName)
		}
	}
	s.tls12, s.tls13 = some(random, tls12, 20), some(random, tls13, 3)
	return s
}

// seed is that of all servers. SCAN_SEED is for other ones.
func seed(t *testing.T) uint64 {
	t.Helper()
	const usual = 624 // the same ones each time
	text := cmp.Or(os.Getenv("SCAN_SEED"), strconv.Itoa(usual))
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("SCAN_SEED=%d makes the same servers again", n)
	return n
}

// TestAgreement holds scans of servers that are put together at random against
// what sslscan finds, what OpenSSL makes of their lists, and what else their
// configurations say.
func TestAgreement(t *testing.T) {
	needPrograms(t, "openssl", "sslscan", "haproxy", "nginx")
	const each = 40
	keys := newKeys(t)
	first := seed(t)
	_, tls12 := opensslSuites(t, "ALL:eNULL:!PSK:!SRP:!DSS:@SECLEVEL=0", "")
	type kind struct {
		name    string
		start   func(*testing.T, []*server, map[string]keyFiles)
		servers []*server
	}
	kinds := []*kind{{name: "s_server", start: startSServers}, {name: "haproxy", start: startHAProxy}, {name: "nginx", start: startNginx}}
	for i, k := range kinds {
		random := rand.New(rand.NewPCG(first, uint64(i)))
		for range each {
			k.servers = append(k.servers, randomServer(t, random, k.name, tls12))
		}
		k.start(t, k.servers, keys)
	}
	ours := &kind{name: "suitegate"}
	random := rand.New(rand.NewPCG(first, uint64(len(kinds))))
	for range each / 4 {
		ours.servers = append(ours.servers, randomListener(random))
	}
	startGateway(t, ours.servers)
	kinds = append(kinds, ours)

	// sslscan waits for most of its time: more than one for each processor.
	slots := make(chan struct{}, 16)
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	outcomes := make(map[*server]chan outcome)
	for _, k := range kinds {
		for _, s := range k.servers {
			done := make(chan outcome, 1)
			outcomes[s] = done
			running.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				done <- askBoth(t.Context(), s.address)
			})
		}
	}
	for _, k := range kinds {
		for i, s := range k.servers {
			t.Run(fmt.Sprintf("%s/%d", k.name, i), func(t *testing.T) {
				o := <-outcomes[s]
				if o.err != nil {
					t.Fatalf("%v\n%s", o.err, s)
				}
				s.hold(t, o)
				if t.Failed() {
					t.Log(s)
				}
			})
		}
	}
}

// outcome is what a scan and sslscan find.
type outcome struct {
	report *scan.Report
	peer   sslscanned
	err    error
}

func askBoth(ctx context.Context, address string) (o outcome) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if o.peer, o.err = sslscan(ctx, address); o.err == nil {
		o.report, o.err = scan.Scan(ctx, address, scan.Options{ServerName: "localhost"})
	}
	return o
}

// hold compares.
func (s *server) hold(t *testing.T, o outcome) {
	t.Helper()
	var versions, suites []string
	groups := make(map[string][]string)
	for _, v := range o.report.Versions {
		versions = append(versions, v.Name)
		for _, c := range v.Suites {
			suites = append(suites, v.Name+" "+c.Hex)
		}
		for _, g := range v.Groups {
			groups[v.Name] = append(groups[v.Name], g.Name)
		}
		if len(v.Suites) > 1 && (v.Preference == scan.ByServer) != s.byServer {
			t.Errorf("%s: preference %s", v.Name, v.Preference)
		}
	}
	for _, note := range o.report.Notes {
		if !strings.Contains(note, "for its ECDSA certificate") && !strings.Contains(note, "none of its") {
			t.Errorf("note %q", note)
		}
	}
	s.holdPeer(t, o.peer, versions, suites, groups)
	if s.ours {
		s.holdPolicy(t, o.report)
		return
	}
	want := s.implied(t)
	if !s.byServer {
		slices.Sort(want)
		slices.Sort(suites)
	}
	same(t, "suites: -configured +scan", want, suites)
	for _, v := range o.report.Versions {
		s.holdGroups(t, v)
	}
	s.holdKeys(t, o.report)
}

// holdGroups compares with the configuration.
func (s *server) holdGroups(t *testing.T, v scan.Version) {
	t.Helper()
	ecdhe := func(c scan.Suite) bool { return v.Name == "TLSv1.3" || strings.HasPrefix(c.Name, "TLS_ECDH") }
	if !slices.ContainsFunc(v.Suites, ecdhe) {
		same(t, v.Name+" groups: -configured +scan", nil, names(v.Groups))
		return
	}
	want, got := slices.Clone(s.groups), names(v.Groups)
	if at := slices.Index(want, v.GroupsHiddenBehind); at >= 0 && s.byServer {
		want = want[:at+1] // the server never chooses the others
	} else if v.GroupsHiddenBehind != "" && (len(got) != 1 || s.byServer) {
		t.Errorf("%s: groups hidden behind %s, of %v", v.Name, v.GroupsHiddenBehind, got)
	} else if v.GroupsHiddenBehind != "" {
		want = got // whose order counts cannot be known
	}
	if !s.byServer {
		slices.Sort(want)
		slices.Sort(got)
	}
	same(t, v.Name+" groups: -configured +scan", want, got)
}

func names(groups []scan.Group) (list []string) {
	for _, g := range groups {
		list = append(list, g.Name)
	}
	return list
}

// holdKeys compares the certificates of TLS 1.3 with the configuration, where
// they can be decrypted.
func (s *server) holdKeys(t *testing.T, r *scan.Report) {
	t.Helper()
	var want, got []string
	suites := slices.DeleteFunc(slices.Clone(s.tls13), func(name string) bool { return strings.Contains(name, "CCM") })
	groups := slices.DeleteFunc(slices.Clone(s.groups), func(name string) bool { return name == "X448" })
	if len(suites) > 0 && len(groups) > 0 {
		for _, key := range s.keys {
			want = append(want, map[string]string{"rsa": "RSA-2048", "P-256": "ECDSA-P-256", "P-384": "ECDSA-P-384"}[key])
		}
	}
	for _, c := range r.Certificates {
		if slices.Contains(c.Versions, "TLSv1.3") {
			got = append(got, c.Key)
		}
	}
	same(t, "TLSv1.3 certificates: -configured +scan", slices.Sorted(slices.Values(want)), got)
}

// holdPeer compares with what sslscan sees, where it has eyes.
func (s *server) holdPeer(t *testing.T, peer sslscanned, versions, suites []string, groups map[string][]string) {
	t.Helper()
	unseen := func(version string) bool { // its hello has no newer curve than NIST's
		return !slices.ContainsFunc(s.groups, func(g string) bool { return strings.HasPrefix(g, "P-") }) && !slices.Contains(peer.versions, version)
	}
	versions = slices.DeleteFunc(slices.Clone(versions), unseen)
	suites = slices.DeleteFunc(slices.Clone(suites), func(line string) bool { return unseen(line[:len("TLSv1.0")]) })
	same(t, "versions: -sslscan +scan", peer.versions, versions)
	// It has an order of its own where the server has none, and puts ChaCha20
	// first in some hellos, for which OpenSSL can make an exception.
	if !s.byServer || s.chachaFirst {
		slices.Sort(peer.suites)
		slices.Sort(suites)
	}
	same(t, "suites: -sslscan +scan", peer.suites, suites)
	// It asks for a group by itself, which one with an ECDSA certificate must
	// refuse, and not in every version nor with every suite.
	for name, found := range peer.groups {
		for _, g := range found {
			if !slices.Contains(groups[name], g) {
				t.Errorf("%s: sslscan finds group %s, scan %v", name, g, groups[name])
			}
		}
		newer := func(g string) bool { return strings.Contains(g, "MLKEM") }
		if name == "TLSv1.3" {
			same(t, "groups: -sslscan +scan", slices.Sorted(slices.Values(found)), slices.Sorted(slices.Values(slices.DeleteFunc(slices.Clone(groups[name]), newer))))
		}
	}
}

// holdPolicy compares with the policy of a listener of ours.
func (s *server) holdPolicy(t *testing.T, r *scan.Report) {
	t.Helper()
	p, err := policy.New("random", s.tls12, s.tls13, s.groups)
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Compare(p); c.Differs() {
		t.Errorf("extra %v, missing %v, order %v", c.Extra, c.Missing, c.Order)
	}
}

func same(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s:\n%s", what, diff)
	}
}

// sslscanned is what sslscan says that a server accepts.
type sslscanned struct {
	versions []string            // the newest first
	suites   []string            // as in "TLSv1.2 0xC02F"
	groups   map[string][]string // by version
}

var (
	sslscanVersion = regexp.MustCompile(`(?m)^(TLSv1\.\d) +enabled`)
	sslscanSuite   = regexp.MustCompile(`(?m)^(?:Preferred|Accepted) +(TLSv1\.\d) .* bits +(0x[0-9A-F]{4}) `)
	sslscanGroup   = regexp.MustCompile(`(?m)^(TLSv1\.\d) +\d+ bits +(?:\w+ \(NIST (P-\d+)\)|(x25519|x448)) *$`)
)

func sslscan(ctx context.Context, address string) (s sslscanned, err error) {
	cmd := peerCommand(ctx, "sslscan", "--no-colour", "--show-cipher-ids", "--no-heartbleed", "--no-fallback", "--no-compression",
		"--no-renegotiation", "--no-check-certificate", "--sni-name=localhost", "--timeout=30", address)
	out, err := cmd.Output()
	if err != nil {
		return s, fmt.Errorf("this test needs sslscan: %w", err)
	}
	s.groups = make(map[string][]string)
	for _, m := range sslscanVersion.FindAllStringSubmatch(string(out), -1) {
		s.versions = append(s.versions, m[1])
	}
	slices.Reverse(s.versions)
	for _, m := range sslscanSuite.FindAllStringSubmatch(string(out), -1) {
		if line := m[1] + " " + m[2]; !slices.Contains(s.suites, line) { // some are there twice
			s.suites = append(s.suites, line)
		}
	}
	for _, m := range sslscanGroup.FindAllStringSubmatch(string(out), -1) {
		s.groups[m[1]] = append(s.groups[m[1]], m[2]+strings.ToUpper(m[3]))
	}
	return s, nil
}
