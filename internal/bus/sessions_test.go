package bus_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/internal/session"
)

// runSessions runs a gateway's sessions over the bucket until the test ends.
func runSessions(tb testing.TB, kv session.KV, gateway string) *session.Manager {
	tb.Helper()
	m, err := session.New(session.Config{KV: kv, Gateway: gateway, PerUser: 1 << 20, Total: 1 << 20})
	must(tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := m.Run(ctx); err != nil {
			tb.Errorf("%s: %v", gateway, err)
		}
	})
	tb.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return m
}

func newSession(tb testing.TB, m *session.Manager, user session.User) session.ID {
	tb.Helper()
	id, _, err := m.Create(tb.Context(), session.Identity{User: user, Method: session.Key}, session.Request{})
	must(tb, err)
	return id
}

// TestSessionsOverJetStream has two gateways and a tool share a bucket, each with
// a connection of its own.
func TestSessionsOverJetStream(t *testing.T) {
	e := embedded(t)
	cfg := bus.Config{Server: e, Stream: bus.StreamConfig{Storage: bus.StorageMemory}}
	a, b := runSessions(t, dialKV(t, cfg), "a"), runSessions(t, dialKV(t, cfg), "b")
	kv, err := bus.OpenKV(t.Context(), cfg)
	must(t, err)
	defer func() { must(t, kv.Close()) }()
	tool, err := session.New(session.Config{KV: kv})
	must(t, err)

	ends := make(chan session.Cause, 8)
	end := func(c session.Cause) { ends <- c }
	want := func(cause session.Cause) {
		t.Helper()
		select {
		case c := <-ends:
			if c != cause {
				t.Errorf("the socket's end is %v, want %v", c, cause)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("no end was told, want %v", cause)
		}
	}
	id := newSession(t, a, "ann")
	_, err = b.Get(t.Context(), id, "ann") // at once
	must(t, err)
	_, err = a.Attach(t.Context(), id, "c1", end)
	must(t, err)
	newer, err := b.Attach(t.Context(), id, "c2", end)
	must(t, err)
	want(session.Superseded)
	must(t, newer.Update(t.Context(), session.Request{Snapshot: true}))
	must(t, a.Delete(t.Context(), id, "ann"))
	want(session.Deleted)

	id = newSession(t, a, "ann")
	_, err = b.Attach(t.Context(), id, "c3", end)
	must(t, err)
	for info, err := range tool.List(t.Context(), "ann") {
		must(t, err)
		if info.Name != id.Name() || info.Holder.Conn != "c3" {
			t.Errorf("listed %+v", info)
		}
	}
	n, err := tool.Revoke(t.Context(), "ann")
	if err != nil || n != 1 {
		t.Errorf("revoked %d sessions, %v", n, err)
	}
	want(session.Revoked)
}

func BenchmarkSessionAttach(b *testing.B) {
	stores := map[string]func() session.KV{
		"memory": func() session.KV { return session.NewMemory(session.MemoryConfig{}) },
	}
	for name, storage := range map[string]bus.Storage{"jetstream-memory": bus.StorageMemory, "jetstream-file": bus.StorageFile} {
		stores[name] = func() session.KV {
			return dialKV(b, bus.Config{Server: embedded(b), Stream: bus.StreamConfig{Storage: storage}})
		}
	}
	for name, open := range stores {
		b.Run(name, func(b *testing.B) {
			m := runSessions(b, open(), "a")
			id := newSession(b, m, "ann")
			for b.Loop() {
				s, err := m.Attach(b.Context(), id, "c1", func(session.Cause) {})
				must(b, err)
				must(b, s.Detach(b.Context()))
			}
		})
	}
}

func BenchmarkSessionCreate(b *testing.B) {
	for name, open := range map[string]func() session.KV{
		"memory": func() session.KV { return session.NewMemory(session.MemoryConfig{Keys: 1 << 20}) },
		"jetstream-memory": func() session.KV {
			return dialKV(b, bus.Config{Server: embedded(b), Stream: bus.StreamConfig{Storage: bus.StorageMemory}})
		},
	} {
		b.Run(name, func(b *testing.B) {
			m := runSessions(b, open(), "a")
			for i := 0; b.Loop(); i++ {
				newSession(b, m, session.User(fmt.Sprint("user-", i%1000)))
			}
		})
	}
}
