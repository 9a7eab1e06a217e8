package hub

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/market"
)

// ErrClosed is the error of calls to a hub that has ended, and what Fail brings
// to members that are left then.
var ErrClosed = errors.New("hub closed")

// Config configures a Hub. Its zero value works.
type Config struct {
	// Shards is the number of goroutines that share the members; 0 means one a
	// processor.
	Shards int
	// Inbox is how many batches and commands may wait for a shard before Publish
	// and Do wait; 0 means 256.
	Inbox int
	// History is how many recent events of each topic are kept for Past; 0 means
	// none.
	History int
	// Window is how many recent events of all topics together are kept for members
	// that catch up; 0 means none.
	Window int
	// Delay is how much later than other hubs this one gets events, for members that
	// must not learn where those are. A position ahead of the hub is then looked up
	// nowhere else: the hub waits as long for it as it may be behind.
	Delay time.Duration
	// Slice is how many topics a slice is about of work that takes long for a member;
	// 0 means 256. A member gets nothing until its work is done: where one stands for
	// many, it is better done in few.
	Slice int
	// Open makes every topic live from its first event on.
	Open bool
	// Encode makes the bodies that sinks ask for; see mailbox.Item.Body.
	Encode mailbox.Encode
}

// Hub spreads events to members. Publish, Replace, Forget, Gap and Feed are for
// one goroutine, the feed's reader; everything else is for any.
type Hub struct {
	cfg    Config
	made   time.Time
	shards []*shard
	rings  mailbox.Rings // the memory of all members' queues
	next   atomic.Uint64 // for handing members to shards in turn
	ending chan struct{} // closed: no message is taken any more
	done   chan struct{} // closed: nothing is left
}

// Sink is how one member gets its events. All of its methods are called on the
// shard's goroutine and must not block, nor call Do, Subscribe or Leave.
type Sink interface {
	// Flush takes what waits from box, as far as the sink has room. It is called
	// after events came, after every Do, and at the time that it returned last;
	// the zero time asks for no call.
	Flush(box *mailbox.Mailbox, now time.Time) (wake time.Time)
	// Announce brings news that concern more than one topic, in their place
	// between events. The next Flush comes after it.
	Announce(n Notice)
	// Fail says that the hub has removed the member, and why: a mailbox error,
	// a panic in the sink itself, or ErrClosed.
	Fail(err error)
}

// Notice is news for a member; one of its fields is set.
type Notice struct {
	Feed *market.Feed // the feed's state changed
	Gap  *market.Gap  // events were lost on topics that the member listens to; snapshots follow
	// Listed are symbols that appear for the first time.
	Listed []market.Symbol
}

// New makes a hub, which does nothing before Run.
func New(cfg Config) (*Hub, error) {
	if cfg.Shards < 0 || cfg.Inbox < 0 || cfg.History < 0 || cfg.Window < 0 || cfg.Delay < 0 || cfg.Slice < 0 {
		return nil, fmt.Errorf("hub: shards %d, inbox %d, history %d, window %d, delay %s and slice %d must not be negative",
			cfg.Shards, cfg.Inbox, cfg.History, cfg.Window, cfg.Delay, cfg.Slice)
	}
	if cfg.Shards == 0 {
		cfg.Shards = runtime.GOMAXPROCS(0)
	}
	if cfg.Slice == 0 {
		cfg.Slice = sliceTopics
	}
	if cfg.Inbox == 0 {
		cfg.Inbox = 256
	}
	h := &Hub{cfg: cfg, made: time.Now(), ending: make(chan struct{}), done: make(chan struct{})}
	for range cfg.Shards {
		h.shards = append(h.shards, newShard(h))
	}
	h.shards[0].history = cfg.History // the one that is asked for it
	return h, nil
}

// Delay returns how much later than other hubs this one gets events.
func (h *Hub) Delay() time.Duration { return h.cfg.Delay }

// Run works until ctx ends, then fails the members that are left. It is called
// once.
func (h *Hub) Run(ctx context.Context) error {
	defer close(h.done)
	var g errgroup.Group
	for _, s := range h.shards {
		g.Go(func() error { return s.run(ctx) })
	}
	err := g.Wait()
	close(h.ending)
	for _, s := range h.shards {
		s.close()
	}
	return err
}

// Publish spreads events, which the hub takes over: ascending by Seq, those of
// equal Seq in one call, none at or before the last call's end.
func (h *Hub) Publish(ctx context.Context, events []market.Event) error {
	if len(events) == 0 {
		return nil
	}
	b := mailbox.NewBatch(events, h.cfg.Encode)
	return h.all(ctx, message{batch: b})
}

// Replace says that topics are live from here on, and what their current values
// are: events, ascending by Seq, at most one a topic. A topic without one has no
// value yet. Members that wait for a topic's snapshot get it.
func (h *Hub) Replace(ctx context.Context, topics []market.Topic, events []market.Event) error {
	b := mailbox.NewBatch(events, h.cfg.Encode)
	return h.all(ctx, message{do: func(s *shard) { s.replace(topics, b) }})
}

// Forget says that topics are not carried any more.
func (h *Hub) Forget(ctx context.Context, topics []market.Topic) error {
	return h.all(ctx, message{do: func(s *shard) { s.forget(topics) }})
}

// Gap says that events were lost. The topics lose value and history until
// Replace brings new ones; members that listen to one of them are told.
func (h *Hub) Gap(ctx context.Context, gap market.Gap) error {
	return h.all(ctx, message{do: func(s *shard) { s.gap(&gap) }})
}

// Feed tells all members, and those who join later, the feed's state.
func (h *Hub) Feed(ctx context.Context, feed market.Feed) error {
	return h.all(ctx, message{do: func(s *shard) {
		s.feed = &feed
		s.enter(feed.Epoch)
		s.announce(Notice{Feed: &feed})
	}})
}

// Advance tells how far the feed has been read, where the last events went to
// topics that nobody carries.
func (h *Hub) Advance(ctx context.Context, to market.Seq) error {
	return h.all(ctx, message{do: func(s *shard) {
		s.position, s.settled = max(s.position, to), max(s.settled, to)
	}})
}

// List says that symbols appear for the first time, ahead of their first events. Who
// asked for it gets all their topics; see Subscription.
func (h *Hub) List(ctx context.Context, symbols []market.Symbol) error {
	return h.all(ctx, message{do: func(s *shard) { s.list(symbols) }})
}

// Base says that the history holds every event after base, even on topics that
// have shown none. It belongs before the first Publish.
func (h *Hub) Base(ctx context.Context, base market.Seq) error {
	return h.all(ctx, message{do: func(s *shard) { s.base = base }})
}

func (h *Hub) all(ctx context.Context, m message) error {
	for _, s := range h.shards {
		if err := s.send(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// Snapshot gives the current values of topics, ascending by Seq, and the
// position at which all of them hold. "*" stands for every symbol.
func (h *Hub) Snapshot(ctx context.Context, topics []market.Topic) ([]market.Event, market.Seq, error) {
	type values struct {
		events []market.Event
		at     market.Seq
	}
	v, err := ask(ctx, h, func(s *shard) values { return values{s.snapshot(topics), s.position} })
	return v.events, v.at, err
}

// Stats are counts over the hub's life, and what is there now.
type Stats struct {
	Events    uint64 // events published
	Delivered uint64 // events put into mailboxes
	Merged    uint64 // events that gave way to later ones in mailboxes
	Replayed  uint64 // events put into mailboxes of members that caught up
	Fetches   uint64 // times that events for these had to come from elsewhere
	Gaps      uint64 // members that could not be brought up to date without a gap
	Members   int
	Topics    int // topics that a shard holds
	Inbox     int // batches and commands that wait, in the fullest inbox
	Queued    int // members with work that is done in slices
}

// Topics gives how many topics of a channel a shard knows.
func (h *Hub) Topics(ch market.Channel) int { return int(h.shards[0].channels[ch].known.Load()) }

// Stats gives the hub's counts.
func (h *Hub) Stats() Stats {
	var st Stats
	for i, s := range h.shards {
		if i == 0 {
			st.Events = s.stats.events.Load()
		}
		st.Delivered += s.stats.delivered.Load()
		st.Merged += s.stats.merged.Load()
		st.Replayed += s.stats.replayed.Load()
		st.Fetches += s.stats.fetches.Load()
		st.Gaps += s.stats.gaps.Load()
		st.Members += int(s.stats.members.Load())
		topics := 0
		for c := range s.channels {
			topics += int(s.channels[c].known.Load())
		}
		st.Topics = max(st.Topics, topics)
		st.Inbox = max(st.Inbox, len(s.inbox))
		st.Queued += int(s.stats.queued.Load())
	}
	return st
}
