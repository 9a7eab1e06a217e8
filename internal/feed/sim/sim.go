package sim

import (
	"fmt"
	"iter"
	"sort"
	"time"

	"github.com/lzstock/lzstock/market"
)

// Defaults and limits of Options.
const (
	DefaultSymbols = 30
	DefaultRate    = 200
	MaxSymbols     = 100_000
	MaxRate        = 1_000_000
	DefaultHalts   = 30
	MaxHalts       = 3600
	NoHalts        = -1
)

// Exchange is the venue code that marks simulated data.
const Exchange = "SIM"

// Options say what market to make up. The zero value is ready.
type Options struct {
	// Seed chooses the course of events; 0 is a seed like any other.
	Seed uint64
	// Symbols is how many instruments there are: the 30 well-known ones first,
	// then SIM0031 and on. 0 means 30.
	Symbols int
	// Rate is how many events there are a second, in all; 0 means 200.
	Rate int
	// Halts is how many halts come up an hour, in all; 0 means 30, NoHalts none.
	// One that comes up for an instrument that never halts, or while a tenth of
	// the list is halted, is left out.
	Halts int
}

// HaltsAnHour gives how many come up, with the default filled in.
func (o Options) HaltsAnHour() int {
	switch o.Halts {
	case 0:
		return DefaultHalts
	case NoHalts:
		return 0
	}
	return o.Halts
}

// Validate says what is out of range.
func (o Options) Validate() error {
	if o.Symbols < 0 || o.Symbols > MaxSymbols {
		return fmt.Errorf("symbols is %d: want 1 to %d", o.Symbols, MaxSymbols)
	}
	if o.Rate < 0 || o.Rate > MaxRate {
		return fmt.Errorf("rate is %d: want 1 to %d events a second", o.Rate, MaxRate)
	}
	if o.Halts < NoHalts || o.Halts > MaxHalts {
		return fmt.Errorf("halts is %d: want 1 to %d an hour, or %d for none", o.Halts, MaxHalts, NoHalts)
	}
	return nil
}

const (
	step        = int64(10 * time.Millisecond) // of the walk
	second      = int64(time.Second)
	burstFactor = 6 // how much denser events are in a burst
)

// Sim is one simulated market. It is for one goroutine.
type Sim struct {
	rnd    *random
	start  time.Time
	rate   int64
	list   []*instrument
	shares []int64 // running sum of the weights

	now    int64 // nanoseconds since start
	events int64
	trades int64

	ordered *instrument // wants to trade next, at the quote just renewed; or nil

	step   int64 // of the walk, done so far
	levels [sectors + 1]int64
	market int64

	burst     *instrument // busy now; nil between bursts
	left      int64       // events left of the burst
	nextBurst int64       // when the next begins

	halted    []*instrument
	haltEvery int64 // how long it is from one to the next, on average; 0: none
	nextHalt  int64
	told      []market.Event // statuses, and the event that follows them

	regular, odd, quoted []string // condition codes, shared by all events
}

// New makes a market whose first event has the time start.
func New(opts Options, start time.Time) (*Sim, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if opts.Symbols == 0 {
		opts.Symbols = DefaultSymbols
	}
	if opts.Rate == 0 {
		opts.Rate = DefaultRate
	}
	s := &Sim{
		rnd: newRandom(opts.Seed), start: start.Round(0).UTC(), rate: int64(opts.Rate),
		regular: []string{"@"}, odd: []string{"@", "I"}, quoted: []string{"R"},
	}
	known, sum := wellKnown(), int64(0)
	for n := range opts.Symbols {
		var p profile
		if n < len(known) {
			p = known[n]
		} else {
			p = generated(n+1, s.rnd)
		}
		s.list = append(s.list, newInstrument(p))
		sum += p.weight
		s.shares = append(s.shares, sum)
	}
	s.nextBurst = s.rnd.between(2*second, 6*second)
	if n := int64(opts.HaltsAnHour()); n > 0 {
		s.haltEvery = 3600 * second / n
		s.nextHalt = s.rnd.between(s.haltEvery/6, s.haltEvery*3/4)
	}
	return s, nil
}

// Symbols gives the instruments in the order of the list.
func (s *Sim) Symbols() []market.Symbol {
	out := make([]market.Symbol, len(s.list))
	for i, in := range s.list {
		out[i] = in.symbol
	}
	return out
}

// Events gives the market's events without end, and never an error.
func (s *Sim) Events() iter.Seq2[market.Event, error] {
	return func(yield func(market.Event, error) bool) {
		for yield(s.Next(), nil) {
		}
	}
}

// Next gives the next event.
func (s *Sim) Next() market.Event {
	if len(s.told) == 0 {
		e := s.next()
		if len(s.told) == 0 {
			return e
		}
		s.told = append(s.told, e)
	}
	e := s.told[0]
	if s.told = s.told[1:]; len(s.told) == 0 {
		s.told = nil
	}
	return e
}

// next gives the next trade or quote; what it has to tell before that is in told.
func (s *Sim) next() market.Event {
	if s.events > 0 {
		s.now += s.pause()
	}
	opening := s.events < int64(len(s.list))
	s.walk()
	in := s.ordered
	s.ordered = nil
	if opening {
		in = s.list[s.events]
	} else {
		s.bursts()
		s.halts()
	}
	order := in != nil && in.haltedUntil == 0 && !opening
	if in == nil || in.haltedUntil != 0 {
		in = s.pick()
	}
	s.events++
	in.follow(s)
	at := s.start.Add(time.Duration(s.now))
	if order || !opening && s.rnd.below(100) < s.eager() {
		if order || !in.stale() {
			s.trades++
			return in.trade(s, at)
		}
		s.ordered = in // the quote comes first
	}
	return in.quote(s, at)
}

// eager gives how often in a hundred an instrument wants to trade. How many events
// that takes depends on whether the price has left the quote, so it corrects
// itself to one trade in five events.
func (s *Sim) eager() int64 {
	if s.trades*5 < s.events {
		return 50
	}
	return 10
}

// pause gives the time to the next event. It corrects itself, so that bursts and
// lulls come to Rate in the long run.
func (s *Sim) pause() int64 {
	mean := second / s.rate
	ahead := s.events/s.rate*second + s.events%s.rate*second/s.rate - s.now
	if s.burst != nil {
		return s.rnd.below(2*mean/burstFactor + 1)
	}
	window := 2*second + 20*mean
	mean += mean / 1000 * (min(max(ahead, -window*7/8), 2*window) * 1000 / window)
	return s.rnd.below(2*mean + 1)
}

// walk moves the factors that all prices share to the present.
func (s *Sim) walk() {
	steps := s.now/step - s.step
	if steps == 0 {
		return
	}
	s.step += steps
	s.market += s.rnd.noise(annual(13), steps) - s.market>>22*steps
	for i := range sectors {
		s.levels[i] += s.rnd.noise(annual(7), steps) - s.levels[i]>>22*steps
	}
}

// annual gives what one unit of bell moves a price in one step, in billionths, at
// a volatility of percent a year.
func annual(percent int64) int64 { return percent * 103 }

func (s *Sim) bursts() {
	if s.burst != nil {
		if s.left--; s.left > 0 && s.burst.haltedUntil == 0 {
			return
		}
		s.burst = nil
		s.nextBurst = s.now + s.rnd.between(2*second, 9*second) + 30*second/s.rate
		return
	}
	if s.now >= s.nextBurst {
		s.burst = s.draw()
		s.left = 5 + s.rnd.below(s.rate*3/2+10)
	}
}

// pick gives the instrument of the next event.
func (s *Sim) pick() *instrument {
	if s.burst != nil && s.burst.haltedUntil == 0 && s.rnd.below(100) < 60 {
		return s.burst
	}
	return s.draw()
}

// draw gives one that is not halted, by weight.
func (s *Sim) draw() *instrument {
	at := s.rnd.below(s.shares[len(s.shares)-1])
	i := sort.Search(len(s.shares), func(i int) bool { return s.shares[i] > at })
	for s.list[i].haltedUntil != 0 {
		i = (i + 1) % len(s.list)
	}
	return s.list[i]
}
