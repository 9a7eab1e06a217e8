package marketpb

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/market"
)

// response encodes events as a monitor does.
func response(events []market.Event) []byte {
	size := 0
	for i := range events {
		size += BatchEventSize(AppendBody(nil, &events[i]), events[i].Prev, events[i].Merged)
	}
	data := AppendBatchHead(nil, size)
	for i := range events {
		data = AppendBatchEvent(data, AppendBody(nil, &events[i]), events[i].Prev, events[i].Merged)
	}
	return data
}

// many are n trades and quotes in turn.
func many(n int) []market.Event {
	var out []market.Event
	for i := range n {
		e := sample()[i%2]
		e.Seq = market.Seq(i + 1)
		out = append(out, e)
	}
	return out
}

// TestTags compares what is written here by hand with the definitions: that the
// generated code reads every field back.
func TestTags(t *testing.T) {
	at := time.Unix(1, 5).UTC()
	events := sample()
	events[0].Merged, events[0].Prev = 2, 3
	events[1].Quote = &market.Quote{
		BidExchange: "a", BidPrice: 1, BidSize: 2, AskExchange: "b", AskPrice: 3, AskSize: 4, Time: at,
		Conditions: []string{"c", "", strings.Repeat("long", 100)}, Tape: "d",
	}
	events[2].Bar = &market.Bar{Open: 1, High: 2, Low: 3, Close: 4, Volume: 5, Trades: 6, VWAP: 7, Time: at}
	data := response(events)
	var m pb.WatchResponse
	if err := proto.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	for _, e := range m.GetBatch().GetEvents() {
		e.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			if f.Message() == nil {
				return true
			}
			for i := range f.Message().Fields().Len() {
				if inner := f.Message().Fields().Get(i); !v.Message().Has(inner) {
					t.Errorf("%s has been lost", inner.FullName())
				}
			}
			return true
		})
	}
	got, err := FromEvents(m.GetBatch().GetEvents())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(events, got); diff != "" {
		t.Error(diff)
	}
	again, err := proto.Marshal(Encoded(data))
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("an encoded response is written as %x, %v; want %x", again, err, data)
	}
}

func TestDecoderReadsWhatIsUsual(t *testing.T) {
	var d Decoder
	for _, events := range [][]market.Event{sample(), many(100), {}} {
		generated, err := proto.Marshal(&pb.WatchResponse{Kind: &pb.WatchResponse_Batch{Batch: &pb.EventBatch{Events: Events(events)}}})
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{"ours": response(events), "generated": generated} {
			batch, ok := Batch(data)
			if !ok {
				t.Fatalf("%s: no batch", name)
			}
			got, ok := d.Events(batch)
			if diff := cmp.Diff(events, got); !ok || diff != "" {
				t.Errorf("%s: %t, %s", name, ok, diff)
			}
		}
	}
}

func TestDecoderLeavesTheRest(t *testing.T) {
	body := func(e market.Event) []byte { return AppendBody(nil, &e) }
	field := func(body []byte, more ...byte) []byte {
		return protowire.AppendBytes([]byte{tagBatchEvent}, append(bytes.Clone(body), more...))
	}
	good := body(sample()[0])
	bad := sample()[0]
	bad.Symbol = "A B"
	for name, batch := range map[string][]byte{
		"another field of the batch": protowire.AppendBytes([]byte{2<<3 | 2}, good),
		"another field of an event":  field(good, 15<<3, 1),
		"two payloads":               append(field(good[:0], append(bytes.Clone(good), body(sample()[1])...)...), field(good)...),
		"no payload":                 field([]byte{tagSeq, 1}),
		"a channel of none":          field(good, tagChannel, 9),
		"a bad symbol":               field(body(bad)),
		"a symbol not in UTF-8":      field(good, tagSymbol, 1, 0xff),
		"cut off":                    field(good)[:20],
		"a long varint":              field(good, append([]byte{tagPrev}, bytes.Repeat([]byte{0xff}, 11)...)...),
	} {
		var d Decoder
		if got, ok := d.Events(batch); ok {
			t.Errorf("%s: read as %v", name, got)
		}
	}
	for name, data := range map[string][]byte{
		"nothing": {}, "an Added": {4<<3 | 2, 0}, "two kinds": append(response(sample()), 4<<3|2, 0), "cut off": response(sample())[:30],
	} {
		if _, ok := Batch(data); ok {
			t.Errorf("%s is taken for a batch", name)
		}
	}
}

// Snapshots are read as the generated code reads them, or left to it.
func FuzzSnapshots(f *testing.F) {
	for _, m := range []*pb.Snapshots{
		{},
		{Topics: Topics([]market.Topic{{Channel: market.Trades, Symbol: "*"}})},
		{Topics: Topics([]market.Topic{{Channel: market.Trades, Symbol: "A"}, {Channel: market.Bars, Symbol: "B"}}), Events: Events(many(20))},
		{Events: Events(sample())},
	} {
		data, err := proto.Marshal(&pb.WatchResponse{Kind: &pb.WatchResponse_Snapshots{Snapshots: m}})
		if err != nil {
			f.Fatal(err)
		}
		if _, _, ok := (&Decoder{}).Snapshots(data); !ok {
			f.Errorf("%v is not read", m)
		}
		f.Add(data)
	}
	f.Add([]byte{tagResponseSnapshots, 2, tagSnapshotEvent, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		topics, events, ok := (&Decoder{}).Snapshots(data)
		if !ok {
			return
		}
		var m pb.WatchResponse
		if err := proto.Unmarshal(data, &m); err != nil || m.GetSnapshots() == nil {
			t.Fatalf("the generated code reads %v: %v", &m, err)
		}
		want, err := FromEvents(m.GetSnapshots().GetEvents())
		if err != nil || !cmp.Equal(want, events, cmpopts.EquateEmpty()) {
			t.Fatalf("got %v, want %v: %v", events, want, err)
		}
		if diff := cmp.Diff(m.GetSnapshots().GetTopics(), topics, protocmp.Transform(), cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzDecoder feeds foreign bytes to the decoder: what it reads is what the
// generated code reads.
func FuzzDecoder(f *testing.F) {
	f.Add(response(sample()))
	f.Add(response(many(20)))
	f.Add([]byte{tagResponseBatch, 2, tagBatchEvent, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		batch, ok := Batch(data)
		if !ok {
			return
		}
		var d Decoder
		got, ok := d.Events(batch)
		if !ok {
			return
		}
		var m pb.WatchResponse
		if err := proto.Unmarshal(data, &m); err != nil {
			t.Fatalf("the generated code refuses it: %v", err)
		}
		want, err := FromEvents(m.GetBatch().GetEvents())
		if err != nil || m.GetBatch() == nil {
			t.Fatalf("the generated code has no such batch: %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		if again, ok := d.Events(batch); !ok || !cmp.Equal(got, again) { // now that the texts are known
			t.Fatalf("the second time it is %v, %t", again, ok)
		}
		again, _ := Batch(response(got))
		if got2, ok := d.Events(again); !ok || !cmp.Equal(got, got2) {
			t.Fatalf("written and read again it is %v, %t", got2, ok)
		}
	})
}

func TestDecoderAllocatesAChunkForSeveral(t *testing.T) {
	const n = 256
	batch, _ := Batch(response(many(n)))
	var d Decoder
	d.Events(batch)
	if got := testing.AllocsPerRun(100, func() { d.Events(batch) }); got > 1+n/chunk {
		t.Errorf("%v allocations for %d events, want one and one for %d of them", got, n, chunk)
	}
}

func BenchmarkDecode(b *testing.B) {
	batch, _ := Batch(response(many(64)))
	b.Run("decoder", func(b *testing.B) {
		var d Decoder
		b.ReportAllocs()
		for b.Loop() {
			d.Events(batch)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(64*b.N), "ns/event")
	})
	b.Run("generated", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var m pb.EventBatch
			if err := proto.Unmarshal(batch, &m); err != nil {
				b.Fatal(err)
			}
			if _, err := FromEvents(m.GetEvents()); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(64*b.N), "ns/event")
	})
}

func BenchmarkEncode(b *testing.B) {
	events := many(64)
	b.Run("append", func(b *testing.B) {
		var data, body []byte
		b.ReportAllocs()
		for b.Loop() {
			data = data[:0]
			for i := range events {
				body = AppendBody(body[:0], &events[i])
				data = AppendBatchEvent(data, body, 1, 0)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(64*b.N), "ns/event")
	})
	b.Run("generated", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := proto.Marshal(&pb.EventBatch{Events: Events(events)}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(64*b.N), "ns/event")
	})
}
