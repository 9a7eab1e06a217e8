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
}

// Validate says what is out of range.
func (o Options) Validate() error {
	if o.Symbols < 0 || o.Symbols > MaxSymbols {
		return fmt.Errorf("symbols is %d: want 1 to %d", o.Symbols, MaxSymbols)
	}
	if o.Rate < 0 || o.Rate > MaxRate {
		return fmt.Errorf("rate is %d: want 1 to %d events a second", o.Rate, MaxRate)
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

	halted   []*instrument
	nextHalt int64

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
	s.nextHalt = s.rnd.between(20*second, 90*second)
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

// halts lets one instrument halt now and then, and those halted long enough
// resume. At most a tenth of the list, at least one, is halted at once.
func (s *Sim) halts() {
	for i := 0; i < len(s.halted); {
		in := s.halted[i]
		if s.now < in.haltedUntil {
			i++
			continue
		}
		in.haltedUntil, in.quoted = 0, false
		s.halted = append(s.halted[:i], s.halted[i+1:]...)
	}
	if s.now < s.nextHalt {
		return
	}
	s.nextHalt = s.now + s.rnd.between(40*second, 200*second)
	in := s.list[s.rnd.below(int64(len(s.list)))]
	if in.steady || in.haltedUntil != 0 || len(s.list) == 1 || len(s.halted) >= max(1, len(s.list)/10) {
		return
	}
	in.haltedUntil = s.now + s.rnd.between(15*second, 75*second)
	s.halted = append(s.halted, in)
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
