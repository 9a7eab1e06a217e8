package upstream

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lzstock/lzstock/market"
)

// Limits bound what a gateway asks its monitor for, and what it waits for. A topic
// counts from its first Acquire until it is dropped, the linger included, for the
// user who asked for it first.
type Limits struct {
	Topics      int // topics in all; 0 means 200,000
	UserTopics  int // topics of one user; 0 means a quarter of Topics
	Unknown     int // topics of symbols that there never were; 0 means half of Topics
	UserUnknown int // those of one user; 0 means 6,144: 1,024 symbols on six channels
}

func (l Limits) withDefaults() (Limits, error) {
	if l.Topics < 0 || l.UserTopics < 0 || l.Unknown < 0 || l.UserUnknown < 0 {
		return l, fmt.Errorf("upstream: limits %+v must not be negative", l)
	}
	set := func(v *int, usual int) {
		if *v == 0 {
			*v = usual
		}
	}
	set(&l.Topics, 200_000)
	set(&l.UserTopics, l.Topics/4)
	set(&l.Unknown, l.Topics/2)
	set(&l.UserUnknown, 6144)
	return l, nil
}

// interest counts who wants which topics. A topic that nobody wants any more is
// kept for the linger. One of a symbol that the feed never had is not asked for
// before the symbol appears, and is forgotten with its last Release.
type interest struct {
	wake   chan struct{} // there are fresh topics
	news   atomic.Bool   // the same; take need not wait for who holds mu where there are none
	limits Limits

	mu      sync.Mutex
	topics  map[market.Topic]want
	users   map[string]*user
	known   map[market.Symbol]struct{} // symbols that the feed has had
	told    bool                       // a monitor has told which these are
	all     bool                       // the monitor does not tell: each symbol passes for known
	unknown map[market.Symbol]channels // awaited, by symbol
	waiting int                        // topics in unknown
	fresh   []market.Topic             // known since the last take
	idle    []idleTopic                // ascending by time; those that are wanted again are skipped
	wild    []idleTopic                // the same of wildcards
}

type want struct {
	refs  int32
	owned int32     // so many of refs are the owner's
	owner *user     // for whom it counts; nil: for nobody
	idle  time.Time // when refs became 0
}

// user is what counts for one user.
type user struct {
	topics  int // asked for from the monitor
	unknown int // of symbols that there never were
}

// channels is a set of channels.
type channels uint8

type idleTopic struct {
	topic market.Topic
	since time.Time
}

func newInterest(limits Limits) *interest {
	return &interest{
		wake: make(chan struct{}, 1), limits: limits, topics: map[market.Topic]want{}, users: map[string]*user{},
		known: map[market.Symbol]struct{}{}, unknown: map[market.Symbol]channels{},
	}
}

// exists reports whether the monitor is to be asked for a topic.
func (i *interest) exists(t market.Topic) bool {
	_, known := i.known[t.Symbol]
	return known || i.all || t.Symbol == market.AllSymbols
}

// acquire counts one more of a user's who wants each of the topics, or none where
// that would be too many.
func (i *interest) acquire(name string, topics []market.Topic) error {
	i.mu.Lock()
	news, err := i.admit(name, topics)
	if err == nil {
		u := i.user(name)
		for _, t := range topics {
			w, has := i.topics[t]
			if !has {
				i.enter(t)
			}
			if w.refs == 0 { // new, or left by all who wanted it
				i.count(t, w.owner, -1)
				w.owner, w.owned = u, 0
				i.count(t, u, 1)
			}
			if w.refs++; w.owner == u {
				w.owned++
			}
			i.topics[t] = w
		}
		i.tidy(name, u)
	}
	i.mu.Unlock()
	if news {
		i.signal()
	}
	return err
}

// admit reports whether there is anything new to ask for, or what is too much.
func (i *interest) admit(name string, topics []market.Topic) (news bool, err error) {
	fresh, unknown := 0, 0
	for _, t := range topics {
		switch _, has := i.topics[t]; {
		case has:
		case i.exists(t):
			fresh++
		default:
			unknown++
		}
	}
	var has user
	if u := i.users[name]; u != nil {
		has = *u
	}
	l := &i.limits
	switch {
	case fresh > 0 && has.topics+fresh > l.UserTopics:
		return false, tooMany(fresh, "of symbols", "one user has %d, and may have %d", has.topics, l.UserTopics)
	case fresh > 0 && len(i.topics)-i.waiting+fresh > l.Topics:
		return false, tooMany(fresh, "of symbols", "all users together have %d, and may have %d", len(i.topics)-i.waiting, l.Topics)
	case unknown > 0 && i.told && has.unknown+unknown > l.UserUnknown:
		return false, tooMany(unknown, "of symbols that never had a price", "one user waits for %d such, and may wait for %d", has.unknown, l.UserUnknown)
	case unknown > 0 && i.waiting+unknown > l.Unknown:
		return false, tooMany(unknown, "of symbols that never had a price", "all users together wait for %d such, and may wait for %d", i.waiting, l.Unknown)
	}
	return fresh > 0, nil
}

func tooMany(n int, what, than string, has, most int) error {
	return fmt.Errorf("%d more channels %s are too many: "+than, n, what, has, most)
}

func (i *interest) user(name string) *user {
	u := i.users[name]
	if u == nil {
		u = &user{}
		i.users[name] = u
	}
	return u
}

// tidy forgets a user for whom nothing counts.
func (i *interest) tidy(name string, u *user) {
	if u != nil && *u == (user{}) {
		delete(i.users, name)
	}
}

// enter notes a topic that nobody had.
func (i *interest) enter(t market.Topic) {
	if i.exists(t) {
		i.fresh = append(i.fresh, t)
		i.news.Store(true)
		return
	}
	i.unknown[t.Symbol] |= 1 << t.Channel
	i.waiting++
}

// count has a topic count for a user, or no longer.
func (i *interest) count(t market.Topic, u *user, n int) {
	switch {
	case u == nil:
	case i.unknown[t.Symbol]&(1<<t.Channel) != 0:
		u.unknown += n
	default:
		u.topics += n
	}
}

// release gives a user's topics back and reports how many of them nobody had.
func (i *interest) release(name string, topics []market.Topic) (foreign int) {
	now := time.Now()
	i.mu.Lock()
	defer i.mu.Unlock()
	u := i.users[name]
	for _, t := range topics {
		w := i.topics[t]
		if w.refs == 0 {
			foreign++
			continue
		}
		w.refs--
		if w.owner != nil && w.owner == u {
			if w.owned--; w.owned == 0 && w.refs > 0 { // others have it, for whom it costs nothing more
				i.count(t, u, -1)
				w.owner = nil
			}
		}
		if w.refs == 0 {
			if i.unknown[t.Symbol]&(1<<t.Channel) != 0 {
				i.count(t, w.owner, -1)
				i.found(t)
				delete(i.topics, t)
				continue
			}
			w.idle = now
			i.linger(idleTopic{topic: t, since: now})
		}
		i.topics[t] = w
	}
	i.tidy(name, u)
	return foreign
}

// linger notes a topic that nobody wants.
func (i *interest) linger(t idleTopic) {
	if t.topic.Symbol == market.AllSymbols {
		i.wild = append(i.wild, t)
	} else {
		i.idle = append(i.idle, t)
	}
}

// found takes a topic out of those whose symbol there never was.
func (i *interest) found(t market.Topic) {
	i.waiting--
	if i.unknown[t.Symbol] &^= 1 << t.Channel; i.unknown[t.Symbol] == 0 {
		delete(i.unknown, t.Symbol)
	}
}

// learn notes symbols that the feed has had, and gives the topics of theirs that are
// awaited: they are to be asked for from now on.
func (i *interest) learn(symbols []market.Symbol) (found []market.Topic) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.told = true
	for _, s := range symbols {
		i.known[s] = struct{}{}
		found = i.promote(found, s)
	}
	return found
}

// trust has each symbol pass for known: the monitor does not tell which there are.
func (i *interest) trust(all bool) (found []market.Topic) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.all = all; all {
		for s := range i.unknown {
			found = i.promote(found, s)
		}
	}
	return found
}

func (i *interest) promote(found []market.Topic, s market.Symbol) []market.Topic {
	for _, ch := range market.Channels() {
		t := market.Topic{Channel: ch, Symbol: s}
		if i.unknown[s]&(1<<ch) == 0 {
			continue
		}
		w := i.topics[t]
		i.count(t, w.owner, -1)
		i.found(t)
		i.count(t, w.owner, 1)
		found = append(found, t)
	}
	return found
}

// take gives the topics that became known since the last call.
func (i *interest) take() []market.Topic {
	if !i.news.Load() {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	fresh := i.fresh
	i.fresh = nil
	i.news.Store(false)
	return fresh
}

// expire forgets the topics that nobody has wanted for the linger, wildcards for theirs,
// and gives them. Those that are busy are kept for another one.
func (i *interest) expire(now time.Time, linger, wild time.Duration, busy func(market.Topic) bool) (gone []market.Topic) {
	i.mu.Lock()
	defer i.mu.Unlock()
	idle := overdue(&i.idle, now.Add(-linger))
	for _, t := range append(idle, overdue(&i.wild, now.Add(-wild))...) {
		w, known := i.topics[t.topic]
		switch {
		case !known || w.refs > 0 || !w.idle.Equal(t.since): // wanted again, perhaps released again
		case busy(t.topic):
			w.idle = now
			i.topics[t.topic] = w
			i.linger(idleTopic{topic: t.topic, since: now})
		default:
			i.count(t.topic, w.owner, -1)
			delete(i.topics, t.topic)
			gone = append(gone, t.topic)
		}
	}
	if len(gone) > 0 {
		for name, u := range i.users {
			i.tidy(name, u)
		}
	}
	return gone
}

// overdue takes the first of a list that are not younger than before.
func overdue(list *[]idleTopic, before time.Time) []idleTopic {
	n := slices.IndexFunc(*list, func(t idleTopic) bool { return t.since.After(before) })
	if n < 0 {
		n = len(*list)
	}
	first := (*list)[:n:n]
	*list = (*list)[n:]
	return first
}

// counts gives how many topics are asked for, and how many wait for their symbol.
func (i *interest) counts() (topics, waiting int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.topics) - i.waiting, i.waiting
}

func (i *interest) signal() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}
