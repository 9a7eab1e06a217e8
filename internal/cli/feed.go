package cli

import (
	"time"

	"github.com/lzstock/lzstock/internal/app"
	"github.com/lzstock/lzstock/internal/feed"
	"github.com/lzstock/lzstock/internal/feed/sim"
)

// feedCmd groups what moves prices onto the bus and off it.
type feedCmd struct {
	Tape   feedTapeCmd   `cmd:"" help:"Play a recorded tape onto the bus."`
	Sim    feedSimCmd    `cmd:"" help:"Play a simulated market onto the bus."`
	Record feedRecordCmd `cmd:"" help:"Write what the bus carries to a tape."`
}

// feedTapeCmd is `lzstock feed tape FILE`.
type feedTapeCmd struct {
	File    string        `arg:"" help:"CSV, plain or gzip: ts_ns,symbol,type,price,size,bid,bid_size,ask,ask_size; - is standard input."`
	Speed   feed.Speed    `default:"1" help:"How many times faster than recorded; max waits for nothing." placeholder:"FACTOR"`
	Loop    bool          `help:"Begin again at the end, for ever."`
	Offset  time.Duration `default:"0s" help:"How much to leave out at the beginning." placeholder:"TIME"`
	SkipBad bool          `help:"Go on behind lines that are refused, instead of ending there."`
	adminFlags
	externalBus
}

// Help is shown behind the flags.
func (feedTapeCmd) Help() string {
	return `Examples:

    lzstock feed tape ticks.csv.gz --nats nats://127.0.0.1:4222 --speed 60
    zcat ticks.csv.gz | lzstock feed tape - --speed max`
}

// Run plays a tape.
func (c feedTapeCmd) Run(p *process) error {
	return app.Feed(p.ctx, p.app(), app.FeedConfig{
		Source: feed.Source{Tape: &feed.Tape{File: c.File, Speed: c.Speed, Loop: c.Loop, Offset: c.Offset, SkipBad: c.SkipBad}},
		Stdin:  p.stdin, Admin: c.admin(), Bus: c.bus(),
	})
}

// feedSimCmd is `lzstock feed sim`.
type feedSimCmd struct {
	Seed    uint64 `default:"0" help:"Chooses the course of events." placeholder:"N"`
	Symbols int    `default:"30" help:"How many instruments: 30 well-known ones first." placeholder:"N"`
	Rate    int    `default:"200" help:"Events a second, in all." placeholder:"N"`
	Halts   int    `default:"30" help:"Trading halts that come up an hour, in all; 0 for none." placeholder:"N"`
	adminFlags
	externalBus
}

// Help is shown behind the flags.
func (feedSimCmd) Help() string {
	return `Examples:

    lzstock feed sim --nats nats://127.0.0.1:4222
    lzstock feed sim --seed 7 --symbols 500 --rate 20000

Simulated trades and quotes carry the venue code SIM. An instrument that halts says so
with a status, and sends nothing for 15 to 75 s; some never halt.`
}

// Run plays a simulated market.
func (c feedSimCmd) Run(p *process) error {
	halts := c.Halts
	if halts == 0 {
		halts = sim.NoHalts
	}
	return app.Feed(p.ctx, p.app(), app.FeedConfig{
		Source: feed.Source{Sim: &sim.Options{Seed: c.Seed, Symbols: c.Symbols, Rate: c.Rate, Halts: halts}},
		Admin:  c.admin(), Bus: c.bus(),
	})
}

// feedRecordCmd is `lzstock feed record FILE`.
type feedRecordCmd struct {
	File    string        `arg:"" help:"The tape to write; gzip where its name ends in .gz. It must not exist."`
	History bool          `help:"Begin with the oldest event that the bus holds, not with the next one."`
	For     time.Duration `default:"0s" help:"End after so long; 0 is when it is stopped." placeholder:"TIME"`
	externalBus
}

// Help is shown behind the flags.
func (feedRecordCmd) Help() string {
	return `Examples:

    lzstock feed record today.csv.gz --nats nats://127.0.0.1:4222
    lzstock feed record hour.csv.gz --for 1h

Bars are left out: whoever replays the trades derives the same ones again. So are trading
statuses: a tape holds trades and quotes.`
}

// Run records a tape.
func (c feedRecordCmd) Run(p *process) error {
	return app.Record(p.ctx, p.app(), app.RecordConfig{File: c.File, Bus: c.bus(), History: c.History, For: c.For})
}
