package session_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/session"
)

func TestMain(m *testing.M) { leak.Main(m) }

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := session.NewMemory(session.MemoryConfig{Keys: 2, Backlog: 3})
		for _, key := range []string{"s.a", "s.b"} {
			_, err := kv.Create(t.Context(), key, nil, time.Minute)
			must(t, err)
		}
		if _, err := kv.Create(t.Context(), "s.c", nil, time.Minute); !errors.Is(err, session.ErrFull) {
			t.Errorf("a third key: %v, want ErrFull", err)
		}
		time.Sleep(time.Minute) // nobody watches, so the next call sweeps
		_, err := kv.Create(t.Context(), "s.c", nil, time.Minute)
		must(t, err)
		var last error
		for e, err := range kv.Watch(t.Context()) {
			last = err
			for range 4 {
				if e.Op == session.OpSynced {
					must(t, kv.Delete(t.Context(), "s.c", 0))
					_, err := kv.Create(t.Context(), "s.c", nil, time.Minute)
					must(t, err)
				}
			}
		}
		if !errors.Is(last, session.ErrBehind) {
			t.Errorf("a slow watch ended with %v, want ErrBehind", last)
		}
		for i := range 4 {
			must(t, kv.Delete(t.Context(), "s.c", 0))
			key := fmt.Sprint("s.", i)
			_, err := kv.Create(t.Context(), key, nil, time.Minute)
			must(t, err)
			must(t, kv.Delete(t.Context(), key, 0))
		}
		deleted := 0
		for e, err := range kv.Watch(t.Context()) {
			must(t, err)
			if e.Op == session.OpDelete {
				deleted++
			}
			if e.Op == session.OpSynced {
				break
			}
		}
		if deleted > 2 {
			t.Errorf("%d deletes are remembered, want at most 2", deleted)
		}
	})
}

func TestMemoryForgetsDeletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := session.NewMemory(session.MemoryConfig{})
		_, err := kv.Create(t.Context(), "s.a", nil, time.Minute)
		must(t, err)
		must(t, kv.Delete(t.Context(), "s.a", 0))
		seen := func() (n int) {
			for e, err := range kv.Watch(t.Context()) {
				must(t, err)
				if e.Op == session.OpSynced {
					break
				}
				n++
			}
			return n
		}
		time.Sleep(session.DeleteKept - time.Second)
		if n := seen(); n != 1 {
			t.Errorf("%d deletes are known before the hour is over, want 1", n)
		}
		time.Sleep(time.Second)
		if n := seen(); n != 0 {
			t.Errorf("%d deletes are known after the hour, want none", n)
		}
	})
}

func TestMemoryOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := session.NewMemory(session.MemoryConfig{})
		var last error
		for e, err := range kv.Watch(t.Context()) {
			if last = err; e.Op == session.OpSynced {
				kv.SetDown(true)
			}
		}
		if _, err := kv.Get(t.Context(), "s.a"); last == nil || err == nil || errors.Is(err, session.ErrNoKey) {
			t.Errorf("while it is down: watch %v, get %v", last, err)
		}
		kv.SetDown(false)
		if _, err := kv.Get(context.WithoutCancel(t.Context()), "s.a"); !errors.Is(err, session.ErrNoKey) {
			t.Errorf("after the outage: %v, want ErrNoKey", err)
		}
	})
}
