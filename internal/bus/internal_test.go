package bus

import (
	"testing"
	"time"

	"github.com/lzstock/lzstock/market"
)

// TestLookUp tries what Publish does once the bus may have forgotten ids.
func TestLookUp(t *testing.T) {
	e, err := StartEmbedded(EmbeddedConfig{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Dial(t.Context(), Config{Server: e, Stream: StreamConfig{Storage: StorageMemory}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	events := []market.Event{{Channel: market.Trades, Symbol: "A", Trade: &market.Trade{Time: time.Unix(1, 0)}}}
	data, err := EncodeBatch(nil, events)
	if err != nil {
		t.Fatal(err)
	}
	first, err := b.attempt(t.Context(), "md.tape", "a-1", data, true)
	if err != nil || first.Duplicate {
		t.Fatalf("first attempt: %+v, %v", first, err)
	}
	again, err := b.attempt(t.Context(), "md.tape", "a-1", data, true)
	if err != nil || !again.Duplicate || again.Sequence != first.Sequence {
		t.Errorf("second attempt: %+v, %v, want a duplicate of %d", again, err, first.Sequence)
	}
	ack, err := b.lookUp(t.Context(), "md.tape", "a-1")
	if err != nil || ack == nil || ack.Sequence != first.Sequence {
		t.Errorf("look-up: %+v, %v, want %d", ack, err, first.Sequence)
	}
	for _, c := range [][2]string{{"md.tape", "a-2"}, {"md.other", "a-1"}} {
		if ack, err := b.lookUp(t.Context(), c[0], c[1]); ack != nil || err != nil {
			t.Errorf("look-up of %s on %s: %+v, %v, want nothing", c[1], c[0], ack, err)
		}
	}
}
