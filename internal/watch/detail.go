package watch

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lzstock/lzstock/market"
)

// detail draws what is known of the selected symbol: quote, day, minutes as
// candles, and the last trades.
func (v *screen) detail(b *board, p *page, now time.Time) {
	order := b.sorted(v.by, v.reverse)
	if len(order) == 0 {
		p.line(cell{text: "no symbols", style: dim})
		return
	}
	s := order[v.index(order)]
	r := b.rows[s]
	p.line()
	head := v.cells(b, s, now, false)
	line := []cell{{text: string(s), style: bold}}
	for _, i := range []int{2, 3, 4, 5, 12} {
		if head[i].text != "" {
			line = append(line, cell{text: "  " + head[i].text, style: head[i].style})
		}
	}
	p.line(line...)
	if q := r.quote; q != nil {
		text := "bid " + money(q.BidPrice) + " × " + q.BidSize.String() + "   ask " + money(q.AskPrice) + " × " + q.AskSize.String()
		if b.has(r, bySpread) > 0 {
			_, percent, _ := change(q.BidPrice, q.AskPrice)
			text += "   spread " + money(q.AskPrice-q.BidPrice) + " (" + strings.TrimPrefix(percent, "+") + ")"
		}
		p.line(cell{text: text})
	}
	if d := r.day; d != nil {
		p.line(cell{text: "day open " + money(d.Open) + "  high " + money(d.High) + "  low " + money(d.Low) + "  close " + money(d.Close) +
			"  volume " + thousands(d.Volume.String()) + "  trades " + thousands(strconv.FormatUint(d.Trades, 10)) + "  average " + money(d.VWAP)})
	}
	p.line()
	if r.lacks != nil {
		p.line(cell{text: "minutes since this page was opened only: " + reason(r.lacks), style: yellow})
	}
	v.candles(p, r.bars)
	v.lists(p, r)
}

// candles draws the last minutes, one a column, over at most half of the lines
// that are left.
func (v *screen) candles(p *page, bars []market.Bar) {
	const least, most = 4, 12
	rows := min(most, (p.room()-1)/2)
	if len(bars) == 0 {
		p.line(cell{text: "no complete minute yet", style: dim})
		return
	}
	if rows < least {
		return
	}
	labels := max(utf8.RuneCountInString(money(bars[len(bars)-1].Close)), 8) + 2
	bars = bars[max(0, len(bars)-max(1, p.width-labels-1)):]
	low, high := bars[0].Low, bars[0].High
	for _, b := range bars {
		low, high = min(low, b.Low), max(high, b.High)
	}
	for i := range rows {
		at := rows - 1 - i
		label := ""
		switch i {
		case 0:
			label = money(high)
		case rows - 1:
			label = money(low)
		}
		cells := []cell{{text: label + strings.Repeat(" ", max(0, labels-utf8.RuneCountInString(label))), style: dim}}
		for _, b := range bars {
			cells = append(cells, candle(b, at, func(p market.Price) int { return level(p, low, high, rows) }))
		}
		p.line(cells...)
	}
	p.line()
}

// candle gives what a minute has in one line of the chart.
func candle(b market.Bar, at int, step func(market.Price) int) cell {
	c := cell{text: " ", style: green}
	if b.Close < b.Open {
		c.style = red
	}
	switch {
	case at >= step(min(b.Open, b.Close)) && at <= step(max(b.Open, b.Close)):
		c.text = "┃"
	case at >= step(b.Low) && at <= step(b.High):
		c.text = "│"
	}
	return c
}

// lists draws minutes and trades side by side, the newest first.
func (v *screen) lists(p *page, r *row) {
	const blank = "  "
	var heads []cell
	for _, name := range []string{"MINUTE", "OPEN", "HIGH", "LOW", "CLOSE", "VOLUME", blank + "TRADE", "PRICE", "SIZE", "CONDITIONS"} {
		heads = append(heads, cell{text: name, style: dim, left: name == "MINUTE" || name == "CONDITIONS"})
	}
	grid := [][]cell{heads}
	bars, trades := slices.Clone(r.bars), slices.Clone(r.trades)
	slices.Reverse(bars)
	slices.Reverse(trades)
	for i := range max(len(bars), len(trades)) {
		if len(grid) >= p.room()-1 {
			break
		}
		line := make([]cell, len(heads))
		for k := range line {
			line[k].left = heads[k].left
		}
		if i < len(bars) {
			b := bars[i]
			line[0].text = b.Time.UTC().Format("15:04")
			line[1].text, line[2].text, line[3].text, line[4].text = money(b.Open), money(b.High), money(b.Low), money(b.Close)
			line[5].text = thousands(b.Volume.String())
		}
		if i < len(trades) {
			t := trades[i]
			line[6].text = blank + t.Time.UTC().Format(clock)
			line[7].text, line[8].text, line[9].text = money(t.Price), t.Size.String(), strings.Join(t.Conditions, " ")
			if i+1 < len(trades) {
				_, _, line[7].style = change(trades[i+1].Price, t.Price)
			}
		}
		grid = append(grid, line)
	}
	align(grid)
	for _, cells := range grid {
		p.line(cells...)
	}
}
