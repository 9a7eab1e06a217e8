package obs_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wait makes a mutex and a WaitGroup be waited for, in real time.
func wait() {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				mu.Lock()
				for range 100 { // so that others come to wait
					runtime.Gosched()
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestWaitingIsSampledOnlyWhileItIsTaken(t *testing.T) {
	a := newAdmin(t)
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		for _, path := range []string{"/debug/pprof/mutex?seconds=10", "/debug/pprof/mutex?seconds=30", "/debug/pprof/block?seconds=10"} {
			wg.Go(func() {
				if code, body := get(t, a, path); code != 200 || body == "" {
					t.Errorf("%s: %d, %q", path, code, body)
				}
			})
		}
		for _, c := range []struct {
			after   time.Duration
			sampled bool
		}{{time.Second, true}, {19 * time.Second, true}, {31 * time.Second, false}} { // a profile begins a little later under load
			time.Sleep(c.after)
			synctest.Wait()
			if got := runtime.SetMutexProfileFraction(-1) > 0; got != c.sampled {
				t.Errorf("after %s more: sampled is %t", c.after, got)
			}
		}
		wg.Wait()
	})
}

// waits gives how many waits a profile holds.
func waits(t *testing.T, name string) (sum int) {
	t.Helper()
	var text bytes.Buffer
	if err := pprof.Lookup(name).WriteTo(&text, 1); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		var cycles, count int
		if _, err := fmt.Sscanf(line, "%d %d @", &cycles, &count); err == nil {
			sum += count
		}
	}
	return sum
}

// quiet returns how many waits a profile holds once waiting adds none: the runtime
// may add some that it sampled before.
func quiet(t *testing.T, name, when string) int {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		before := waits(t, name)
		if wait(); waits(t, name) == before {
			return before
		}
		if time.Now().After(end) {
			t.Errorf("%s: sampled %s", name, when)
			return before
		}
	}
}

func TestProfilesOfWaitingHoldWhatWasWaited(t *testing.T) {
	a := newAdmin(t)
	for _, name := range []string{"mutex", "block"} {
		before := quiet(t, name, "before anybody asked")
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/debug/pprof/"+name+"?seconds=60", nil)
			a.ServeHTTP(httptest.NewRecorder(), r)
		})
		for end := time.Now().Add(10 * time.Second); waits(t, name) == before; wait() {
			if time.Now().After(end) {
				t.Errorf("%s: nothing was sampled", name)
				break
			}
		}
		cancel()
		wg.Wait()
		quiet(t, name, "after the profile was taken")
	}
}
