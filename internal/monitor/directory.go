package monitor

import (
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/lzstock/lzstock/market"
)

// directory holds the symbols that the feed has carried, in order. The feed's
// reader adds, anybody lists.
type directory struct {
	most  int
	seen  map[market.Symbol]struct{} // changed by the reader alone, under mu
	names map[market.Symbol]string   // never changed
	words map[market.Symbol][]string // of the names, in small letters; never changed

	mu      sync.RWMutex
	symbols []market.Symbol // sorted
	fresh   []market.Symbol // added since the last list; sorted in by it
}

func newDirectory(names map[market.Symbol]string, most int) *directory {
	d := &directory{most: most, seen: map[market.Symbol]struct{}{}, names: names, words: map[market.Symbol][]string{}}
	for symbol, name := range names {
		d.words[symbol] = words(name)
	}
	return d
}

// words gives the words of a name in small letters, each with what follows it, so
// that several words can be asked for.
func words(name string) (out []string) {
	name = strings.ToLower(name)
	inside := false
	for i, r := range name {
		is := unicode.IsLetter(r) || unicode.IsDigit(r)
		if is && !inside {
			out = append(out, name[i:])
		}
		inside = is
	}
	return out
}

// add adds a symbol. It reports whether it is there now, and whether it was not there
// before: there may be no more than so many. In the order of the feed it decides alike
// in all replicas.
func (d *directory) add(symbol market.Symbol) (has, first bool) {
	if _, ok := d.seen[symbol]; ok {
		return true, false
	}
	if len(d.seen) >= d.most {
		return false, false
	}
	d.mu.Lock()
	d.seen[symbol] = struct{}{}
	d.fresh = append(d.fresh, symbol)
	d.mu.Unlock()
	return true, true
}

// all gives the symbols in order. Nobody may change the list.
func (d *directory) all() []market.Symbol {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.fresh) > 0 {
		// A new array: the old one is read without the lock.
		d.symbols = slices.Concat(d.symbols, d.fresh)
		slices.Sort(d.symbols)
		d.fresh = nil
	}
	return d.symbols
}

// look reports whether a symbol is there, and how many are.
func (d *directory) look(symbol market.Symbol) (known bool, all int) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, known = d.seen[symbol]
	return known, len(d.seen)
}

// page gives up to limit symbols that begin with prefix, or whose name has a word
// that does, and that come after another one, and whether there are more.
func (d *directory) page(prefix string, after market.Symbol, limit int) (symbols []string, more bool) {
	list := d.all()
	prefix = strings.ToLower(strings.TrimSpace(prefix))
	i, found := slices.BinarySearch(list, after)
	if found {
		i++
	}
	for _, symbol := range list[i:] {
		if !strings.HasPrefix(strings.ToLower(string(symbol)), prefix) &&
			!slices.ContainsFunc(d.words[symbol], func(word string) bool { return strings.HasPrefix(word, prefix) }) {
			continue
		}
		if len(symbols) == limit {
			return symbols, true
		}
		symbols = append(symbols, string(symbol))
	}
	return symbols, false
}
