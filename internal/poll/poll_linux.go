package poll

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	chunk  = 64 << 10 // bytes read at once, into a buffer that all connections of a loop share
	events = 128      // connections that one wait tells of
)

// New makes the best Reader of the system. Connections that are no sockets get a
// goroutine.
func New() (Reader, error) {
	e := &Epoll{rest: NewGoroutines()}
	for range runtime.GOMAXPROCS(0) {
		l, err := newLoop()
		if err != nil {
			return nil, errors.Join(err, e.close())
		}
		e.loops = append(e.loops, l)
	}
	return e, nil
}

// Epoll is the Reader of Linux: a few loops, each with an epoll instance of its
// own beside the runtime's.
type Epoll struct {
	loops []*loop
	rest  *Goroutines

	mu   sync.Mutex
	next int
}

// Add begins with a connection.
func (e *Epoll) Add(conn net.Conn, sink Sink) (Watch, error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return e.rest.Add(conn, sink)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("read from %s: %w", conn.RemoteAddr(), err)
	}
	e.mu.Lock()
	l := e.loops[e.next%len(e.loops)]
	e.next++
	e.mu.Unlock()
	w, err := l.add(raw, sink)
	if err != nil {
		return nil, fmt.Errorf("read from %s: %w", conn.RemoteAddr(), err)
	}
	return w, nil
}

// Run works until ctx ends.
func (e *Epoll) Run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { return e.rest.Run(ctx) })
	for _, l := range e.loops {
		g.Go(func() error { return l.run(ctx) })
	}
	return errors.Join(g.Wait(), e.close())
}

func (e *Epoll) close() error {
	var errs []error
	for _, l := range e.loops {
		errs = append(errs, unix.Close(l.epoll), unix.Close(l.wake))
	}
	return errors.Join(errs...)
}

// loop is one epoll instance and the goroutine that waits on it. A connection is
// known by a number that is never used again, so that news of a descriptor that
// was closed meanwhile, and perhaps given to another connection, reach nobody.
type loop struct {
	epoll int
	wake  int // an eventfd that ends the wait

	mu      sync.Mutex
	sockets map[uint64]*socket // nil once the loop has ended
	last    uint64
}

// socket is one connection of a loop.
type socket struct {
	entry
	loop *loop
	id   uint64
	raw  syscall.RawConn
}

func newLoop() (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, token(unix.EPOLLIN, 0))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("eventfd: %w", err), unix.Close(epoll))
	}
	return &loop{epoll: epoll, wake: wake, sockets: map[uint64]*socket{}}, nil
}

// token makes an epoll event that carries a number instead of a descriptor.
func token(mask uint32, id uint64) *unix.EpollEvent {
	return &unix.EpollEvent{Events: mask, Fd: int32(uint32(id)), Pad: int32(uint32(id >> 32))}
}

func idOf(e *unix.EpollEvent) uint64 { return uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32 }

// add tells the epoll instance of a connection. The lock is held meanwhile: the
// instance is closed after the loop has ended, and its number may be another's
// by then.
func (l *loop) add(raw syscall.RawConn, sink Sink) (Watch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sockets == nil {
		return nil, ErrClosed
	}
	l.last++
	s := &socket{entry: entry{sink: sink}, loop: l, id: l.last, raw: raw}
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, int(fd), token(unix.EPOLLIN|unix.EPOLLRDHUP, s.id))
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	l.sockets[s.id] = s
	return s, nil
}

// drop takes a connection out of the epoll instance, which it has left already
// where it is closed.
func (l *loop) drop(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sockets == nil {
		return
	}
	delete(l.sockets, s.id)
	_ = s.raw.Control(func(fd uintptr) { // an error: it is closed
		_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, int(fd), nil)
	})
}

func (l *loop) find(id uint64) *socket {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sockets[id]
}

// Remove ends it.
func (s *socket) Remove() {
	if s.end(ErrClosed) {
		s.loop.drop(s)
	}
}

func (l *loop) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // cannot fail before the loop has ended
	})
	defer stop()
	in := newInput()
	list := make([]unix.EpollEvent, events)
	for ctx.Err() == nil {
		n, err := unix.EpollWait(l.epoll, list, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			l.endAll()
			return fmt.Errorf("epoll: %w", err)
		}
		for i := range max(n, 0) {
			if s := l.find(idOf(&list[i])); s != nil {
				s.read(in)
			}
		}
	}
	l.endAll()
	return context.Cause(ctx)
}

func (l *loop) endAll() {
	l.mu.Lock()
	left := l.sockets
	l.sockets = nil
	l.mu.Unlock()
	for _, s := range left {
		s.end(ErrClosed)
	}
}

// input reads from one connection after the other, into one buffer.
type input struct {
	buf  []byte
	n    int
	err  error
	once func(fd uintptr) bool // reads; made once, because a closure a read would be an allocation
}

func newInput() *input {
	in := &input{buf: make([]byte, chunk)}
	in.once = func(fd uintptr) bool {
		for {
			if in.n, in.err = unix.Read(int(fd), in.buf); !errors.Is(in.err, unix.EINTR) {
				return true
			}
		}
	}
	return in
}

// read takes what the buffer holds; where there is more, the next wait tells.
func (s *socket) read(in *input) {
	err := s.raw.Read(in.once)
	if err == nil {
		err = in.err
	}
	switch {
	case errors.Is(err, unix.EAGAIN):
	case err == nil && in.n > 0:
		s.data(in.buf[:in.n])
	default:
		if err == nil {
			err = io.EOF
		}
		if s.end(err) {
			s.loop.drop(s)
		}
	}
}
