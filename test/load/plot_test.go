package load_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"text/template"
)

// bar is Rollbook's rate as a share of the floor's, in one job at so many connections.
type bar struct {
	Connections int
	Ratio       float64
}

// group is the bars of one job.
type group struct {
	Job    string
	Target float64 // at targetsAt connections
	Bars   []bar
}

// The plot is drawn in pixels: a share of 1 is 200 high.
const (
	plotHeight = 200
	plotBase   = 250 // where the bars stand
	plotLeft   = 60
	plotMost   = 1.15 // where higher bars end
	barWidth   = 34
	groupWidth = 150
)

var plot = template.Must(template.New("plot").Funcs(template.FuncMap{
	"x":      func(group, bar int) int { return plotLeft + group*groupWidth + bar*(barWidth+4) },
	"y":      func(ratio float64) float64 { return plotBase - plotHeight*min(ratio, plotMost) },
	"height": func(ratio float64) float64 { return plotHeight * min(ratio, plotMost) },
	"middle": func(x int) int { return x + barWidth/2 },
	"add":    func(a, b int) int { return a + b },
	"short":  func(ratio float64) string { return fmt.Sprintf("%.2f", ratio) },
	"shade":  func(bar int) string { return []string{"#9ecae1", "#3182bd", "#08519c"}[bar%3] },
}).Parse(`<svg xmlns="http://www.w3.org/2000/svg" width="680" height="300" font-family="sans-serif" font-size="12">
<title>Rollbook's requests a second, as a share of the floor's</title>
<rect width="680" height="300" fill="white"/>
<text x="20" y="20" font-size="14">Requests a second, as a share of the floor's, at {{range $i, $b := (index . 0).Bars}}{{if $i}}, {{end}}{{$b.Connections}}{{end}} connections</text>
<line x1="40" x2="660" y1="{{y 1.0}}" y2="{{y 1.0}}" stroke="#888" stroke-dasharray="4"/><text x="14" y="{{y 1.0}}" dy="4">1.00</text>
<line x1="40" x2="660" y1="{{y 0}}" y2="{{y 0}}" stroke="black"/>
{{range $g, $group := .}}{{range $i, $b := $group.Bars}}{{$x := x $g $i -}}
<rect x="{{$x}}" y="{{y $b.Ratio}}" width="34" height="{{height $b.Ratio}}" fill="{{shade $i}}"/><text x="{{middle $x}}" y="{{y $b.Ratio}}" dy="-4" text-anchor="middle">{{short $b.Ratio}}</text>
{{end}}{{$x := x $g 0 -}}
<line x1="{{$x}}" x2="{{add $x 110}}" y1="{{y $group.Target}}" y2="{{y $group.Target}}" stroke="#d62728"/>
<text x="{{add $x 55}}" y="268" text-anchor="middle">{{$group.Job}}</text>
{{end}}<text x="20" y="290" fill="#d62728">The red lines are what is wanted at 32 connections.</text>
</svg>
`))

// Where the results stand in docs/speed.md.
const (
	tableBegins = "<!-- what `make bench` writes begins -->\n"
	tableEnds   = "<!-- it ends -->\n"
)

// publish writes the plot and the results to docs/.
func publish(t testing.TB, groups []group, text string) {
	t.Helper()
	const page = "../../docs/speed.md"
	old, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(old), tableBegins)
	_, after, ended := strings.Cut(rest, tableEnds)
	if !begun || !ended {
		t.Fatalf("%s has no place for the results", page)
	}
	var svg strings.Builder
	if err := plot.Execute(&svg, groups); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		page: before + tableBegins + text + tableEnds + after, "../../docs/speed.svg": svg.String(),
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
