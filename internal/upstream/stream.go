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

// catchUp is how long a monitor that has not read so far as we have is waited for
// while another one is untried. A sound one tells its progress in 250 ms.
const catchUp = 200 * time.Millisecond

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
		if s.synced.Load() {
			c.used.heard = s.heard
		}
	}
	return err
}

// used is what is known of the last session that was of use.
type used struct {
	monitor string
	heard   time.Time // when its last message was handled; zero: there was none yet
	reason  string    // why it ended
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
	reason := reasonOf(err)
	c.metrics.reconnects.WithLabelValues(reason).Inc()
	if s.synced.Load() {
		c.used.reason = reason
		c.metrics.monitor.DeleteLabelValues(s.monitor)
	}
	if reason == errMoved.Error() {
		c.logger.LogAttrs(ctx, slog.LevelInfo, "moving to another monitor", slog.String("monitor", s.monitor), slog.String("to", s.next))
		return
	}
	if s.monitor != "" {
		err = fmt.Errorf("%s: %w", s.monitor, err)
	}
	c.troubled(err)
	level := slog.LevelDebug
	if c.failing[s.monitor] != reason {
		c.failing[s.monitor], level = reason, slog.LevelWarn
	}
	c.logger.LogAttrs(ctx, level, "monitor lost", slog.String("monitor", s.monitor),
		slog.String("reason", reason), slog.Any("error", err))
}

// giveUp ends a session: nothing of it counts any more.
func (c *Client) giveUp(s *session, why error) {
	s.ended = true
	s.end(why)
}

func (c *Client) receive(ctx context.Context, s *session, m *message) error {
	if _, is := m.GetKind().(*pb.WatchResponse_Welcome); is == s.welcomed {
		c.giveUp(s, errFirst)
		return nil
	}
	switch k := m.GetKind().(type) {
	case *pb.WatchResponse_Welcome:
		return c.welcome(ctx, s, k.Welcome, m.listed)
	case *pb.WatchResponse_Snapshots:
		return c.snapshots(ctx, s, m)
	case *pb.WatchResponse_Batch:
		if !s.asked { // of symbols that have appeared; all is resumed from where we are
			c.metrics.ignored.Add(float64(len(m.events)))
			return nil
		}
		return c.batch(ctx, s, m.events)
	case *pb.WatchResponse_Listed:
		return c.listed(ctx, s, m.listed)
	case *pb.WatchResponse_Refused:
		return c.refused(ctx, s, k.Refused)
	case *pb.WatchResponse_Added:
		delete(s.adds, k.Added.GetId())
		if delete(s.initial, k.Added.GetId()); len(s.initial) == 0 {
			c.advance(s.ahead)
		}
		c.sync(ctx, s)
	case *pb.WatchResponse_Gap:
		return c.gap(ctx, k.Gap, m.topics)
	case *pb.WatchResponse_Feed:
		s.feed = marketpb.FromFeed(k.Feed)
		c.sync(ctx, s)
	case *pb.WatchResponse_Progress:
		return c.progress(ctx, s, marketpb.FromPosition(k.Progress.GetPosition()))
	}
	return nil
}

func (c *Client) welcome(ctx context.Context, s *session, w *pb.Welcome, symbols []market.Symbol) error {
	s.welcomed, s.begun = true, time.Now()
	start := marketpb.FromPosition(w.GetPosition())
	if err := c.learn(ctx, s, w.GetLists(), symbols, start.Epoch); err != nil {
		return err
	}
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

// behind reports whether a monitor at start has not read so far as we have: what it
// sends would be old. So is what an older stream holds.
func (c *Client) behind(start market.Position) bool {
	return start.Epoch < c.at.Epoch || start.Epoch == c.at.Epoch && start.Seq.Batch() < c.at.Seq.Batch()
}

// settleFor reports whether a monitor that is behind is taken as it is, because its
// bus has lost events and there is no better one. Until then it is waited for: for as
// long as it takes to see whether it catches up, where another one can be tried.
func (c *Client) settleFor(s *session) bool {
	waited := time.Since(s.begun)
	switch {
	case s.alone:
		return waited >= c.cfg.Down
	case !s.last && waited >= catchUp, s.last && waited >= c.cfg.Switch && time.Since(c.lostSince) < c.cfg.Down:
		c.giveUp(s, errBehind)
		return false
	}
	return s.last && waited >= c.cfg.Switch
}

// begin asks for all that is wanted: what was carried goes on where it ended.
func (c *Client) begin(ctx context.Context, s *session, start market.Position) error {
	since := c.at
	if c.behind(start) {
		if !c.settleFor(s) {
			return nil
		}
		if start.Epoch == since.Epoch {
			if err := c.lose(ctx, market.Gap{Reason: market.GapExpired, From: since, To: start}); err != nil {
				return err
			}
			c.move(start)
		}
	}
	c.want()
	requests, drops := c.replay()
	var resume, fresh []market.Topic
	for t, known := range c.topics {
		known.asked = true
		switch {
		case !known.carried:
			fresh = append(fresh, t)
		case c.holes[t] == nil:
			resume = append(resume, t)
		}
	}
	switch again := len(resume)+len(requests) > 0; {
	case again && since.Epoch == start.Epoch:
	case again: // the monitor announces the gap
		c.move(market.Position{Epoch: start.Epoch})
	case since.Epoch != 0 && since.Epoch != start.Epoch:
		c.move(start)
		if err := c.sink.Gap(ctx, market.Gap{Reason: market.GapEpoch, From: since, To: start}); err != nil {
			return err
		}
	default:
		c.move(start)
	}
	if len(c.drops) > 0 { // of symbols that appeared meanwhile
		s.queue = append(s.queue, &pb.WatchRequest{Drop: marketpb.Topics(c.drops)})
	}
	s.asked, c.adds, c.drops = true, nil, drops
	// One request for what goes on and one for what begins, because since is for all
	// topics of one.
	requests = append(requests,
		&pb.WatchRequest{Add: marketpb.Topics(resume), Since: marketpb.Position(since)},
		&pb.WatchRequest{Add: marketpb.Topics(fresh)})
	for i, r := range requests {
		if len(r.GetAdd()) > 0 {
			c.requestID++
			r.Id = c.requestID
			s.initial[r.GetId()] = struct{}{}
			s.queue = append(s.queue, r)
			switch i {
			case len(requests) - 2:
				s.adds[r.GetId()] = resume
			case len(requests) - 1:
				s.adds[r.GetId()] = fresh
			}
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
	c.forgetAll()
	c.tellLost(ctx, gap)
	return c.sink.Gap(ctx, gap)
}

// sync notes when the session has caught up.
func (c *Client) sync(ctx context.Context, s *session) {
	if s.synced.Load() || !s.asked || s.feed.State == 0 || len(s.initial) > 0 {
		return
	}
	s.synced.Store(true)
	clear(c.failing)
	c.metrics.monitor.WithLabelValues(s.monitor).Set(1)
	now := time.Now()
	if !c.used.heard.IsZero() {
		c.metrics.interruption.Observe(now.Sub(c.used.heard).Seconds())
	}
	if c.used.monitor != "" && c.used.monitor != s.monitor {
		c.metrics.failovers.WithLabelValues(c.used.reason).Inc()
	}
	c.used = used{monitor: s.monitor, heard: now}
	c.logger.LogAttrs(ctx, slog.LevelInfo, "resumed", slog.String("monitor", s.monitor), slog.Int("topics", len(c.topics)))
}

func (c *Client) snapshots(ctx context.Context, s *session, m *message) error {
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
		known, star := c.topics[t], c.topics[market.Topic{Channel: t.Channel, Symbol: market.AllSymbols}]
		if (known == nil || !known.carried) && (star == nil || !star.asked) {
			c.metrics.ignored.Inc()
			continue
		}
		c.value(s, t, e.Seq)
		events = append(events, e)
	}
	for _, t := range topics {
		c.valueless(t)
	}
	if len(topics)+len(events) == 0 {
		return nil
	}
	return c.sink.Replace(ctx, topics, events)
}

func (c *Client) gap(ctx context.Context, g *pb.Gap, topics []market.Topic) error {
	gap := market.Gap{
		Reason: market.GapReason(g.GetReason()), From: marketpb.FromPosition(g.GetFrom()), To: marketpb.FromPosition(g.GetTo()),
	}
	// What waited in the monitor is lost, too.
	if gap.From.Epoch == c.at.Epoch && gap.From.Seq > c.at.Seq {
		gap.From = c.at
	}
	if gap.Reason == market.GapEpoch {
		c.move(gap.To)
	}
	for _, t := range c.spellOut(topics) {
		gap.Topics = append(gap.Topics, t)
		c.unknown(t, gap.To.Seq)
		// Values of another epoch are worth nothing. After an expired place the
		// position still is before the gap, so that resuming would repeat it.
		if known := c.topics[t]; known != nil && gap.Reason == market.GapEpoch {
			known.carried = false
			if t.Symbol == market.AllSymbols {
				c.wild[t.Channel] = false
			}
		}
	}
	c.tellLost(ctx, gap)
	return c.sink.Gap(ctx, gap)
}

// spellOut gives those of a gap's topics that somebody wants. A monitor that has lost
// events itself says "*".
func (c *Client) spellOut(topics []market.Topic) (out []market.Topic) {
	for _, t := range topics {
		if c.topics[t] != nil || c.wild[t.Channel] { // else dropped in the meantime
			out = append(out, t)
		}
		if t.Symbol != market.AllSymbols || c.wild[t.Channel] {
			continue
		}
		for other := range c.topics {
			if other.Channel == t.Channel && other != t {
				out = append(out, other)
			}
		}
	}
	return out
}

// advance moves the position forward within its epoch.
func (c *Client) advance(seq market.Seq) {
	if seq <= c.at.Seq {
		return
	}
	c.at.Seq = seq
	c.publishPosition()
}

// move sets the position, of another epoch or at the start.
func (c *Client) move(p market.Position) {
	if p.Epoch != c.at.Epoch {
		c.forgetAll()
	}
	c.at = p
	c.publishPosition()
}

func (c *Client) publishPosition() {
	c.mu.Lock()
	c.position = c.at
	c.mu.Unlock()
}
