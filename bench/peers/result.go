package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Results are what a run has measured. It is kept as results.json.
type Results struct {
	Date      string            `json:"date"`
	Machine   Machine           `json:"machine"`
	Versions  []Version         `json:"versions"`
	Rounds    int               `json:"rounds"`
	Seconds   float64           `json:"seconds"` // of a measurement
	Scenarios []*ScenarioResult `json:"scenarios"`
}

// A Machine is what it was measured on.
type Machine struct {
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"` // that could be used
	Kernel string `json:"kernel"`
	Pinned bool   `json:"pinned"` // the gateway to a processor of its own
}

// slug is the machine's name in the name of a folder.
func (m Machine) slug() string {
	words := strings.FieldsFunc(strings.ToLower(m.CPU), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	return fmt.Sprintf("%s-%dcpu", strings.Join(words, "-"), m.CPUs)
}

// A Version is what was measured.
type Version struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// A ScenarioResult is what became of a scenario.
type ScenarioResult struct {
	Name     string         `json:"name"`
	Text     string         `json:"text"`
	Baseline string         `json:"baseline"`
	Metrics  []MetricResult `json:"metrics"`
	Notes    []string       `json:"notes,omitempty"`

	failed  error // of suitegate
	metrics []metric
	order   []string // of the contestants
	rounds  map[string][]measurement
}

// A MetricResult is one figure of all who were measured.
type MetricResult struct {
	metric
	Rows []Row `json:"rows"`
}

// A Row is one figure of one contestant.
type Row struct {
	Name string `json:"name"`
	// Rounds are the values of the rounds, one after the other; Value sums them up.
	Rounds []float64 `json:"rounds"`
	Value  Spread    `json:"value"`
	// Ratio is that to the baseline in the same rounds, or nil without a baseline.
	Ratio *Spread `json:"ratio,omitempty"`
	// Limited says that the client was the limit in some round. Then a rate is the
	// client's.
	Limited bool `json:"limited_by_client,omitempty"`
}

// A Spread is a median, and how far the values reach.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spread sums up at least one value.
func spread(values []float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return Spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1]}
}

// ratios divides the values of the same rounds, if there are as many.
func ratios(values, baseline []float64) *Spread {
	if len(values) == 0 || len(values) != len(baseline) || slices.Contains(baseline, 0) {
		return nil
	}
	quotients := make([]float64, len(values))
	for i, value := range values {
		quotients[i] = value / baseline[i]
	}
	s := spread(quotients)
	return &s
}

func newScenarioResult(s scenario) *ScenarioResult {
	return &ScenarioResult{Name: s.name, Text: s.text, Baseline: s.baseline(), metrics: s.metrics(), rounds: make(map[string][]measurement)}
}

func (r *ScenarioResult) add(name string, m measurement) {
	if r.rounds[name] == nil {
		r.order = append(r.order, name)
	}
	r.rounds[name] = append(r.rounds[name], m)
}

// leaveOut forgets a contestant, and says why.
func (r *ScenarioResult) leaveOut(name string, why error) {
	delete(r.rounds, name)
	r.order = slices.DeleteFunc(r.order, func(n string) bool { return n == name })
	r.Notes = append(r.Notes, fmt.Sprintf("%s is left out: %s", name, strings.Join(strings.Fields(why.Error()), " ")))
}

// sum makes rows of the rounds.
func (r *ScenarioResult) sum() {
	for i, metric := range r.metrics {
		values := func(name string) (list []float64) {
			for _, m := range r.rounds[name] {
				list = append(list, m.values[i])
			}
			return list
		}
		result := MetricResult{metric: metric}
		for _, name := range r.order {
			row := Row{Name: name, Rounds: values(name)}
			row.Value, row.Ratio = spread(row.Rounds), ratios(row.Rounds, values(r.Baseline))
			row.Limited = slices.ContainsFunc(r.rounds[name], func(m measurement) bool { return m.limited })
			result.Rows = append(result.Rows, row)
		}
		r.Metrics = append(r.Metrics, result)
	}
}

func (m MetricResult) row(name string) (Row, bool) {
	i := slices.IndexFunc(m.Rows, func(r Row) bool { return r.Name == name })
	if i < 0 {
		return Row{}, false
	}
	return m.Rows[i], true
}

// find returns a metric's result by the names of scenario and metric.
func (r *Results) find(scenario, metric string) (MetricResult, bool) {
	for _, s := range r.Scenarios {
		for _, m := range s.Metrics {
			if s.Name == scenario && m.Name == metric {
				return m, true
			}
		}
	}
	return MetricResult{}, false
}

// resultsFile is in each folder of results.
const resultsFile = "results.json"

// newestResults are those kept last in a folder: of the same machine, if there
// are any. The names of their folders begin with the date. It returns nil without
// an error where nothing is kept.
func newestResults(dir string, machine Machine) (r *Results, name string, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", resultsFile))
	if err != nil || len(files) == 0 {
		return nil, "", err
	}
	slices.Sort(files)
	newest := files[len(files)-1]
	for _, file := range slices.Backward(files) {
		if strings.HasSuffix(filepath.Base(filepath.Dir(file)), "-"+machine.slug()) {
			newest = file
			break
		}
	}
	content, err := os.ReadFile(newest)
	if err != nil {
		return nil, "", err
	}
	r = new(Results)
	if err := json.Unmarshal(content, r); err != nil {
		return nil, "", fmt.Errorf("%s: %w", newest, err)
	}
	return r, filepath.Base(filepath.Dir(newest)), nil
}

// A change is a ratio that has grown by more than is tolerated.
type change struct {
	scenario, metric, name string
	before, after          float64
	tolerance              float64
}

func (c change) String() string {
	return fmt.Sprintf("%s: %s of %s was ×%.2f and is ×%.2f (%+.0f %%, tolerated are %.0f %%)",
		c.scenario, c.metric, c.name, c.before, c.after, 100*(c.after/c.before-1), 100*c.tolerance)
}

// worse compares suitegate's ratios with earlier ones, and says how many it
// could compare.
func worse(before, after *Results) (changes []change, compared int) {
	for _, s := range after.Scenarios {
		for _, m := range s.Metrics {
			old, ok := before.find(s.Name, m.Name)
			if !ok || m.Tolerance == 0 {
				continue
			}
			for _, row := range m.Rows {
				was, ok := old.row(row.Name)
				if !ok || !s.judged(row.Name) || row.Ratio == nil || was.Ratio == nil {
					continue
				}
				compared++
				if row.Ratio.Median > was.Ratio.Median*(1+m.Tolerance) {
					changes = append(changes, change{s.Name, m.Name, row.Name, was.Ratio.Median, row.Ratio.Median, m.Tolerance})
				}
			}
		}
	}
	return changes, compared
}

// judged says whether a contestant is suitegate, and not what it is compared with.
func (r *ScenarioResult) judged(name string) bool {
	return name != r.Baseline && (name == suitegateName || r.Baseline != baselinePeer)
}
