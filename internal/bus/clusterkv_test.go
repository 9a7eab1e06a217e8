package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/internal/session/kvtest"
)

// dialKV opens a bucket with three copies.
func (c *cluster) dialKV(t *testing.T, name string) *bus.KV {
	t.Helper()
	var kv *bus.KV
	c.await("a bucket", func() bool {
		var err error
		kv, err = bus.DialKV(t.Context(), bus.Config{URL: c.urls(), Stream: bus.StreamConfig{Name: name, Replicas: nodes, MaxBytes: 1 << 20}})
		if err != nil && !errors.Is(err, bus.ErrLost) {
			t.Fatal(err)
		}
		return err == nil
	})
	t.Cleanup(func() { must(t, kv.Close()) })
	return kv
}

// TestClusterKV has the sessions' store on three servers, and again on the two
// that are left when the bucket's leader was killed.
func TestClusterKV(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	suite := func(round string) {
		t.Run(round, func(t *testing.T) {
			for i, test := range kvtest.Cases() {
				t.Run(test.Name, func(t *testing.T) {
					t.Parallel()
					test.Run(t, c.dialKV(t, fmt.Sprint("S", round, i)))
				})
			}
		})
	}
	kv := c.dialKV(t, "KEPT")
	suite("three")
	rev, err := kv.Create(t.Context(), "s.a", []byte("one"), time.Hour)
	must(t, err)
	victim := c.leader("KV_KEPT_sessions")
	c.kill(victim)
	c.await("the bucket answers again", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		next, err := kv.Update(ctx, "s.a", []byte("two"), time.Hour, rev)
		if errors.Is(err, session.ErrConflict) { // an update whose answer was lost
			var e session.Entry
			if e, err = kv.Get(ctx, "s.a"); err == nil {
				next = e.Rev
			}
		}
		if err == nil {
			rev = next
		}
		return err == nil
	})
	if e, err := kv.Get(t.Context(), "s.a"); err != nil || string(e.Value) != "two" || e.Rev != rev {
		t.Errorf("after the leader's death: %+v, %v", e, err)
	}
	awaitKV(t, kv)
	c.start(victim) // new buckets with three copies want three servers
	c.await("every node is ready", func() bool { return c.ready() == nodes })
	suite("again")
}

// TestStartRace has many processes make the stream and the bucket at once, and one
// change the number of copies later.
func TestStartRace(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	var wg sync.WaitGroup
	epochs := make([]string, 8)
	for i := range epochs {
		wg.Go(func() {
			stream := bus.StreamConfig{MaxBytes: 1 << 20, Replicas: 1}
			for {
				b, err := bus.Dial(t.Context(), bus.Config{URL: c.urls(), Stream: stream})
				if errors.Is(err, bus.ErrLost) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				epochs[i] = fmt.Sprint(b.Epoch())
				must(t, b.SaveCheckpoint(t.Context(), "book", []byte("x")))
				must(t, b.Close())
				return
			}
		})
	}
	wg.Wait()
	for _, e := range epochs {
		if e != epochs[0] {
			t.Errorf("epochs %q: want one stream", epochs)
		}
	}
	b := c.dial(bus.Config{})
	must(t, b.SaveCheckpoint(t.Context(), "book", []byte("y")))
	nc, err := nats.Connect(c.urls())
	must(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	must(t, err)
	for _, name := range []string{"MD", "OBJ_MD_checkpoints"} {
		s, err := js.Stream(t.Context(), name)
		must(t, err)
		if cfg := s.CachedInfo().Config; cfg.Replicas != nodes || cfg.AllowDirect {
			t.Errorf("%s has %d copies, and copies answer: %t; want 3 and false", name, cfg.Replicas, cfg.AllowDirect)
		}
	}
	// What this cluster cannot do is said, and is no outage.
	_, err = bus.Dial(t.Context(), bus.Config{URL: c.urls(), Stream: bus.StreamConfig{Name: "BIG", MaxBytes: 1 << 50}})
	if err == nil || errors.Is(err, bus.ErrLost) {
		t.Errorf("a second stream for the same subjects: %v", err)
	}
}

// TestNoRoom asks one server for more than it has.
func TestNoRoom(t *testing.T) {
	e := startEmbedded(t, bus.EmbeddedConfig{Dir: t.TempDir(), MaxStore: 1 << 20})
	defer func() { must(t, e.Close()) }()
	for name, c := range map[string]struct {
		cfg  bus.StreamConfig
		says string
	}{
		"too much": {bus.StreamConfig{}, "no room for what is to be kept"},
		"copies":   {bus.StreamConfig{MaxBytes: 1 << 10, Replicas: 3}, "needs a cluster"},
	} {
		_, err := bus.Dial(t.Context(), bus.Config{Server: e, Stream: c.cfg})
		if err == nil || errors.Is(err, bus.ErrLost) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error that says %q", name, err, c.says)
		}
	}
}
