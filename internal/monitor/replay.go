package monitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

// Sizes of a page of the past.
const (
	defaultReplay = 1000
	maxReplay     = 10000
)

const (
	rereads     = 4               // replays that may read the bus at the same time
	rereadTime  = 2 * time.Second // that one of them reads for a page, once it has got somewhere
	rereadMost  = 5 * time.Second // after which it gives up
	rereadLimit = 65536           // batches that one of them reads for a page
)

// How many batches before a place are read to learn what topics had before it:
// first a few, then many.
const (
	lookBack = 256
	lookFar  = 16384
)

// Replay answers what topics had after a place.
func (s *service) Replay(ctx context.Context, req *pb.ReplayRequest) (*pb.ReplayResponse, error) {
	e, err := s.engine()
	if err != nil {
		return nil, err
	}
	topics, err := s.topics(req.GetTopics())
	if err != nil {
		return nil, err
	}
	if req.GetSince() == nil {
		return nil, status.Error(codes.InvalidArgument, "since: want the place after which events are asked for")
	}
	limit, err := sizeOf("limit", req.GetLimit(), defaultReplay, maxReplay)
	if err != nil {
		return nil, err
	}
	since := marketpb.FromPosition(req.GetSince())
	ok, err := e.reach(ctx, since)
	switch {
	case err != nil || ok:
	case since.Epoch == e.epoch && market.FeedState(e.bus.Load()) != market.FeedLive:
		err = status.Errorf(codes.Unavailable, "the bus is lost, which may have position %s", since)
	default:
		err = status.Errorf(codes.OutOfRange, "position %s is not of this feed, which is at %s", since, e.position())
	}
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	page, err := e.replay(ctx, topics, since.Seq, limit)
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	return &pb.ReplayResponse{
		Through: marketpb.Position(market.Position{Epoch: e.epoch, Seq: page.through}),
		Events:  marketpb.Events(page.events), Missed: marketpb.Topics(page.missed),
	}, nil
}

// page is a part of the past.
type page struct {
	events  []market.Event
	through market.Seq
	missed  []market.Topic
}

// replay gives what topics had after a place: from the hub's history, and from the
// bus what that holds no more. Derived events are on no bus.
func (e *engine) replay(ctx context.Context, topics []market.Topic, after market.Seq, limit int) (page, error) {
	past, err := e.hub.Past(ctx, topics, after)
	if err != nil {
		return page{}, err
	}
	p := page{events: past.Events, through: past.At}
	lacks, gone := past.Lacks, map[market.Topic]struct{}{}
	for t := range lacks {
		if t.Channel.IsBar() {
			gone[t] = struct{}{}
			delete(lacks, t)
		}
	}
	if len(lacks) > 0 {
		r, err := e.reread(ctx, lacks, after, limit)
		if err != nil {
			return page{}, err
		}
		p.events = append(p.events, r.events...)
		if r.through > 0 {
			p.through = r.through
		}
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
	if n := limit; n < len(p.events) {
		for n < len(p.events) && p.events[n].Seq == p.events[n-1].Seq {
			n++
		}
		if n < len(p.events) {
			p.events, p.through = p.events[:n], p.events[n-1].Seq
		}
	}
	return p, nil
}

// earlier reads from the bus what topics had after a place and the hub does not hold
// any more, for a stream that resumes. It gives nothing where that is more than a
// stream's mailbox holds, or the bus does not give it: then the stream is told of a gap.
func (e *engine) earlier(ctx context.Context, topics []market.Topic, after market.Seq) hub.Earlier {
	lacks, err := e.hub.Lacks(ctx, topics, after)
	if err != nil {
		return hub.Earlier{} // the hub has ended, and says so next
	}
	maps.DeleteFunc(lacks.Last, func(t market.Topic, _ market.Seq) bool { return t.Channel.IsBar() })
	if len(lacks.Last) == 0 {
		return hub.Earlier{}
	}
	began := time.Now()
	// All is read, what is held as well: what comes meanwhile pushes it out.
	r, err := e.reread(ctx, lacks.Last, after, e.cfg.Queue)
	if err == nil && r.through > 0 {
		err = fmt.Errorf("more than %d events, or too far away", e.cfg.Queue)
	}
	level, attrs := slog.LevelInfo, []slog.Attr{
		slog.String("since", market.Position{Epoch: e.epoch, Seq: after}.String()), slog.Int("topics", len(lacks.Last)),
		slog.Int("events", len(r.events)), slog.Int("missed", len(r.missed)), slog.Duration("took", time.Since(began)),
	}
	if err != nil {
		level, attrs = slog.LevelWarn, append(attrs, slog.Any("error", err))
	}
	e.logger.LogAttrs(ctx, level, "the bus was read for a stream that is behind", attrs...)
	if err != nil {
		return hub.Earlier{}
	}
	out := hub.Earlier{Through: lacks.At, Events: map[market.Topic][]market.Event{}}
	for t := range lacks.Last {
		out.Events[t] = nil
	}
	for _, t := range r.missed {
		delete(out.Events, t)
	}
	for _, ev := range r.events {
		if list, ok := out.Events[ev.Topic()]; ok {
			out.Events[ev.Topic()] = append(list, ev)
		}
	}
	return out
}

// reread reads from the bus what the topics in lacks had after a place, up to the
// place from which on the hub holds it. A through of 0 means that all of it is in
// there.
func (e *engine) reread(ctx context.Context, lacks map[market.Topic]market.Seq, after market.Seq, limit int) (page, error) {
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
	all := page{missed: slices.Collect(maps.Keys(lacks))}
	if first.Batch() > 1 && after < endBefore(first) { // the bus begins with batch 1
		return all, nil
	}
	for _, back := range []uint64{lookBack, lookFar} {
		r := &rereader{engine: e, lacks: lacks, after: after, limit: limit, last: map[market.Topic]market.Seq{}}
		from := max(first.Batch(), after.Batch()-min(after.Batch(), back))
		err := r.read(ctx, from)
		var expired Expired
		switch {
		case errors.As(err, &expired):
			return all, nil
		case err != nil:
			return page{}, err
		}
		// What a topic had before is not known where the bus does not reach back so far.
		r.missed = nil
		if from > 1 {
			r.missed = slices.Collect(maps.Keys(r.orphans))
		}
		if len(r.missed) == 0 || from == first.Batch() || back == lookFar {
			return r.page, nil
		}
	}
	return all, nil
}

// rereader reads a part of the bus once more.
type rereader struct {
	*engine
	page
	lacks   map[market.Topic]market.Seq
	after   market.Seq
	limit   int
	last    map[market.Topic]market.Seq
	orphans map[market.Topic]struct{} // topics whose first event after the place has no known one before
}

func (r *rereader) read(ctx context.Context, from uint64) error {
	r.orphans = map[market.Topic]struct{}{}
	var stop market.Seq
	for _, held := range r.lacks {
		stop = max(stop, held)
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
			if !lacks || ev.Seq > held {
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
		if batches++; m.Batch >= stop.Batch() {
			return nil
		}
		if through := endOf(m.Batch); through > r.after && (len(r.events) >= r.limit || batches >= rereadLimit || time.Since(began) > rereadTime) {
			r.through = through
			return nil
		}
	}
	return errSilent
}
