package monitor

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/market"
)

// Defaults of Config.
const (
	DefaultCheckpointEvery = 30 * time.Second
	DefaultStretch         = 2000
	DefaultHistory         = 1024
	DefaultWindow          = 32768 // about 10 MB a shard
	DefaultShards          = 2     // enough for hundreds of gateways
	DefaultSymbols         = 200_000
	DefaultMaxTopics       = 65536
	DefaultStreamTopics    = 524288 // more than twice what a gateway asks for
	DefaultQueue           = 65536
)

// Config configures a Monitor. Its zero value works.
type Config struct {
	// Replica is the monitor's name in logs; empty means none.
	Replica string
	// Zone is where the days of day bars begin; nil means UTC.
	Zone *time.Location
	// CheckpointEvery is how often the state is saved; 0 means 30 s, a negative
	// value never.
	CheckpointEvery time.Duration
	// CheckpointName is the name of the checkpoint. Replicas over one bus share
	// it. Empty means "monitor".
	CheckpointName string
	// Stretch is how many batches before the checkpoint a start reads into the
	// history at least, and twice as many at most, for gateways that resume; 0
	// means 2,000, a negative value none.
	Stretch int
	// Window is how many recent events of all topics together a shard keeps for
	// streams that resume; 0 means 32,768.
	Window int
	// History is how many recent events are kept of each topic for what resumes from
	// before the window; 0 means 1,024. Behind that there is the bus, but for bars.
	History int
	// BarsKeep is for how long minutes that are over are kept, by the time of their
	// symbol's newest one, in whole days; 0 means 7 days.
	BarsKeep time.Duration
	// BarsMost is how many minutes of all symbols are kept; 0 means 1,000,000.
	BarsMost int
	// BarLog keeps these minutes beyond a restart; nil means that nothing does.
	BarLog BarLog
	// Names are what trades under some symbols.
	Names map[market.Symbol]string
	// Shards is the number of goroutines that share the streams; 0 means 2, or 1
	// where there is one processor.
	Shards int
	// Symbols is how many symbols the monitor holds, of about 1.3 KB: events of those
	// that the feed carries first beyond that are left out. Replicas need the same; 0
	// means 200,000.
	Symbols int
	// MaxTopics is the greatest number of topics of one call, or of one StreamPrices
	// stream; 0 means 65,536.
	MaxTopics int
	// StreamTopics is the greatest number of topics of one Watch stream; 0 means
	// 524,288, which take about 100 MB.
	StreamTopics int
	// Queue is how many events may wait for one stream before a Watch stream
	// conflates and a StreamPrices stream ends, less with more than 32 streams; 0 means
	// 65,536.
	Queue int
	// Pulses calls its function with what sources say of themselves, one after the
	// other, until its context ends; nil means that they say nothing.
	Pulses func(context.Context, func(Pulse)) error
	// Logger gets what happens; nil means nobody.
	Logger *slog.Logger
	// Registry gets the metrics; nil means nobody.
	Registry prometheus.Registerer
}

func (c Config) withDefaults() (Config, error) {
	if c.BarsKeep < 0 || c.BarsMost < 0 {
		return c, fmt.Errorf("monitor: bars of %s and %d minutes: neither may be negative", c.BarsKeep, c.BarsMost)
	}
	if c.Symbols < 0 {
		return c, fmt.Errorf("monitor: %d symbols: want 1 or more, or 0 for %d", c.Symbols, DefaultSymbols)
	}
	if c.Window < 0 || c.History < 0 || c.Shards < 0 || c.MaxTopics < 0 || c.StreamTopics < 0 || c.Queue < 0 {
		return c, fmt.Errorf("monitor: window %d, history %d, shards %d, topics %d and %d, and queue %d must not be negative",
			c.Window, c.History, c.Shards, c.MaxTopics, c.StreamTopics, c.Queue)
	}
	set := func(v *int, otherwise int) {
		if *v == 0 {
			*v = otherwise
		}
	}
	set(&c.Stretch, DefaultStretch)
	set(&c.Window, DefaultWindow)
	set(&c.History, DefaultHistory)
	set(&c.Shards, min(DefaultShards, runtime.GOMAXPROCS(0)))
	set(&c.Symbols, DefaultSymbols)
	set(&c.MaxTopics, DefaultMaxTopics)
	set(&c.StreamTopics, DefaultStreamTopics)
	set(&c.Queue, DefaultQueue)
	if c.CheckpointEvery == 0 {
		c.CheckpointEvery = DefaultCheckpointEvery
	}
	if c.CheckpointEvery < 0 || c.Stretch < 0 {
		c.Stretch = 0
	}
	if c.CheckpointName == "" {
		c.CheckpointName = "monitor"
	}
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
