package upstream

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	pbproto "google.golang.org/protobuf/proto"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
)

// codec is gRPC's own for protobuf, and reads messages: events straight into the
// project's types, without the generated ones between. It belongs to the
// goroutine of one stream's receiver.
type codec struct {
	encoding.CodecV2
	events *marketpb.Decoder
}

// reading is the option of a call whose answers are read into a message.
func reading() grpc.CallOption {
	return grpc.ForceCodecV2(codec{CodecV2: encoding.GetCodecV2(proto.Name), events: &marketpb.Decoder{}})
}

// Unmarshal reads what came, as far as it can without knowing what may be.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*message)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	if batch, ok := marketpb.Batch(buf.ReadOnlyData()); ok {
		if m.events, m.read = c.events.Events(batch); m.read {
			m.WatchResponse = &pb.WatchResponse{Kind: &pb.WatchResponse_Batch{}}
			return nil
		}
	}
	if topics, events, ok := c.events.Snapshots(buf.ReadOnlyData()); ok {
		m.WatchResponse = &pb.WatchResponse{Kind: &pb.WatchResponse_Snapshots{Snapshots: &pb.Snapshots{Topics: topics}}}
		m.events, m.read = events, true
		return nil
	}
	m.WatchResponse = &pb.WatchResponse{}
	if err := pbproto.Unmarshal(buf.ReadOnlyData(), m.WatchResponse); err != nil {
		return fmt.Errorf("read a WatchResponse: %w", err)
	}
	return nil
}
