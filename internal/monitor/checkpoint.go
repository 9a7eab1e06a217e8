package monitor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"google.golang.org/protobuf/proto"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/internal/monitor/bars"
	"github.com/lzstock/lzstock/market"
)

// A checkpoint is these four bytes, the version, the checksum (CRC-32C) of the
// rest, and a protobuf Checkpoint.
const (
	checkpointMagic   = "LZCP"
	checkpointVersion = 1
	checkpointHead    = len(checkpointMagic) + 1 + 4
)

// checkpoint is what a monitor saves of itself.
type checkpoint struct {
	position market.Position
	base     mark           // where the stretch before it begins
	derived  []market.Event // within the stretch, ascending
	zone     string
	sources  []*pb.BarSource
}

func (c *checkpoint) encode() ([]byte, error) {
	m := &pb.Checkpoint{
		Position: marketpb.Position(c.position),
		Base:     uint64(c.base.at), Values: marketpb.Events(c.base.values), Derived: marketpb.Events(c.derived),
		Zone: c.zone, Sources: c.sources,
	}
	out := make([]byte, checkpointHead, checkpointHead+proto.Size(m))
	copy(out, checkpointMagic)
	out[len(checkpointMagic)] = checkpointVersion
	out, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(out, m)
	if err != nil {
		return nil, fmt.Errorf("encode checkpoint: %w", err)
	}
	binary.BigEndian.PutUint32(out[checkpointHead-4:], checksum(out[checkpointHead:]))
	return out, nil
}

func checksum(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }

// decodeCheckpoint reads what encode wrote. An error says why it is of no use.
func decodeCheckpoint(data []byte) (*checkpoint, error) {
	switch {
	case len(data) < checkpointHead || string(data[:len(checkpointMagic)]) != checkpointMagic:
		return nil, errors.New("not a checkpoint")
	case data[len(checkpointMagic)] != checkpointVersion:
		return nil, fmt.Errorf("checkpoint of version %d, want %d", data[len(checkpointMagic)], checkpointVersion)
	}
	body := data[checkpointHead:]
	if sum := binary.BigEndian.Uint32(data[checkpointHead-4:]); sum != checksum(body) {
		return nil, errors.New("the checkpoint is damaged: its checksum is wrong")
	}
	var m pb.Checkpoint
	if err := proto.Unmarshal(body, &m); err != nil {
		return nil, fmt.Errorf("the checkpoint is damaged: %w", err)
	}
	c := &checkpoint{
		position: marketpb.FromPosition(m.GetPosition()), base: mark{at: market.Seq(m.GetBase())},
		zone: m.GetZone(), sources: m.GetSources(),
	}
	if c.base.at > c.position.Seq {
		return nil, fmt.Errorf("base %d of the checkpoint is after its position %s", c.base.at, c.position)
	}
	var err error
	if c.base.values, err = eventsWithin(m.GetValues(), 0, c.base.at); err != nil {
		return nil, fmt.Errorf("values of the checkpoint: %w", err)
	}
	if c.derived, err = eventsWithin(m.GetDerived(), c.base.at, c.position.Seq); err != nil {
		return nil, fmt.Errorf("derived events of the checkpoint: %w", err)
	}
	return c, nil
}

// eventsWithin reads events that lie after one place, up to another, ascending.
func eventsWithin(list []*pb.Event, after, to market.Seq) ([]market.Event, error) {
	events, err := marketpb.FromEvents(list)
	if err != nil {
		return nil, err
	}
	for i := range events {
		if q := events[i].Seq; q <= after || q > to || i > 0 && q < events[i-1].Seq {
			return nil, fmt.Errorf("event %d has place %d, out of order", i, q)
		}
	}
	return events, nil
}

// usable says why the checkpoint does not fit the bus, or the configuration. It
// loads the bars into builder.
func (c *checkpoint) usable(epoch market.Epoch, first, last market.Seq, builder *bars.Builder) error {
	batch, base := c.position.Seq.Batch(), c.base.at.Batch()
	switch {
	case c.position.Epoch != epoch:
		return fmt.Errorf("the checkpoint is of epoch %d, the bus of %d", c.position.Epoch, epoch)
	case base+1 < first.Batch():
		return fmt.Errorf("the checkpoint needs what comes after batch %d, the bus begins with %d", base, first.Batch())
	case batch > last.Batch():
		return fmt.Errorf("the checkpoint ends with batch %d, the bus with %d", batch, last.Batch())
	case c.zone != builder.Zone():
		return fmt.Errorf("the checkpoint has days of %s, configured is %s", c.zone, builder.Zone())
	}
	return builder.Load(c.sources)
}
