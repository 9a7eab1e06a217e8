package bench

import (
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lzstock/lzstock/internal/wire"
)

// grow starts clients until n are wanted, as far as not too many handshakes are
// under way.
func (l *loop) grow(n int) {
	for l.started < n && l.shakes < mostShakes {
		if l.started == len(l.socks) {
			id := l.index + l.started*l.of
			l.socks = append(l.socks, &sock{id: id, temper: l.f.temper(id), fd: -1})
		}
		s := l.socks[l.started]
		l.started++
		if s.state == idle {
			l.start(s)
		}
	}
}

// shrink lets clients leave until n are wanted.
func (l *loop) shrink(n int) {
	for l.started > n {
		l.started--
		l.leave(l.socks[l.started])
	}
}

// mix lets some clients leave and come back.
func (l *loop) mix(past time.Duration) {
	l.churn += float64(l.f.cfg.Churn) / float64(l.of) * past.Seconds()
	for ; l.churn >= 1; l.churn-- {
		if l.started == 0 {
			continue
		}
		if s := l.socks[l.rnd.IntN(l.started)]; s.state == open {
			l.reader.t.churned++
			l.leave(s)
		}
	}
}

// wanted tells whether s is to be connected.
func (l *loop) wanted(s *sock) bool {
	return s.id < l.index+l.started*l.of && order(l.f.order.Load()) == run
}

// start begins to connect.
func (l *loop) start(s *sock) {
	s.stream, s.since = stream{}, time.Now()
	fd, err := dial(l.f.source(s.id), l.f.target)
	if err != nil {
		l.failed(s, cause(err))
		return
	}
	s.fd = fd
	for fd >= len(l.byFD) {
		l.byFD = append(l.byFD, make([]*sock, len(l.byFD)+64)...)
	}
	l.byFD[fd] = s
	l.live++
	l.shakes++
	l.become(s, connecting, s.since.Add(shakeLimit))
	if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(fd)}); err != nil {
		l.failed(s, cause(err))
	}
}

func (l *loop) become(s *sock, st state, until time.Time) {
	s.state, s.until = st, until
	l.list(s)
}

// dial begins a connection without waiting for it.
func dial(source netip.Addr, target netip.AddrPort) (fd int, err error) {
	domain := unix.AF_INET
	if target.Addr().Is6() {
		domain = unix.AF_INET6
	}
	fd, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if source.IsValid() {
		// The port is chosen with the target in mind: without that, all targets
		// share the ports of one source.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(source, 0)))
	}
	if err == nil {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		err = unix.Connect(fd, sockaddr(target))
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// connected sends the request over a connection that is there, or has failed.
func (l *loop) connected(s *sock) {
	code, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err == nil {
		var request []byte
		request, s.then = l.f.request(s.id)
		_, err = unix.Write(s.fd, request) // a fresh socket has room for it
	}
	if err == nil {
		err = l.listen(s, unix.EPOLLIN)
	}
	if err != nil {
		l.failed(s, cause(err))
		return
	}
	s.state = shaking
}

// listen chooses what epoll reports of s.
func (l *loop) listen(s *sock, events uint32) error {
	return unix.EpollCtl(l.ep, unix.EPOLL_CTL_MOD, s.fd, &unix.EpollEvent{Events: events | unix.EPOLLRDHUP, Fd: int32(s.fd)})
}

// read reads once, as much as there is room for.
func (l *loop) read(s *sock) bool { return l.readUpTo(s, len(l.buf)) }

// readUpTo reads at most so many bytes, and tells whether there were any.
func (l *loop) readUpTo(s *sock, most int) bool {
	had := copy(l.buf, s.rest)
	n, err := unix.Read(s.fd, l.buf[had:min(had+most, len(l.buf))])
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return false
	case err != nil || n == 0:
		l.lost(s, err)
		return false
	}
	data := l.buf[:had+n]
	shaken := s.upgraded
	used, need, err := l.reader.take(&s.stream, s.temper.group(), time.Now().UnixNano(), data)
	l.keepRest(s, data[used:])
	if need > len(l.buf) {
		l.buf = make([]byte, need+loopBuffer)
	}
	if len(l.reader.reply) > 0 {
		_, _ = unix.Write(s.fd, l.reader.reply) // where it does not fit, the server gets none
	}
	if s.upgraded && !shaken {
		l.opened(s)
	}
	if err != nil || s.closed != 0 {
		l.lost(s, err)
		return false
	}
	return true
}

// keepRest holds what is left of the bytes until more come.
func (l *loop) keepRest(s *sock, left []byte) {
	switch {
	case len(left) == 0 && s.rest == nil:
		return
	case len(left) == 0:
		if cap(s.rest) <= loopBuffer && len(l.spare) < mostSpare {
			l.spare = append(l.spare, s.rest[:0])
		}
		s.rest = nil
		return
	case s.rest == nil && len(l.spare) > 0:
		s.rest = l.spare[len(l.spare)-1]
		l.spare = l.spare[:len(l.spare)-1]
	}
	s.rest = append(s.rest[:0], left...)
}

// opened is called when the upgrade was accepted.
func (l *loop) opened(s *sock) {
	l.shakes--
	l.f.open.Add(1)
	l.reader.t.opened++
	record(l.reader.t.shake, int64(time.Since(s.since)))
	s.state, s.fails = open, 0
	if len(s.then) > 0 {
		_, _ = unix.Write(s.fd, s.then) // a fresh socket has room for it
		s.then = nil
	}
	if s.temper == eager {
		return
	}
	_ = l.listen(s, 0) // it could be done a moment ago
	if s.temper == dripping {
		l.drips = append(l.drips, s)
	}
}

// lost is called when the server has ended the connection, or it broke.
func (l *loop) lost(s *sock, err error) {
	var refused *refusal
	switch {
	case s.state == leaving && byServer(s.closed):
		l.reader.t.closes[closing{s.closed, s.temper.group()}]++
		s.left = false
	case s.state == leaving:
	case s.state == open:
		code := s.closed
		if code == 0 {
			code = closedAbnormally
		}
		if errors.Is(err, errBadFrame) {
			l.reader.t.counts[s.temper.group()].Bad++
		}
		l.reader.t.closes[closing{code, s.temper.group()}]++
		s.fails++
	case errors.As(err, &refused):
		l.reader.t.refused[refused.status]++
		s.fails++
	default:
		why := "closed before the upgrade was answered"
		if err != nil {
			why = cause(err)
		}
		l.failed(s, why)
		return
	}
	l.end(s)
}

// failed is called when a connection did not come about.
func (l *loop) failed(s *sock, why string) {
	l.reader.t.failed[why]++
	s.fails++
	l.end(s)
}

// leave ends a connection by our own will.
func (l *loop) leave(s *sock) {
	switch s.state {
	case open:
		s.left = true
		l.f.open.Add(-1)
		_, _ = unix.Write(s.fd, appendMasked(nil, wire.OpClose, []byte{1000 >> 8, 1000 & 0xff})) // the end comes all the same
		l.become(s, leaving, time.Now().Add(leaveLimit))
		if s.temper != eager { // the answer is behind all that was not read
			_ = l.listen(s, unix.EPOLLIN)
		}
	case connecting, shaking, resting:
		l.end(s)
	case idle, leaving:
	}
}

// end closes the connection, and has it opened again where that is wanted.
func (l *loop) end(s *sock) {
	if s.state == connecting || s.state == shaking {
		l.shakes--
	}
	if s.state == open {
		l.f.open.Add(-1)
	}
	if s.left {
		l.reader.t.left++
	}
	if s.fd >= 0 {
		l.byFD[s.fd] = nil
		_ = unix.Close(s.fd)
		s.fd = -1
		l.live--
	}
	l.keepRest(s, nil)
	s.stream, s.then, s.left, s.state = stream{}, nil, false, idle
	if l.wanted(s) {
		l.become(s, resting, time.Now().Add(rest(s.fails)))
	}
}

// vanishAll drops all connections at once.
func (l *loop) vanishAll() {
	l.started = 0
	for _, s := range l.socks {
		s.left = s.left || s.state == open
		if s.state != idle {
			l.end(s)
		}
	}
}

// closeAll frees what a run that was cut short has left.
func (l *loop) closeAll() {
	for _, s := range l.socks {
		if s.fd >= 0 {
			_ = unix.Close(s.fd)
		}
	}
}
