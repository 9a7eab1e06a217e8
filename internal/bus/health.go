package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lzstock/lzstock/market"
)

// health tells whether the bus can be reached, and ends the work that depends on
// it when it is lost.
type health struct {
	mu      sync.Mutex
	now     Health
	changed chan struct{}
	epoch   market.Epoch
	work    map[*work]struct{}
}

// work goes on only while the bus can be reached.
type work struct{ cancel context.CancelCauseFunc }

func newHealth(epoch market.Epoch) *health {
	h := &health{epoch: epoch, changed: make(chan struct{}), work: map[*work]struct{}{}}
	h.now = Health{OK: true, Since: time.Now(), Changed: h.changed}
	return h
}

func (h *health) get() Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *health) currentEpoch() market.Epoch {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.epoch
}

// lost ends all work with the cause. It reports whether the bus was there. After
// ErrClosed nothing changes any more.
func (h *health) lost(cause error) bool {
	h.mu.Lock()
	if (!h.now.OK && !errors.Is(cause, ErrClosed)) || h.closed() {
		h.mu.Unlock()
		return false
	}
	h.replace(Health{Since: time.Now(), Err: cause})
	ended := h.end()
	h.mu.Unlock()
	for w := range ended {
		w.cancel(cause)
	}
	return true
}

// up says that the bus is there. It reports whether that is new; work that went
// on in another epoch ends with ErrEpoch.
func (h *health) up(epoch market.Epoch) bool {
	h.mu.Lock()
	if (h.now.OK && h.epoch == epoch) || h.closed() {
		h.mu.Unlock()
		return false
	}
	h.epoch = epoch
	h.replace(Health{OK: true, Since: time.Now()})
	ended := h.end()
	h.mu.Unlock()
	for w := range ended {
		w.cancel(ErrEpoch)
	}
	return true
}

func (h *health) closed() bool { return errors.Is(h.now.Err, ErrClosed) }

func (h *health) replace(now Health) {
	close(h.changed)
	h.changed = make(chan struct{})
	h.now = now
	h.now.Changed = h.changed
}

func (h *health) end() map[*work]struct{} {
	ended := h.work
	h.work = map[*work]struct{}{}
	return ended
}

// await waits for the bus. The context that it gives ends with ctx, or when the
// bus is lost or of another epoch; its cause says which. done must be called.
func (h *health) await(ctx context.Context) (bound context.Context, done func(), err error) {
	for {
		h.mu.Lock()
		now := h.now
		if now.OK {
			bound, cancel := context.WithCancelCause(ctx)
			w := &work{cancel: cancel}
			h.work[w] = struct{}{}
			h.mu.Unlock()
			return bound, func() { h.forget(w) }, nil
		}
		h.mu.Unlock()
		if errors.Is(now.Err, ErrClosed) {
			return nil, nil, ErrClosed
		}
		select {
		case <-now.Changed:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

func (h *health) forget(w *work) {
	h.mu.Lock()
	delete(h.work, w)
	h.mu.Unlock()
	w.cancel(context.Canceled)
}
