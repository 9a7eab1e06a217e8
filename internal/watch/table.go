package watch

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/market"
)

// Control sequences of ANSI terminals.
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	clearLine  = "\x1b[K" // from the cursor on
	clearDown  = "\x1b[J"
)

// table keeps a line for each symbol.
type table struct {
	cfg   *Config
	rows  map[market.Symbol]*row
	order []market.Symbol // sorted
	conn  client.State
	notes []string // what the gateway refused
	gaps  int      // losses so far
	begun bool
	drawn int       // lines on the screen
	dirty bool      // something has changed since
	at    time.Time // of the last drawing
}

// row is what is known of a symbol.
type row struct {
	first, last market.Price
	trend       style // of the last change
	quote       *market.Quote
	volume      market.Size
	seen        time.Time // when its last event came
	simulated   bool
	hasLast     bool
	hasVolume   bool
}

func newTable(cfg *Config) *table {
	t := &table{cfg: cfg, rows: make(map[market.Symbol]*row), dirty: true}
	for _, s := range cfg.Symbols {
		if s != market.AllSymbols {
			t.row(s)
		}
	}
	return t
}

func (t *table) row(s market.Symbol) *row {
	r := t.rows[s]
	if r == nil {
		r = &row{}
		t.rows[s] = r
		i, _ := slices.BinarySearch(t.order, s)
		t.order = slices.Insert(t.order, i, s)
	}
	return r
}

func (t *table) event(e *client.Event, now time.Time) {
	r := t.row(e.Symbol)
	switch {
	case e.Trade != nil:
		r.price(e.Trade.Price)
	case e.Quote != nil:
		r.quote = e.Quote
	case e.Bar != nil:
		if e.Channel == market.DailyBars {
			r.volume, r.hasVolume = e.Bar.Volume, true
		}
		if !r.hasLast {
			r.price(e.Bar.Close)
		}
	}
	r.simulated = r.simulated || simulated(&e.Event)
	r.seen = now
	t.dirty = true
}

func (r *row) price(p market.Price) {
	if !r.hasLast {
		r.first, r.last, r.hasLast = p, p, true
		return
	}
	switch {
	case p > r.last:
		r.trend = green
	case p < r.last:
		r.trend = red
	}
	r.last = p
}

func (t *table) state(s client.State, _ time.Time) { t.conn, t.dirty = s, true }

func (t *table) gap(client.Gap, time.Time) {
	t.gaps++
	t.dirty = true
}

// full is never so: a table holds no more than the symbols there are.
func (t *table) full() bool { return false }

func (t *table) rejected(r client.Rejection, _ time.Time) {
	t.notes = append(t.notes, r.Topic.String()+": "+r.Reason)
	t.dirty = true
}

// refresh draws what has changed, and every second the ages.
func (t *table) refresh(now time.Time) []byte {
	if !t.dirty && now.Sub(t.at) < time.Second {
		return nil
	}
	return t.draw(nil, now)
}

func (t *table) last(now time.Time) []byte { return append(t.draw(nil, now), showCursor...) }

// cell is a piece of a line.
type cell struct {
	text  string
	style style
	left  bool // aligned to the left
}

func (t *table) draw(dst []byte, now time.Time) []byte {
	width, height := t.cfg.Size()
	if !t.begun {
		dst = append(dst, hideCursor...)
		t.begun = true
	}
	if t.drawn > 0 {
		dst = fmt.Appendf(dst, "\x1b[%dA\r", t.drawn)
	}
	t.drawn = 0
	line := func(cells ...cell) {
		dst = t.line(dst, width, cells)
		t.drawn++
	}
	line(t.headline(now)...)
	order, more := t.order, 0
	if room := height - 4 - len(t.notes); height > 0 && len(order) > max(room, 1) {
		more = len(order) - max(room, 1)
		order = order[:max(room, 1)]
	}
	grid := [][]cell{heads()}
	for _, s := range order {
		grid = append(grid, t.cells(s, t.rows[s], now))
	}
	align(grid)
	for _, cells := range grid {
		line(cells...)
	}
	if more > 0 {
		line(cell{text: fmt.Sprintf("… and %d more", more), style: dim})
	}
	for _, n := range t.notes {
		line(cell{text: "refused: " + n, style: yellow})
	}
	t.dirty, t.at = false, now
	return append(dst, clearDown...)
}

// headline tells how the connection and the feed are.
func (t *table) headline(now time.Time) []cell {
	s := t.conn
	name := t.cfg.URL
	if len(t.cfg.URLs) > 0 && s.URL != "" {
		name = s.URL
	}
	cells := []cell{{text: name, style: bold}}
	switch s.Phase {
	case client.Connected:
		cells = append(cells, cell{text: "  connected", style: green})
	case client.Waiting:
		word := "  not connected"
		if s.Again {
			word = "  reconnecting"
		}
		cells = append(cells, cell{text: word + ", next attempt " + wait(s, now) + ": " + reason(s.Err), style: red})
	case client.Closed:
		cells = append(cells, cell{text: "  closed", style: dim})
	default:
		cells = append(cells, cell{text: "  " + s.Status().String(), style: yellow})
	}
	if s.Moving {
		cells = append(cells, cell{text: "  moving", style: dim})
	}
	if s.Phase == client.Connected {
		switch s.Feed.State {
		case market.FeedLive:
			cells = append(cells, cell{text: "  feed live", style: green})
		case market.FeedStale, market.FeedDown:
			cells = append(cells, cell{text: "  feed " + s.Feed.State.String() + " for " + age(now.Sub(s.Feed.Since)), style: red})
		}
		if s.Throttled {
			cells = append(cells, cell{text: "  throttled", style: yellow})
		}
	}
	if t.gaps > 0 {
		cells = append(cells, cell{text: "  gaps " + strconv.Itoa(t.gaps), style: yellow})
	}
	return cells
}

// current tells whether the prices can be trusted to be.
func (t *table) current() bool {
	return t.conn.Phase == client.Connected && (t.conn.Feed.State == market.FeedLive || t.conn.Feed.State == 0)
}

func heads() []cell {
	names := []string{"SYMBOL", "LAST", "CHANGE", "", "BID", "", "ASK", "SIZES", "", "", "VOLUME", "AGE", ""}
	cells := make([]cell, len(names))
	for i, n := range names {
		cells[i] = cell{text: n, style: dim, left: i == 0 || i == 6 || i == 9}
	}
	return cells
}

func (t *table) cells(s market.Symbol, r *row, now time.Time) []cell {
	cells := make([]cell, len(heads()))
	base := plain
	if !t.current() {
		base = dim
	}
	for i := range cells {
		cells[i].style = base
	}
	cells[0] = cell{text: string(s), style: bold, left: true}
	if r.hasLast {
		cells[1] = cell{text: r.last.String(), style: pick(base, r.trend)}
		diff, percent, trend := change(r.first, r.last)
		cells[2] = cell{text: diff, style: pick(base, trend)}
		cells[3] = cell{text: percent, style: pick(base, trend)}
	}
	if q := r.quote; q != nil {
		cells[4].text, cells[5].text, cells[6].text = q.BidPrice.String(), "×", q.AskPrice.String()
		cells[7].text, cells[8].text, cells[9].text = q.BidSize.String(), "×", q.AskSize.String()
		cells[6].left, cells[9].left = true, true
	}
	if r.hasVolume {
		cells[10].text = thousands(r.volume)
	}
	if !r.seen.IsZero() {
		cells[11].text = age(now.Sub(r.seen))
		switch {
		case !t.current():
			cells[12] = cell{text: "stale", style: yellow}
		case r.simulated:
			cells[12] = cell{text: "simulated", style: dim}
		}
	} else {
		cells[12] = cell{text: "no price yet", style: dim}
	}
	cells[12].left = true
	return cells
}

// pick gives the colour, unless the line is dimmed.
func pick(base, colour style) style {
	if base == dim {
		return dim
	}
	return colour
}

// change gives the difference of two prices, in units and in percent.
func change(from, to market.Price) (diff, percent string, trend style) {
	d := to - from
	sign, trend := "", plain
	switch {
	case d > 0:
		sign, trend = "+", green
	case d < 0:
		sign, trend = "-", red
	}
	diff = sign + strings.TrimPrefix(d.String(), "-")
	const perPercent = 100
	hi, lo := bits.Mul64(abs(d), perPercent*perPercent)
	base := abs(from)
	if hi >= base { // no base, or more than a display holds
		return diff, "", trend
	}
	n, _ := bits.Div64(hi, lo, base)
	return diff, fmt.Sprintf("%s%d.%02d%%", sign, n/perPercent, n%perPercent), trend
}

func abs(p market.Price) uint64 {
	if p < 0 {
		return -uint64(p)
	}
	return uint64(p)
}

// thousands writes 1204300 as 1,204,300.
func thousands(s market.Size) string {
	whole, fraction, _ := strings.Cut(s.String(), ".")
	const group = 3
	for i := len(whole) - group; i > 0; i -= group {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		return whole + "." + fraction
	}
	return whole
}

func age(d time.Duration) string {
	switch {
	case d < 0:
		return "0.0s"
	case d < 10*time.Second:
		tenths := d / (100 * time.Millisecond)
		return strconv.Itoa(int(tenths/10)) + "." + strconv.Itoa(int(tenths%10)) + "s"
	case d < time.Hour:
		return d.Truncate(time.Second).String()
	}
	return d.Truncate(time.Minute).String()
}

// align makes columns, two cells apart.
func align(grid [][]cell) {
	widths := make([]int, len(grid[0]))
	for _, cells := range grid {
		for i, c := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	for _, cells := range grid {
		for i := range cells {
			c := &cells[i]
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text))
			switch {
			case i == len(cells)-1: // nothing stands to its right
			case c.left:
				c.text += pad
			default:
				c.text = pad + c.text
			}
			if i > 0 && widths[i] > 0 {
				gap := "  "
				if i == 5 || i == 6 || i == 8 || i == 9 {
					gap = " " // around the × between two numbers
				}
				c.text = gap + c.text
			}
		}
	}
}

// line writes cells, cut where the terminal ends.
func (t *table) line(dst []byte, width int, cells []cell) []byte {
	left := width
	for _, c := range cells {
		text := c.text
		if n := utf8.RuneCountInString(text); n > left {
			text = string([]rune(text)[:left])
		}
		left -= utf8.RuneCountInString(text)
		if text != "" {
			dst = styled(dst, c.style, text, t.cfg.Color)
		}
	}
	return append(append(dst, clearLine...), '\n')
}
