package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// spreads tells that connections may come from any address of 127.0.0.0/8.
const spreads = true

type state uint8

const (
	idle       state = iota
	resting          // until it tries again
	connecting       // the connection is not there yet
	shaking          // the upgrade is not answered yet
	open
	leaving // the close frame is sent
)

// sock is a client of a loop.
type sock struct {
	stream
	id     int
	temper temper
	state  state
	timed  bool // it is in the loop's list of those that wait for a time
	fd     int
	since  time.Time // of the connection
	until  time.Time // of the state
	fails  int       // in a row
	rest   []byte    // of a frame that is not complete
	then   []byte    // to send after the upgrade
	left   bool      // by its own will
}

// loop drives a share of the clients through one epoll instance. It never waits
// for a socket.
type loop struct {
	f           *fleet
	index, of   int
	ep          int
	reader      reader
	buf         []byte
	spare       [][]byte // buffers for rests
	socks       []*sock
	started     int // socks[:started] are wanted
	byFD        []*sock
	timed       []*sock // wait for a time
	spareList   []*sock
	drips       []*sock
	shakes      int // under way
	live        int // connections that are there, or come
	rnd         *rand.Rand
	churn       float64 // that are due
	tickAt      time.Time
	publishedAt time.Time
	drippedAt   time.Time
}

const (
	loopBuffer = 256 << 10
	mostSpare  = 64                   // buffers
	mostShakes = 256                  // of a loop at the same time, so that no listener's queue overflows
	busyTick   = 5 * time.Millisecond // while somebody waits for a time
	idleTick   = 50 * time.Millisecond
)

func driveLoop(ctx context.Context, f *fleet, index, of int) error {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	defer func() { _ = unix.Close(ep) }()
	l := &loop{
		f: f, index: index, of: of, ep: ep, buf: make([]byte, loopBuffer),
		rnd: rand.New(rand.NewPCG(uint64(index), 1)), tickAt: time.Now(),
	}
	l.reader.t = f.blank()
	defer l.closeAll()
	return l.run(ctx)
}

func (l *loop) run(ctx context.Context) error {
	events := make([]unix.EpollEvent, 512)
	for ctx.Err() == nil {
		wait := idleTick
		if len(l.timed) > 0 || len(l.drips) > 0 {
			wait = busyTick
		}
		n, err := l.wait(events, wait)
		if err != nil {
			return err
		}
		if measured := l.f.measuring.Load(); measured != l.reader.t.measured {
			l.reader.t = l.f.exchange(ctx, l.reader.t)
		}
		for i := range n {
			if s := l.byFD[events[i].Fd]; s != nil {
				l.event(s, events[i].Events)
			}
		}
		now := time.Now()
		if now.Sub(l.tickAt) >= busyTick {
			l.tick(now)
		}
		if now.Sub(l.publishedAt) >= publishEvery {
			l.publishedAt = now
			l.reader.t = l.f.exchange(ctx, l.reader.t)
		}
		if order(l.f.order.Load()) != run && l.live == 0 {
			break
		}
	}
	l.f.exchange(ctx, l.reader.t)
	return nil
}

// wait gives how many events there are, after a while 0.
func (l *loop) wait(events []unix.EpollEvent, most time.Duration) (int, error) {
	n, err := unix.EpollWait(l.ep, events, int(most/time.Millisecond))
	switch {
	case errors.Is(err, unix.EINTR):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("epoll: %w", err)
	}
	return n, nil
}

// event handles what epoll reports of a socket.
func (l *loop) event(s *sock, events uint32) {
	switch {
	case s.state == connecting:
		l.connected(s)
	case events&unix.EPOLLIN != 0 || s.state != open:
		l.read(s)
	default: // one that does not read, whose server has closed: what it sent last says why
		for s.state == open && l.read(s) {
		}
	}
}

// tick does what time asks for.
func (l *loop) tick(now time.Time) {
	past := now.Sub(l.tickAt)
	l.tickAt = now
	switch order(l.f.order.Load()) {
	case vanish:
		l.vanishAll()
		return
	case leave:
		l.shrink(0)
	case run:
		l.shrink(part(int(l.f.want.Load()), l.index, l.of))
		l.grow(part(int(l.f.want.Load()), l.index, l.of))
		if l.f.measuring.Load() { // a ramp is only over when all are there at once
			l.mix(past)
		}
	}
	due := l.timed
	l.timed = l.spareList[:0]
	for _, s := range due {
		s.timed = false
		l.due(s, now)
	}
	l.spareList = due
	if now.Sub(l.drippedAt) >= dripEvery {
		l.drippedAt = now
		l.drip()
	}
}

// due ends what has taken its time.
func (l *loop) due(s *sock, now time.Time) {
	switch {
	case s.state == idle || s.state == open:
	case now.Before(s.until):
		l.list(s)
	case s.state == resting:
		l.start(s)
	case s.state == leaving:
		l.end(s)
	default:
		l.failed(s, "timeout")
	}
}

// list makes sure that tick looks at s.
func (l *loop) list(s *sock) {
	if !s.timed {
		s.timed = true
		l.timed = append(l.timed, s)
	}
}

// drip lets those read that read little.
func (l *loop) drip() {
	kept := l.drips[:0]
	for _, s := range l.drips {
		if s.state == open {
			l.readUpTo(s, dripBytes)
		}
		if s.state == open {
			kept = append(kept, s)
		}
	}
	l.drips = kept
}
