package main

import (
	"testing"
	"time"
)

// TestFrames has a client read what may come: losses, gaps and what the feed's state is
// are noticed, and nothing else is.
func TestFrames(t *testing.T) {
	for name, tc := range map[string]struct {
		frames []string
		want   notice
	}{
		"in order": {[]string{
			`[{"T":"q","S":"A","t":"2021-02-22T15:51:45Z","q":5,"pq":0},{"T":"q","S":"A","t":"2021-02-22T15:51:46Z","q":7,"pq":5}]`,
			`[{"T":"q","S":"A","t":"2021-02-22T15:51:47Z","q":9,"pq":7}]`,
		}, notice{}},
		"lost": {[]string{
			`[{"T":"q","S":"A","t":"2021-02-22T15:51:45Z","q":5,"pq":0}]`, `[{"T":"q","S":"A","t":"2021-02-22T15:51:45Z","q":9,"pq":7}]`,
		}, notice{losses: 1}},
		"gap": {[]string{
			`[{"T":"q","S":"A","t":"2021-02-22T15:51:45Z","q":5,"pq":0}]`, `[{"T":"gap","reason":"expired","from":"1-5","to":"1-9"}]`,
			`[{"T":"q","S":"A","t":"2021-02-22T15:51:45Z","q":9,"pq":7}]`,
		}, notice{gaps: 1}},
		"feed": {[]string{
			`[{"T":"feed","state":"live","epoch":1,"sources":[{"name":"sim","state":"stale"}]}]`, `[{"T":"feed","state":"stale","reason":"bus"}]`, `[{"T":"feed","state":"down","reason":"bus"}]`,
		}, notice{stale: map[string]int{"bus": 2}}},
	} {
		c := &healthy{f: &fleet{}}
		c.f.phase.Store(aftermath)
		c.f.left.Store(time.Now().UnixNano())
		for _, frame := range tc.frames {
			c.frame([]byte(frame))
		}
		if got := c.seen[aftermath]; got.losses != tc.want.losses || got.gaps != tc.want.gaps || got.stale["bus"] != tc.want.stale["bus"] || len(got.ages) > 0 || (len(got.stale) == 0 && len(c.seen[war].ages) == 0) {
			t.Errorf("%s: noticed %+v, want %+v", name, got, tc.want)
		}
	}
}

// TestInventedSymbolsDiffer has no two sockets share what they invent.
func TestInventedSymbolsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range invented(&target{Seed: 999}, 0, 1_000_000) {
		if seen[name] {
			t.Fatalf("%s comes twice", name)
		}
		seen[name] = true
	}
}
