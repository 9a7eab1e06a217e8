package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/marketpb"
	"github.com/lzstock/lzstock/market"
)

// Limits of what a publisher sends.
const (
	maxEvents     = 4096 // in a batch
	maxName       = 32   // bytes of a publisher's name
	maxCode       = 16   // bytes of a venue, condition or tape code
	maxConditions = 16
	maxMessage    = 256 // bytes of each of a status's messages
)

// publishing is one publisher's stream.
type publishing struct {
	s *Service
	// batches wait for the store. Its reader waits where it is full, and with it,
	// by flow control, the publisher.
	batches chan *pb.PublishRequest
	ended   error // why reading ended; to be read once batches is closed

	sender    string         // names this stream in pulses
	beats     sync.WaitGroup // what says that the stream is open
	publisher string
	last      uint64 // number of the batch before
	answered  uint64
	stored    uint64
	refused   uint64
	full      bool // a new symbol was refused, and that was logged
}

// take stores one batch and gives its answer. An error ends the stream.
func (p *publishing) take(ctx context.Context, req *pb.PublishRequest) (*pb.PublishResponse, error) {
	first := p.publisher == ""
	if err := p.check(req); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if first && p.s.beat != nil {
		p.beats.Go(func() { p.beat(ctx) })
	}
	p.last = req.GetNumber()
	resp := &pb.PublishResponse{Number: req.GetNumber()}
	events := make([]market.Event, 0, len(req.GetEvents()))
	for i, m := range req.GetEvents() {
		e, err := event(m)
		if err == nil {
			err = p.admit(ctx, e.Symbol)
		}
		if err != nil {
			resp.Refused = append(resp.Refused, &pb.Refusal{Index: uint32(i), Reason: err.Error()})
			continue
		}
		events = append(events, e)
	}
	if err := p.store(ctx, resp, events); err != nil {
		return nil, err
	}
	p.answered++
	p.stored += uint64(len(events))
	p.refused += uint64(len(resp.GetRefused()))
	p.s.metrics.answered(resp, len(events))
	return resp, nil
}

// admit says why a symbol is refused, and logs the stream's first one.
func (p *publishing) admit(ctx context.Context, symbol market.Symbol) error {
	limit, err := p.s.symbols.admit(p.publisher, symbol)
	if err == nil {
		return nil
	}
	p.s.metrics.symbols.WithLabelValues(limit).Inc()
	if !p.full {
		p.full = true
		p.s.logger.LogAttrs(ctx, slog.LevelWarn, "a publisher's new symbols are refused", slog.String("publisher", p.publisher), slog.Any("error", err))
	}
	return err
}

// check says what makes a whole batch impossible.
func (p *publishing) check(req *pb.PublishRequest) error {
	switch name := req.GetPublisher(); {
	case p.publisher == "":
		if err := checkName(name); err != nil {
			return err
		}
		p.publisher = name
	case name != "" && name != p.publisher:
		return fmt.Errorf("publisher is %q, but this stream is of %q: want the same or none, or another stream", short(name), p.publisher)
	}
	switch n := len(req.GetEvents()); {
	case req.GetNumber() == 0:
		return errors.New("number is 0: want 1 or more")
	case req.GetNumber() <= p.last:
		return fmt.Errorf("number is %d after %d: want a greater one with each batch of a stream", req.GetNumber(), p.last)
	case n == 0 || n > maxEvents:
		return fmt.Errorf("batch %d has %d events: want 1 to %d", req.GetNumber(), n, maxEvents)
	}
	return nil
}

func checkName(name string) error {
	ok := name != "" && len(name) <= maxName
	for i := range len(name) {
		c := name[i]
		ok = ok && ('A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '-')
	}
	if !ok {
		return fmt.Errorf("publisher is %q: want 1 to %d letters, digits, _ or - in the first message of a stream", short(name), maxName)
	}
	return nil
}

func short(s string) string {
	if len(s) > 2*maxName {
		return s[:2*maxName] + "…"
	}
	return s
}

// event reads one event, or says why it is refused. Its place is the bus's to
// give.
func event(m *pb.Event) (market.Event, error) {
	if c := market.Channel(m.GetChannel()); c.IsBar() || m.GetBar() != nil {
		return market.Event{}, errors.New("bars are made from trades here: send trades, quotes and statuses only")
	}
	e, err := marketpb.FromEvent(m)
	if err != nil {
		return market.Event{}, err
	}
	e.Seq, e.Prev, e.Merged = 0, 0, 0
	switch {
	case e.Trade != nil:
		err = checkCodes(e.Trade.Conditions, e.Trade.Exchange, e.Trade.Tape)
	case e.Quote != nil:
		err = checkCodes(e.Quote.Conditions, e.Quote.BidExchange, e.Quote.AskExchange, e.Quote.Tape)
	case e.Status != nil:
		err = checkStatus(e.Status)
	}
	if err != nil {
		return market.Event{}, fmt.Errorf("event of %s: %w", e.Topic(), err)
	}
	return e, nil
}

func checkStatus(s *market.Status) error {
	for _, text := range [...]string{s.Message, s.ReasonMessage} {
		if len(text) > maxMessage {
			return fmt.Errorf("message %q is %d bytes long: want at most %d", short(text), len(text), maxMessage)
		}
	}
	return checkCodes(nil, s.Code, s.ReasonCode, s.Tape)
}

// checkCodes keeps what is stored small, so that any 256 events fit into one
// message of the bus.
func checkCodes(conditions []string, others ...string) error {
	if len(conditions) > maxConditions {
		return fmt.Errorf("%d conditions: want at most %d", len(conditions), maxConditions)
	}
	for _, list := range [...][]string{conditions, others} {
		for _, c := range list {
			if len(c) > maxCode {
				return fmt.Errorf("code %q is %d bytes long: want at most %d", short(c), len(c), maxCode)
			}
		}
	}
	return nil
}

// store puts the events onto the bus, up to 256 a message, and fills in where
// they are. A batch is a duplicate where each of its messages is one.
func (p *publishing) store(ctx context.Context, resp *pb.PublishResponse, events []market.Event) error {
	if len(events) == 0 {
		return nil
	}
	start := time.Now()
	prefix := p.publisher + "/" + strconv.FormatUint(resp.GetNumber(), 10) + "/"
	var first, last market.Seq
	duplicate := true
	for part := 0; len(events) > 0; part++ {
		n := min(len(events), market.BatchLimit)
		from, to, was, err := p.s.store.Publish(ctx, p.publisher, prefix+strconv.Itoa(part), events[:n])
		if err != nil {
			return p.failed(ctx, resp.GetNumber(), err)
		}
		if part == 0 {
			first = from
		}
		last, duplicate = to, duplicate && was
		events = events[n:]
	}
	p.s.metrics.storing.Observe(time.Since(start).Seconds())
	epoch := p.s.store.Epoch()
	resp.First = marketpb.Position(market.Position{Epoch: epoch, Seq: first})
	resp.Last = marketpb.Position(market.Position{Epoch: epoch, Seq: last})
	resp.Duplicate = duplicate
	return nil
}

// failed ends the stream: what was not answered may or may not be stored.
func (p *publishing) failed(ctx context.Context, number uint64, err error) error {
	p.s.metrics.batches.WithLabelValues(resultFailed).Inc()
	if ctx.Err() != nil {
		return causeOf(ctx)
	}
	p.s.logger.LogAttrs(ctx, slog.LevelError, "batch not stored", slog.String("publisher", p.publisher),
		slog.Uint64("number", number), slog.String("error", err.Error()))
	return status.Errorf(codes.Unavailable, "the bus did not store batch %d: send it again under its number, and all after it", number)
}
