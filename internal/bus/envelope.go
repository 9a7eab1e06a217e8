package bus

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

// EncodeBatch appends the envelope of 1 to 256 valid events to dst. Seq, Prev
// and Merged are left out.
func EncodeBatch(dst []byte, events []market.Event) ([]byte, error) {
	if err := checkCount(len(events)); err != nil {
		return dst, err
	}
	for i := range events {
		if err := events[i].Validate(); err != nil {
			return dst, fmt.Errorf("event %d of the batch: %w", i, err)
		}
	}
	list := marketpb.Events(events)
	for _, m := range list {
		m.Seq, m.Prev, m.Merged = 0, 0, 0
	}
	out, err := proto.MarshalOptions{}.MarshalAppend(dst, &pb.EventBatch{Events: list})
	if err != nil {
		return dst, fmt.Errorf("encode the batch: %w", err)
	}
	return out, nil
}

// DecodeBatch reads an envelope. Its events are valid, and have Seq, Prev and
// Merged zero.
func DecodeBatch(data []byte) ([]market.Event, error) {
	var m pb.EventBatch
	if err := proto.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("decode the batch: %w", err)
	}
	if err := checkCount(len(m.GetEvents())); err != nil {
		return nil, err
	}
	events, err := marketpb.FromEvents(m.GetEvents())
	if err != nil {
		return nil, fmt.Errorf("decode the batch: %w", err)
	}
	for i := range events {
		events[i].Seq, events[i].Prev, events[i].Merged = 0, 0, 0
	}
	return events, nil
}

func checkCount(n int) error {
	switch {
	case n == 0:
		return errors.New("the batch is empty: want 1 to 256 events")
	case n > market.BatchLimit:
		return fmt.Errorf("the batch has %d events: want 1 to %d", n, market.BatchLimit)
	}
	return nil
}

// number sets each event's place.
func number(batch uint64, events []market.Event) {
	for i := range events {
		events[i].Seq = market.MakeSeq(batch, i)
	}
}
