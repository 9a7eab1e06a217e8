package app

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/bus"
	"github.com/lzstock/lzstock/market"
)

// TestNodeStartsAgain has a node whose disk was full start again: in its place, with
// what it had.
func TestNodeStartsAgain(t *testing.T) {
	n := &node{cfg: bus.EmbeddedConfig{Dir: t.TempDir(), Listen: "127.0.0.1:0"}, log: slog.New(slog.NewTextHandler(t.Output(), nil)), pause: time.Millisecond}
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.server.Load().Close() }()
	url := n.server.Load().URL()
	b, err := bus.Dial(t.Context(), bus.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	store := func() bus.Stored {
		t.Helper()
		s, err := b.Publish(t.Context(), bus.Batch{Source: "tape", Events: []market.Event{
			{Channel: market.Trades, Symbol: "A", Trade: &market.Trade{Time: time.Unix(1, 0)}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	store()
	old := n.server.Load()
	if err := n.restart(t.Context(), errors.New("no space left on device")); err != nil {
		t.Fatal(err)
	}
	if again := n.server.Load(); again == old || again.URL() != url || again.Broken() != nil || old.Broken() == nil {
		t.Errorf("the node serves on %s, broken: %v; want a new server on %s", again.URL(), again.Broken(), url)
	}
	if s := store(); s.First.Batch() != 2 {
		t.Errorf("stored in batch %d, want 2", s.First.Batch())
	}
	n.cfg.Dir = ""
	if err := n.restart(t.Context(), errors.New("no space left on device")); err == nil {
		t.Error("a node whose data is gone has started again")
	}
}
