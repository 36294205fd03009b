package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// number has three digits that count, and no exponent.
func number(v float64) string {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	decimals := max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

func factor(v float64) string { return "×" + strconv.FormatFloat(v, 'f', 2, 64) }

// head says what was measured, and where.
func (r *Results) head() string {
	var text strings.Builder
	pinned := "one for the gateway, the others for load and backend"
	if !r.Machine.Pinned {
		pinned = "shared by gateway, load and backend"
	}
	fmt.Fprintf(&text, "%s, on %s with %d processors, %s; %s. Rounds: %d, of %s s each.\n\n", r.Date, r.Machine.CPU, r.Machine.CPUs, pinned, r.Machine.Kernel, r.Rounds, number(r.Seconds))
	for i, v := range r.Versions {
		if i > 0 {
			text.WriteString(", ")
		}
		fmt.Fprintf(&text, "%s %s", v.Name, v.Version)
	}
	text.WriteString(".\n")
	return text.String()
}

// summary is a table of what is judged: HAProxy's figure, and the others' ratios
// to it; then suitegate's variants.
func (r *Results) summary() string {
	names := r.contestants()
	var text strings.Builder
	if len(names) > 0 {
		fmt.Fprintf(&text, "| scenario | %s |\n|---|%s\n", strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	}
	var variants []*ScenarioResult
	for _, s := range r.Scenarios {
		if s.Baseline != baselinePeer {
			variants = append(variants, s)
			continue
		}
		for i, m := range s.Metrics {
			if m.Tolerance == 0 {
				continue
			}
			fmt.Fprintf(&text, "| %s: %s |", s.Text, m.Name)
			for _, name := range names {
				fmt.Fprintf(&text, " %s |", s.Metrics[i].cell(name, s.Baseline))
			}
			text.WriteString("\n")
		}
	}
	for i, s := range variants {
		if i == 0 {
			text.WriteString("\n| suitegate by itself | | | |\n|---|---|---|---|\n")
		}
		fmt.Fprintf(&text, "| %s |", s.Text)
		m := s.Metrics[0]
		for i := range 3 {
			if i >= len(m.Rows) {
				text.WriteString(" |")
				continue
			}
			fmt.Fprintf(&text, " %s: %s |", m.Rows[i].Name, m.cell(m.Rows[i].Name, s.Baseline))
		}
		text.WriteString("\n")
	}
	return text.String()
}

// contestants are all who were measured in some scenario, the baseline first.
func (r *Results) contestants() []string {
	var names []string
	for _, v := range r.Versions {
		measured := slices.ContainsFunc(r.Scenarios, func(s *ScenarioResult) bool {
			if s.Baseline != baselinePeer || len(s.Metrics) == 0 {
				return false
			}
			_, ok := s.Metrics[0].row(v.Name)
			return ok
		})
		switch {
		case measured && v.Name == baselinePeer:
			names = slices.Insert(names, 0, v.Name)
		case measured:
			names = append(names, v.Name)
		}
	}
	return names
}

// cell is a ratio, or the figure itself for the baseline and without one.
func (m MetricResult) cell(name, baseline string) string {
	row, ok := m.row(name)
	switch {
	case !ok:
		return "–"
	case row.Ratio == nil || name == baseline:
		return number(row.Value.Median) + " " + m.unit()
	}
	return factor(row.Ratio.Median)
}

// unit is the part of a metric's unit that a table says: what it is for, the
// scenario says.
func (m MetricResult) unit() string {
	short, _, _ := strings.Cut(m.Unit, "/")
	return short
}

// details are tables of all figures, with the least and the most of the rounds.
func (r *Results) details() string {
	var text strings.Builder
	for _, s := range r.Scenarios {
		fmt.Fprintf(&text, "\n### %s\n\n%s%s.\n\n", s.Name, strings.ToUpper(s.Text[:1]), s.Text[1:])
		if len(s.Metrics) > 0 && len(s.Metrics[0].Rows) > 0 {
			s.detail(&text)
		}
		for _, note := range s.Notes {
			fmt.Fprintf(&text, "\n- %s", note)
		}
		if len(s.Notes) > 0 {
			text.WriteString("\n")
		}
	}
	return text.String()
}

func (s *ScenarioResult) detail(text *strings.Builder) {
	text.WriteString("| |")
	for _, m := range s.Metrics {
		fmt.Fprintf(text, " %s, %s | |", m.Name, m.Unit)
	}
	fmt.Fprintf(text, "\n|---|%s\n", strings.Repeat("---:|---|", len(s.Metrics)))
	for _, first := range s.Metrics[0].Rows {
		fmt.Fprintf(text, "| %s |", first.Name)
		for _, m := range s.Metrics {
			row, _ := m.row(first.Name)
			sign := ""
			if row.Limited && m.Name == "rate" {
				sign = "≥ " // the client could do no more
			}
			ratio := ""
			if row.Ratio != nil && first.Name != s.Baseline {
				ratio = fmt.Sprintf("%s (%.2f–%.2f)", factor(row.Ratio.Median), row.Ratio.Min, row.Ratio.Max)
			}
			fmt.Fprintf(text, " %s%s (%s–%s) | %s |", sign, number(row.Value.Median), number(row.Value.Min), number(row.Value.Max), ratio)
		}
		text.WriteString("\n")
	}
}

// markdown is the whole of the results.
func (r *Results) markdown() string {
	var plots strings.Builder
	for _, f := range r.families() {
		if !slices.ContainsFunc(r.Scenarios, func(s *ScenarioResult) bool { return family(s.Name) == f && s.hasRatios() }) {
			continue
		}
		fmt.Fprintf(&plots, "\n![%s](%s.svg)\n", f, f)
	}
	return "# " + r.Date + "\n\n" + r.head() + "\n" + r.summary() + plots.String() + "\n## All figures\n\nMedians of the rounds, with the least and the most; ratios to " + baselinePeer + ", or to the first line of suitegate's own.\n" + r.details()
}

// hasRatios says whether there is anything to plot.
func (s *ScenarioResult) hasRatios() bool {
	return len(s.Metrics) > 0 && slices.ContainsFunc(s.Metrics[0].Rows, func(r Row) bool { return r.Ratio != nil })
}

// families are those of the scenarios, in their order.
func (r *Results) families() (list []string) {
	for _, s := range r.Scenarios {
		if f := family(s.Name); !slices.Contains(list, f) {
			list = append(list, f)
		}
	}
	return list
}

// Between these lines of bench/README.md stands the newest kept result.
const (
	generatedBegin = "<!-- The newest kept result, generated by `make bench`: -->"
	generatedEnd   = "<!-- Until here. -->"
)

// replaceGenerated puts a text between the two lines.
func replaceGenerated(page, text string) (string, error) {
	before, rest, ok := strings.Cut(page, generatedBegin+"\n")
	_, after, ok2 := strings.Cut(rest, generatedEnd)
	if !ok || !ok2 {
		return "", fmt.Errorf("peers: the page has no lines %q and %q", generatedBegin, generatedEnd)
	}
	return before + generatedBegin + "\n\n" + strings.TrimSpace(text) + "\n\n" + generatedEnd + after, nil
}
