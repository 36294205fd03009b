package limits

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func mustAdmit(t *testing.T, c *Clients, client string, limits ClientLimits) Lease {
	t.Helper()
	lease, err := c.Admit(addr(client), limits)
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

func TestClientOf(t *testing.T) {
	for _, tt := range []struct{ addr, client string }{
		{"192.0.2.1", "192.0.2.1"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
		{"2001:db8:1:2::", "2001:db8:1:2::"},
		{"fe80::1%eth0", "fe80::"},
	} {
		if got := clientOf(addr(tt.addr)); got != addr(tt.client) {
			t.Errorf("%s is %v, want %s", tt.addr, got, tt.client)
		}
	}
}

func TestClientConnections(t *testing.T) {
	var c Clients
	limits := ClientLimits{Connections: 2}
	first := mustAdmit(t, &c, "192.0.2.1", limits)
	second := mustAdmit(t, &c, "::ffff:192.0.2.1", limits)
	_, err := c.Admit(addr("192.0.2.1"), limits)
	wantRefusal(t, err, "client_connection_limit", 80)
	mustAdmit(t, &c, "192.0.2.2", limits) // another has places of its own
	second.HandshakeOver()
	if _, err := c.Admit(addr("192.0.2.1"), limits); err == nil {
		t.Error("a connection that is through its handshake does not count")
	}
	first.End()
	first.End() // has no effect
	mustAdmit(t, &c, "192.0.2.1", limits)
	if _, err := c.Admit(addr("192.0.2.1"), limits); err == nil {
		t.Error("a connection that ended twice counts twice")
	}
	// A reload may lower the limit below what is there, lift it, or set one
	// where there was none: what is open counts.
	if _, err := c.Admit(addr("192.0.2.1"), ClientLimits{Connections: 1}); err == nil {
		t.Error("admitted over a limit that was lowered")
	}
	mustAdmit(t, &c, "192.0.2.1", ClientLimits{})
	_, err = c.Admit(addr("192.0.2.1"), ClientLimits{Connections: 3})
	wantRefusal(t, err, "client_connection_limit", 80)
	mustAdmit(t, &c, "192.0.2.1", ClientLimits{Connections: 4})
}

func TestClientHandshakes(t *testing.T) {
	var c Clients
	limits := ClientLimits{Handshakes: 1}
	first := mustAdmit(t, &c, "2001:db8::1", limits)
	_, err := c.Admit(addr("2001:db8::2"), limits) // of the same /64
	wantRefusal(t, err, "client_handshake_limit", 80)
	mustAdmit(t, &c, "2001:db8:0:1::1", limits)
	first.HandshakeOver()
	first.HandshakeOver() // has no effect
	second := mustAdmit(t, &c, "2001:db8::2", limits)
	if _, err := c.Admit(addr("2001:db8::3"), limits); err == nil {
		t.Error("a handshake that was over twice counts twice")
	}
	second.End() // in its handshake
	mustAdmit(t, &c, "2001:db8::3", limits)
}

func TestClientRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Clients
		limits := ClientLimits{HandshakeRate: Rate{3, time.Second}}
		admitted := func(client string) (n int) {
			for range 10 {
				lease, err := c.Admit(addr(client), limits)
				if err == nil {
					lease.End()
					n++
				} else {
					wantRefusal(t, err, "client_handshake_rate", 80)
				}
			}
			return n
		}
		if n := admitted("192.0.2.1"); n != 3 {
			t.Errorf("%d at once, want 3", n)
		}
		time.Sleep(time.Second / 3)
		if n := admitted("192.0.2.1"); n != 1 {
			t.Errorf("%d after a third of a second, want 1", n)
		}
		if n := admitted("192.0.2.2"); n != 3 {
			t.Errorf("%d of another client, want 3", n)
		}
		// A reload: the new rate holds for clients that are known.
		limits.HandshakeRate = Rate{60, time.Minute}
		if n := admitted("192.0.2.1"); n != 0 {
			t.Errorf("%d from an empty bucket, for which there is a new rate", n)
		}
		time.Sleep(2500 * time.Millisecond)
		if n := admitted("192.0.2.1"); n != 2 {
			t.Errorf("%d after 2.5 s of one a second, want 2", n)
		}
		// A bucket that is full again is forgotten.
		time.Sleep(time.Minute)
		mustAdmit(t, &c, "192.0.2.3", limits)
		if n := c.Len(); n != 1 {
			t.Errorf("%d clients are known, want one", n)
		}
	})
}

// Without a rate a client that leaves is forgotten at once.
func TestClientsAreForgotten(t *testing.T) {
	var c Clients
	lease := mustAdmit(t, &c, "192.0.2.1", ClientLimits{Connections: 1, Handshakes: 1})
	c.Admit(addr("192.0.2.1"), ClientLimits{Connections: 1}) // refused
	if n := c.Len(); n != 1 {
		t.Errorf("%d clients, want 1", n)
	}
	lease.End()
	if n := c.Len(); n != 0 {
		t.Errorf("%d clients are known when all have left", n)
	}
}

// Many addresses cost no more than maxIdle of them, and those that are
// connected are not among the forgotten.
func TestClientsAreBounded(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var c Clients
	limits := ClientLimits{Connections: 1, HandshakeRate: Rate{1, time.Hour}}
	mustAdmit(t, &c, "192.0.2.1", limits)
	const addresses = 1 << 17
	for i := range uint64(addresses) {
		var a [16]byte
		binary.BigEndian.PutUint64(a[:], 0x2001_0db8_0000_0000|i)
		lease, err := c.Admit(netip.AddrFrom16(a), limits)
		if err != nil {
			t.Fatal(err)
		}
		lease.End()
	}
	if n := c.Len(); n > maxIdle+1 {
		t.Errorf("%d clients are remembered of %d, want %d", n, addresses, maxIdle)
	}
	if _, err := c.Admit(addr("192.0.2.1"), limits); err == nil {
		t.Error("a client was forgotten while it was connected")
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int(after.HeapAlloc) - int(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("%d KiB for %d clients", grown>>10, c.Len())
	}
	runtime.KeepAlive(&c)
}

// Whatever connections do, and many at once, nothing is counted when they have
// ended.
func TestClientsReturnToZero(t *testing.T) {
	var c Clients
	var workers sync.WaitGroup
	for w := range uint64(8) {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(w, 1))
			var open []Lease
			for range 5000 {
				who := netip.AddrFrom4([4]byte{192, 0, 2, byte(random.IntN(5))})
				limits := ClientLimits{Connections: random.IntN(20), Handshakes: random.IntN(10)}
				if lease, err := c.Admit(who, limits); err == nil {
					open = append(open, lease)
				}
				if len(open) == 0 {
					continue
				}
				i := random.IntN(len(open))
				switch random.IntN(3) {
				case 0:
					open[i].HandshakeOver()
				case 1:
					open[i].End()
				}
			}
			for i := range open {
				open[i].End()
			}
		})
	}
	workers.Wait()
	if n := c.Len(); n != 0 {
		t.Errorf("%d clients are known when all have left", n)
	}
}
