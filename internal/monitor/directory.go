package monitor

import (
	"slices"
	"sync"

	"github.com/lzstock/lzstock/market"
)

// directory holds the symbols that the feed has carried, in order. The feed's
// reader adds, anybody lists.
type directory struct {
	seen map[market.Symbol]struct{} // the reader's own

	mu      sync.Mutex
	symbols []market.Symbol // sorted
	fresh   []market.Symbol // added since the last list; sorted in by it
}

func newDirectory() *directory { return &directory{seen: map[market.Symbol]struct{}{}} }

func (d *directory) add(symbol market.Symbol) {
	if _, ok := d.seen[symbol]; ok {
		return
	}
	d.seen[symbol] = struct{}{}
	d.mu.Lock()
	d.fresh = append(d.fresh, symbol)
	d.mu.Unlock()
}

// page gives up to limit symbols that begin with prefix and come after another
// one, and whether there are more.
func (d *directory) page(prefix, after market.Symbol, limit int) (symbols []string, more bool) {
	d.mu.Lock()
	if len(d.fresh) > 0 {
		// A new array: pages are read from the old one without the lock.
		d.symbols = slices.Concat(d.symbols, d.fresh)
		slices.Sort(d.symbols)
		d.fresh = nil
	}
	list := d.symbols
	d.mu.Unlock()

	i, found := slices.BinarySearch(list, max(prefix, after))
	if found && after >= prefix {
		i++
	}
	for ; i < len(list) && len(list[i]) >= len(prefix) && list[i][:len(prefix)] == prefix; i++ {
		if len(symbols) == limit {
			return symbols, true
		}
		symbols = append(symbols, string(list[i]))
	}
	return symbols, false
}
