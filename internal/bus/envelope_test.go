package bus_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/lzstock/lzstock/internal/bus"
	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
)

func TestEnvelope(t *testing.T) {
	want := trades(0, 256)
	numbered := trades(0, 256)
	for i := range numbered {
		numbered[i].Seq, numbered[i].Prev, numbered[i].Merged = 1, 2, 3
	}
	data, err := bus.EncodeBatch([]byte("before"), numbered)
	must(t, err)
	got, err := bus.DecodeBatch(data[len("before"):])
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("places must not travel (-want +got):\n%s", diff)
	}
	foreign, err := proto.Marshal(&pb.EventBatch{Events: marketpb.Events(numbered)})
	must(t, err)
	got, err = bus.DecodeBatch(foreign)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("places of others do not count (-want +got):\n%s", diff)
	}
	for name, data := range map[string][]byte{"nothing": nil, "junk": []byte("junk"), "an empty event": {0x0a, 0x00}, "cut": data[6:90]} {
		if events, err := bus.DecodeBatch(data); err == nil {
			t.Errorf("%s was read as %v", name, events)
		}
	}
}

func FuzzDecodeBatch(f *testing.F) {
	data, err := bus.EncodeBatch(nil, trades(0, 2))
	must(f, err)
	f.Add(data)
	f.Add(data[:len(data)-3])
	f.Add([]byte{0x0a, 0x02, 0x20, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		events, err := bus.DecodeBatch(data)
		if err != nil {
			return
		}
		again, err := bus.EncodeBatch(nil, events)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, err := bus.DecodeBatch(again)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if diff := cmp.Diff(events, back); diff != "" {
			t.Errorf("-first +second:\n%s", diff)
		}
	})
}
