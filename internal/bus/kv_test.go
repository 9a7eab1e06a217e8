package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/internal/session/kvtest"
)

// dialKV opens the bucket of a stream's sessions.
func dialKV(tb testing.TB, cfg bus.Config) *bus.KV {
	tb.Helper()
	kv, err := bus.DialKV(tb.Context(), cfg)
	must(tb, err)
	tb.Cleanup(func() { must(tb, kv.Close()) })
	return kv
}

func TestKV(t *testing.T) {
	for name, storage := range map[string]bus.Storage{"memory": bus.StorageMemory, "file": bus.StorageFile} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // keys take whole seconds to expire
			e := embedded(t)
			for i, c := range kvtest.Cases() {
				t.Run(c.Name, func(t *testing.T) {
					t.Parallel()
					stream := bus.StreamConfig{Storage: storage, Name: fmt.Sprint("S", i)}
					c.Run(t, dialKV(t, bus.Config{Server: e, Stream: stream}))
				})
			}
		})
	}
}

func TestKVBucket(t *testing.T) {
	e := embedded(t)
	_, js := connected(t, e, bus.StreamConfig{Storage: bus.StorageMemory})
	if kv, err := bus.OpenKV(t.Context(), bus.Config{Server: e}); !errors.Is(err, bus.ErrNoBucket) {
		t.Fatalf("a bucket that is not there: %v, %v: want ErrNoBucket", kv, err)
	}
	dialKV(t, bus.Config{Server: e, Stream: bus.StreamConfig{Storage: bus.StorageMemory}})
	bucket, err := js.KeyValue(t.Context(), "MD_sessions")
	must(t, err)
	s, err := js.Stream(t.Context(), "KV_MD_sessions")
	must(t, err)
	if c := s.CachedInfo().Config; c.Storage != jetstream.MemoryStorage || c.Replicas != 1 || c.AllowDirect || c.MaxBytes <= 0 {
		t.Errorf("the bucket has %+v", c)
	}
	tool, err := bus.OpenKV(t.Context(), bus.Config{Server: e})
	must(t, err)
	defer func() { must(t, tool.Close()) }()
	rev, err := tool.Create(t.Context(), "s.a", []byte("one"), time.Hour)
	must(t, err)
	if seen, err := bucket.Get(t.Context(), "s.a"); err != nil || string(seen.Value()) != "one" || seen.Revision() != rev {
		t.Errorf("NATS's own bucket has %v, %v", seen, err)
	}
	must(t, tool.Delete(t.Context(), "s.a", rev))
	if seen, err := bucket.Get(t.Context(), "s.a"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("NATS's own bucket has %v, %v after the delete", seen, err)
	}
	_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "OTHER_sessions", Storage: jetstream.MemoryStorage})
	must(t, err)
	_, err = bus.DialKV(t.Context(), bus.Config{Server: e, Stream: bus.StreamConfig{Name: "OTHER"}})
	if err == nil || !strings.Contains(err.Error(), "do not expire one by one") {
		t.Errorf("a bucket of somebody else: %v", err)
	}
}

// TestKVOutage stops the server under a watch and starts it again.
func TestKVOutage(t *testing.T) {
	cfg := bus.EmbeddedConfig{Dir: t.TempDir(), Listen: "127.0.0.1:0"}
	e := startEmbedded(t, cfg)
	cfg.Listen = strings.TrimPrefix(e.URL(), "nats://")
	kv := dialKV(t, bus.Config{URL: e.URL()})
	rev, err := kv.Create(t.Context(), "s.a", []byte("one"), time.Hour)
	must(t, err)
	var last error
	for e2, err := range kv.Watch(t.Context()) {
		if last = err; e2.Op == session.OpSynced {
			must(t, e.Close())
		}
	}
	if !errors.Is(last, bus.ErrLost) {
		t.Errorf("the watch ended with %v, want ErrLost", last)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := kv.Get(ctx, "s.a"); !errors.Is(err, bus.ErrLost) {
		t.Errorf("get: %v, want ErrLost", err)
	}
	e = startEmbedded(t, cfg)
	defer func() { must(t, e.Close()) }()
	awaitKV(t, kv)
	if got, err := kv.Get(t.Context(), "s.a"); err != nil || got.Rev != rev {
		t.Errorf("after the outage: %+v, %v", got, err)
	}
}

// TestKVMadeAnew removes the bucket under a watch.
func TestKVMadeAnew(t *testing.T) {
	e := embedded(t)
	kv := dialKV(t, bus.Config{Server: e, Stream: bus.StreamConfig{Storage: bus.StorageMemory}})
	_, err := kv.Create(t.Context(), "s.a", nil, time.Hour)
	must(t, err)
	nc, err := nats.Connect("", nats.InProcessServer(e))
	must(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	must(t, err)
	var last error
	for e, err := range kv.Watch(t.Context()) {
		if last = err; e.Op == session.OpSynced {
			must(t, js.DeleteStream(t.Context(), "KV_MD_sessions"))
		}
	}
	if !errors.Is(last, bus.ErrLost) {
		t.Errorf("the watch ended with %v, want ErrLost", last)
	}
	awaitKV(t, kv)
	if _, err := kv.Get(t.Context(), "s.a"); !errors.Is(err, session.ErrNoKey) {
		t.Errorf("after it was made anew: %v, want ErrNoKey", err)
	}
	must(t, kv.Close())
	if _, err := kv.Get(t.Context(), "s.a"); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
}

// awaitKV watches until the bucket can be watched.
func awaitKV(t *testing.T, kv *bus.KV) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		for e, err := range kv.Watch(ctx) {
			if err == nil && e.Op == session.OpSynced {
				return
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	t.Fatal("the bucket did not come back")
}
