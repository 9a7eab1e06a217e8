package monitor

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/monitor/bars"
	"github.com/lzstock/lzstock/internal/monitor/past"
	"github.com/lzstock/lzstock/market"
)

// BarLog keeps records of bars beyond a restart. Replicas over one bus share it: each
// writes what it derives, and since they all derive the same, whoever is first will
// do.
type BarLog interface {
	// AppendBars stores a record behind the one numbered after, and gives its number;
	// false where another one is there already.
	AppendBars(ctx context.Context, after uint64, data []byte) (number uint64, stored bool, err error)
	// ReadBars calls f with the records behind one, up to the last that there is now,
	// whose number it gives.
	ReadBars(ctx context.Context, after uint64, f func(number uint64, data []byte) error) (last uint64, err error)
}

const (
	recordMinutes = 2000     // in a record at the most
	recordBytes   = 64 << 20 // of a record, unpacked; more are damage
	keeperTries   = 5        // before a start goes on without the records
)

// keeper knows the past's minutes, and what of them the log has. The records rule: a
// minute that they hold is not derived anew, since a start that reads a part of the
// feed sees a part of its first minutes.
type keeper struct {
	*engine
	store   *past.Store
	known   market.Seq  // up to here, the store has what the records hold
	lasting atomic.Bool // what is known goes to the log

	pending []kept // known since the last checkpoint; the reader's

	// Of whoever saves.
	unsaved []kept
	number  uint64     // of the last record that was seen
	through market.Seq // what that reaches up to
	anew    bool       // the next record begins the log anew
}

// kept is a minute that became known at a place of the feed.
type kept struct {
	at     market.Seq
	stored time.Time
	bars.Minute
}

func newKeeper(e *engine) *keeper {
	return &keeper{
		engine: e,
		store:  past.New(past.Config{Zone: e.cfg.Zone, Keep: e.cfg.BarsKeep, Most: e.cfg.BarsMost}),
	}
}

// add keeps the minutes that an event at a place has ended or corrected.
func (k *keeper) add(at market.Seq, stored time.Time, over []bars.Minute) {
	if at <= k.known {
		return
	}
	if stored.IsZero() {
		stored = time.Now()
	}
	for i := range over {
		k.store.Add(&over[i], stored)
		if k.lasting.Load() {
			k.pending = append(k.pending, kept{at, stored, over[i]})
		}
	}
}

// load reads the records, before anything else is read. end is the last place that
// the bus holds.
func (k *keeper) load(ctx context.Context, end market.Seq) error {
	if k.cfg.BarLog == nil {
		return nil
	}
	k.lasting.Store(k.cfg.CheckpointEvery > 0) // who saves nothing may read all the same
	began := time.Now()
	var err error
	for attempt := range keeperTries {
		k.store.Clear()
		k.number, k.through, k.anew = 0, 0, false
		if err = k.catchUp(ctx, k.store.Clear, func(m kept) { k.store.Add(&m.Minute, m.stored) }); err == nil {
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := sleep(ctx, jitter(attempt)); err != nil {
			return err
		}
	}
	switch {
	case err != nil:
		k.giveUp(ctx, fmt.Errorf("the records cannot be read: %w", err))
	case k.through > end:
		// The bus has lost its end, and what comes now takes the same places.
		k.logger.LogAttrs(ctx, slog.LevelWarn, "the bus has lost events that bars were made of: they are made anew from what it holds")
		k.store.Clear()
		k.through, k.anew = 0, true
	}
	k.known = k.through
	k.logger.LogAttrs(ctx, slog.LevelInfo, "bars", slog.Int("minutes", k.store.Len()), slog.Duration("took", time.Since(began)))
	return nil
}

// catchUp reads the records that came since the last one that was seen. anew is
// called where what came before does not count.
func (k *keeper) catchUp(ctx context.Context, anew func(), f func(kept)) error {
	last, err := k.cfg.BarLog.ReadBars(ctx, k.number, func(number uint64, data []byte) error {
		r, err := decodeRecord(data)
		if err != nil {
			k.metrics.records.WithLabelValues("damaged").Inc()
			k.logger.LogAttrs(ctx, slog.LevelError, "a record of bars is damaged", slog.Uint64("number", number), slog.Any("error", err))
			return nil
		}
		if market.Epoch(r.GetEpoch()) != k.epoch {
			return nil
		}
		if r.GetAnew() {
			k.anew = false
			anew()
		}
		k.through = market.Seq(r.GetThrough())
		for i, m := range r.GetMinutes() {
			sum, err := bars.LoadSum(m.GetSum())
			if err == nil {
				err = market.Symbol(m.GetSymbol()).Validate()
			}
			if err != nil {
				k.metrics.records.WithLabelValues("damaged").Inc()
				k.logger.LogAttrs(ctx, slog.LevelError, "a minute in a record of bars cannot be",
					slog.Uint64("number", number), slog.Int("minute", i), slog.Any("error", err))
				continue
			}
			f(kept{k.through, time.Unix(0, m.GetStored()), bars.Minute{Source: m.GetSource(), Symbol: market.Symbol(m.GetSymbol()), Sum: sum}})
		}
		return nil
	})
	if err == nil {
		k.number = last
	}
	return err
}

// save writes what is known up to a place and not in the log yet. A checkpoint of
// that place may follow where it has succeeded.
func (k *keeper) save(ctx context.Context, fresh []kept, to market.Seq) error {
	if !k.lasting.Load() {
		return nil
	}
	if k.unsaved = append(k.unsaved, fresh...); len(k.unsaved) > max(k.cfg.BarsMost, past.DefaultMost) {
		k.giveUp(ctx, fmt.Errorf("%d bars wait to be saved", len(k.unsaved)))
		return nil
	}
	for k.dropSaved(); len(k.unsaved) > 0; k.dropSaved() {
		n, through := len(k.unsaved), to
		if n > recordMinutes {
			// What became known at one place may go into several records: the next
			// one then writes it again.
			n, through = recordMinutes, k.unsaved[recordMinutes].at-1
		}
		data, err := encodeRecord(k.epoch, max(through, k.through), k.anew, k.unsaved[:n])
		if err != nil {
			return err
		}
		number, stored, err := k.cfg.BarLog.AppendBars(ctx, k.number, data)
		switch {
		case err != nil:
			k.metrics.records.WithLabelValues("failed").Inc()
			return err
		case stored:
			k.metrics.records.WithLabelValues("saved").Inc()
			k.number, k.through, k.anew = number, max(through, k.through), false
			k.unsaved = k.unsaved[n:]
		default: // another replica was faster, or we were and did not hear of it
			if err := k.catchUp(ctx, func() {}, func(kept) {}); err != nil {
				return err
			}
		}
	}
	k.unsaved = nil
	return nil
}

// dropSaved lets go what the log has.
func (k *keeper) dropSaved() {
	n := 0
	for n < len(k.unsaved) && k.unsaved[n].at <= k.through {
		n++
	}
	k.unsaved = k.unsaved[n:]
}

// giveUp goes on without the log.
func (k *keeper) giveUp(ctx context.Context, err error) {
	k.logger.LogAttrs(ctx, slog.LevelError, "bars are not kept any more: they end with this process", slog.Any("error", err))
	k.metrics.records.WithLabelValues("given_up").Inc()
	k.lasting.Store(false)
	k.unsaved = nil
}

func encodeRecord(epoch market.Epoch, through market.Seq, anew bool, list []kept) ([]byte, error) {
	r := &pb.BarRecord{Epoch: uint64(epoch), Through: uint64(through), Anew: anew}
	for i := range list {
		m := &list[i]
		r.Minutes = append(r.Minutes, &pb.BarMinute{
			Source: m.Source, Symbol: string(m.Symbol), Stored: m.stored.UnixNano(), Sum: m.Sum.Save(),
		})
	}
	data, err := proto.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode a record of bars: %w", err)
	}
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestSpeed)
	if err == nil {
		_, err = w.Write(data)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("pack a record of bars: %w", err)
	}
	return out.Bytes(), nil
}

func decodeRecord(packed []byte) (*pb.BarRecord, error) {
	data, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), recordBytes+1))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if len(data) > recordBytes {
		return nil, fmt.Errorf("it has more than %d bytes", recordBytes)
	}
	var r pb.BarRecord
	if err := proto.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	return &r, nil
}
