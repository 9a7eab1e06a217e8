// Package kvtest is what every session.KV promises, as one suite of tests. It
// works in a synctest bubble as well as over a real server, so it asserts no
// times: it waits for what must come.
package kvtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/session"
)

// Case is one promise.
type Case struct {
	Name string
	Run  func(t *testing.T, kv session.KV)
}

// Cases lists the promises. Each wants an empty store.
func Cases() []Case {
	return []Case{
		{"create, read and update", testWrites},
		{"writes need the revision", testRevisions},
		{"delete", testDelete},
		{"a deleted key can be created again", testAgain},
		{"keys expire, and a write renews them", testExpiry},
		{"an expired key can be created again", testExpiredAgain},
		{"a watch gives what there is, then changes", testWatch},
		{"a watch that begins late knows what was deleted", testLateWatch},
		{"a watch sees keys expire", testWatchExpiry},
		{"a watch ends with its context", testWatchEnds},
		{"one of many wins", testRace},
	}
}

// patience is for a store that does not answer; it is no promise.
const patience = 20 * time.Second

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, kv session.KV, key, value string, ttl time.Duration) uint64 {
	t.Helper()
	rev, err := kv.Create(t.Context(), key, []byte(value), ttl)
	must(t, err)
	return rev
}

func wantValue(t *testing.T, kv session.KV, key, value string, rev uint64) {
	t.Helper()
	e, err := kv.Get(t.Context(), key)
	if err != nil || e.Op != session.OpPut || e.Key != key || string(e.Value) != value || e.Rev != rev {
		t.Fatalf("%s is %+v, %v: want %q of revision %d", key, e, err, value, rev)
	}
}

func wantNone(t *testing.T, kv session.KV, key string) {
	t.Helper()
	if e, err := kv.Get(t.Context(), key); !errors.Is(err, session.ErrNoKey) {
		t.Fatalf("%s is %+v, %v: want ErrNoKey", key, e, err)
	}
}

func testWrites(t *testing.T, kv session.KV) {
	t.Helper()
	wantNone(t, kv, "s.a")
	first := create(t, kv, "s.a", "one", time.Hour)
	wantValue(t, kv, "s.a", "one", first)
	second, err := kv.Update(t.Context(), "s.a", []byte("two"), time.Hour, first)
	must(t, err)
	other := create(t, kv, "s.b", "", time.Hour)
	if first == 0 || second <= first || other <= second {
		t.Errorf("revisions %d, %d, %d: want them to rise", first, second, other)
	}
	wantValue(t, kv, "s.a", "two", second)
	wantValue(t, kv, "s.b", "", other)
}

func testRevisions(t *testing.T, kv session.KV) {
	t.Helper()
	first := create(t, kv, "s.a", "one", time.Hour)
	if _, err := kv.Create(t.Context(), "s.a", []byte("two"), time.Hour); !errors.Is(err, session.ErrExists) {
		t.Errorf("created again: %v, want ErrExists", err)
	}
	second, err := kv.Update(t.Context(), "s.a", []byte("two"), time.Hour, first)
	must(t, err)
	for name, do := range map[string]func() error{
		"update of an old revision": func() error {
			_, err := kv.Update(t.Context(), "s.a", nil, time.Hour, first)
			return err
		},
		"update of a key that is not there": func() error {
			_, err := kv.Update(t.Context(), "s.b", nil, time.Hour, second)
			return err
		},
		"delete of an old revision":         func() error { return kv.Delete(t.Context(), "s.a", first) },
		"delete of a key that is not there": func() error { return kv.Delete(t.Context(), "s.b", second) },
	} {
		if err := do(); !errors.Is(err, session.ErrConflict) {
			t.Errorf("%s: %v, want ErrConflict", name, err)
		}
	}
	wantValue(t, kv, "s.a", "two", second)
}

func testDelete(t *testing.T, kv session.KV) {
	t.Helper()
	rev := create(t, kv, "s.a", "one", time.Hour)
	create(t, kv, "s.b", "two", time.Hour)
	must(t, kv.Delete(t.Context(), "s.a", rev))
	must(t, kv.Delete(t.Context(), "s.b", 0))
	must(t, kv.Delete(t.Context(), "s.b", 0))
	must(t, kv.Delete(t.Context(), "s.c", 0))
	wantNone(t, kv, "s.a")
	wantNone(t, kv, "s.b")
	if _, err := kv.Update(t.Context(), "s.a", nil, time.Hour, rev); !errors.Is(err, session.ErrConflict) {
		t.Errorf("update of what was deleted: %v, want ErrConflict", err)
	}
}

func testAgain(t *testing.T, kv session.KV) {
	t.Helper()
	rev := create(t, kv, "s.a", "one", time.Hour)
	must(t, kv.Delete(t.Context(), "s.a", rev))
	again := create(t, kv, "s.a", "two", time.Hour)
	wantValue(t, kv, "s.a", "two", again)
}

func testExpiry(t *testing.T, kv session.KV) {
	t.Helper()
	renewed := create(t, kv, "s.renewed", "one", time.Second)
	renewed, err := kv.Update(t.Context(), "s.renewed", []byte("two"), time.Hour, renewed)
	must(t, err)
	shortened := create(t, kv, "s.shortened", "one", time.Hour)
	_, err = kv.Update(t.Context(), "s.shortened", []byte("two"), 2*time.Second, shortened)
	must(t, err)
	awaitExpiry(t, kv, "s.shortened")
	wantNone(t, kv, "s.shortened")
	wantValue(t, kv, "s.renewed", "two", renewed)
}

func testExpiredAgain(t *testing.T, kv session.KV) {
	t.Helper()
	old := create(t, kv, "s.a", "one", time.Second)
	awaitExpiry(t, kv, "s.a")
	if _, err := kv.Update(t.Context(), "s.a", nil, time.Hour, old); !errors.Is(err, session.ErrConflict) {
		t.Errorf("update of what has expired: %v, want ErrConflict", err)
	}
	rev := create(t, kv, "s.a", "two", time.Hour)
	wantValue(t, kv, "s.a", "two", rev)
	if rev <= old {
		t.Errorf("revision %d after %d", rev, old)
	}
}

// awaitExpiry watches until a key is not there any more.
func awaitExpiry(t *testing.T, kv session.KV, key string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	there := false
	for e, err := range kv.Watch(ctx) {
		must(t, err)
		switch {
		case e.Key == key && e.Op == session.OpPut:
			there = true
		case e.Key == key && e.Op == session.OpExpire, e.Op == session.OpSynced && !there:
			return
		}
	}
}

// watched is a watch whose entries are taken one by one.
type watched struct {
	t       *testing.T
	entries chan session.Entry
}

func watch(t *testing.T, kv session.KV) *watched {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watched{t: t, entries: make(chan session.Entry, 64)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for e, err := range kv.Watch(ctx) {
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("watch: %v", err)
				}
				return
			}
			w.entries <- e
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return w
}

func (w *watched) next() session.Entry {
	w.t.Helper()
	select {
	case e := <-w.entries:
		return e
	case <-time.After(patience):
		w.t.Fatal("nothing more was watched")
		return session.Entry{}
	}
}

func (w *watched) want(op session.Op, key, value string, rev uint64) {
	w.t.Helper()
	e := w.next()
	if e.Op != op || e.Key != key || string(e.Value) != value || (rev != 0 && e.Rev != rev) {
		w.t.Fatalf("watched %+v: want op %d of %q with %q at %d", e, op, key, value, rev)
	}
}

// state takes entries until the watch is synced.
func (w *watched) state() (map[string]session.Entry, uint64) {
	w.t.Helper()
	got := map[string]session.Entry{}
	for {
		e := w.next()
		if e.Op == session.OpSynced {
			return got, e.Rev
		}
		if _, twice := got[e.Key]; twice {
			w.t.Fatalf("what there is names %s twice", e.Key)
		}
		got[e.Key] = e
	}
}

func testWatch(t *testing.T, kv session.KV) {
	t.Helper()
	empty := watch(t, kv)
	if got, _ := empty.state(); len(got) > 0 {
		t.Fatalf("an empty store gave %v", got)
	}
	rev := create(t, kv, "s.a", "one", time.Hour)
	empty.want(session.OpPut, "s.a", "one", rev)
	rev, err := kv.Update(t.Context(), "s.a", []byte("two"), time.Hour, rev)
	must(t, err)
	empty.want(session.OpPut, "s.a", "two", rev)
	b := create(t, kv, "r.b", "", time.Hour)
	empty.want(session.OpPut, "r.b", "", b)

	full := watch(t, kv)
	got, upTo := full.state()
	if len(got) != 2 || string(got["s.a"].Value) != "two" || got["s.a"].Rev != rev || got["r.b"].Rev != b || upTo < b {
		t.Fatalf("what there is: %v, up to %d", got, upTo)
	}
	must(t, kv.Delete(t.Context(), "s.a", rev))
	for _, w := range []*watched{empty, full} {
		e := w.next()
		if e.Op != session.OpDelete || e.Key != "s.a" || e.Rev <= b {
			t.Fatalf("watched %+v: want s.a to be deleted at a revision above %d", e, b)
		}
	}
}

func testLateWatch(t *testing.T, kv session.KV) {
	t.Helper()
	create(t, kv, "s.a", "one", time.Hour)
	must(t, kv.Delete(t.Context(), "s.a", 0))
	create(t, kv, "s.b", "one", time.Hour)
	must(t, kv.Delete(t.Context(), "s.b", 0))
	again := create(t, kv, "s.b", "two", time.Hour)
	got, upTo := watch(t, kv).state()
	if len(got) != 2 || got["s.a"].Op != session.OpDelete || got["s.b"].Op != session.OpPut || got["s.b"].Rev != again || upTo < again {
		t.Fatalf("what there is: %+v, up to %d", got, upTo)
	}
}

func testWatchExpiry(t *testing.T, kv session.KV) {
	t.Helper()
	w := watch(t, kv)
	w.state()
	a := create(t, kv, "s.a", "one", time.Second)
	w.want(session.OpPut, "s.a", "one", a)
	w.want(session.OpExpire, "s.a", "", 0)
	b := create(t, kv, "s.a", "two", time.Hour)
	w.want(session.OpPut, "s.a", "two", b)
}

func testWatchEnds(t *testing.T, kv session.KV) {
	t.Helper()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var last error
	for e, err := range kv.Watch(ctx) {
		if last = err; e.Op == session.OpSynced {
			cancel(why)
		}
	}
	if !errors.Is(last, why) {
		t.Errorf("the watch ended with %v, want the cause of its context", last)
	}
	if _, err := kv.Get(ctx, "s.a"); !errors.Is(err, why) {
		t.Errorf("get: %v, want the cause of its context", err)
	}
}

func testRace(t *testing.T, kv session.KV) {
	t.Helper()
	const racers, laps = 8, 10
	rev := create(t, kv, "s.a", "", time.Hour)
	for lap := range laps {
		var wg sync.WaitGroup
		won := make(chan uint64, racers)
		for i := range racers {
			wg.Go(func() {
				next, err := kv.Update(t.Context(), "s.a", fmt.Append(nil, lap, i), time.Hour, rev)
				switch {
				case err == nil:
					won <- next
				case !errors.Is(err, session.ErrConflict):
					t.Errorf("racer %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d of %d racers won", len(won), racers)
		}
		rev = <-won
	}
}
