package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/policy"
)

func TestExpiryStep(t *testing.T) {
	end := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		lifetime time.Duration
		renewed  bool
		left     [5]time.Duration // when each step comes
	}{
		{365 * day, false, [5]time.Duration{30 * day, 14 * day, 7 * day, day, 0}},
		{90 * day, false, [5]time.Duration{30 * day, 14 * day, 7 * day, day, 0}},
		{30 * day, false, [5]time.Duration{10 * day, 112 * time.Hour, 56 * time.Hour, 8 * time.Hour, 0}},
		{365 * day, true, [5]time.Duration{30 * day, 14 * day, 7 * day, day, 0}},
		{90 * day, true, [5]time.Duration{15 * day, 7 * day, 84 * time.Hour, 12 * time.Hour, 0}},
		{6 * day, true, [5]time.Duration{day, 672 * time.Minute, 336 * time.Minute, 48 * time.Minute, 0}},
		{time.Hour, true, [5]time.Duration{10 * time.Minute, 280 * time.Second, 140 * time.Second, 20 * time.Second, 0}},
	} {
		leaf := &x509.Certificate{NotBefore: end.Add(-tt.lifetime), NotAfter: end}
		for i, left := range tt.left {
			if got := expiryStep(leaf, tt.renewed, end.Add(-left-time.Second)); got != i {
				t.Errorf("%v, renewed %t: step %d just before %v are left, want %d", tt.lifetime, tt.renewed, got, left, i)
			}
			if got := expiryStep(leaf, tt.renewed, end.Add(-left+time.Second)); got != i+1 {
				t.Errorf("%v, renewed %t: step %d just after %v are left, want %d", tt.lifetime, tt.renewed, got, left, i+1)
			}
		}
	}
}

// Each step is logged once, however often the certificates are looked at, and
// whatever else is served.
func TestExpiryWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		certificate := func(source string, from, to time.Duration, renewed bool) servedCertificate {
			return servedCertificate{certs.Certificate{Source: source, Key: policy.RSA, Certificate: &tls.Certificate{Leaf: &x509.Certificate{
				Raw: []byte(fmt.Sprint(from, to)), SerialNumber: big.NewInt(0xabc), DNSNames: []string{"mq.example"},
				NotBefore: start.Add(from), NotAfter: start.Add(to),
			}}}, renewed}
		}
		var mu sync.Mutex
		now := []servedCertificate{
			certificate("year", -325*day, 40*day, false),
			certificate("late", -45*day, 45*day, true),
			certificate("future", 2*day, 300*day, false),
			certificate("past", -10*day, -day, false),
			certificate("twin", -325*day, 40*day, false), // the same as year in another entry
		}
		book := &logBook{}
		w := &expiryWatch{log: slog.New(slog.NewJSONHandler(book, nil)), look: func() []servedCertificate {
			mu.Lock()
			defer mu.Unlock()
			return now
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { w.run(ctx); close(done) }()

		time.Sleep(35*day + time.Hour)
		mu.Lock()
		now = append(now[:1:1], now[2:4]...) // late was renewed at last, twin is gone
		mu.Unlock()
		time.Sleep(10 * day)
		cancel()
		<-done

		var got []string
		for _, line := range book.lines {
			at, err := time.Parse(time.RFC3339, line["time"].(string))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("day %.1f: %s %v: %v, %v days left", at.Sub(start).Hours()/24, line["level"], line["msg"], line["certificate"], line["days_left"]))
		}
		want := []string{
			"day 0.0: WARN certificate is not valid yet: future, 300 days left",
			"day 0.0: ERROR certificate has expired: past, -1 days left",
			"day 10.0: WARN certificate expires soon: year, 30 days left",
			"day 10.0: WARN certificate expires soon: twin, 30 days left",
			"day 26.0: WARN certificate expires soon: year, 14 days left",
			"day 26.0: WARN certificate expires soon: twin, 14 days left",
			"day 30.0: WARN certificate expires soon, and its renewal is late: late, 15 days left",
			"day 33.0: WARN certificate expires soon: year, 7 days left",
			"day 33.0: WARN certificate expires soon: twin, 7 days left",
			"day 39.0: WARN certificate expires soon: year, 1 days left",
			"day 40.0: ERROR certificate has expired: year, 0 days left",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		names := fmt.Sprint(book.lines[2]["names"], book.lines[2]["key"], book.lines[2]["serial"])
		if names != "[mq.example]RSAabc" {
			t.Error(names)
		}
	})
}

// What expires is in the metrics, in the status and in the log, and a
// certificate that is gone is in neither of the first two.
func TestExpiryShown(t *testing.T) {
	soon := time.Now().Add(5*day + time.Hour).Truncate(time.Second)
	old := fileCertificate(t, "old", newKey(t, policy.ECDSAP256), x509.Certificate{NotBefore: soon.AddDate(-1, 0, 0), NotAfter: soon}, "mq.example")
	listener := "storage: " + storage + "\n" + one("tcp", "{tls13}", "127.0.0.1:1", "")
	listener = strings.Replace(listener, "{tls13}", "tls13, certificates: [old]", 1) + "policies: {tls13: {tls13: [TLS_AES_128_GCM_SHA256]}}\n"
	g := startWith(t, parseWith(t, []string{old, "{name: own, self_signed: {}}"}, listener))
	shown := g.status().Certificates
	series := fmt.Sprintf(`suitegate_certificate_not_after_timestamp_seconds{certificate="old",key="ECDSA-P256"} %v`, float64(soon.Unix()))
	if !g.counted(series) {
		t.Errorf("not in the metrics: %s", series)
	}
	if len(shown) != 3 || shown[0].Name != "old" || !shown[0].NotAfter.Equal(soon) || len(shown[0].SHA256) != 64 ||
		fmt.Sprintf("%v %s %s %s", shown[0].Names, shown[0].Key, shown[0].Issuer, shown[0].Serial) != "[mq.example] ECDSA-P256 O=suitegate 1" {
		t.Errorf("%+v", shown)
	}
	line := g.log.wait(t, 1, func(l map[string]any) bool { return l["msg"] == "certificate expires soon" })
	if line["certificate"] != "old" || line["days_left"] != 5.0 || line["level"] != "WARN" {
		t.Errorf("%v", line)
	}

	young := fileCertificate(t, "old", newKey(t, policy.ECDSAP256), x509.Certificate{}, "mq.example")
	if err := g.Apply(parseWith(t, []string{young}, listener)); err != nil {
		t.Fatal(err)
	}
	if shown := g.status().Certificates; g.counted(series) || len(shown) != 1 || !shown[0].NotAfter.After(soon) {
		t.Errorf("after a reload: %+v", shown)
	}
}
