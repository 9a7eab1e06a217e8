package obs

import (
	"net/http"
	"net/http/pprof"
	"runtime"
	"sync"
)

// How much the runtime samples while somebody takes the profile.
const (
	mutexFraction = 10     // one of so many waits for a mutex
	blockRate     = 10_000 // ns: each wait of that long, shorter ones now and then
)

// contention serves a profile of waiting, which the runtime samples only while it
// is taken: it costs something, so that nobody wants it for ever.
//
// With ?seconds=N it is what was waited in the N seconds from now on. Without, it
// is all that such requests have sampled so far.
type contention struct {
	profile http.Handler
	sample  func(on bool)

	mu     sync.Mutex // held for sample, which does not wait
	takers int
}

func newMutexProfile() *contention {
	return &contention{profile: pprof.Handler("mutex"), sample: func(on bool) {
		n := 0
		if on {
			n = mutexFraction
		}
		runtime.SetMutexProfileFraction(n)
	}}
}

func newBlockProfile() *contention {
	return &contention{profile: pprof.Handler("block"), sample: func(on bool) {
		n := 0
		if on {
			n = blockRate
		}
		runtime.SetBlockProfileRate(n)
	}}
}

// ServeHTTP answers one request.
func (c *contention) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("seconds") {
		c.take(1)
		defer c.take(-1)
	}
	c.profile.ServeHTTP(w, r)
}

// take counts those who take the profile. The first has it sampled, the last ends
// that.
func (c *contention) take(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.takers
	if c.takers += n; (before > 0) != (c.takers > 0) {
		c.sample(c.takers > 0)
	}
}
