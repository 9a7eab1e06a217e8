package hub

import (
	"time"

	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/market"
)

const (
	catchUpChunk = 1024                   // events that a member is given at once
	aheadLimit   = time.Second            // for who has read less than a member saw elsewhere: the hub, or whoever it asks
	aheadPoll    = 100 * time.Millisecond // while waiting for that
)

// CatchUp asks for what topics had after a position, and then for what they have
// from now on, with nothing missing and nothing twice in between. What is no
// longer held anywhere is announced by a Gap, behind which the current values
// come.
//
// While a member catches up it gets nothing but what follows that position, in
// order, as fast as it takes it: the hub's window is the buffer, not its mailbox.
// That goes for its other topics too, so that positions ascend.
//
// A mailbox of mode Latest gets the current values of topics that have changed.
type CatchUp struct {
	Since market.Position
	// Within is how long the member may take, once its topics are live. Then one of
	// mode Every fails as one that overflows, others conflate, and go without what
	// the hub does not hold; 0 means that there is no limit.
	Within time.Duration
	// Fetch asks for events that the hub does not hold, or holds no longer. It is
	// called on the shard's goroutine and must not wait. Refill answers it.
	Fetch func(Want)
}

// catchUp is what a shard knows of a member that catches up.
type catchUp struct {
	CatchUp
	at     market.Seq                // all up to here is in the mailbox, or has left it; the shard is as far at least
	low    market.Seq                // all up to here is of every topic that is known: at, or beyond it where the shard is not as far
	waits  map[*sub]struct{}         // topics that have had no event put in yet
	floors map[*sub]market.Seq       // topics that have all up to a later position already
	missed map[market.Topic]struct{} // topics that a gap will tell of
	wild   channels                  // wildcards that catch up

	wildSince market.Position // where they catch up from
	ahead     market.Seq      // the greatest position that the member has seen
	sure      bool            // that there is such a position
	asks      bool            // whether there is
	trusted   time.Time       // until when the member is believed, in a delayed hub; zero: it was not yet asked
	tip       bool            // nothing is missing by now
	beyond    bool            // topics have what is still to come

	began  time.Time         // when all topics were live; zero: they are not yet
	wanted bool              // Fetch was called and is not answered
	until  market.Seq        // of what was wanted: the topics that had changed by then were named
	turn   int               // of the wants
	asked  map[*sub]struct{} // the topics that were
	vain   time.Time         // when the first of answers in a row came that brought nothing; zero: the last did
	again  time.Time         // when to ask again after such

	fetched *mailbox.Batch // what came, up to through
	next    int            // the first of it that is not in the mailbox
	put     market.Seq     // how much of it is
	through market.Seq
}

// landed says that what was fetched and put in is there, and lets go of the rest.
func (c *catchUp) landed() {
	if c.fetched != nil {
		for u := range c.asked {
			c.floors[u] = max(c.floors[u], c.put)
		}
	}
	c.fetched = nil
}

// catchUpOn has a member catch up on what it is being subscribed to.
func (s *shard) catchUpOn(m *Member, req *CatchUp) {
	c := m.catch
	if c == nil {
		c = &catchUp{
			CatchUp: *req, at: min(req.Since.Seq, s.settled),
			waits: map[*sub]struct{}{}, asked: map[*sub]struct{}{}, floors: map[*sub]market.Seq{}, missed: map[market.Topic]struct{}{},
		}
		for _, u := range m.subs {
			c.floors[u] = max(s.settled, u.topic.last.Seq)
		}
		m.catch = c
		s.catching[m] = struct{}{}
	}
	if req.Since.Seq < c.at { // what has been put in already is not put in again
		for _, u := range m.subs {
			c.floors[u] = max(c.floors[u], c.at)
		}
		c.at = req.Since.Seq
	}
	c.landed() // new topics are not in what was asked for
	c.wanted = false
	c.turn++
	if req.Since.Epoch == c.Since.Epoch && req.Since.Seq > c.ahead {
		c.ahead, c.trusted = req.Since.Seq, time.Time{}
	}
}

// add notes a topic that was subscribed in order to catch up.
func (c *catchUp) add(u *sub, since market.Position) {
	if since.Epoch != c.Since.Epoch {
		c.missed[u.topic.name] = struct{}{}
		return
	}
	c.waits[u] = struct{}{}
	if since.Seq > c.at {
		c.floors[u] = since.Seq
	}
}

// resumes reports whether a topic was subscribed in order to catch up, and has had
// no event put in yet.
func (c *catchUp) resumes(u *sub) bool {
	_, waits := c.waits[u]
	return waits
}

// from gives the position after which a topic's events are to be put in.
func (c *catchUp) from(u *sub) market.Seq { return max(c.at, c.floors[u]) }

// holds reports whether the shard knows all of a topic's events after a position.
func (s *shard) holds(t *topic, after market.Seq) bool {
	return t.quiet(after) || after >= max(t.base, s.window.floor)
}

// catchUp brings a member further, as far as its mailbox has room. It reports
// whether it could go on at once, and else may ask to be called again.
func (s *shard) catchUp(m *Member) (more bool, wake time.Time) {
	c := m.catch
	c.tip = false
	if c.wanted || s.waiting(m) {
		return false, time.Time{}
	}
	if c.began.IsZero() {
		c.began = s.now
	}
	if c.Since.Epoch != s.epoch {
		s.giveUp(m)
		return false, time.Time{}
	}
	var until time.Time // when a position ahead of a delayed hub is given up
	switch {
	case c.ahead <= s.position || c.sure:
	case s.hub.cfg.Delay == 0:
		return false, s.verify(m)
	default:
		if until = s.trust(m); until.IsZero() {
			return false, until
		}
	}
	if m.box.Mode() == mailbox.Latest {
		s.catchUpLatest(m)
	}
	room := m.box.Free(catchUpChunk)
	hurry := c.Within > 0 && s.now.Sub(c.began) >= c.Within
	if m.box.Mode() == mailbox.Latest || (hurry && m.box.Mode() == mailbox.Adaptive) {
		room = m.box.Len() + s.window.count + catchUpChunk // it conflates
	}
	for m.catch != nil && !c.wanted {
		before := m.box.Len()
		var err error
		switch {
		case room <= 0:
			if hurry && m.box.Mode() == mailbox.Every {
				err = mailbox.ErrOverflow
			}
			more = err == nil
		case c.fetched != nil:
			err = s.putFetched(m, room)
		case s.lacks(m):
			if wake = s.pause(m); !wake.IsZero() && !hurry {
				return false, wake
			}
			s.want(m, hurry)
		case c.at < s.settled:
			err = s.putPassed(m, room)
		case !c.beyond:
			s.end(m)
		default: // what comes next is here already
			c.began, c.tip = s.now, true
			s.tell(m)
			return false, until
		}
		if err != nil {
			s.fail(m, err)
			return false, time.Time{}
		}
		if more {
			return true, time.Time{}
		}
		room -= m.box.Len() - before
	}
	return false, until
}

// verify waits for the hub to reach a position that the member has seen elsewhere.
// Where that takes long, somebody else is asked whether there is such a position:
// it may be that the feed is quiet, or that the member is wrong. While the feed is
// known to be behind, as where the bus is lost, that is no question.
func (s *shard) verify(m *Member) (wake time.Time) {
	c := m.catch
	if s.behind() {
		c.began = s.now
	}
	switch {
	case s.now.Sub(c.began) < aheadLimit:
		return s.now.Add(aheadPoll)
	case c.Fetch == nil:
		s.giveUp(m)
	default:
		c.asks = true
		s.ask(m, Want{Topics: s.wanted(m), After: market.Position{Epoch: s.epoch, Seq: c.ahead}})
	}
	return time.Time{}
}

// trust believes a member that names a position ahead of a delayed hub: to look it up
// would tell how far other hubs are. Within its delay the hub passes every position that
// there is by now. It returns when the position is given up, the zero time once it is.
func (s *shard) trust(m *Member) (until time.Time) {
	c := m.catch
	if c.trusted.IsZero() || s.behind() {
		c.trusted = s.now.Add(s.hub.cfg.Delay + aheadLimit)
	}
	if s.now.Before(c.trusted) {
		return c.trusted
	}
	s.giveUp(m)
	return time.Time{}
}

// pause tells when to ask again where whoever was asked is not as far as the hub, the
// zero time if at once. While the feed is known to be behind, as where a monitor is
// lost and the next one has read less, that may take as long as it likes.
func (s *shard) pause(m *Member) (wake time.Time) {
	c := m.catch
	if c.vain.IsZero() {
		return time.Time{}
	}
	if s.behind() {
		c.began, c.vain = s.now, s.now
	}
	if s.now.Before(c.again) {
		return c.again
	}
	return time.Time{}
}

// behind reports whether the feed has events that did not get here.
func (s *shard) behind() bool {
	if s.feed == nil || s.feed.State == market.FeedLive {
		return false
	}
	switch s.feed.Reason {
	case 0, market.FeedLagging, market.FeedBus, market.FeedMonitor:
		return true
	case market.FeedSilent, market.FeedLost, market.FeedClosed, market.FeedEnded:
	}
	return false
}

// waiting reports whether a topic that is to catch up is not live yet.
func (s *shard) waiting(m *Member) bool {
	c := m.catch
	for ch := range s.channels {
		if c.wild.has(market.Channel(ch)) && !s.channels[ch].carried {
			return true
		}
	}
	for u := range c.waits {
		if !s.live(u.topic) {
			return true
		}
	}
	return false
}

// lacks reports whether there are events that the shard does not hold. Along the
// way it moves on to the first position that concerns a topic.
func (s *shard) lacks(m *Member) (lacks bool) {
	c := m.catch
	low, any := market.Seq(0), false
	c.beyond = c.ahead > s.settled
	for _, u := range m.subs {
		if _, missed := c.missed[u.topic.name]; missed || !s.live(u.topic) {
			continue
		}
		from := c.from(u)
		c.beyond = c.beyond || from > s.settled
		if u.topic.quiet(from) {
			continue
		}
		if !any || from < low {
			low, any = from, true
		}
		lacks = lacks || !s.holds(u.topic, from)
	}
	if !any {
		low = s.settled
	}
	c.low, c.at = low, min(low, s.settled)
	return lacks
}

// catchUpLatest gives a member the current values of topics that have changed.
func (s *shard) catchUpLatest(m *Member) {
	c := m.catch
	var current []market.Event
	for _, u := range m.subs {
		from := c.from(u)
		if _, waits := c.waits[u]; !s.live(u.topic) || (!waits && s.holds(u.topic, from)) {
			continue
		}
		switch {
		case u.topic.last.Seq > from:
			m.box.Clear(&u.slot) // its value goes ahead of events
			current = append(current, u.topic.last)
		case from > s.settled: // the value that the member has may be still to come here
			continue
		default:
			u.slot.Resume(u.topic.last.Seq)
		}
		delete(c.waits, u)
		c.floors[u] = max(from, u.topic.last.Seq)
	}
	s.addSnapshots(m, current)
}

// giveUp ends catching up on a position that means nothing here.
func (s *shard) giveUp(m *Member) {
	c := m.catch
	for _, u := range m.subs {
		floor, other := c.floors[u]
		if _, waits := c.waits[u]; waits || (other && s.live(u.topic) && u.topic.last.Seq > floor) {
			c.missed[u.topic.name] = struct{}{}
		}
	}
	s.end(m)
}

// end makes a member one like the others.
func (s *shard) end(m *Member) {
	c := m.catch
	for u := range c.waits {
		u.slot.Resume(u.topic.last.Seq)
	}
	s.tell(m)
	m.catch = nil
	delete(s.catching, m)
	m.snap |= c.wild
}

// tell tells a member what it will not get, and gives it the current values instead.
func (s *shard) tell(m *Member) {
	c := m.catch
	if len(c.missed) == 0 {
		return
	}
	gap := market.Gap{Reason: market.GapExpired, From: c.Since, To: market.Position{Epoch: s.epoch, Seq: s.position}}
	if c.Since.Epoch != s.epoch {
		gap.Reason = market.GapEpoch
	}
	var current []market.Event
	for _, u := range m.subs {
		if _, missed := c.missed[u.topic.name]; !missed {
			continue
		}
		gap.Topics = append(gap.Topics, u.topic.name)
		m.box.Clear(&u.slot)
		delete(c.waits, u)
		c.floors[u] = max(s.settled, u.topic.last.Seq)
		if u.want(!s.live(u.topic) || u.topic.void); u.topic.last.Seq > 0 {
			current = append(current, u.topic.last)
		}
	}
	clear(c.missed)
	s.stats.gaps.Add(1)
	s.guard(m, func() { m.sink.Announce(Notice{Gap: &gap}) })
	if m.joined {
		s.addSnapshots(m, current)
	}
}
