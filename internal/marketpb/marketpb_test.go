package marketpb

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/market"
)

func sample() []market.Event {
	at := time.Unix(1723161254, 24619568).UTC()
	return []market.Event{
		{Seq: 256, Channel: market.Trades, Symbol: "AAPL", Trade: &market.Trade{
			ID: 7, Exchange: "D", Price: 189_100_000_000, Size: 3_000_000_000, Time: at, Conditions: []string{"@", "I"}, Tape: "C",
		}},
		{Seq: 257, Prev: 12, Merged: 3, Channel: market.Quotes, Symbol: "BTC/USD", Quote: &market.Quote{
			BidExchange: "U", BidPrice: -1, BidSize: 1, AskExchange: "Q", AskPrice: 2, AskSize: 3, Time: at, Conditions: []string{"R"}, Tape: "B",
		}},
		{Seq: 257, Channel: market.DailyBars, Symbol: "SPY", Bar: &market.Bar{
			Open: 1, High: 4, Low: 1, Close: 2, Volume: 9, Trades: 461, VWAP: 3, Time: at,
		}},
		{Seq: 258, Channel: market.Statuses, Symbol: "AAPL", Status: &market.Status{
			Code: "H", Message: "Trading Halt", ReasonCode: "T12", ReasonMessage: strings.Repeat("Trading Halted; ", 9), Time: at, Tape: "C",
		}},
	}
}

func TestRoundTrip(t *testing.T) {
	want := sample()
	data, err := proto.Marshal(&pb.EventBatch{Events: Events(want)})
	if err != nil {
		t.Fatal(err)
	}
	var batch pb.EventBatch
	if err := proto.Unmarshal(data, &batch); err != nil {
		t.Fatal(err)
	}
	got, err := FromEvents(batch.GetEvents())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTopics(t *testing.T) {
	want := []market.Topic{{Channel: market.Trades, Symbol: "A"}, {Channel: market.Trades, Symbol: "*"}, {Channel: market.Bars, Symbol: "A"}}
	got, err := FromTopics(Topics(want))
	if err != nil || !cmp.Equal(want, got) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []*pb.Topics{
		{Symbols: []string{"A"}},
		{Channel: 7, Symbols: []string{"A"}},
		{Channel: pb.Channel_CHANNEL_TRADES, Symbols: []string{"A B"}},
	} {
		if _, err := FromTopics([]*pb.Topics{bad}); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}

// FuzzFromEvents feeds foreign bytes to the decoder: whatever it accepts is
// valid and survives a round trip.
func FuzzFromEvents(f *testing.F) {
	data, err := proto.Marshal(&pb.EventBatch{Events: Events(sample())})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var batch pb.EventBatch
		if proto.Unmarshal(data, &batch) != nil {
			return
		}
		events, err := FromEvents(batch.GetEvents())
		if err != nil {
			return
		}
		again, err := FromEvents(Events(events))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(events, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
