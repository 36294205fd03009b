package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/suitegate/suitegate/proxy/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listen starts a node that accepts and closes, and returns its address.
func listen(t *testing.T, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	})
	t.Cleanup(func() { l.Close(); accepting.Wait() })
	return l.Addr().String()
}

// refusing returns an address where nothing listens.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().String()
}

// silent returns the address of a node that never answers: its queue of
// unaccepted connections is full, and the kernel drops what else comes.
func silent(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 10 {
		c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue of unaccepted connections does not fill up")
	return ""
}

func pool(addresses ...string) *Pool {
	return poolOf(Settings{}, addresses...)
}

// poolOf is one with other settings.
func poolOf(settings Settings, addresses ...string) *Pool {
	p := &Pool{Name: "rabbit"}
	for _, a := range addresses {
		settings.Nodes = append(settings.Nodes, Node{Address: a})
	}
	p.Configure(settings)
	return p
}

// somebody is a client.
var somebody = netip.MustParseAddr("192.0.2.1")

// dial returns the address of the node that p chose.
func dial(t *testing.T, p *Pool) string {
	t.Helper()
	c, b, err := p.Dial(t.Context(), somebody)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	b.Release()
	return b.Address
}

func TestRoundRobin(t *testing.T) {
	a, b, c := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	p := pool(a, b, c)
	var got []string
	for range 7 {
		got = append(got, dial(t, p))
	}
	if want := []string{a, b, c, a, b, c, a}; !slices.Equal(got, want) {
		t.Errorf("nodes %q, want %q", got, want)
	}
}

func TestRoundRobinConcurrently(t *testing.T) {
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	p := pool(a, b)
	var mu sync.Mutex
	count := make(map[string]int)
	var dialers sync.WaitGroup
	for range 8 {
		dialers.Go(func() {
			for range 25 {
				c, node, err := p.Dial(t.Context(), somebody)
				if err != nil {
					t.Error(err)
					return
				}
				c.Close()
				node.Release()
				mu.Lock()
				count[node.Address]++
				mu.Unlock()
			}
		})
	}
	dialers.Wait()
	if count[a] != 100 || count[b] != 100 {
		t.Errorf("shares %v of 200, want equal ones", count)
	}
}

func TestNextNodeWhenOneFails(t *testing.T) {
	down, up := refusing(t), listen(t, "127.0.0.1:0")
	p := pool(down, up, refusing(t))
	for range 4 {
		if got := dial(t, p); got != up {
			t.Errorf("node %s, want %s", got, up)
		}
	}

	p = poolOf(Settings{ConnectTimeout: 50 * time.Millisecond}, silent(t), up)
	if got := dial(t, p); got != up {
		t.Errorf("node %s, want %s", got, up)
	}
}

func TestIPv6(t *testing.T) {
	up := listen(t, "[::1]:0")
	if got := dial(t, pool(up)); got != up {
		t.Errorf("node %s, want %s", got, up)
	}
}

// resolver answers from a table of A records, through a DNS server on loopback.
func resolver(t *testing.T, table map[string][]string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		addresses, known := table[q.Question[0].Name]
		if !known {
			m.Rcode = dns.RcodeNameError
		}
		if q.Question[0].Qtype == dns.TypeA {
			for _, a := range addresses {
				m.Answer = append(m.Answer, &dns.A{
					Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET},
					A:   net.ParseIP(a),
				})
			}
		}
		w.WriteMsg(m)
	}
	started := make(chan struct{})
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(handler), NotifyStartedFunc: func() { close(started) }}
	var serving sync.WaitGroup
	serving.Go(func() { server.ActivateAndServe() })
	<-started
	t.Cleanup(func() { server.Shutdown(); serving.Wait() })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// A name's dead address hides none of its living ones.
func TestDNSNames(t *testing.T) {
	_, port, err := net.SplitHostPort(listen(t, "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	name := net.JoinHostPort("broker.test", port)
	p := pool(name)
	p.Resolver = resolver(t, map[string][]string{"broker.test.": {"127.0.0.2", "127.0.0.1"}})
	if got, want := dial(t, p), "127.0.0.1:"+port; got != want {
		t.Errorf("node %s, want %s", got, want)
	}
}

func TestDialErrors(t *testing.T) {
	down, dead, up := refusing(t), silent(t), listen(t, "127.0.0.1:0")
	names := resolver(t, nil)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancelExpired := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancelExpired()

	for _, tt := range []struct {
		name      string
		ctx       context.Context
		addresses []string
		reason    string
		tried     int
		is        error
	}{
		{"refused", t.Context(), []string{down}, "upstream_refused", 1, syscall.ECONNREFUSED},
		{"all refused", t.Context(), []string{down, refusing(t), refusing(t)}, "upstream_refused", 3, syscall.ECONNREFUSED},
		{"timeout", t.Context(), []string{dead}, "upstream_timeout", 1, nil},
		{"deadline of ctx", expired, []string{dead, up}, "upstream_timeout", 1, nil},
		{"DNS", t.Context(), []string{"nowhere.test:5672"}, "upstream_dns", 1, nil},
		{"for several reasons", t.Context(), []string{down, "nowhere.test:5672"}, "upstream_unreachable", 2, syscall.ECONNREFUSED},
		{"no port", t.Context(), []string{"127.0.0.1"}, "upstream_error", 1, nil},
		{"canceled", canceled, []string{up, down}, "upstream_canceled", 1, context.Canceled},
		{"no nodes", t.Context(), nil, "upstream_error", 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := poolOf(Settings{ConnectTimeout: 200 * time.Millisecond}, tt.addresses...)
			p.Resolver = names
			_, _, err := p.Dial(tt.ctx, somebody)
			var failed *DialError
			if !errors.As(err, &failed) {
				t.Fatalf("error %v, want a *DialError", err)
			}
			if got := failed.Reason(); got != tt.reason {
				t.Errorf("reason %s, want %s (%v)", got, tt.reason, err)
			}
			if len(failed.Nodes) != tt.tried {
				t.Errorf("%d nodes tried, want %d", len(failed.Nodes), tt.tried)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
			if !strings.HasPrefix(err.Error(), "upstream: rabbit: ") {
				t.Errorf("%q does not say where it comes from", err)
			}
			for _, n := range failed.Nodes {
				host, _, _ := strings.Cut(n.Node, ":")
				if !strings.Contains(err.Error(), host) {
					t.Errorf("%q does not name %s", err, host)
				}
			}
		})
	}
}

func TestReason(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{syscall.EHOSTUNREACH, "upstream_unreachable"},
		{syscall.ENETUNREACH, "upstream_unreachable"},
		{syscall.EMFILE, "upstream_resources"},
		{syscall.EADDRNOTAVAIL, "upstream_resources"},
		{syscall.ETIMEDOUT, "upstream_timeout"},
		{syscall.EINVAL, "upstream_error"},
	} {
		err := &DialError{Nodes: []NodeError{{Err: &net.OpError{Op: "dial", Err: tt.err}}}}
		if got := err.Reason(); got != tt.want {
			t.Errorf("reason of %v is %s, want %s", tt.err, got, tt.want)
		}
	}
}

func TestSocketOptions(t *testing.T) {
	up := listen(t, "127.0.0.1:0")
	for _, tt := range []struct {
		name                  string
		config                net.KeepAliveConfig
		idle, interval, count int
	}{
		{"defaults", net.KeepAliveConfig{}, 30, 10, 3},
		{"configured", net.KeepAliveConfig{Enable: true, Idle: 7 * time.Second, Interval: 2 * time.Second, Count: 4}, 7, 2, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := poolOf(Settings{KeepAlive: tt.config}, up)
			c, _, err := p.Dial(t.Context(), somebody)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for _, option := range []struct {
				name                string
				level, option, want int
			}{
				{"TCP_NODELAY", syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1},
				{"SO_KEEPALIVE", syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
				{"TCP_KEEPIDLE", syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, tt.idle},
				{"TCP_KEEPINTVL", syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, tt.interval},
				{"TCP_KEEPCNT", syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, tt.count},
			} {
				if got := getsockopt(t, c, option.level, option.option); got != option.want {
					t.Errorf("%s is %d, want %d", option.name, got, option.want)
				}
			}
		})
	}
}

func getsockopt(t *testing.T, c *net.TCPConn, level, option int) int {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var value int
	var getErr error
	if err := errors.Join(raw.Control(func(fd uintptr) { value, getErr = syscall.GetsockoptInt(int(fd), level, option) }), getErr); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestAttemptsAreCounted(t *testing.T) {
	down, up := refusing(t), listen(t, "127.0.0.1:0")
	p := pool(down, up)
	p.Metrics = metrics.New()
	dial(t, p)
	dial(t, p)
	want := fmt.Sprintf(`
# HELP suitegate_upstream_dials_total Attempts to connect to a broker node.
# TYPE suitegate_upstream_dials_total counter
suitegate_upstream_dials_total{node=%q,result="ok",upstream="rabbit"} 2
suitegate_upstream_dials_total{node=%q,result="upstream_refused",upstream="rabbit"} 1
`, up, down)
	if err := testutil.GatherAndCompare(p.Metrics.Registry(), strings.NewReader(want), "suitegate_upstream_dials_total"); err != nil {
		t.Error(err)
	}
}
