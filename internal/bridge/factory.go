package bridge

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/wire"
)

// Config is what bridges have in common; its zero values mean the defaults of
// the protocol.
type Config struct {
	PingEvery      time.Duration // protocol pings; 0 means 20 s
	PeerTimeout    time.Duration // a peer that is silent for so long is gone; 0 means 60 s
	HeartbeatEvery time.Duration // in-band heartbeats, native dialect; 0 means 15 s
	MaxAge         time.Duration // a bridge's greatest age; 0 means no limit
	QueueAge       time.Duration // a client whose oldest event waits longer is slow; 0 means 10 s
	WriteStall     time.Duration // a write without any progress for so long ends the bridge; 0 means 5 s
	DownLimit      time.Duration // bridges end when the feed has been down for so long; 0 means never
	CloseWait      time.Duration // how long the farewell may take; 0 means 1 s
	LaneLimit      int           // bytes of control frames that may wait; 0 means 64 KiB
	FrameLimit     int           // a frame gets no further events beyond so many bytes; 0 means 60 KiB, which keeps all below 64
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.PingEvery, 20*time.Second)
	set(&c.PeerTimeout, 60*time.Second)
	set(&c.HeartbeatEvery, 15*time.Second)
	set(&c.QueueAge, 10*time.Second)
	set(&c.WriteStall, 5*time.Second)
	set(&c.CloseWait, time.Second)
	if c.LaneLimit == 0 {
		c.LaneLimit = 64 << 10
	}
	if c.FrameLimit == 0 {
		c.FrameLimit = 60 << 10
	}
	return c
}

// Factory makes bridges over one hub, and knows those that are there.
type Factory struct {
	hub     *hub.Hub
	cfg     Config
	buffers sync.Pool // of *[]byte, for frames
	stats   counters
	live    sync.WaitGroup // bridges that have begun, and their farewells

	mu      sync.Mutex
	bridges map[*Bridge]struct{}
	stopped *End      // set: no bridge may begin
	drain   *draining // set: bridges move away
}

// NewFactory makes a factory.
func NewFactory(h *hub.Hub, cfg Config) *Factory {
	return &Factory{
		hub: h, cfg: cfg.withDefaults(), bridges: map[*Bridge]struct{}{},
		buffers: sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }},
	}
}

// StopAll ends all bridges, also those that begin later.
func (f *Factory) StopAll(reason wire.Reason, err error) {
	f.mu.Lock()
	if f.stopped == nil {
		f.stopped = &End{Reason: reason, Err: err}
	}
	all := slices.Collect(maps.Keys(f.bridges))
	f.mu.Unlock()
	for _, b := range all {
		b.Stop(reason, err)
	}
}

// Wait waits until nothing is left of any bridge. None may begin meanwhile.
func (f *Factory) Wait() { f.live.Wait() }

// add makes a bridge known, and stops it where none may begin.
func (f *Factory) add(b *Bridge) {
	f.mu.Lock()
	f.bridges[b] = struct{}{}
	if f.drain != nil {
		f.drain.queue = append(f.drain.queue, b)
	}
	stopped := f.stopped
	f.mu.Unlock()
	if stopped != nil {
		b.Stop(stopped.Reason, stopped.Err)
	}
}

func (f *Factory) remove(b *Bridge) {
	f.mu.Lock()
	delete(f.bridges, b)
	drain, left := f.drain, len(f.bridges)
	f.mu.Unlock()
	if drain != nil && left == 0 {
		select {
		case drain.empty <- struct{}{}:
		default:
		}
	}
}

// Config gives what the factory's bridges have in common, defaults filled in.
func (f *Factory) Config() Config { return f.cfg }

func (f *Factory) release(buf *[]byte) {
	const most = 256 << 10 // larger buffers are left to the collector
	if cap(*buf) <= most {
		*buf = (*buf)[:0]
		f.buffers.Put(buf)
	}
}
