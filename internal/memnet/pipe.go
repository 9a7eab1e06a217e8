package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipe is one direction of a connection. The mutex guards memory only; every
// wait is on the condition.
type pipe struct {
	mu    sync.Mutex
	cond  sync.Cond
	limit int

	buf   []byte // sent and not read yet, from start on
	start int

	sentAll  bool // the writer has ended its direction
	wClosed  bool // the writer's side is closed
	rClosed  bool // the reader's side is closed
	stalled  bool // the reader takes nothing
	readEnd  deadline
	writeEnd deadline
}

func newPipe(limit int) *pipe {
	p := &pipe{limit: limit}
	p.cond.L = &p.mu
	return p
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		waiting := len(p.buf) - p.start
		switch {
		case p.rClosed:
			return 0, net.ErrClosed
		case p.readEnd.passed:
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		case p.stalled:
		case waiting > 0:
			n := copy(b, p.buf[p.start:])
			p.start += n
			if p.start == len(p.buf) {
				p.buf, p.start = p.buf[:0], 0
			}
			p.cond.Broadcast()
			return n, nil
		case p.sentAll:
			return 0, io.EOF
		}
		p.cond.Wait()
	}
}

// write takes all of b, waiting for room; with wait false it takes what fits.
func (p *pipe) write(b []byte, wait bool) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for {
		switch {
		case p.wClosed:
			return n, net.ErrClosed
		case p.sentAll || p.rClosed:
			return n, syscall.EPIPE
		case p.writeEnd.passed:
			return n, os.ErrDeadlineExceeded
		}
		if room := p.limit - (len(p.buf) - p.start); room > 0 && n < len(b) {
			take := b[n:min(n+room, len(b))]
			if p.start > 0 && len(p.buf)+len(take) > cap(p.buf) {
				p.buf = p.buf[:copy(p.buf, p.buf[p.start:])]
				p.start = 0
			}
			p.buf = append(p.buf, take...)
			n += len(take)
			p.cond.Broadcast()
		}
		if n == len(b) || !wait {
			return n, nil
		}
		p.cond.Wait()
	}
}

// change applies f under the lock and wakes whoever waits.
func (p *pipe) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.cond.Broadcast()
}

// deadline is one end's time limit, guarded by its pipe's mutex.
type deadline struct {
	passed bool
	timer  *time.Timer
	set    uint64 // counts settings, so that a late timer knows it is old
}

// setDeadline sets d, which must be one of p's.
func (p *pipe) setDeadline(d *deadline, t time.Time) {
	p.change(func() {
		d.stop()
		d.passed = false
		if t.IsZero() {
			return
		}
		left := time.Until(t)
		if left <= 0 {
			d.passed = true
			return
		}
		mine := d.set
		d.timer = time.AfterFunc(left, func() {
			p.change(func() {
				if d.set == mine {
					d.passed = true
				}
			})
		})
	})
}

// stop forgets the timer, even one that has fired and waits for the lock.
func (d *deadline) stop() {
	d.set++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
