package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lzstock/lzstock/internal/safetext"
)

// millis writes a time in milliseconds as people read it.
func millis(ms float64) string {
	switch {
	case ms == 0:
		return "0"
	case ms < 1:
		return strconv.FormatFloat(ms*1000, 'f', 0, 64) + " µs"
	case ms < 10:
		return strconv.FormatFloat(ms, 'f', 2, 64) + " ms"
	case ms < 1000:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	case ms < 100_000:
		return strconv.FormatFloat(ms/1000, 'f', 2, 64) + " s"
	}
	return strconv.FormatFloat(ms/1000, 'f', 0, 64) + " s"
}

func percent(v float64) string { return strconv.FormatFloat(v*100, 'f', 1, 64) + " %" }

func byteSize(v float64) string {
	for _, u := range []struct {
		name string
		size float64
	}{{" GB", 1e9}, {" MB", 1e6}, {" kB", 1e3}} {
		if math.Abs(v) >= u.size {
			return strconv.FormatFloat(v/u.size, 'f', 1, 64) + u.name
		}
	}
	return strconv.FormatFloat(v, 'f', 0, 64) + " B"
}

// count writes a number with commas, and with two places where it is small.
func count(v float64) string {
	if v != math.Trunc(v) && math.Abs(v) < 100 {
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	digits := strconv.FormatFloat(math.Abs(v), 'f', 0, 64)
	var b strings.Builder
	if v < 0 && digits != "0" {
		b.WriteByte('-')
	}
	for i, c := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

func whole(n uint64) string { return count(float64(n)) }

// row is one line of the report: a name, and values.
type row struct {
	Name   string
	Values []string
}

// table is some rows, with a heading for each value where there are several.
type table struct {
	Title string
	Heads []string
	Rows  []row
}

// tables arranges the report for people.
func (r *Report) tables() []table {
	out := []table{r.clientTable(), r.dataTable(), r.ageTable()}
	if t := r.troubleTable(); len(t.Rows) > 0 {
		out = append(out, t)
	}
	if r.Server != nil {
		out = append(out, r.serverTable())
	}
	return out
}

func (r *Report) clientTable() table {
	c := &r.Clients
	opened := "never"
	if c.OpenedIn > 0 {
		opened = "after " + millis(c.OpenedIn*1000)
	}
	rows := []row{
		{"wanted", []string{count(float64(r.Setup.Clients))}},
		{"open at most", []string{count(float64(c.Peak))}},
		{"all open", []string{opened}},
		{"opened, left by themselves", []string{fmt.Sprintf("%s, %s", whole(c.Opened), whole(c.Left))}},
		{"handshake p50, p99, max", []string{fmt.Sprintf("%s, %s, %s", millis(c.Handshake.P50), millis(c.Handshake.P99), millis(c.Handshake.Max))}},
	}
	if c.Cores > 0 {
		rows = append(rows, row{"processors used for the load", []string{count(math.Round(c.Cores*100) / 100)}})
	}
	if c.Churned > 0 {
		rows = append(rows, row{"left to come back", []string{whole(c.Churned)}})
	}
	return table{Title: "Clients", Rows: rows}
}

type groupRow struct {
	name  string
	value func(g *Group) string
}

// perGroup makes rows of what both groups have; where all clients are healthy
// there is one value.
func (r *Report) perGroup(title string, rows []groupRow) table {
	t := table{Title: title}
	groups := []*Group{&r.Healthy}
	if r.Slow.Clients > 0 {
		t.Heads = []string{"healthy", "stalled, dripping"}
		groups = append(groups, &r.Slow)
	}
	for _, x := range rows {
		line := row{Name: x.name}
		for _, g := range groups {
			line.Values = append(line.Values, x.value(g))
		}
		t.Rows = append(t.Rows, line)
	}
	return t
}

func (r *Report) dataTable() table {
	return r.perGroup("Data, in a window of "+millis(r.Window*1000), []groupRow{
		{"clients", func(g *Group) string { return count(float64(g.Clients)) }},
		{"events/s", func(g *Group) string { return count(math.Round(g.EventsPerS)) }},
		{"frames/s", func(g *Group) string { return count(math.Round(g.FramesPerS)) }},
		{"events a frame", func(g *Group) string { return count(g.EventsPerFrame) }},
		{"bytes/s", func(g *Group) string { return byteSize(g.BytesPerS) }},
		{"conflated", func(g *Group) string { return percent(g.Conflated) }},
		{"events in the whole run", func(g *Group) string { return whole(g.Total.Events) }},
		{"snapshots", func(g *Group) string { return whole(g.Total.Snapshots) }},
		{"losses", func(g *Group) string { return whole(g.Total.Losses) }},
	})
}

func (r *Report) ageTable() table {
	of := func(f func(a *Ages) float64) func(g *Group) string {
		return func(g *Group) string {
			if g.Age.Count == 0 {
				return "none came"
			}
			return millis(f(&g.Age))
		}
	}
	return r.perGroup("Age of data on arrival", []groupRow{
		{"p50", of(func(a *Ages) float64 { return a.P50 })},
		{"p90", of(func(a *Ages) float64 { return a.P90 })},
		{"p99", of(func(a *Ages) float64 { return a.P99 })},
		{"p99.9", of(func(a *Ages) float64 { return a.P999 })},
		{"max", of(func(a *Ages) float64 { return a.Max })},
	})
}

// troubleTable has what should not be, and is empty where nothing is.
func (r *Report) troubleTable() table {
	t := table{Title: "Trouble"}
	add := func(name string, n uint64) {
		if n > 0 {
			t.Rows = append(t.Rows, row{name, []string{whole(n)}})
		}
	}
	for _, c := range slices.SortedFunc(slices.Values(r.Closes), func(a, b Close) int { return cmp.Compare(a.Code, b.Code) }) {
		who := "healthy"
		if c.Slow {
			who = "stalled or dripping"
		}
		text := fmt.Sprintf("closed with %d, %s", c.Code, who)
		if c.Code == 1006 {
			text = "cut off, " + who
		}
		add(text, c.Count)
	}
	for _, m := range []struct {
		name string
		of   map[string]uint64
	}{{"refused with ", r.Refused}, {"not connected: ", r.DialErrors}, {"error ", r.Errors}} {
		for _, k := range slices.Sorted(maps.Keys(m.of)) {
			add(m.name+k, m.of[k])
		}
	}
	add("positions that did not grow", r.Healthy.Total.Disorder+r.Slow.Total.Disorder)
	add("frames that could not be read", r.Healthy.Total.Bad+r.Slow.Total.Bad)
	add("losses announced", r.Gaps)
	add("clients told that the feed is not live", r.Stale)
	add("clients told that conflation begins or ends", r.Throttles)
	return t
}

func (r *Report) serverTable() table {
	s := r.Server
	t := table{Title: "Server", Heads: []string{"before", "peak", "after"}}
	for _, x := range []struct {
		name   string
		of     func(s *Sample) float64
		format func(float64) string
	}{
		{"memory (RSS)", func(s *Sample) float64 { return s.RSS }, byteSize},
		{"goroutines", func(s *Sample) float64 { return s.Goroutines }, count},
		{"open files", func(s *Sample) float64 { return s.Files }, count},
		{"sockets", func(s *Sample) float64 { return s.Sockets }, count},
		{"topics", func(s *Sample) float64 { return s.Topics }, count},
	} {
		t.Rows = append(t.Rows, row{x.name, []string{x.format(x.of(&s.Before)), x.format(x.of(&s.Peak)), x.format(x.of(&s.After))}})
	}
	settled := "not within the time that was waited: " + strings.Join(s.Unsettled, ", ")
	if s.SettledIn >= 0 {
		settled = "within " + millis(s.SettledIn*1000)
	}
	t.Rows = append(t.Rows,
		row{"processors used", []string{count(math.Round(s.Cores*100) / 100)}},
		row{"CPU s / million events", []string{count(math.Round(s.CPUPerMillion*100) / 100)}},
		row{"back to what it was", []string{settled}},
	)
	return t
}

// title says in one line what was run.
func (r *Report) title() string {
	s := &r.Setup
	text := fmt.Sprintf("%s clients × %d of %d symbols (%s), %s", count(float64(s.Clients)), s.Symbols, s.Universe, s.Channels, s.Delivery)
	if s.Profile != "" {
		text += ", profile " + s.Profile
	}
	if s.Stalled > 0 {
		text += ", " + percent(s.Stalled) + " stalled"
	}
	if s.Drip > 0 {
		text += ", " + percent(s.Drip) + " dripping"
	}
	if s.Churn > 0 {
		text += fmt.Sprintf(", %s/s come and go", count(s.Churn))
	}
	if s.Vanish {
		text += ", all vanish at the end"
	}
	return text
}

// about says when and where.
func (r *Report) about() string {
	text := fmt.Sprintf("%s, %s, %s in all", r.Started.UTC().Format(time.RFC3339), r.Setup.Machine, millis(r.Seconds*1000))
	if r.Interrupted {
		text += ", INTERRUPTED"
	}
	return text
}

// WriteText writes the report for a terminal.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n%s\n", r.title(), r.Setup.URL, r.about())
	for _, t := range r.tables() {
		fmt.Fprintf(&b, "\n%s\n", t.Title)
		if len(t.Heads) > 0 {
			fmt.Fprintf(&b, "  %-46s%s\n", "", columns(t.Heads))
		}
		for _, x := range t.Rows {
			fmt.Fprintf(&b, "  %-46s%s\n", x.Name, columns(x.Values))
		}
	}
	if len(r.Asserts) > 0 {
		b.WriteString("\nDemanded\n")
	}
	for _, v := range r.Asserts {
		word := "FAILS"
		if v.Holds {
			word = "holds"
		}
		fmt.Fprintf(&b, "  %-46s%s: %s\n", v.Demand, word, v.Got)
	}
	_, err := io.WriteString(w, safetext.CleanLines(b.String())) // it quotes what servers have sent
	return err
}

func columns(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	var b strings.Builder
	for _, v := range values {
		fmt.Fprintf(&b, "%18s", v)
	}
	return b.String()
}
