package tlsconn

import (
	"crypto/aes"
	"crypto/hmac"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Timing tests run on request, on a machine that does little else:
//
//	go test -run '^$' -bench Timing -benchtime 1000000x ./proxy/tlsconn
//
// Each compares two classes of input by the method of dudect (Reparaz, Balasch
// and Verbauwhede, "Dude, is my code constant time?", 2017): one class is drawn
// at random for each measurement, and Welch's t-test says whether the mean
// times differ, over all measurements and with the slow tail cut at several
// percentiles. |t| is the largest of these; beyond 10 a difference is certain,
// and below 4.5 none was found. ns-diff is the difference of the means without
// the slowest tenth. A control, which leaks on purpose, shows what the test
// finds in as many measurements.
const (
	certainLeak  = 10
	fewestToFail = 100_000 // measurements
)

// compareTimes measures run on inputs of two classes, of which a number each
// are taken in turns, so that no one input stands for its class. prepare is not
// measured and must leave the caches alike for both.
func compareTimes[T any](b *testing.B, inputs [2][]T, prepare func(T), run func()) (t float64) {
	random := rand.New(rand.NewPCG(1, 2))
	var times [2][]float64
	for b.Loop() {
		class := random.IntN(2)
		prepare(inputs[class][random.IntN(len(inputs[class]))])
		start := time.Now()
		run()
		times[class] = append(times[class], float64(time.Since(start)))
	}
	all := slices.Concat(times[0], times[1])
	slices.Sort(all)
	for _, percentile := range []int{50, 75, 90, 95, 99, 100} {
		limit := all[(len(all)-1)*percentile/100]
		first, second := newSample(times[0], limit), newSample(times[1], limit)
		t = max(t, math.Abs(welch(first, second)))
		if percentile == 90 {
			b.ReportMetric(first.mean-second.mean, "ns-diff")
		}
	}
	b.ReportMetric(t, "|t|")
	return t
}

// A sample is what Welch's t-test wants to know of one.
type sample struct{ n, mean, variance float64 }

// newSample is of the values up to the limit.
func newSample(values []float64, limit float64) (s sample) {
	var squares float64
	for _, v := range values {
		if v > limit {
			continue
		}
		s.n++ // Welford's algorithm
		delta := v - s.mean
		s.mean += delta / s.n
		squares += delta * (v - s.mean)
	}
	s.variance = squares / (s.n - 1)
	return s
}

// welch returns the t statistic of two samples; 0 where one is too small to
// have a variance.
func welch(a, b sample) float64 {
	t := (a.mean - b.mean) / math.Sqrt(a.variance/a.n+b.variance/b.n)
	if math.IsNaN(t) || math.IsInf(t, 0) {
		return 0
	}
	return t
}

// timedRecord is a record of either class: what follows its payload.
type timedRecord struct {
	last     int // length byte of the padding
	wrongMAC int // index of the byte that is wrong, or none
	wrongPad int // the same, in the padding
}

const none = -1

// paddingTimings are pairs of records between which an attacker must find no
// difference. longest is the length byte of the longest padding that fits.
func paddingTimings(macLen, longest int, random *rand.Rand) map[string][2]func() timedRecord {
	of := func(r timedRecord) func() timedRecord { return func() timedRecord { return r } }
	anyPadding := func(wrongMAC int) func() timedRecord {
		return func() timedRecord { return timedRecord{random.IntN(longest + 1), wrongMAC, none} }
	}
	return map[string][2]func() timedRecord{
		"bad MAC, shortest or longest padding":  {of(timedRecord{0, 0, none}), of(timedRecord{longest, 0, none})},
		"bad MAC, shortest or any padding":      {of(timedRecord{0, 0, none}), anyPadding(0)},
		"bad MAC, right or wrong padding":       {of(timedRecord{longest, 0, none}), of(timedRecord{longest, 0, longest / 2})},
		"bad MAC, first or last byte":           {of(timedRecord{15, 0, none}), of(timedRecord{15, macLen - 1, none})},
		"bad MAC or wrong padding":              {of(timedRecord{7, 3, none}), of(timedRecord{7, none, 3})},
		"wrong padding, first or last byte":     {of(timedRecord{longest, none, 0}), of(timedRecord{longest, none, longest - 1})},
		"wrong padding, short or longest":       {of(timedRecord{1, none, 0}), of(timedRecord{longest, none, 0})},
		"accepted, shortest or longest padding": {of(timedRecord{0, none, none}), of(timedRecord{longest, none, none})},
		"accepted, shortest or any padding":     {of(timedRecord{0, none, none}), anyPadding(none)},
		"one class twice":                       {of(timedRecord{15, 0, none}), of(timedRecord{15, 0, none})},
	}
}

// timedLens are the lengths of the fragments whose opening is measured: in the
// shorter one any content may be padding, in the longer one there is payload
// before the longest padding.
var timedLens = []int{112, 384}

// longestPadding returns the length byte of the longest padding that fits.
func longestPadding(scheme recordScheme, fragmentLen int) int {
	return min(maxPadding, fragmentLen-aes.BlockSize-scheme.suite.macLen) - 1
}

// BenchmarkTimingPadding measures the opening of MAC-then-encrypt records of
// one length, each with another payload and MAC.
func BenchmarkTimingPadding(b *testing.B) {
	for _, scheme := range paddedSchemes() {
		for _, size := range timedLens {
			random := rand.New(rand.NewPCG(3, 4))
			hc := scheme.opener()
			fragment := make([]byte, size)
			pairs := paddingTimings(scheme.suite.macLen, longestPadding(scheme, size), random)
			for _, name := range slices.Sorted(maps.Keys(pairs)) {
				b.Run(fmt.Sprintf("%v/%d/%s", scheme.suite.mac, size, name), func(b *testing.B) {
					t := compareTimes(b, timedRecords(scheme, size, random, pairs[name]), func(record []byte) {
						copy(fragment, record)
						hc.seq = 0
					}, func() {
						hc.open(typeData, 0x0303, fragment) // whatever the verdict
					})
					if b.N >= fewestToFail && t > certainLeak {
						b.Errorf("|t| is %.1f: the times differ", t)
					}
				})
			}
		}
	}
}

// BenchmarkTimingControl measures what a straightforward implementation does:
// it hashes as much as the padding says, and differs by it.
func BenchmarkTimingControl(b *testing.B) {
	for _, scheme := range paddedSchemes() {
		for _, size := range timedLens {
			random := rand.New(rand.NewPCG(3, 4))
			block, err := aes.NewCipher(scheme.key)
			if err != nil {
				b.Fatal(err)
			}
			mode := newCBCDecrypter(block)
			mac := hmac.New(scheme.suite.mac.New, scheme.mac)
			header := macHeader{8: typeData, 9: 3, 10: 3}
			fragment, sum := make([]byte, size), make([]byte, 0, maxMACLen)
			pairs := paddingTimings(scheme.suite.macLen, longestPadding(scheme, size), random)
			const name = "bad MAC, shortest or any padding"
			b.Run(fmt.Sprintf("%v/%d/%s", scheme.suite.mac, size, name), func(b *testing.B) {
				t := compareTimes(b, timedRecords(scheme, size, random, pairs[name]), func(record []byte) {
					copy(fragment, record)
				}, func() {
					payload := decryptCBC(mode, fragment)
					padding, _ := checkPadding(payload, scheme.suite.macLen)
					n := len(payload) - scheme.suite.macLen - padding
					header.setLength(n)
					sum = appendMAC(sum[:0], mac, &header, payload[:n])
					hmac.Equal(sum, payload[n:n+scheme.suite.macLen])
				})
				if b.N >= fewestToFail && t < certainLeak {
					b.Errorf("|t| is %.1f: too noisy a machine to find what leaks", t)
				}
			})
		}
	}
}

// timedRecords returns many fragments of each class, all of that length.
func timedRecords(scheme recordScheme, size int, random *rand.Rand, classes [2]func() timedRecord) (fragments [2][][]byte) {
	for i := range 2 * 200 {
		class := i % 2
		r := classes[class]()
		f := forgery{
			payload: make([]byte, size-aes.BlockSize-scheme.suite.macLen-r.last-1),
			padding: paddingOf(r.last),
			mac: func(mac []byte) {
				if r.wrongMAC != none {
					mac[r.wrongMAC] ^= 1
				}
			},
		}
		for j := range f.payload {
			f.payload[j] = byte(random.Uint32())
		}
		if r.wrongPad != none {
			f.padding[r.wrongPad] ^= 1
		}
		fragments[class] = append(fragments[class], scheme.forge(f))
	}
	return fragments
}
