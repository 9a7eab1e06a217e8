package fault

import (
	"fmt"
	"strings"
	"testing"
)

// delivery is how a client wants its events.
type delivery string

const (
	every    delivery = "every"
	adaptive delivery = "adaptive"
	latest   delivery = "latest"
)

// ledger is what a client has been told of each of its topics. It knows no code of
// the project's: it is what the tests believe.
type ledger struct {
	how   delivery
	lines map[string]*line // by type and symbol, as "tAAPL"
	pos   uint64           // the greatest q that was seen
	epoch string

	twice    int      // events that came again at a seam, where that may be
	gaps     int      // that were announced
	told     []string // what they said
	epochs   int      // times that all began anew
	wrong    []string
	mistakes int // how many are, or were to be, in wrong
}

// line is one topic's account.
type line struct {
	start   uint64 // the snapshot that it began with; 0: with the topic's first event
	last    uint64
	n, sum  uint64 // events that came, and that they stand for
	hash    uint64 // of all that came, in order
	content uint64 // of the last value
	gapped  bool   // a gap was announced, and what follows it has not come
	holes   []span // that were announced
	seams   []span // parts of conflated events that had come before
}

// span is what lies after from, up to to.
type span struct{ from, to uint64 }

func newLedger(how delivery) *ledger { return &ledger{how: how, lines: map[string]*line{}} }

func (l *ledger) mistake(format string, args ...any) {
	if l.mistakes++; l.mistakes <= 3 {
		l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	}
}

// chain adds an event to a hash of events in order.
func chain(hash, q, content uint64) uint64 {
	const prime = 0x9e3779b97f4a7c15
	return (hash^q)*prime ^ content
}

// book enters an event. since is the position from which its connection resumed, 0
// where it did not: what lies behind that, and came over the connection before as
// well, may come again.
func (l *ledger) book(m *msg, key string, since uint64) {
	seam := since > 0
	a := l.lines[key]
	fresh := a == nil
	if fresh {
		a = &line{}
		l.lines[key] = a
	}
	l.pos = max(l.pos, m.q)
	if m.snap {
		l.snapshot(a, m, key, fresh, since)
		return
	}
	switch {
	case m.q <= a.last && seam && m.q > since:
		l.twice++
		return
	case m.q <= a.last:
		l.mistake("%s: q %d comes after %d", key, m.q, a.last)
		return
	case m.pq == a.last:
	case m.pq < a.last && seam && m.k > 1:
		a.seams = append(a.seams, span{m.pq, a.last})
	case m.pq > a.last && l.how == latest && seam: // what was merged meanwhile is of no interest
	case m.pq > a.last && a.gapped:
		a.holes = append(a.holes, span{a.last, m.pq})
	default:
		l.mistake("%s: after q %d comes q %d with pq %d, k %d", key, a.last, m.q, m.pq, m.k)
	}
	if m.k > 1 && l.how == every {
		l.mistake("%s: q %d stands for %d events", key, m.q, m.k)
	}
	a.gapped = false
	a.last, a.content = m.q, m.content
	a.n++
	a.sum += max(1, m.k)
	a.hash = chain(a.hash, m.q, m.content)
}

func (l *ledger) snapshot(a *line, m *msg, key string, fresh bool, since uint64) {
	switch {
	case fresh:
		a.start = m.q
	case m.q < a.last && since > 0 && m.q > since:
		l.twice++
		return
	case m.q < a.last:
		l.mistake("%s: the snapshot is of q %d, after %d", key, m.q, a.last)
	case m.q > a.last && a.gapped:
		a.holes = append(a.holes, span{a.last, m.q})
	case m.q > a.last && l.how != latest:
		l.mistake("%s: the snapshot of q %d skips what came after %d, and no gap was announced", key, m.q, a.last)
	}
	a.gapped = false
	a.last, a.content = m.q, m.content
}

// gap enters that events of any topic may be lost.
func (l *ledger) gap(reason, text string) {
	l.gaps++
	l.told = append(l.told, text)
	if reason == "epoch" {
		l.epochs++
		l.lines, l.pos = map[string]*line{}, 0
		return
	}
	for _, a := range l.lines {
		a.gapped = true
	}
}

// since gives the position to resume from; empty where there is none.
func (l *ledger) since() string {
	if l.pos == 0 || l.epoch == "" {
		return ""
	}
	return fmt.Sprintf("%s-%d", l.epoch, l.pos)
}

// reached reports whether every topic has come to its end.
func (l *ledger) reached(t *truth, wants func(key string) bool) bool {
	for key, all := range t.topics {
		if !wants(key) {
			continue
		}
		if a := l.lines[key]; a == nil || a.last < all[len(all)-1].q {
			return false
		}
	}
	return true
}

// balance says what of the ledger is not as the truth is.
func (l *ledger) balance(t *truth, wants func(key string) bool) []string {
	bad := append([]string{}, l.wrong...)
	if l.mistakes > len(l.wrong) {
		bad = append(bad, fmt.Sprintf("%d more mistakes", l.mistakes-len(l.wrong)))
	}
	for key, all := range t.topics {
		if wants(key) {
			bad = append(bad, l.lines[key].balance(key, l.how, all)...)
		}
	}
	for key, a := range l.lines {
		if t.topics[key] == nil && strings.ContainsRune("tq", rune(key[0])) && a.last > 0 {
			bad = append(bad, key+": nobody published that")
		}
	}
	return bad
}

func (a *line) balance(key string, how delivery, all []fact) []string {
	if a == nil {
		return []string{fmt.Sprintf("%s: none of %d events came", key, len(all))}
	}
	end := all[len(all)-1]
	var bad []string
	if a.last != end.q || a.content != end.content {
		bad = append(bad, fmt.Sprintf("%s: the last value is of q %d, want %d; its numbers are right: %t", key, a.last, end.q, a.content == end.content))
	}
	var n, hash, seams uint64
	for _, f := range all {
		if f.q <= a.start || within(a.holes, f.q) {
			continue
		}
		n++
		hash = chain(hash, f.q, f.content)
		if within(a.seams, f.q) {
			seams++
		}
	}
	switch {
	case how == every && (a.n != n || a.hash != hash):
		bad = append(bad, fmt.Sprintf("%s: %d events came after q %d, want %d; or they are others", key, a.n, a.start, n))
	case how == adaptive && a.sum != n+seams:
		bad = append(bad, fmt.Sprintf("%s: events came that stand for %d, %d of them twice, after q %d: want %d", key, a.sum, seams, a.start, n))
	}
	return bad
}

func within(spans []span, q uint64) bool {
	for _, s := range spans {
		if s.from < q && q <= s.to {
			return true
		}
	}
	return false
}

// TestLedgerFindsFaults books a day that is right, and days with one thing wrong.
func TestLedgerFindsFaults(t *testing.T) {
	day := &truth{topics: map[string][]fact{"tA": {{10, 1}, {20, 2}, {30, 3}, {40, 4}}}}
	event := func(q, pq, k, content uint64) *msg { return &msg{q: q, pq: pq, k: k, content: content} }
	snap := func(q, content uint64) *msg { return &msg{q: q, snap: true, content: content} }
	gap := &msg{}
	for _, c := range []struct {
		name  string
		how   delivery
		since uint64
		in    []*msg
		want  string // part of what is found; empty: nothing
	}{
		{"all", every, 0, []*msg{event(10, 0, 0, 1), event(20, 10, 0, 2), event(30, 20, 0, 3), event(40, 30, 0, 4)}, ""},
		{"from a snapshot", every, 0, []*msg{snap(20, 2), event(30, 20, 0, 3), event(40, 30, 0, 4)}, ""},
		{"one missing", every, 0, []*msg{event(10, 0, 0, 1), event(30, 10, 0, 3), event(40, 30, 0, 4)}, "3 events came"},
		{"one missing in the chain", every, 0, []*msg{event(10, 0, 0, 1), event(30, 20, 0, 3), event(40, 30, 0, 4)}, "after q 10 comes q 30"},
		{"one twice", every, 0, []*msg{snap(20, 2), event(30, 20, 0, 3), event(30, 20, 0, 3), event(40, 30, 0, 4)}, "q 30 comes after 30"},
		{"one twice at a seam", every, 15, []*msg{snap(20, 2), event(30, 20, 0, 3), event(30, 20, 0, 3), event(40, 30, 0, 4)}, ""},
		{"one twice that is older than the seam", every, 35, []*msg{snap(20, 2), event(30, 20, 0, 3), event(30, 20, 0, 3), event(40, 30, 0, 4)}, "q 30 comes after 30"},
		{"an older snapshot at a seam", latest, 15, []*msg{event(40, 0, 4, 4), snap(30, 3)}, ""},
		{"a snapshot that is older than the seam", latest, 35, []*msg{event(40, 0, 4, 4), snap(30, 3)}, "the snapshot is of q 30"},
		{"a wrong price", every, 0, []*msg{snap(20, 2), event(30, 20, 0, 9), event(40, 30, 0, 4)}, "or they are others"},
		{"a wrong last price", latest, 0, []*msg{event(40, 0, 4, 9)}, "right: false"},
		{"not the last", latest, 0, []*msg{event(30, 0, 3, 3)}, "want 40"},
		{"merged", adaptive, 0, []*msg{event(10, 0, 0, 1), event(40, 10, 3, 4)}, ""},
		{"merged, none of it told", adaptive, 0, []*msg{event(10, 0, 0, 1), event(40, 10, 0, 4)}, "stand for 2"},
		{"merged for every", every, 0, []*msg{event(10, 0, 0, 1), event(40, 10, 3, 4)}, "stands for 3"},
		{"merged across a seam", adaptive, 15, []*msg{event(10, 0, 0, 1), event(20, 10, 0, 2), event(40, 10, 3, 4)}, ""},
		{"a gap that is told", every, 0, []*msg{event(10, 0, 0, 1), gap, snap(30, 3), event(40, 30, 0, 4)}, ""},
		{"a gap that is not told", every, 0, []*msg{event(10, 0, 0, 1), snap(30, 3), event(40, 30, 0, 4)}, "no gap was announced"},
		{"nothing", every, 0, nil, "none of 4 events"},
	} {
		l := newLedger(c.how)
		for _, m := range c.in {
			if m == gap {
				l.gap("expired", "")
			} else {
				l.book(m, "tA", c.since)
			}
		}
		got := strings.Join(l.balance(day, func(string) bool { return true }), "; ")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: found %q, want %q", c.name, got, c.want)
		}
	}
}
