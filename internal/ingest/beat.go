package ingest

import (
	"context"
	"log/slog"
	"time"

	"github.com/lzstock/lzstock/market"
)

// beatEvery is how often a publisher whose stream is open is said to be there. A
// publisher has no schedule but that: what it does not send does not happen.
const beatEvery = time.Second

// beat says that the stream is open, until ctx ends.
func (p *publishing) beat(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		p.say(ctx, 0)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// rest says how a stream has ended, after its last beat.
func (p *publishing) rest(ctx context.Context, err error) {
	p.beats.Wait()
	switch {
	case p.publisher == "" || p.s.beat == nil:
	case err == nil:
		p.say(context.WithoutCancel(ctx), market.FeedEnded)
	default:
		p.say(context.WithoutCancel(ctx), market.FeedLost)
	}
}

func (p *publishing) say(ctx context.Context, reason market.FeedReason) {
	if err := p.s.beat(ctx, p.publisher, p.sender, reason); err != nil {
		p.s.logger.LogAttrs(ctx, slog.LevelDebug, "a publisher's pulse was not sent",
			slog.String("publisher", p.publisher), slog.Any("error", err))
	}
}
