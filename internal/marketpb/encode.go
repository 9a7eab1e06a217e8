package marketpb

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/market"
)

// tag is the first byte of a field whose number is below 16.
type tag = byte

// The tags of market.proto. TestTags compares them with the generated code.
const (
	tagResponseBatch tag = 3<<3 | tag(protowire.BytesType)
	tagBatchEvent    tag = 1<<3 | tag(protowire.BytesType)

	tagResponseSnapshots tag = 2<<3 | tag(protowire.BytesType)
	tagSnapshotTopics    tag = 1<<3 | tag(protowire.BytesType)
	tagSnapshotEvent     tag = 2<<3 | tag(protowire.BytesType)

	tagSeq     tag = 1<<3 | tag(protowire.VarintType)
	tagPrev    tag = 2<<3 | tag(protowire.VarintType)
	tagMerged  tag = 3<<3 | tag(protowire.VarintType)
	tagChannel tag = 4<<3 | tag(protowire.VarintType)
	tagSymbol  tag = 5<<3 | tag(protowire.BytesType)
	tagTrade   tag = 6<<3 | tag(protowire.BytesType)
	tagQuote   tag = 7<<3 | tag(protowire.BytesType)
	tagBar     tag = 8<<3 | tag(protowire.BytesType)
	tagStatus  tag = 9<<3 | tag(protowire.BytesType)
)

// AppendBody appends the part of e that is the same for everybody who carries
// it: all but prev and merged. AppendBatchEvent makes it whole.
func AppendBody(dst []byte, e *market.Event) []byte {
	dst = appendUint(dst, tagSeq, uint64(e.Seq))
	dst = appendUint(dst, tagChannel, uint64(e.Channel))
	dst = appendText(dst, tagSymbol, string(e.Symbol))
	start := len(dst) + 2
	switch {
	case e.Trade != nil:
		dst = appendTrade(append(dst, tagTrade, 0), e.Trade)
	case e.Quote != nil:
		dst = appendQuote(append(dst, tagQuote, 0), e.Quote)
	case e.Bar != nil:
		dst = appendBar(append(dst, tagBar, 0), e.Bar)
	case e.Status != nil:
		dst = appendStatus(append(dst, tagStatus, 0), e.Status)
	default:
		return dst
	}
	// The length was given one byte, which is nearly always enough.
	if n := len(dst) - start; n < 0x80 {
		dst[start-1] = byte(n)
	} else {
		dst = slices.Replace(dst, start-1, start, protowire.AppendVarint(nil, uint64(n))...)
	}
	return dst
}

// BatchEventSize gives how many bytes AppendBatchEvent appends.
func BatchEventSize(body []byte, prev market.Seq, merged uint32) int {
	return 1 + protowire.SizeBytes(eventSize(body, prev, merged))
}

func eventSize(body []byte, prev market.Seq, merged uint32) int {
	size := len(body)
	if prev != 0 {
		size += 1 + protowire.SizeVarint(uint64(prev))
	}
	if merged != 0 {
		size += 1 + protowire.SizeVarint(uint64(merged))
	}
	return size
}

// AppendBatchEvent appends one event to an EventBatch.
func AppendBatchEvent(dst, body []byte, prev market.Seq, merged uint32) []byte {
	dst = protowire.AppendVarint(append(dst, tagBatchEvent), uint64(eventSize(body, prev, merged)))
	dst = append(dst, body...)
	dst = appendUint(dst, tagPrev, uint64(prev))
	return appendUint(dst, tagMerged, uint64(merged))
}

// AppendBatchHead begins a WatchResponse that is an EventBatch, whose events have
// the sum of sizes, and makes room for them.
func AppendBatchHead(dst []byte, size int) []byte {
	dst = slices.Grow(dst, 1+protowire.SizeBytes(size))
	return protowire.AppendVarint(append(dst, tagResponseBatch), uint64(size))
}

// EncodedSnapshots gives the WatchResponse that is Snapshots of topics, whose values
// have these bodies, ascending by position.
func EncodedSnapshots(topics []market.Topic, bodies [][]byte) *pb.WatchResponse {
	head, _ := proto.Marshal(&pb.Snapshots{Topics: Topics(topics)}) // symbols are ASCII: nothing can fail
	size := len(head)
	for _, b := range bodies {
		size += 1 + protowire.SizeBytes(len(b))
	}
	data := make([]byte, 0, size+1+protowire.SizeVarint(uint64(size)))
	data = append(protowire.AppendVarint(append(data, tagResponseSnapshots), uint64(size)), head...)
	for _, b := range bodies {
		data = protowire.AppendBytes(append(data, tagSnapshotEvent), b)
	}
	return Encoded(data)
}

// Encoded gives the WatchResponse that is encoded already. To Go code it looks as
// if nothing were set: fields of no known type are written as they are.
func Encoded(data []byte) *pb.WatchResponse {
	m := &pb.WatchResponse{}
	m.ProtoReflect().SetUnknown(data)
	return m
}

func appendTrade(dst []byte, t *market.Trade) []byte {
	dst = appendUint(dst, 1<<3, uint64(t.ID))
	dst = appendText(dst, 2<<3|tag(protowire.BytesType), t.Exchange)
	dst = appendUint(dst, 3<<3, uint64(t.Price))
	dst = appendUint(dst, 4<<3, uint64(t.Size))
	dst = appendFixed(dst, 5<<3|tag(protowire.Fixed64Type), t.Time.UnixNano())
	dst = appendTexts(dst, 6<<3|tag(protowire.BytesType), t.Conditions)
	return appendText(dst, 7<<3|tag(protowire.BytesType), t.Tape)
}

func appendQuote(dst []byte, q *market.Quote) []byte {
	dst = appendText(dst, 1<<3|tag(protowire.BytesType), q.BidExchange)
	dst = appendUint(dst, 2<<3, uint64(q.BidPrice))
	dst = appendUint(dst, 3<<3, uint64(q.BidSize))
	dst = appendText(dst, 4<<3|tag(protowire.BytesType), q.AskExchange)
	dst = appendUint(dst, 5<<3, uint64(q.AskPrice))
	dst = appendUint(dst, 6<<3, uint64(q.AskSize))
	dst = appendFixed(dst, 7<<3|tag(protowire.Fixed64Type), q.Time.UnixNano())
	dst = appendTexts(dst, 8<<3|tag(protowire.BytesType), q.Conditions)
	return appendText(dst, 9<<3|tag(protowire.BytesType), q.Tape)
}

func appendBar(dst []byte, b *market.Bar) []byte {
	for i, v := range [...]uint64{
		uint64(b.Open), uint64(b.High), uint64(b.Low), uint64(b.Close), uint64(b.Volume), b.Trades, uint64(b.VWAP),
	} {
		dst = appendUint(dst, tag(i+1)<<3, v)
	}
	return appendFixed(dst, 8<<3|tag(protowire.Fixed64Type), b.Time.UnixNano())
}

func appendStatus(dst []byte, s *market.Status) []byte {
	for i, text := range [...]string{s.Code, s.Message, s.ReasonCode, s.ReasonMessage} {
		dst = appendText(dst, tag(i+1)<<3|tag(protowire.BytesType), text)
	}
	dst = appendFixed(dst, 5<<3|tag(protowire.Fixed64Type), s.Time.UnixNano())
	return appendText(dst, 6<<3|tag(protowire.BytesType), s.Tape)
}

func appendUint(dst []byte, t tag, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(append(dst, t), v)
}

func appendFixed(dst []byte, t tag, v int64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendFixed64(append(dst, t), uint64(v))
}

func appendText(dst []byte, t tag, s string) []byte {
	if s == "" {
		return dst
	}
	return protowire.AppendString(append(dst, t), s)
}

func appendTexts(dst []byte, t tag, list []string) []byte {
	for _, s := range list {
		dst = protowire.AppendString(append(dst, t), s)
	}
	return dst
}
