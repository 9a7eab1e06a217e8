package watch

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/internal/safetext"
	"github.com/lzstock/lzstock/market"
)

// screen is what a user has chosen to see of a board.
type screen struct {
	urls     []string
	color    bool
	mode     mode
	by       column
	reverse  bool
	selected market.Symbol // "" is the first
	top      int           // the first line of the table that is shown
	prompt   string        // what is typed, where something is
	complain string        // what was wrong with it
}

type mode int

const (
	tableMode mode = iota
	detailMode
	addMode
	helpMode
)

const keysOfTable = "↑↓ select  enter detail  a add  d remove  s sort  r reverse  ? help  q quit"

// draw gives a screen of lines.
func (v *screen) draw(b *board, width, height int, now time.Time) string {
	b.tick(now)
	p := &page{width: width, height: height, color: v.color}
	p.line(v.headline(b, now)...)
	for _, s := range b.conn.Feed.Sources {
		if b.conn.Phase == client.Connected && s.Reason != 0 {
			p.line(cell{text: "source " + s.Name + ": " + s.State.String() + ", " + s.Reason.String() + " for " + age(now.Sub(s.Since)), style: yellow})
		}
	}
	for _, n := range b.notes {
		p.line(cell{text: "refused: " + n, style: yellow})
	}
	foot := cell{text: keysOfTable, style: dim}
	switch v.mode {
	case detailMode:
		v.detail(b, p, now)
		foot.text = "↑↓ another symbol  esc back  ? help  q quit"
	case helpMode:
		help(p)
		foot.text = "esc back  q quit"
	case addMode:
		v.table(b, p, now)
		foot = cell{text: addPrompt + v.prompt, style: bold}
	case tableMode:
		v.table(b, p, now)
	}
	for p.room() > 1 {
		p.line()
	}
	if v.complain != "" {
		p.line(foot, cell{text: "   " + v.complain, style: red})
	} else {
		p.line(foot)
	}
	return string(p.buf)
}

// final gives the table as it is left behind, without what keys do.
func (v *screen) final(b *board, width, height int, now time.Time) string {
	p := &page{width: width, height: max(height-1, 1), color: v.color}
	p.line(v.headline(b, now)...)
	v.selected, v.top, p.height = "", 0, p.height+1
	v.table(b, p, now)
	return string(p.buf) + "\n"
}

// headline tells how the connection and the feed are.
func (v *screen) headline(b *board, now time.Time) []cell {
	s := b.conn
	name := v.urls[0]
	if len(v.urls) > 1 && s.URL != "" {
		name = s.URL
	}
	cells := []cell{{text: safetext.Redact(name), style: bold}}
	add := func(text string, st style) { cells = append(cells, cell{text: "  " + text, style: st}) }
	switch s.Phase {
	case client.Connected:
		add("connected", green)
	case client.Waiting:
		word := "not connected"
		if s.Again {
			word = "reconnecting"
		}
		add(word+", next attempt "+wait(s, now)+": "+reason(s.Err), red)
	case client.Closed:
		add("closed", dim)
	default:
		add(s.Status().String(), yellow)
	}
	if s.Moving {
		add("moving", dim)
	}
	if s.Phase == client.Connected {
		switch s.Feed.State {
		case market.FeedLive:
			add("feed live", green)
		case market.FeedStale, market.FeedDown:
			text := "feed " + s.Feed.State.String() + " for " + age(now.Sub(s.Feed.Since))
			if s.Feed.Reason != 0 {
				text += " (" + s.Feed.Reason.String() + ")"
			}
			add(text, red)
		}
		if s.Throttled {
			add("throttled", yellow)
		}
		if b.events > 0 {
			add(thousands(strconv.Itoa(b.rate))+" events/s", dim)
		}
	}
	if b.most > 0 {
		add("merged "+thousands(strconv.FormatUint(b.most, 10)), dim)
	}
	if b.gaps > 0 {
		add("gaps "+strconv.Itoa(b.gaps), yellow)
	}
	return cells
}

// table draws a line a symbol, as many as there is room for around the selected
// one.
func (v *screen) table(b *board, p *page, now time.Time) {
	const others = 3 // lines: the heads, how many there are more, the keys
	order := b.sorted(v.by, v.reverse)
	at := v.index(order)
	room := max(1, p.room()-others)
	v.top = max(min(v.top, at, len(order)-room), at-room+1, 0)
	shown := order[v.top:min(len(order), v.top+room)]
	grid := [][]cell{v.heads()}
	for i, s := range shown {
		grid = append(grid, v.cells(b, s, now, v.mode != detailMode && v.selected != "" && v.top+i == at))
	}
	align(grid)
	for _, cells := range grid {
		p.line(cells...)
	}
	if more := len(order) - len(shown); more > 0 {
		p.line(cell{text: fmt.Sprintf("  … and %d more", more), style: dim})
	}
	if len(order) == 0 {
		p.line(cell{text: "  no symbols: press a to add some", style: dim})
	}
}

// index gives where the selected symbol stands in order.
func (v *screen) index(order []market.Symbol) int {
	for i, s := range order {
		if s == v.selected {
			return i
		}
	}
	return 0
}

func (v *screen) heads() []cell {
	heads := []struct {
		name string
		by   column
		left bool
	}{
		{"", columns, true},
		{"SYMBOL", bySymbol, true},
		{"LAST", byPrice, false},
		{"CHANGE", byChange, false},
		{"", columns, false},
		{"", columns, true},
		{"BID", columns, false},
		{"", columns, true},
		{"ASK", columns, true},
		{"SPREAD", bySpread, false},
		{"VOLUME", byVolume, false},
		{"AGE", byAge, false},
		{"", columns, true},
	}
	cells := make([]cell, len(heads))
	for i, h := range heads {
		if h.by == v.by {
			h.name += map[bool]string{false: "▾", true: "▴"}[v.reverse]
		}
		cells[i] = cell{text: h.name, style: dim, left: h.left, close: i == 1 || i == 7 || i == 8}
	}
	return cells
}

func (v *screen) cells(b *board, s market.Symbol, now time.Time, selected bool) []cell {
	r := b.rows[s]
	cells := v.heads()
	base := plain
	if !b.current() {
		base = dim
	}
	for i := range cells {
		cells[i].text, cells[i].style = "", base
	}
	cells[1].text, cells[1].style = string(s), bold
	if selected {
		cells[0].text, cells[1].style = "›", inverse
	} else {
		cells[0].text = " "
	}
	if r.hasLast {
		cells[2].text, cells[2].style = money(r.last), pick(base, r.trend)
		diff, percent, trend := change(r.first, r.last)
		cells[3].text, cells[3].style = diff, pick(base, trend)
		cells[4].text, cells[4].style = percent, pick(base, trend)
		cells[5].text, cells[5].style = sparkline(r.spark), pick(base, trend)
	}
	if q := r.quote; q != nil {
		cells[6].text, cells[7].text, cells[8].text = money(q.BidPrice), "×", money(q.AskPrice)
		if b.has(r, bySpread) > 0 {
			cells[9].text = money(q.AskPrice - q.BidPrice)
		}
	}
	if r.day != nil {
		cells[10].text = thousands(r.day.Volume.String())
	}
	if !r.seen.IsZero() {
		cells[11].text = age(now.Sub(r.seen))
	}
	cells[12].text, cells[12].style = b.mark(r)
	return cells
}

// mark gives what there is to say of a symbol's prices.
func (b *board) mark(r *row) (string, style) {
	switch {
	case r.halt != nil && !b.current(): // it may have been traded again since
		return "stale, last " + statusText(r.halt), yellow
	case r.halt != nil:
		return statusText(r.halt), red
	case r.seen.IsZero():
		return "no price yet", dim
	case !b.current():
		return "stale", yellow
	case r.simulated:
		return "simulated", dim
	}
	return "", plain
}

// pick gives the colour, unless the line is dimmed.
func pick(base, colour style) style {
	if base == dim {
		return dim
	}
	return colour
}

func help(p *page) {
	grid := [][]cell{}
	for _, k := range [][2]string{
		{"↑ ↓ k j", "select a symbol; page up and down, home and end go further"},
		{"enter", "show its day, minutes and trades; esc goes back"},
		{"a +", "add symbols, separated by spaces or commas; * is everything"},
		{"d x", "remove the selected one"},
		{"s", "sort by the next column: symbol, last, change, spread, volume, age"},
		{"r", "reverse the order"},
		{"q ctrl+c", "quit"},
	} {
		grid = append(grid, []cell{{text: "  " + k[0], style: bold, left: true}, {text: k[1], left: true}})
	}
	align(grid)
	p.line()
	for _, cells := range grid {
		p.line(cells...)
	}
	p.line()
	for text := range strings.Lines("  CHANGE is since the first price that came here. Dimmed lines are stale: the connection is lost,\n" +
		"  or the gateway says that its prices are not current. The headline tells which.\n") {
		p.line(cell{text: strings.TrimSuffix(text, "\n"), style: dim})
	}
}
