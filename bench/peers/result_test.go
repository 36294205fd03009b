package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

func TestSpread(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   Spread
	}{
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{4, 1, 2}, Spread{2, 1, 4}},
		{[]float64{4, 1, 2, 3}, Spread{2.5, 1, 4}},
	} {
		before := slices.Clone(tt.values)
		if got := spread(tt.values); got != tt.want || !slices.Equal(before, tt.values) {
			t.Errorf("%v: %+v", before, got)
		}
	}
}

// The median of the ratios of the same rounds: that of the medians would be 1.
func TestRatios(t *testing.T) {
	got := ratios([]float64{2, 4, 30}, []float64{4, 2, 10})
	if want := (Spread{2, 0.5, 3}); got == nil || *got != want {
		t.Errorf("%+v", got)
	}
	for _, baseline := range [][]float64{nil, {1, 2}, {1, 0, 1}} {
		if got := ratios([]float64{1, 2, 3}, baseline); got != nil {
			t.Errorf("to %v: %+v", baseline, got)
		}
	}
}

// sample is what two rounds of three scenarios might have found.
func sample() *Results {
	r := &Results{
		Date: "2026-02-03", Machine: Machine{CPU: "Quick(R) Processor 9000", CPUs: 2, Kernel: "Linux 6.1", Pinned: true}, Rounds: 2, Seconds: 3,
		Versions: []Version{{suitegateName, "0123456789ab"}, {baselinePeer, "2.6.12"}, {"nginx", "1.22.1"}, {"Go", "1.26"}},
	}
	full := newScenarioResult(scenario{name: "handshake/one", text: "full <handshake>", kind: handshakes})
	for i, name := range []string{suitegateName, baselinePeer, "nginx", baselinePeer, "nginx", suitegateName} {
		cost := map[string]float64{suitegateName: 0.5, baselinePeer: 1, "nginx": 1.5}[name] + float64(i)/100
		full.add(name, measurement{[]float64{cost, 1000 / cost, 2 * cost, 30.0 * cost}, name == "nginx"})
	}
	trips := newScenarioResult(scenario{name: "roundtrip/1", text: "round trip", kind: roundTrips, connections: 1})
	trips.add(suitegateName, measurement{[]float64{20.5, 260, 1234.5}, false})
	trips.add("nginx", measurement{[]float64{22, 270, 2000}, false})
	trips.leaveOut("nginx", errors.New("3 connections failed:\nreset by server"))
	scale := newScenarioResult(scenario{name: "scale/listeners", text: "by listeners", kind: handshakes, variants: []variant{{name: "1 listener"}, {name: "10 listeners"}}})
	scale.add("1 listener", measurement{[]float64{0.5, 2000, 1, 2}, false})
	scale.add("10 listeners", measurement{[]float64{0.51, 1990, 1, 2}, false})
	for _, s := range []*ScenarioResult{full, trips, scale} {
		s.sum()
		r.Scenarios = append(r.Scenarios, s)
	}
	return r
}

func TestWorse(t *testing.T) {
	change := func(edit func(*Results)) *Results {
		r := sample()
		edit(r)
		return r
	}
	row := func(r *Results, scenario, metric int, name string) *Row {
		rows := r.Scenarios[scenario].Metrics[metric].Rows
		return &rows[slices.IndexFunc(rows, func(r Row) bool { return r.Name == name })]
	}
	for _, tt := range []struct {
		name     string
		after    *Results
		want     string
		compared int
	}{
		{"the same", sample(), "", 2},
		{"within the tolerance", change(func(r *Results) { row(r, 0, 0, suitegateName).Ratio.Median *= 1.09 }), "", 2},
		{"better", change(func(r *Results) { row(r, 0, 0, suitegateName).Ratio.Median *= 0.5 }), "", 2},
		{"worse", change(func(r *Results) { row(r, 0, 0, suitegateName).Ratio.Median = 0.7 }),
			"handshake/one: CPU of suitegate was ×0.51 and is ×0.70 (+36 %, tolerated are 10 %)", 2},
		{"another peer", change(func(r *Results) { row(r, 0, 0, "nginx").Ratio.Median *= 2 }), "", 2},
		{"a rate", change(func(r *Results) { row(r, 0, 1, suitegateName).Ratio.Median *= 2 }), "", 2},
		{"a variant", change(func(r *Results) { row(r, 2, 0, "10 listeners").Ratio.Median = 1.2 }),
			"scale/listeners: CPU of 10 listeners was ×1.02 and is ×1.20 (+18 %, tolerated are 10 %)", 2},
		{"without a ratio", change(func(r *Results) { row(r, 0, 0, suitegateName).Ratio = nil }), "", 1},
		{"another scenario", change(func(r *Results) { r.Scenarios[0].Name = "handshake/two" }), "", 1},
	} {
		changes, compared := worse(sample(), tt.after)
		var got []string
		for _, c := range changes {
			got = append(got, c.String())
		}
		if strings.Join(got, "\n") != tt.want || compared != tt.compared {
			t.Errorf("%s: %d compared, %q", tt.name, compared, got)
		}
	}
}

func TestCollapsed(t *testing.T) {
	r := sample()
	if err := collapsed(r); err != nil {
		t.Error(err)
	}
	ratio := r.Scenarios[0].Metrics[0].Rows[0].Ratio
	*ratio = Spread{Median: 3.5, Min: 2.9, Max: 4}
	if err := collapsed(r); err != nil {
		t.Error("one round is enough: ", err)
	}
	ratio.Min = 3.1
	if err := collapsed(r); err == nil || !strings.Contains(err.Error(), "handshake/one: CPU is ×3.10") {
		t.Error(err)
	}
	alone := &Results{Scenarios: r.Scenarios[1:]}
	for ci, fails := range map[string]bool{"": false, "true": true} {
		t.Setenv("CI", ci)
		if err := collapsed(alone); (err != nil) != fails {
			t.Errorf("CI=%s: %v", ci, err)
		}
	}
}

func TestKeptResults(t *testing.T) {
	dir := t.TempDir()
	r := sample()
	if got, _, err := newestResults(dir, r.Machine); got != nil || err != nil {
		t.Error(got, err)
	}
	for _, name := range []string{"2026-01-01-" + r.Machine.slug(), "2026-01-02-" + r.Machine.slug(), "2026-01-03-slow-2cpu"} {
		r.Date = name[:10]
		if err := r.write(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		machine Machine
		want    string
	}{
		{r.Machine, "2026-01-02-quick-r-processor-9000-2cpu"},
		{Machine{CPU: "Slow", CPUs: 2}, "2026-01-03-slow-2cpu"},
		{Machine{CPU: "Other", CPUs: 2}, "2026-01-03-slow-2cpu"},
	} {
		got, name, err := newestResults(dir, tt.machine)
		if err != nil || name != tt.want || got.Date != tt.want[:10] {
			t.Errorf("%s: %s, %v", tt.machine.slug(), name, err)
			continue
		}
		got.Date = r.Date
		if diff := cmp.Diff(r, got, cmpopts.IgnoreUnexported(ScenarioResult{}), cmp.AllowUnexported(MetricResult{})); diff != "" {
			t.Errorf("what is read is not what was written (-want +got):\n%s", diff)
		}
	}
	for _, file := range []string{"README.md", "handshake.svg", "scale.svg", resultsFile} {
		if _, err := os.Stat(filepath.Join(dir, "2026-01-01-"+r.Machine.slug(), file)); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "2026-01-03-slow-2cpu", resultsFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := newestResults(dir, Machine{CPU: "Slow", CPUs: 2}); err == nil {
		t.Error("half a file is read")
	}
}

func TestMarkdown(t *testing.T) {
	golden(t, "results.md", sample().markdown())
}

func TestPlot(t *testing.T) {
	r := sample()
	plot, err := r.plot("handshake")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "handshake.svg", plot)
	bars := 0
	decoder := xml.NewDecoder(strings.NewReader(plot))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "rect" {
			bars++
		}
	}
	if bars != 1+3 {
		t.Errorf("%d rectangles for the page and three bars", bars)
	}
	if plot, err := r.plot("roundtrip"); plot != "" || err != nil {
		t.Errorf("without ratios: %q, %v", plot, err)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", file, diff)
	}
}

func TestNumber(t *testing.T) {
	for value, want := range map[float64]string{0: "0", 1.2345: "1.23", 12.345: "12.3", 123.45: "123", 12345.6: "12346", 0.012345: "0.0123", -4.5678: "-4.57"} {
		if got := number(value); got != want {
			t.Errorf("%v: %s", value, got)
		}
	}
}

func TestReplaceGenerated(t *testing.T) {
	page := "a\n" + generatedBegin + "\n\nold\n\n" + generatedEnd + "\nb\n"
	got, err := replaceGenerated(page, "\nnew\n\n")
	if want := "a\n" + generatedBegin + "\n\nnew\n\n" + generatedEnd + "\nb\n"; err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	if again, err := replaceGenerated(got, "new"); err != nil || again != got {
		t.Errorf("a second time: %q, %v", again, err)
	}
	for _, page := range []string{"", generatedBegin + "\n", generatedEnd} {
		if _, err := replaceGenerated(page, "new"); err == nil {
			t.Errorf("%q has both lines", page)
		}
	}
	readme, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := replaceGenerated(string(readme), "new"); err != nil {
		t.Error(err)
	}
}

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		args      string
		code      int
		out, fail string
	}{
		{"--list", exitOK, "roundtrip/50", ""},
		{"--help", exitOK, "Measure suitegate beside", ""},
		{"--lists", exitUsage, "", "unknown flag --lists"},
		{"--keep --scenarios relay", exitFailed, "", "--keep takes no --scenarios"},
		{"--rounds 0", exitFailed, "", "more than nothing"},
		{"--scenarios relais", exitFailed, "", "no scenario matches"},
		{"--peers traefik", exitFailed, "", `there is no peer "traefik"`},
	} {
		var stdout, stderr strings.Builder
		code := run(t.Context(), strings.Fields(tt.args), &stdout, &stderr)
		if code != tt.code || !strings.Contains(stdout.String(), tt.out) || !strings.Contains(stderr.String(), tt.fail) {
			t.Errorf("%s: exit %d\n%s\n%s", tt.args, code, stdout.String(), stderr.String())
		}
	}
}

// Results are JSON that others can read: by these names.
func TestResultsJSON(t *testing.T) {
	content, err := json.Marshal(sample().Scenarios[2].Metrics[0])
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"CPU","unit":"ms/handshake","tolerance":0.1,"rows":[` +
		`{"name":"1 listener","rounds":[0.5],"value":{"median":0.5,"min":0.5,"max":0.5},"ratio":{"median":1,"min":1,"max":1}},` +
		`{"name":"10 listeners","rounds":[0.51],"value":{"median":0.51,"min":0.51,"max":0.51},"ratio":{"median":1.02,"min":1.02,"max":1.02}}]}`
	if string(content) != want {
		t.Errorf("%s", content)
	}
}
