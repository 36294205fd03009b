package main

import (
	"bytes"
	"html/template"
)

// Plots are bars, a template's worth of SVG: what draws charts in Go brings
// fonts, rasterisers and several formats along, for rectangles and text.

// plot is a family of scenarios: a bar for each contestant, as long as its ratio,
// with a line from the least to the most of the rounds. It is empty where there
// are no ratios.
func (r *Results) plot(name string) (string, error) {
	const (
		left, right, width = 150, 170, 820
		bar, gap, title    = 16, 4, 24
	)
	page := plotPage{Width: width, Left: left}
	longest := 1.0
	for _, s := range r.Scenarios {
		if family(s.Name) != name || len(s.Metrics) == 0 {
			continue
		}
		for _, row := range s.Metrics[0].Rows {
			if row.Ratio != nil {
				longest = max(longest, row.Ratio.Max)
			}
		}
	}
	x := func(ratio float64) float64 { return left + ratio/longest*(width-left-right) }
	y := 8
	for _, s := range r.Scenarios {
		if family(s.Name) != name || len(s.Metrics) == 0 {
			continue
		}
		m := s.Metrics[0]
		group := plotGroup{Title: s.Text + ": " + m.Name + ", " + m.Unit, Y: y + title - 8}
		y += title
		for _, row := range m.Rows {
			if row.Ratio == nil {
				continue
			}
			b := plotBar{
				Name: row.Name, Y: y, Middle: y + bar/2, Text: y + bar - 4, Height: bar, Length: x(row.Ratio.Median) - left,
				From: x(row.Ratio.Min), To: x(row.Ratio.Max), Label: number(row.Value.Median) + " (" + factor(row.Ratio.Median) + ")", Fill: "#8aa4c8",
			}
			if s.judged(row.Name) {
				b.Fill = "#d9822b"
			}
			b.After = b.To + 6
			group.Bars = append(group.Bars, b)
			y += bar + gap
		}
		group.One, group.Top, group.Bottom = x(1), group.Y+8, y-gap
		y += gap
		if len(group.Bars) > 0 {
			page.Groups = append(page.Groups, group)
		}
	}
	page.Height = y
	if len(page.Groups) == 0 {
		return "", nil
	}
	var text bytes.Buffer
	err := plotTemplate.Execute(&text, page)
	return text.String(), err
}

type plotPage struct {
	Width, Height, Left int
	Groups              []plotGroup
}

type plotGroup struct {
	Title          string
	Y, Top, Bottom int
	One            float64 // where the ratio is 1
	Bars           []plotBar
}

type plotBar struct {
	Name, Label, Fill       string
	Y, Middle, Text, Height int
	Length, From, To, After float64
}

var plotTemplate = template.Must(template.New("plot").Parse(`<svg xmlns="http://www.w3.org/2000/svg" width="{{.Width}}" height="{{.Height}}" viewBox="0 0 {{.Width}} {{.Height}}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
{{- $left := .Left}}
{{- range .Groups}}
<text x="8" y="{{.Y}}" font-weight="bold">{{.Title}}</text>
{{- range .Bars}}
<text x="16" y="{{.Text}}">{{.Name}}</text>
<rect x="{{$left}}" y="{{.Y}}" width="{{printf "%.1f" .Length}}" height="{{.Height}}" fill="{{.Fill}}"/>
<line x1="{{printf "%.1f" .From}}" y1="{{.Middle}}" x2="{{printf "%.1f" .To}}" y2="{{.Middle}}" stroke="#333333"/>
<text x="{{printf "%.1f" .After}}" y="{{.Text}}">{{.Label}}</text>
{{- end}}
<line x1="{{printf "%.1f" .One}}" y1="{{.Top}}" x2="{{printf "%.1f" .One}}" y2="{{.Bottom}}" stroke="#333333" stroke-dasharray="3 3"/>
{{- end}}
</svg>
`))
