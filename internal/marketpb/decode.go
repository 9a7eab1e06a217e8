package marketpb

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/market"
)

const (
	// chunk is how many trades or quotes share an allocation. One that is kept, as
	// a topic's last value is, keeps its chunk.
	chunk = 8
	// maxKnown is how many texts, and lists of texts, a Decoder remembers, and
	// maxText the bytes of each.
	maxKnown = 1 << 14
	maxText  = 64
)

// Decoder reads EventBatch messages into events. What it reads again and again,
// symbols, venues and conditions, it makes once; it belongs to one goroutine, and
// its zero value is ready.
//
// It knows batches as this project and any usual library writes them. Whatever
// else a batch may hold, errors among it, it leaves to the generated code.
type Decoder struct {
	texts  map[string]string
	lists  map[string][]string // by their encoding
	trades []market.Trade
	quotes []market.Quote
}

// Events reads and validates a batch, as proto.Unmarshal and FromEvents would, or
// returns false where these have to. The events do not share data.
func (d *Decoder) Events(data []byte) ([]market.Event, bool) {
	n := 0
	for r := (reader{rest: data}); len(r.rest) > 0; n++ {
		if r.tag() != tagBatchEvent || r.bytes() == nil {
			return nil, false
		}
	}
	out := make([]market.Event, n)
	r := reader{rest: data}
	for i := range out {
		r.tag()
		if !d.event(&out[i], r.bytes()) {
			return nil, false
		}
	}
	return out, true
}

// Batch gives the EventBatch that a WatchResponse is, still encoded, or false where
// it is anything else.
func Batch(response []byte) ([]byte, bool) {
	r := reader{rest: response}
	if r.tag() != tagResponseBatch {
		return nil, false
	}
	batch := r.bytes()
	return batch, !r.odd && len(r.rest) == 0
}

// Snapshots reads the Snapshots that a WatchResponse is, its events as Events does, and
// returns false where that is anything else, or has to be left to the generated code.
func (d *Decoder) Snapshots(response []byte) (topics []*pb.Topics, events []market.Event, ok bool) {
	r := reader{rest: response}
	if r.tag() != tagResponseSnapshots {
		return nil, nil, false
	}
	list := reader{rest: r.bytes()}
	if r.odd || len(r.rest) > 0 {
		return nil, nil, false
	}
	for len(list.rest) > 0 {
		switch t, data := list.tag(), list.bytes(); {
		case list.odd || data == nil:
			return nil, nil, false
		case t == tagSnapshotTopics:
			some := &pb.Topics{}
			if proto.Unmarshal(data, some) != nil {
				return nil, nil, false
			}
			topics = append(topics, some)
		case t == tagSnapshotEvent:
			events = append(events, market.Event{})
			if !d.event(&events[len(events)-1], data) {
				return nil, nil, false
			}
		default:
			return nil, nil, false
		}
	}
	return topics, events, true
}

func (d *Decoder) event(e *market.Event, data []byte) bool {
	r := reader{rest: data}
	for len(r.rest) > 0 && !r.odd {
		switch t := r.tag(); t {
		case tagSeq:
			e.Seq = market.Seq(r.varint())
		case tagPrev:
			e.Prev = market.Seq(r.varint())
		case tagMerged:
			e.Merged = uint32(r.varint())
		case tagChannel:
			c := r.varint()
			if c >= uint64(market.NumChannels) {
				return false
			}
			e.Channel = market.Channel(c)
		case tagSymbol:
			e.Symbol = market.Symbol(d.text(&r))
		case tagTrade, tagQuote, tagBar, tagStatus:
			if e.Trade != nil || e.Quote != nil || e.Bar != nil || e.Status != nil { // the last one counts, or they are merged
				return false
			}
			d.payload(e, t, &r)
		default:
			return false
		}
	}
	return !r.odd && e.Validate() == nil
}

func (d *Decoder) payload(e *market.Event, t tag, r *reader) {
	in := reader{rest: r.bytes()}
	switch t {
	case tagTrade:
		if len(d.trades) == 0 {
			d.trades = make([]market.Trade, chunk)
		}
		e.Trade, d.trades = &d.trades[0], d.trades[1:]
		d.trade(e.Trade, &in)
	case tagQuote:
		if len(d.quotes) == 0 {
			d.quotes = make([]market.Quote, chunk)
		}
		e.Quote, d.quotes = &d.quotes[0], d.quotes[1:]
		d.quote(e.Quote, &in)
	case tagBar:
		e.Bar = &market.Bar{}
		readBar(e.Bar, &in)
	default:
		e.Status = &market.Status{}
		d.status(e.Status, &in)
	}
	r.odd = r.odd || in.odd
}

func (d *Decoder) trade(t *market.Trade, r *reader) {
	t.Time = timeOf(0)
	for len(r.rest) > 0 && !r.odd {
		switch r.tag() {
		case 1 << 3:
			t.ID = int64(r.varint())
		case 2<<3 | tag(protowire.BytesType):
			t.Exchange = d.text(r)
		case 3 << 3:
			t.Price = market.Price(r.varint())
		case 4 << 3:
			t.Size = market.Size(r.varint())
		case 5<<3 | tag(protowire.Fixed64Type):
			t.Time = timeOf(r.fixed())
		case 6<<3 | tag(protowire.BytesType):
			t.Conditions = d.list(t.Conditions, r, 6<<3|tag(protowire.BytesType))
		case 7<<3 | tag(protowire.BytesType):
			t.Tape = d.text(r)
		default:
			r.odd = true
		}
	}
}

func (d *Decoder) quote(q *market.Quote, r *reader) {
	q.Time = timeOf(0)
	for len(r.rest) > 0 && !r.odd {
		switch r.tag() {
		case 1<<3 | tag(protowire.BytesType):
			q.BidExchange = d.text(r)
		case 2 << 3:
			q.BidPrice = market.Price(r.varint())
		case 3 << 3:
			q.BidSize = market.Size(r.varint())
		case 4<<3 | tag(protowire.BytesType):
			q.AskExchange = d.text(r)
		case 5 << 3:
			q.AskPrice = market.Price(r.varint())
		case 6 << 3:
			q.AskSize = market.Size(r.varint())
		case 7<<3 | tag(protowire.Fixed64Type):
			q.Time = timeOf(r.fixed())
		case 8<<3 | tag(protowire.BytesType):
			q.Conditions = d.list(q.Conditions, r, 8<<3|tag(protowire.BytesType))
		case 9<<3 | tag(protowire.BytesType):
			q.Tape = d.text(r)
		default:
			r.odd = true
		}
	}
}

func readBar(b *market.Bar, r *reader) {
	b.Time = timeOf(0)
	for len(r.rest) > 0 && !r.odd {
		switch r.tag() {
		case 1 << 3:
			b.Open = market.Price(r.varint())
		case 2 << 3:
			b.High = market.Price(r.varint())
		case 3 << 3:
			b.Low = market.Price(r.varint())
		case 4 << 3:
			b.Close = market.Price(r.varint())
		case 5 << 3:
			b.Volume = market.Size(r.varint())
		case 6 << 3:
			b.Trades = r.varint()
		case 7 << 3:
			b.VWAP = market.Price(r.varint())
		case 8<<3 | tag(protowire.Fixed64Type):
			b.Time = timeOf(r.fixed())
		default:
			r.odd = true
		}
	}
}

func (d *Decoder) status(s *market.Status, r *reader) {
	s.Time = timeOf(0)
	for len(r.rest) > 0 && !r.odd {
		switch r.tag() {
		case 1<<3 | tag(protowire.BytesType):
			s.Code = d.text(r)
		case 2<<3 | tag(protowire.BytesType):
			s.Message = d.text(r)
		case 3<<3 | tag(protowire.BytesType):
			s.ReasonCode = d.text(r)
		case 4<<3 | tag(protowire.BytesType):
			s.ReasonMessage = d.text(r)
		case 5<<3 | tag(protowire.Fixed64Type):
			s.Time = timeOf(r.fixed())
		case 6<<3 | tag(protowire.BytesType):
			s.Tape = d.text(r)
		default:
			r.odd = true
		}
	}
}

// text reads a text, which is the one that was made last time where it is known.
func (d *Decoder) text(r *reader) string {
	b := r.bytes()
	if s, ok := d.texts[string(b)]; ok || len(b) == 0 {
		return s
	}
	if !utf8.Valid(b) {
		r.odd = true
		return ""
	}
	s := string(b)
	if len(s) <= maxText && len(d.texts) < maxKnown {
		if d.texts == nil {
			d.texts = map[string]string{}
		}
		d.texts[s] = s
	}
	return s
}

// list reads a run of texts with one tag, the first of which has been read. Lists
// are shared, as events are: nobody changes one.
func (d *Decoder) list(before []string, r *reader, t tag) []string {
	run, n := r.run(t)
	if before != nil { // it goes on behind other fields
		r.odd = true
		return nil
	}
	if l, ok := d.lists[string(run)]; ok {
		return l
	}
	out := make([]string, 0, n)
	in := reader{rest: run}
	for len(in.rest) > 0 {
		out = append(out, d.text(&in))
		if in.odd {
			r.odd = true
			return nil
		}
		in.tag()
	}
	if len(run) <= maxText && len(d.lists) < maxKnown {
		if d.lists == nil {
			d.lists = map[string][]string{}
		}
		d.lists[string(run)] = out
	}
	return out
}

// reader reads fields. Once odd is set, what it gives means nothing.
type reader struct {
	rest []byte
	odd  bool
}

// tag reads a tag of one byte; there must be one.
func (r *reader) tag() tag {
	if len(r.rest) == 0 {
		return 0
	}
	t := r.rest[0]
	r.rest = r.rest[1:]
	return t
}

func (r *reader) varint() uint64 {
	v, n := protowire.ConsumeVarint(r.rest)
	r.skip(n)
	return v
}

func (r *reader) fixed() int64 {
	v, n := protowire.ConsumeFixed64(r.rest)
	r.skip(n)
	return int64(v)
}

// bytes reads a field with a length; nil only where there is none.
func (r *reader) bytes() []byte {
	v, n := protowire.ConsumeBytes(r.rest)
	r.skip(n)
	return v
}

// skip goes on by n, which is negative where the field was no such field.
func (r *reader) skip(n int) {
	if n < 0 {
		r.odd = true
		return
	}
	r.rest = r.rest[n:]
}

// run reads texts as long as the tag is between them, and gives their encoding
// without the first tag, and their number.
func (r *reader) run(t tag) (all []byte, n int) {
	all = r.rest
	for {
		r.bytes()
		n++
		if r.odd || len(r.rest) == 0 || r.rest[0] != t {
			return all[:len(all)-len(r.rest)], n
		}
		r.rest = r.rest[1:]
	}
}
