package report

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
)

//go:embed page.html
var page string

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteHTML writes the report as one page, which needs nothing else.
func (r *Report) WriteHTML(w io.Writer) error {
	t, err := template.New("page").Parse(page)
	if err != nil {
		return fmt.Errorf("the page's template: %w", err)
	}
	return t.Execute(w, map[string]any{
		"Title": r.title(), "About": r.about(), "Setup": r.Setup, "Tables": r.tables(), "Asserts": r.Asserts, "Charts": r.charts(),
	})
}

// The charts' size, in the units of their drawing.
const (
	chartWidth, chartHeight = 760.0, 180.0
	left, bottom            = 64.0, 22.0
	plotWidth               = chartWidth - left - 8
	plotHeight              = chartHeight - bottom - 8
)

// chart is a drawing of some curves over the time of the run.
type chart struct {
	Title  string
	Curves []curve
	Grid   []mark // of values
	Times  []mark
	// Window is what was measured.
	WindowFrom, WindowWidth float64
}

type curve struct {
	Name  string
	Color template.CSS
	Path  string
}

type mark struct {
	At   float64
	Text string
}

type line struct {
	name string
	of   func(p *Point) float64
}

func (r *Report) charts() []chart {
	if len(r.Curve) < 2 {
		return nil
	}
	out := []chart{
		r.chart("Sockets", count, line{"open", func(p *Point) float64 { return float64(p.Open) }}),
		r.chart("Events a second", count,
			line{"delivered", func(p *Point) float64 { return p.EventsPerS }},
			line{"conflated", func(p *Point) float64 { return p.MergedPerS }},
			line{"frames", func(p *Point) float64 { return p.FramesPerS }}),
		r.chart("Age of data at healthy clients", millis,
			line{"p50", func(p *Point) float64 { return p.P50 }},
			line{"p99", func(p *Point) float64 { return p.P99 }},
			line{"max", func(p *Point) float64 { return p.Max }}),
	}
	if r.Server != nil {
		out = append(out,
			r.chart("Processors used by the server", count, line{"processors", func(p *Point) float64 { return p.Cores }}),
			r.chart("The server's memory (RSS)", byteSize, line{"RSS", func(p *Point) float64 { return p.RSS }}),
			r.chart("The server's goroutines", count, line{"goroutines", func(p *Point) float64 { return p.Goroutines }}))
	}
	return out
}

func (r *Report) chart(title string, format func(float64) string, lines ...line) chart {
	c := chart{Title: title}
	last := r.Curve[len(r.Curve)-1].At
	top := 0.0
	for i := range r.Curve {
		for _, l := range lines {
			top = max(top, l.of(&r.Curve[i]))
		}
	}
	step := niceStep(top / 4)
	top = step * max(1, math.Ceil(top/step))
	x := func(at float64) float64 { return left + at/last*plotWidth }
	y := func(v float64) float64 { return 8 + plotHeight*(1-v/top) }
	for v := 0.0; v <= top*1.001; v += step {
		c.Grid = append(c.Grid, mark{y(v), format(v)})
	}
	every := niceStep(last / 8)
	for at := 0.0; at <= last; at += every {
		c.Times = append(c.Times, mark{x(at), fmt.Sprintf("%.4g s", at)})
	}
	colors := []template.CSS{"var(--a)", "var(--b)", "var(--c)"}
	for i, l := range lines {
		var path strings.Builder
		for j := range r.Curve {
			letter := 'L'
			if j == 0 {
				letter = 'M'
			}
			fmt.Fprintf(&path, "%c%.1f %.1f", letter, x(r.Curve[j].At), y(l.of(&r.Curve[j])))
		}
		c.Curves = append(c.Curves, curve{Name: l.name, Color: colors[i%len(colors)], Path: path.String()})
	}
	from, to := -1.0, -1.0
	for i := range r.Curve {
		if p := &r.Curve[i]; p.Measured {
			if to = p.At; from < 0 {
				from = to
			}
		}
	}
	if from >= 0 {
		c.WindowFrom, c.WindowWidth = x(from), x(to)-x(from)
	}
	return c
}

// niceStep gives a distance of marks that people can read: 1, 2 or 5 times a power
// of ten, at least v.
func niceStep(v float64) float64 {
	if v <= 0 {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if f*p >= v {
			return f * p
		}
	}
	return 10 * p
}
