package main

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v4"

	"github.com/suitegate/suitegate/proxy/metrics"
)

const (
	dashboardFile = "../../configs/grafana/suitegate.json"
	alertsFile    = "../../configs/prometheus/alerts.yml"
	alertTests    = "../../configs/prometheus/alerts_test.yml"
)

// TestAlerts has Prometheus's own tool judge the rules: their syntax, and what
// fires when.
func TestAlerts(t *testing.T) {
	promtool(t, "check", "rules", alertsFile)
	promtool(t, "test", "rules", alertTests)
	tests, err := os.ReadFile(alertTests)
	if err != nil {
		t.Fatal(err)
	}
	for alert := range alerts(t) {
		if !strings.Contains(string(tests), `{alertname="`+alert+`"}`) {
			t.Errorf("%s never fires in %s", alert, filepath.Base(alertTests))
		}
	}
}

// TestDashboardExpressions has Prometheus parse what the dashboard asks.
func TestDashboardExpressions(t *testing.T) {
	type rule struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var rules []rule
	for _, expr := range dashboardExpressions(t) {
		if strings.HasPrefix(expr, "label_values(") {
			continue // which is Grafana's own
		}
		expr = strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$instance", ".*", "$listener", ".*").Replace(expr)
		rules = append(rules, rule{"dashboard:panel", expr})
	}
	if len(rules) < 40 {
		t.Fatalf("%d expressions: this test no longer reads the dashboard", len(rules))
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", "--lint=none", file)
}

// TestMonitoringNames: a metric or label that the gateway does not have would
// be an empty panel, and an alert that never fires.
func TestMonitoringNames(t *testing.T) {
	known := exposed(t)
	check := func(where, expr string) {
		names, labels := namesIn(expr)
		of := map[string]bool{"job": true, "instance": true, "le": true} // which Prometheus adds
		for _, name := range names {
			if _, ok := known[name]; !ok {
				t.Errorf("%s: there is no metric %s", where, name)
			}
			for _, label := range known[name] {
				of[label] = true
			}
		}
		for _, label := range labels {
			if !of[label] {
				t.Errorf("%s: none of %v has a label %s", where, names, label)
			}
		}
	}
	for name, expr := range alerts(t) {
		check(name, expr)
	}
	for _, expr := range dashboardExpressions(t) {
		check("dashboard: "+expr, expr)
	}
}

func TestNamesIn(t *testing.T) {
	names, labels := namesIn(`sum by (le, a) (rate(suitegate_x_total{b="up{c}", d=~"$d"}[5m])) / on (e) group_left (f) up and process_y > time()`)
	slices.Sort(labels)
	if want := []string{"suitegate_x_total", "up", "process_y"}; !slices.Equal(names, want) {
		t.Errorf("metrics %q, want %q", names, want)
	}
	if want := []string{"a", "b", "d", "e", "f", "le"}; !slices.Equal(labels, want) {
		t.Errorf("labels %q, want %q", labels, want)
	}
}

// namesIn are the metrics in an expression of PromQL, and the labels that it
// asks for. It is no parser: promtool is, and has found nothing wrong.
func namesIn(expr string) (names, labels []string) {
	quotes := regexp.MustCompile(`"[^"]*"`)
	expr = quotes.ReplaceAllString(expr, `""`)
	for _, matchers := range regexp.MustCompile(`\{([^}]*)\}`).FindAllStringSubmatch(expr, -1) {
		for _, label := range regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`).FindAllStringSubmatch(matchers[1], -1) {
			labels = append(labels, label[1])
		}
	}
	grouping := regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	for _, list := range grouping.FindAllStringSubmatch(expr, -1) {
		labels = append(labels, regexp.MustCompile(`\w+`).FindAllString(list[1], -1)...)
	}
	for _, label := range regexp.MustCompile(`label_values\(.*, (\w+)\)`).FindAllStringSubmatch(expr, -1) {
		labels = append(labels, label[1])
	}
	rest := regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(grouping.ReplaceAllString(expr, ""), "")
	names = regexp.MustCompile(`\b(?:suitegate|process|go)_\w+|\bup\b`).FindAllString(rest, -1)
	return names, labels
}

// exposed are the metrics of the gateway and their labels.
func exposed(t *testing.T) map[string][]string {
	t.Helper()
	descriptions := make(chan *prometheus.Desc)
	go func() {
		metrics.New().Registry().Describe(descriptions)
		close(descriptions)
	}()
	pattern := regexp.MustCompile(`fqName: "(\w+)".* variableLabels: {([a-z_,]*)}`)
	known := map[string][]string{"up": nil}
	for description := range descriptions {
		match := pattern.FindStringSubmatch(description.String())
		if match == nil {
			t.Fatalf("%s: this test no longer reads descriptions", description)
		}
		known[match[1]] = strings.FieldsFunc(match[2], func(r rune) bool { return r == ',' })
	}
	const histogram = "suitegate_handshake_seconds"
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		known[histogram+part] = known[histogram]
	}
	delete(known, histogram)
	return known
}

// alerts are the expressions of the rules, by their names.
func alerts(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			if all[rule.Alert] != "" {
				t.Errorf("two alerts %s", rule.Alert)
			}
			all[rule.Alert] = rule.Expr
		}
	}
	if len(all) == 0 {
		t.Fatal("no alerts: this test no longer reads them")
	}
	return all
}

// dashboardExpressions are the queries of the dashboard, those of its variables
// and annotations included.
func dashboardExpressions(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard any
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	var all []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				if expr, ok := v[key].(string); ok && (key == "expr" || key == "definition") {
					all = append(all, expr)
				} else {
					walk(v[key])
				}
			}
		}
	}
	walk(dashboard)
	return all
}

// promtool runs it, and shows what it says if it is not content.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	needsProgram(t, "promtool")
	if output, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}
