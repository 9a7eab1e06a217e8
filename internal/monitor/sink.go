package monitor

import (
	"context"
	"time"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

// frameEvents is how many events a frame takes before what else waits stays in
// the mailbox.
const frameEvents = 1024

// frame is what a shard hands to a stream's sender at once. Its parts are sent in
// the order of its fields.
type frame struct {
	control   []*pb.WatchResponse // news that come before data
	answered  []market.Topic      // topics that were added, and have their snapshots in here
	final     bool                // answered is complete, and all its snapshots are in here
	snapshots []mailbox.Delivery
	events    []mailbox.Delivery // ascending; equal positions are never torn apart
	added     []uint64           // requests that have taken effect
	progress  market.Position    // zero: none
}

func (f *frame) empty() bool {
	return len(f.control)+len(f.snapshots)+len(f.events)+len(f.added) == 0 && !f.final && f.progress.IsZero()
}

// sink stands between a hub's shard and one stream's sender. The shard hands over
// one frame and puts no second before the sender has come back for it; meanwhile
// the mailbox gathers, and conflates. All fields are the shard's own but frames,
// from which the sender takes, and end, which is for both.
type sink struct {
	frames chan *frame // holds one at most
	end    context.CancelCauseFunc
	epoch  market.Epoch

	open     bool // the sender may be given frames
	busy     bool // the sender has one
	control  []*pb.WatchResponse
	answered []market.Topic
	final    bool
	added    []request
	asked    bool // the sender asks for progress
}

// request waits for being confirmed.
type request struct {
	id uint64
	at market.Seq // where it was met: what was sent before, or is resumed, lies up to here
}

func newSink(epoch market.Epoch, end context.CancelCauseFunc) *sink {
	return &sink{frames: make(chan *frame, 1), end: end, epoch: epoch}
}

// Flush hands over what waits, where the sender is free.
func (s *sink) Flush(box *mailbox.Mailbox, _ time.Time) time.Time {
	if !s.open || s.busy {
		return time.Time{}
	}
	f := &frame{control: s.control}
	s.control = nil
	s.takeSnapshots(box, f)
	if len(f.snapshots) < frameEvents {
		takeEvents(box, f)
		s.confirm(box, f)
	}
	if s.asked && len(f.snapshots) == 0 && box.Empty() {
		f.progress = market.Position{Epoch: s.epoch, Seq: box.Through()}
	}
	s.asked = false
	if f.empty() {
		return time.Time{}
	}
	s.busy = true
	s.frames <- f // has room: only a sender that is not busy is given one
	return time.Time{}
}

func (s *sink) takeSnapshots(box *mailbox.Mailbox, f *frame) {
	for len(f.snapshots) < frameEvents {
		d, ok := box.NextSnapshot()
		if !ok {
			f.answered, f.final = s.answered, s.final
			s.answered, s.final = nil, false
			return
		}
		f.snapshots = append(f.snapshots, d)
	}
}

// takeEvents takes what a frame holds, the rest of a position with it. A mailbox
// that conflates is emptied: it asks for that.
func takeEvents(box *mailbox.Mailbox, f *frame) {
	all := box.Conflating()
	f.events = make([]mailbox.Delivery, 0, min(box.Len(), frameEvents+market.BatchLimit))
	for {
		next, ok := box.Peek()
		if n := len(f.events); ok && !all && n >= frameEvents && f.events[n-1].Item.Event().Seq != next {
			return
		}
		d, ok := box.Next() // also where nothing waits: that ends conflation
		if !ok {
			return
		}
		f.events = append(f.events, d)
	}
}

// confirm says which requests have taken effect with this frame.
func (s *sink) confirm(box *mailbox.Mailbox, f *frame) {
	next, waits := box.Peek()
	for len(s.added) > 0 && s.added[0].at <= box.Through() && (!waits || next > s.added[0].at) {
		f.added = append(f.added, s.added[0].id)
		s.added = s.added[1:]
	}
}

// Announce queues news.
func (s *sink) Announce(n hub.Notice) {
	switch {
	case n.Feed != nil:
		s.control = append(s.control, &pb.WatchResponse{Kind: &pb.WatchResponse_Feed{Feed: marketpb.Feed(n.Feed)}})
	case n.Listed != nil:
		s.control = append(s.control, &pb.WatchResponse{Kind: &pb.WatchResponse_Listed{Listed: &pb.Listed{Symbols: marketpb.Symbols(n.Listed)}}})
	case n.Gap != nil:
		s.control = append(s.control, gapMessage(n.Gap))
		for _, t := range n.Gap.Topics { // where it is "*", no topic has a value before its next event
			if t.Symbol != market.AllSymbols {
				s.answered, s.final = append(s.answered, t), true
			}
		}
	}
}

func gapMessage(g *market.Gap) *pb.WatchResponse {
	return &pb.WatchResponse{Kind: &pb.WatchResponse_Gap{Gap: &pb.Gap{
		Reason: pb.Gap_Reason(g.Reason), From: marketpb.Position(g.From), To: marketpb.Position(g.To),
		Topics: marketpb.Topics(g.Topics),
	}}}
}

// Fail ends the stream.
func (s *sink) Fail(err error) { s.end(err) }

// release is what the sender has its shard do when it has sent a frame.
func (s *sink) release(time.Time) { s.busy = false }

// progress has the shard give a sign of life, with the place up to which all has been
// sent; 0 while the stream catches up.
func (s *sink) progress(time.Time) { s.asked = true }
