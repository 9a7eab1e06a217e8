package client

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/lzstock/lzstock/internal/wire"
)

// control queues a frame that goes ahead of commands. When a gateway sends more
// pings than it takes pongs, the oldest are enough.
func (s *session) control(op wire.Opcode, payload []byte) {
	const most = 16
	frame := mask(op, payload)
	s.c.mu.Lock()
	if len(s.lane) < most {
		s.lane = append(s.lane, frame)
	}
	s.c.mu.Unlock()
	s.signal()
}

func (s *session) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// pop takes the next frame that may be written now. Commands keep to the
// gateway's rate; wait tells when the next may go.
func (s *session) pop(limiter *rate.Limiter) (frame []byte, wait time.Duration) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if len(s.lane) > 0 {
		frame, s.lane = s.lane[0], s.lane[1:]
		return frame, 0
	}
	if len(s.queue) == 0 {
		return nil, 0
	}
	if n := s.limits.CommandsPerSecond; n > 0 && limiter.Limit() != rate.Limit(n) {
		limiter.SetLimit(rate.Limit(n))
		limiter.SetBurst(n)
	}
	r := limiter.Reserve()
	if wait = r.Delay(); wait > 0 {
		r.Cancel()
		return nil, wait
	}
	frame, s.queue = s.queue[0], s.queue[1:]
	return frame, 0
}

// write sends what is queued, and a ping now and then, which tells the gateway
// that we live even while we do not read.
func (s *session) write(ctx context.Context) {
	limiter := rate.NewLimiter(rate.Limit(10), 10)
	pings := time.NewTimer(defaultPing / 2)
	defer pings.Stop()
	for {
		frame, wait := s.pop(limiter)
		if frame != nil {
			if err := s.send(frame); err != nil {
				s.fail(lost(fmt.Errorf("write: %w", err)))
				return
			}
			continue
		}
		var turn <-chan time.Time
		if wait > 0 {
			turn = time.After(wait)
		}
		select {
		case <-s.wake:
		case <-turn:
		case <-pings.C:
			s.control(wire.OpPing, nil)
			every := defaultPing
			if ping := s.ping.Load(); ping > 0 {
				every = time.Duration(ping)
			}
			pings.Reset(every / 2)
		case <-s.ended:
			s.flush()
			return
		case <-s.leaving:
			s.leave()
			return
		case <-ctx.Done():
			s.leave()
			return
		}
	}
}

func (s *session) send(frame []byte) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := s.conn.Write(frame)
	return err
}

// flush sends the answer to a close frame.
func (s *session) flush() {
	s.c.mu.Lock()
	left := s.lane
	s.lane = nil
	s.c.mu.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(goodbye)); err != nil {
		return // closed already
	}
	for _, frame := range left {
		if _, err := s.conn.Write(frame); err != nil {
			return
		}
	}
}

// leave says goodbye and gives the gateway a moment to answer.
func (s *session) leave() {
	if err := s.conn.SetWriteDeadline(time.Now().Add(goodbye)); err == nil {
		_, _ = s.conn.Write(mask(wire.OpClose, []byte{1000 >> 8, 1000 & 0xff})) // the connection ends in any case
	}
	t := time.NewTimer(goodbye)
	defer t.Stop()
	select {
	case <-s.ended:
	case <-t.C:
	}
	s.fail(&Error{Op: "read", Reason: "closed by the client", Retry: RetryNever})
}
