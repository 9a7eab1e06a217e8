package delay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lzstock/lzstock/market"
)

// ErrClosed is the error of calls to a line whose Run has ended.
var ErrClosed = errors.New("delay line closed")

// Config configures a Line. Its zero value works.
type Config struct {
	// Events is how many events may wait, those of Replace among them; 0 means
	// 2,000,000, about 0.5 GB. See D4 and D6 for what happens then.
	Events int
	// Operations is how many calls of Replace, Forget and Gap may wait, each
	// counted once and once more for every topic that it names; 0 means 1,000,000,
	// at most about 90 MB. It is exceeded only where what a reset makes is more than
	// half of it: one Gap, Forget and Replace of all topics.
	Operations int
}

// Line is a Sink that passes everything to another, later. Its methods of Sink
// are for one goroutine, the feed's reader; everything else is for any.
type Line struct {
	by       time.Duration
	to       Sink
	cfg      Config
	start    time.Time     // all times are since then
	partLen  int           // events from which on a part is full
	partSpan time.Duration // and the time
	wake     chan struct{} // tells Run that something came that it does not wait for
	mu       sync.Mutex
	closed   bool
	parts    []*part // what waits, the oldest first
	waiting  int     // events in them
	ops      int     // operations in them, as Config counts
	opsLimit int
	in, out  market.Position // of what came in and went out last
	told     carried         // as what is behind the line has been told
	feed     market.Feed     // as it was told last; its epoch is not used
	feedDue  bool            // Run must pass it on
	scratch  scratch
	stats    Stats // what is not counted above
}

// entry is one call that waits.
type entry struct {
	at     time.Duration // when it came
	events []market.Event
	op     *operation // nil means Publish
}

type operation struct {
	kind   kind
	topics []market.Topic // of a Gap too
	gap    market.Gap     // without its topics
}

type kind uint8

const (
	replace kind = iota + 1
	forget
	gap
)

// weight is what the operation counts against the limit.
func (o *operation) weight() int { return 1 + len(o.topics) }

// newEpoch tells whether positions before and behind the operation do not
// compare.
func (o *operation) newEpoch() bool { return o.kind == gap && o.gap.From.Epoch != o.gap.To.Epoch }

// New makes a line that passes everything to another sink after a time. Nothing
// comes out before Run.
func New(by time.Duration, to Sink, cfg Config) (*Line, error) {
	if by <= 0 {
		return nil, fmt.Errorf("delay: %s must be more than 0", by)
	}
	if to == nil {
		return nil, errors.New("delay: a sink is needed")
	}
	if cfg.Events < 0 || cfg.Operations < 0 {
		return nil, fmt.Errorf("delay: events %d and operations %d must not be negative", cfg.Events, cfg.Operations)
	}
	if cfg.Events == 0 {
		cfg.Events = 2_000_000
	}
	if cfg.Operations == 0 {
		cfg.Operations = 1_000_000
	}
	const parts = 512 // so many, or twice as many, make up a full line
	return &Line{
		by: by, to: to, cfg: cfg, start: time.Now(), wake: make(chan struct{}, 1), told: carried{},
		partLen: min(max(cfg.Events/parts, 1), 4096), partSpan: by/parts + 1, opsLimit: cfg.Operations,
	}, nil
}

// Publish appends events, which nobody may change any more.
func (l *Line) Publish(_ context.Context, events []market.Event) error {
	if len(events) == 0 {
		return nil
	}
	return l.put(entry{events: trim(events)})
}

// Replace appends the current values of topics; see Sink.
func (l *Line) Replace(_ context.Context, topics []market.Topic, events []market.Event) error {
	return l.put(entry{events: trim(events), op: &operation{kind: replace, topics: trim(topics)}})
}

// Forget appends that topics are not carried any more.
func (l *Line) Forget(_ context.Context, topics []market.Topic) error {
	return l.put(entry{op: &operation{kind: forget, topics: topics}})
}

// Gap appends that events were lost.
func (l *Line) Gap(_ context.Context, g market.Gap) error {
	op := &operation{kind: gap, topics: g.Topics, gap: g}
	op.gap.Topics = nil
	return l.put(entry{op: op})
}

// Feed passes the feed's state at once, ahead of all that waits; of states that
// change faster than they are taken, the last. Its epoch is that of what comes
// out of the line, so that positions fit it: where that changes, the state is
// told again behind the Gap.
func (l *Line) Feed(_ context.Context, feed market.Feed) error {
	l.mu.Lock()
	closed := l.closed
	l.feed, l.feedDue = feed, true
	if l.in.Epoch == 0 {
		l.in.Epoch = feed.Epoch
	}
	if l.out.Epoch == 0 {
		l.out.Epoch = feed.Epoch
	}
	l.mu.Unlock()
	if closed {
		return ErrClosed
	}
	l.signal()
	return nil
}

// trim gives a slice that holds little more than it shows: what is left of one
// that was filtered would wait too, and nothing counts it.
func trim[T any](s []T) []T {
	if cap(s)-len(s) > len(s)/8 {
		return append(make([]T, 0, len(s)), s...)
	}
	return s
}

// put appends what came, and makes room for it.
func (l *Line) put(e entry) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	e.at = time.Since(l.start)
	idle := len(l.parts) == 0
	var tail *part
	if !idle {
		tail = l.parts[len(l.parts)-1]
	}
	if tail == nil || tail.closed || tail.events >= l.partLen || len(tail.entries) >= l.partLen || e.at-tail.from >= l.partSpan {
		if tail != nil {
			tail.closed = true
		}
		tail = &part{}
		l.parts = append(l.parts, tail)
	}
	tail.add(e)
	l.count(&e, 1)
	l.in = after(l.in, &e)
	if l.ops > l.opsLimit {
		l.reset()
	}
	l.makeRoom()
	l.mu.Unlock()
	if idle {
		l.signal()
	}
	return nil
}

// count adds or subtracts what an entry counts.
func (l *Line) count(e *entry, sign int) {
	l.waiting += sign * len(e.events)
	if e.op != nil {
		l.ops += sign * e.op.weight()
	}
}

// after gives the position behind an entry.
func after(p market.Position, e *entry) market.Position {
	if e.op != nil && e.op.newEpoch() {
		return e.op.gap.To
	}
	if n := len(e.events); n > 0 {
		p.Seq = max(p.Seq, e.events[n-1].Seq)
	}
	return p
}

func (l *Line) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Position gives the place of what came out last: where those who see the line's
// output are. Its epoch is 0 while it is not known.
func (l *Line) Position() market.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out
}

// Stats are counts over the line's life, and what is there now.
type Stats struct {
	Waiting    int       // events that wait, those of Replace among them
	Operations int       // operations that wait, as Config counts them
	Oldest     time.Time // when what waits longest came in; zero where nothing waits
	Merged     uint64    // events that gave way to later ones
	Lost       uint64    // events that resets lost
	Resets     uint64
}

// Stats gives the line's counts.
func (l *Line) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.stats
	st.Waiting, st.Operations = l.waiting, l.ops
	if len(l.parts) > 0 {
		st.Oldest = l.start.Add(l.parts[0].first())
	}
	return st
}
