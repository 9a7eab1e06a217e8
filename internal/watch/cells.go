package watch

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lzstock/lzstock/internal/safetext"
	"github.com/lzstock/lzstock/market"
)

// cell is a piece of a line.
type cell struct {
	text  string
	style style
	left  bool // aligned to the left
	close bool // stands closer to the one before it
}

// style is an SGR parameter of ANSI terminals.
type style int

const (
	plain   style = 0
	bold    style = 1
	dim     style = 2
	inverse style = 7
	red     style = 31
	green   style = 32
	yellow  style = 33
)

func styled(dst []byte, s style, text string, color bool) []byte {
	if !color || s == plain {
		return append(dst, text...)
	}
	dst = append(dst, "\x1b["...)
	dst = strconv.AppendInt(dst, int64(s), 10)
	dst = append(dst, 'm')
	dst = append(dst, text...)
	return append(dst, "\x1b[0m"...)
}

// page is a screen of lines, each cut where the terminal ends.
type page struct {
	buf           []byte
	width, height int
	lines         int
	color         bool
}

// line adds one, where there is room, and cleans what it says: much of it a peer has
// sent.
func (p *page) line(cells ...cell) {
	if p.lines == p.height {
		return
	}
	if p.lines > 0 {
		p.buf = append(p.buf, '\n')
	}
	p.lines++
	left := p.width
	for _, c := range cells {
		text := safetext.Clean(c.text)
		if n := utf8.RuneCountInString(text); n > left {
			text = string([]rune(text)[:left])
		}
		left -= utf8.RuneCountInString(text)
		if text != "" {
			p.buf = styled(p.buf, c.style, text, p.color)
		}
	}
}

// room is how many lines are left.
func (p *page) room() int { return p.height - p.lines }

// align makes columns, two cells apart.
func align(grid [][]cell) {
	if len(grid) == 0 {
		return
	}
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
				if c.close {
					gap = " "
				}
				c.text = gap + c.text
			}
		}
	}
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
	diff = sign + strings.TrimPrefix(money(d), "-")
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

// money writes a price with at least two digits of its fraction.
func money(p market.Price) string {
	const least = 2
	text := p.String()
	whole, fraction, _ := strings.Cut(text, ".")
	if len(fraction) >= least {
		return text
	}
	return whole + "." + fraction + strings.Repeat("0", least-len(fraction))
}

// thousands writes 1204300 as 1,204,300.
func thousands(number string) string {
	whole, fraction, _ := strings.Cut(number, ".")
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

// sparkline draws prices as one line of blocks, between their least and their
// greatest.
func sparkline(prices []market.Price) string {
	blocks := []rune("▁▂▃▄▅▆▇█")
	if len(prices) == 0 {
		return ""
	}
	low, high := bounds(prices)
	out := make([]rune, len(prices))
	for i, p := range prices {
		out[i] = blocks[level(p, low, high, len(blocks))]
	}
	return string(out)
}

func bounds(prices []market.Price) (low, high market.Price) {
	low, high = prices[0], prices[0]
	for _, p := range prices {
		low, high = min(low, p), max(high, p)
	}
	return low, high
}

// level gives the step of n, from 0, on which a price between low and high stands;
// the middle where there is nothing between them.
func level(p, low, high market.Price, n int) int {
	if high <= low {
		return (n - 1) / 2 //nolint:mnd // the middle
	}
	hi, lo := bits.Mul64(uint64(p-low), uint64(n-1))
	q, _ := bits.Div64(hi, lo, uint64(high-low))
	return int(q) // less than n
}
