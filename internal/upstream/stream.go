package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

// handle does what follows from a happening. Its errors are the sink's.
func (c *Client) handle(ctx context.Context, h happening) error {
	s := h.session
	var err error
	switch {
	case h.opened:
		c.session = s
	case h.message == nil:
		c.closed(ctx, s, h.closed)
	case !s.ended: // else it was under way when the session was given up
		err = c.receive(ctx, s, h.message)
		s.heard = time.Now() // not before: while the sink is slow nothing else is heard
	}
	return err
}

// closed makes the state ready for the next session.
func (c *Client) closed(ctx context.Context, s *session, err error) {
	if c.session == s {
		c.session = nil
	}
	c.adds, c.drops = nil, nil
	for _, t := range c.topics {
		t.asked = false
	}
	c.troubled(fmt.Errorf("%s: %w", s.monitor, err))
	reason := reasonOf(err)
	c.metrics.reconnects.WithLabelValues(reason).Inc()
	level := slog.LevelDebug
	if c.failing[s.monitor] != reason {
		c.failing[s.monitor], level = reason, slog.LevelWarn
	}
	c.logger.LogAttrs(ctx, level, "monitor lost", slog.String("monitor", s.monitor),
		slog.String("reason", reason), slog.Any("error", err))
}

// protocol gives a session up that breaks the rules.
func (c *Client) protocol(s *session, err error) {
	s.ended = true
	s.end(err)
}

func (c *Client) receive(ctx context.Context, s *session, m *message) error {
	if _, is := m.GetKind().(*pb.WatchResponse_Welcome); is == s.welcomed {
		c.protocol(s, errFirst)
		return nil
	}
	switch k := m.GetKind().(type) {
	case *pb.WatchResponse_Welcome:
		return c.welcome(ctx, s, k.Welcome)
	case *pb.WatchResponse_Snapshots:
		return c.snapshots(ctx, m)
	case *pb.WatchResponse_Batch:
		return c.batch(ctx, m.events)
	case *pb.WatchResponse_Added:
		delete(s.initial, k.Added.GetId())
		c.sync(ctx, s)
	case *pb.WatchResponse_Gap:
		return c.gap(ctx, k.Gap, m.topics)
	case *pb.WatchResponse_Feed:
		s.feed = market.Feed{State: market.FeedState(k.Feed.GetState()), Since: time.Unix(0, k.Feed.GetSince()).UTC()}
		c.sync(ctx, s)
	case *pb.WatchResponse_Progress:
		return c.progress(ctx, s, marketpb.FromPosition(k.Progress.GetPosition()))
	}
	return nil
}

func (c *Client) welcome(ctx context.Context, s *session, w *pb.Welcome) error {
	s.welcomed, s.begun = true, time.Now()
	start := marketpb.FromPosition(w.GetPosition())
	c.troubled(nil)
	c.logger.LogAttrs(ctx, slog.LevelInfo, "watching", slog.String("monitor", s.monitor),
		slog.String("replica", w.GetReplica()), slog.String("position", start.String()))
	return c.begin(ctx, s, start)
}

// progress moves the position. Before everything is resumed it does not speak of
// our topics, but tells whether a monitor that was behind has caught up.
func (c *Client) progress(ctx context.Context, s *session, p market.Position) error {
	switch {
	case !s.asked:
		return c.begin(ctx, s, p)
	case s.synced.Load() && p.Epoch == c.at.Epoch:
		c.advance(p.Seq)
	}
	return nil
}

// begin asks for all that is wanted: what was carried goes on where it ended. A
// replica that has not read so far yet is waited for, since what it sends would
// be old; one that does not come so far, because its bus has lost events, is
// taken as it is.
func (c *Client) begin(ctx context.Context, s *session, start market.Position) error {
	since := c.at
	if start.Epoch == since.Epoch && start.Seq.Batch() < since.Seq.Batch() {
		if time.Since(s.begun) < c.cfg.Down {
			return nil
		}
		if err := c.lose(ctx, market.Gap{Reason: market.GapExpired, From: since, To: start}); err != nil {
			return err
		}
		c.move(start)
	}
	c.want()
	var resume, fresh []market.Topic
	for t, known := range c.topics {
		known.asked = true
		if known.carried {
			resume = append(resume, t)
		} else {
			fresh = append(fresh, t)
		}
	}
	switch {
	case len(resume) > 0 && since.Epoch == start.Epoch:
	case len(resume) > 0: // the monitor announces the gap
		c.move(market.Position{Epoch: start.Epoch})
	case since.Epoch != 0 && since.Epoch != start.Epoch:
		c.move(start)
		if err := c.sink.Gap(ctx, market.Gap{Reason: market.GapEpoch, From: since, To: start}); err != nil {
			return err
		}
	default:
		c.move(start)
	}
	s.asked, c.adds, c.drops = true, nil, nil
	// Two requests, because since is for all topics of one.
	for _, r := range []*pb.WatchRequest{
		{Add: marketpb.Topics(resume), Since: marketpb.Position(since)},
		{Add: marketpb.Topics(fresh)},
	} {
		if len(r.GetAdd()) > 0 {
			c.requestID++
			r.Id = c.requestID
			s.initial[r.GetId()] = struct{}{}
			s.queue = append(s.queue, r)
		}
	}
	c.sync(ctx, s)
	return nil
}

// lose gives up the values of all topics.
func (c *Client) lose(ctx context.Context, gap market.Gap) error {
	for t, known := range c.topics {
		if known.carried {
			known.carried = false
			gap.Topics = append(gap.Topics, t)
		}
	}
	clear(c.wild[:])
	clear(c.floors)
	c.highest = 0
	return c.sink.Gap(ctx, gap)
}

// sync notes when the session has caught up.
func (c *Client) sync(ctx context.Context, s *session) {
	if s.synced.Load() || !s.asked || s.feed.State == 0 || len(s.initial) > 0 {
		return
	}
	s.synced.Store(true)
	clear(c.failing)
	c.logger.LogAttrs(ctx, slog.LevelInfo, "resumed", slog.String("monitor", s.monitor), slog.Int("topics", len(c.topics)))
}

// want takes in what has been acquired.
func (c *Client) want() {
	fresh := c.interest.take()
	for _, t := range fresh {
		if t.Channel < market.Trades || t.Channel > market.DailyBars || (t.Symbol != market.AllSymbols && t.Symbol.Validate() != nil) {
			// One bad topic would have the monitor refuse all.
			c.logger.Error("a topic that cannot exist was acquired", slog.String("topic", t.String()))
			continue
		}
		c.topics[t] = &topic{}
		c.adds = append(c.adds, t)
	}
	if len(fresh) > 0 {
		c.metrics.topics.Set(float64(len(c.topics)))
	}
}

// request hands what is to be changed to the sender, as one request, once it
// has sent the one before.
func (c *Client) request() {
	s := c.session
	if s == nil || !s.asked || s.ended {
		return
	}
	if len(s.queue) == 0 {
		if r := c.change(); r != nil {
			s.queue = append(s.queue, r)
		}
	}
	for len(s.queue) > 0 {
		select {
		case s.out <- s.queue[0]:
			s.queue = s.queue[1:]
		default:
			return
		}
	}
}

// change gives a request for what is new, nil where nothing is.
func (c *Client) change() *pb.WatchRequest {
	adds := c.adds[:0]
	for _, t := range c.adds {
		if known := c.topics[t]; known != nil && !known.asked {
			known.asked = true
			adds = append(adds, t)
		}
	}
	drops := c.drops
	c.adds, c.drops = nil, nil
	if len(adds)+len(drops) == 0 {
		return nil
	}
	c.requestID++
	return &pb.WatchRequest{Id: c.requestID, Add: marketpb.Topics(adds), Drop: marketpb.Topics(drops)}
}

// carries reports whether the topic has its value, so that live events fit it.
func (c *Client) carries(t market.Topic) bool {
	if c.wild[t.Channel] {
		return true
	}
	known := c.topics[t]
	return known != nil && known.carried
}

func (c *Client) snapshots(ctx context.Context, m *message) error {
	topics := m.topics[:0]
	for _, t := range m.topics {
		known := c.topics[t]
		if known == nil || !known.asked { // dropped in the meantime
			continue
		}
		known.carried = true
		if t.Symbol == market.AllSymbols {
			c.wild[t.Channel] = true
		}
		topics = append(topics, t)
	}
	events := m.events[:0]
	for _, e := range m.events {
		t := e.Topic()
		if star := c.topics[market.Topic{Channel: t.Channel, Symbol: market.AllSymbols}]; !c.carries(t) && (star == nil || !star.asked) {
			c.metrics.ignored.Inc()
			continue
		}
		if e.Seq > c.at.Seq { // ahead of the live events, which must not repeat it
			c.floors[t] = e.Seq
			c.highest = max(c.highest, e.Seq)
		}
		events = append(events, e)
	}
	if len(topics)+len(events) == 0 {
		return nil
	}
	return c.sink.Replace(ctx, topics, events)
}

func (c *Client) batch(ctx context.Context, all []market.Event) error {
	if len(all) == 0 {
		return nil
	}
	events := all[:0]
	for i := range all {
		e := &all[i]
		t := e.Topic()
		if e.Seq <= c.at.Seq || !c.carries(t) || (len(c.floors) > 0 && e.Seq <= c.floors[t]) {
			continue
		}
		events = append(events, *e)
	}
	if ignored := len(all) - len(events); ignored > 0 {
		c.metrics.ignored.Add(float64(ignored))
	}
	last := all[len(all)-1].Seq
	if len(events) > 0 {
		c.metrics.events.Add(float64(len(events)))
		if err := c.sink.Publish(ctx, events); err != nil {
			return err
		}
	}
	c.advance(last)
	return nil
}

func (c *Client) gap(ctx context.Context, g *pb.Gap, topics []market.Topic) error {
	gap := market.Gap{
		Reason: market.GapReason(g.GetReason()), From: marketpb.FromPosition(g.GetFrom()), To: marketpb.FromPosition(g.GetTo()),
	}
	for _, t := range topics {
		known := c.topics[t]
		if known == nil && !c.wild[t.Channel] {
			continue // dropped in the meantime
		}
		gap.Topics = append(gap.Topics, t)
		// Values of another epoch are worth nothing. After an expired place the
		// position still is before the gap, so that resuming would repeat it.
		if known != nil && gap.Reason == market.GapEpoch {
			known.carried = false
			if t.Symbol == market.AllSymbols {
				c.wild[t.Channel] = false
			}
		}
	}
	if gap.Reason == market.GapEpoch {
		c.move(gap.To)
		clear(c.floors)
		c.highest = 0
	}
	c.logger.LogAttrs(ctx, slog.LevelWarn, "events were lost", slog.String("reason", gap.Reason.String()),
		slog.String("from", gap.From.String()), slog.String("to", gap.To.String()), slog.Int("topics", len(gap.Topics)))
	return c.sink.Gap(ctx, gap)
}

// advance moves the position forward within its epoch.
func (c *Client) advance(seq market.Seq) {
	if seq <= c.at.Seq {
		return
	}
	c.at.Seq = seq
	if len(c.floors) > 0 && seq >= c.highest {
		clear(c.floors)
		c.highest = 0
	}
	c.publishPosition()
}

// move sets the position, of another epoch or at the start.
func (c *Client) move(p market.Position) {
	if p.Epoch != c.at.Epoch {
		clear(c.floors)
		c.highest = 0
	}
	c.at = p
	c.publishPosition()
}

func (c *Client) publishPosition() {
	c.mu.Lock()
	c.position = c.at
	c.mu.Unlock()
}
