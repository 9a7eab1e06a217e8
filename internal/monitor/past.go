package monitor

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/lzstock/lzstock/market"
)

const (
	rereads     = 4               // pages of the past that may be read from the bus at the same time
	rereadTime  = 2 * time.Second // that one of them takes, once it has got somewhere
	rereadMost  = 5 * time.Second // after which it gives up
	rereadLimit = 65536           // batches that one of them reads
)

// How many batches before a place are read to learn what topics had before it:
// first a few, then many.
const (
	lookBack = 256
	lookFar  = 16384
)

// page is a part of the past.
type page struct {
	events  []market.Event // ascending, each with its Prev
	through market.Seq     // no event is missing up to here,
	missed  []market.Topic // but on these
	last    lasts          // of topics by then, as far as is known; nil where the bus was not read
}

// lasts are the positions of topics' last events.
type lasts map[market.Topic]market.Seq

// past gives what topics had after a place, limit events or a few more: from the
// hub's history, and from the bus what that holds no more. Derived events are on no
// bus. known is the last of the page before, where this one follows it.
func (e *engine) past(ctx context.Context, topics []market.Topic, after market.Seq, limit, fromBus int, known lasts) (page, error) {
	held, err := e.hub.Past(ctx, topics, after, limit)
	if err != nil {
		return page{}, err
	}
	p := page{events: held.Events, through: held.Through}
	lacks, gone := held.Lacks, map[market.Topic]struct{}{}
	for t := range lacks {
		if t.Channel.IsBar() {
			gone[t] = struct{}{}
			delete(lacks, t)
		} else if known, all := e.symbols.look(t.Symbol); !known && all >= e.cfg.Symbols { // left out, though the bus has it
			delete(lacks, t)
		}
	}
	if len(lacks) > 0 {
		r, err := e.reread(ctx, lacks, after, p.through, fromBus, known)
		if err != nil {
			return page{}, err
		}
		p.events, p.through, p.last = append(p.events, r.events...), r.through, r.last
		for _, t := range r.missed {
			gone[t] = struct{}{}
		}
	}
	p.missed = slices.Collect(maps.Keys(gone))
	p.events = slices.DeleteFunc(p.events, func(ev market.Event) bool {
		_, missed := gone[ev.Topic()]
		return missed || ev.Seq > p.through
	})
	slices.SortStableFunc(p.events, func(a, b market.Event) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Channel, b.Channel))
	})
	if p.last != nil { // what the history gave comes behind what the bus did
		for i := range p.events {
			p.last[p.events[i].Topic()] = p.events[i].Seq
		}
	}
	return p, nil
}

// cut takes off what is beyond so many events, but for those of the last one's
// position.
func (p *page) cut(limit int) {
	n := limit
	for n < len(p.events) && p.events[n].Seq == p.events[n-1].Seq {
		n++
	}
	if n < len(p.events) {
		p.events, p.through, p.last = p.events[:n], p.events[n-1].Seq, nil
	}
}

// reread reads from the bus what the topics in lacks had after a place, each up to
// the place from which on the hub holds it, and none beyond end.
func (e *engine) reread(ctx context.Context, lacks lasts, after, end market.Seq, limit int, known lasts) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, rereadMost)
	defer cancel()
	select {
	case e.rereading <- struct{}{}:
		defer func() { <-e.rereading }()
	case <-ctx.Done():
		return page{}, context.Cause(ctx)
	}
	first, _, err := e.log.Bounds(ctx)
	if err != nil {
		return page{}, status.Errorf(codes.Unavailable, "the bus does not answer")
	}
	none := page{through: end, missed: slices.Collect(maps.Keys(lacks))}
	if first.Batch() > 1 && after < endBefore(first) { // the bus begins with batch 1
		return none, nil
	}
	stop := market.Seq(0)
	for _, held := range lacks {
		stop = max(stop, min(held, end))
	}
	if stop <= endBefore(first) { // from where on the hub knows all
		return page{through: end}, nil
	}
	for _, back := range []uint64{0, lookBack, lookFar} {
		if back == 0 && known == nil {
			continue
		}
		r := &rereader{engine: e, page: page{through: end, last: maps.Clone(known)}, lacks: lacks, after: after, stop: stop, limit: limit}
		from := max(first.Batch(), after.Batch()-min(after.Batch(), back))
		err := r.read(ctx, from)
		var expired Expired
		switch {
		case errors.As(err, &expired):
			return none, nil
		case err != nil:
			return page{}, err
		}
		// What a topic had before is not known where the bus does not reach back so far.
		if from > 1 {
			r.missed = slices.Collect(maps.Keys(r.orphans))
		}
		if len(r.missed) == 0 || from == first.Batch() || back == lookFar {
			return r.page, nil
		}
	}
	return none, nil
}

// rereader reads a part of the bus once more.
type rereader struct {
	*engine
	page
	lacks   lasts
	after   market.Seq
	stop    market.Seq // nothing is lacking behind it
	limit   int
	orphans map[market.Topic]struct{} // topics whose first event after the place has no known one before
}

func (r *rereader) read(ctx context.Context, from uint64) error {
	if r.orphans = map[market.Topic]struct{}{}; r.last == nil {
		r.last = lasts{}
	}
	began := time.Now()
	batches := 0
	for m, err := range r.log.Read(ctx, endOf(from-1)) {
		switch {
		case err != nil:
			return err
		case m.Epoch != r.epoch:
			return errEpoch
		}
		for i := range m.Events {
			ev := &m.Events[i]
			held, lacks := r.lacks[ev.Topic()]
			if !lacks || ev.Seq > min(held, r.stop) {
				continue
			}
			if ev.Prev = r.last[ev.Topic()]; ev.Seq > r.after {
				if ev.Prev == 0 {
					r.orphans[ev.Topic()] = struct{}{}
				}
				r.events = append(r.events, *ev)
			}
			r.last[ev.Topic()] = ev.Seq
		}
		if batches++; m.Batch >= r.stop.Batch() {
			return nil
		}
		if through := endOf(m.Batch); through > r.after && (len(r.events) >= r.limit || batches >= rereadLimit || time.Since(began) > rereadTime) {
			r.through = through
			return nil
		}
	}
	return errSilent
}
