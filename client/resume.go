package client

import (
	"maps"
	"net/http"
	"slices"

	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// address gives where to connect to. Where the gateway knows the subscriptions,
// the position to resume from stands in it.
func (s *session) address() string {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.book
	if b == nil || b.epoch == 0 || b.at == 0 || c.plain || !keeps(s.url) {
		return s.url
	}
	s.resume(market.Position{Epoch: b.epoch, Seq: b.at})
	s.book.at = b.at
	s.inURL = true
	return resuming(s.url, market.Position{Epoch: b.epoch, Seq: b.at})
}

// forgive takes the refusal of a gateway that cannot resume for what it is: it is
// not asked again.
func (s *session) forgive(refused *Error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.inURL && refused.Code == http.StatusBadRequest {
		s.c.plain = true
		refused.Retry = RetryBackoff
	}
}

// resume notes that the gateway is asked to go on behind at. Positions are of that
// epoch, unless it says something else. c.mu is held.
func (s *session) resume(at market.Position) {
	if s.epoch == 0 {
		s.epoch, s.book.epoch = at.Epoch, at.Epoch
	}
}

// begin is called once, when the gateway takes commands: the client asks for all
// that earlier connections had, behind what has come from them.
func (s *session) begin() {
	if s.hasBegun() {
		return
	}
	c := s.c
	c.mu.Lock()
	s.begun = true
	topics := make([]market.Topic, 0, len(c.want))
	apart := make(map[market.Topic]bool) // those are asked for by whoever waits
	for _, r := range c.waiting {
		for _, t := range r.topics {
			apart[t] = r.action == wire.Subscribe && r.fresh[t]
		}
	}
	for t := range c.want {
		if !apart[t] {
			topics = append(topics, t)
		}
	}
	old := c.book
	if old == nil {
		old = &book{}
	}
	resumed, fresh := old.plan(topics)
	if s.inURL {
		s.countResumed()
	}
	for _, at := range slices.Sorted(maps.Keys(resumed)) {
		s.enqueue(s.restore, resumed[at], market.Position{Epoch: old.epoch, Seq: at})
	}
	s.anew(old, fresh)
	if len(resumed) == 0 && !s.inURL && s.epoch == 0 && len(c.ledger.last) > 0 {
		c.ledger.restart(0) // nobody knows what the positions to come compare with
	}
	open := s.restore.open
	c.mu.Unlock()
	s.signal()
	close(s.beginning)
	if open == 0 {
		close(s.restored)
	}
}

// anew asks for topics that cannot be resumed. Where they were had before,
// something may be missing. c.mu is held.
func (s *session) anew(old *book, topics []market.Topic) {
	var had []market.Topic
	for _, t := range topics {
		if k := old.tracks[t]; k != nil && k.acked {
			had = append(had, t)
		}
	}
	if len(had) > 0 && s.c.session == nil {
		doubt := maps.Clone(s.c.ledger.doubt)
		s.c.ledger.suspect(had)
		for _, t := range had {
			if _, before := doubt[t]; !before && old.epoch == s.epoch {
				s.c.ledger.doubt[t] = old.tracks[t].from
			}
		}
	}
	s.enqueue(s.restore, topics, market.Position{})
	for _, t := range had {
		s.book.tracks[t].acked, s.book.tracks[t].from = true, old.tracks[t].from
	}
}

// attach makes s the connection in use. What was subscribed or unsubscribed while
// it was made is caught up with; requests that wait are sent. Those that have
// nothing to wait for are settled: their done is to be closed.
func (c *Client) attach(old, s *session) (settled []*request) {
	if old != nil {
		c.detach(old)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.next, c.book = s, nil, s.book
	waiting := c.waiting
	c.waiting = nil
	for _, r := range waiting {
		r.topics = slices.DeleteFunc(r.topics, func(t market.Topic) bool {
			_, wanted := c.want[t]
			return wanted != (r.action == wire.Subscribe) || !wanted && !s.asked[t] || wanted && s.asked[t] && !r.fresh[t]
		})
		if len(r.topics) == 0 {
			settled = append(settled, r)
			continue
		}
		s.enqueue(r, r.topics, market.Position{})
	}
	catchUp := &request{action: wire.Subscribe, done: make(chan struct{})}
	var more, less []market.Topic
	for t := range c.want {
		if !s.asked[t] {
			more = append(more, t)
		}
	}
	for t := range s.asked {
		if _, wanted := c.want[t]; !wanted {
			less = append(less, t)
		}
	}
	s.enqueue(catchUp, more, market.Position{})
	s.enqueue(&request{action: wire.Unsubscribe, done: make(chan struct{})}, less, market.Position{})
	return settled
}

// unresumed answers a gateway that does not resume: the topics are asked for
// anew. c.mu is held.
func (s *session) unresumed(cmd command) Gap {
	for _, t := range cmd.topics {
		delete(s.asked, t)
		*s.book.tracks[t] = track{acked: true}
	}
	if s.c.session == nil || s.c.session == s {
		s.c.ledger.suspect(cmd.topics)
	}
	s.enqueue(cmd.request, cmd.topics, market.Position{})
	return Gap{Reason: NotResumed, From: cmd.since, To: market.Position{Epoch: s.epoch}, Topics: cmd.topics}
}

func (s *session) countResumed() {
	if !s.resumed {
		s.resumed = true
		s.c.stats.Resumed++
	}
}
