package mailbox

import "testing"

func TestKeepIsWhatAnEmptyQueueHoldsOnTo(t *testing.T) {
	for _, c := range []struct{ keep, events, want int }{{0, 64, 64}, {0, 65, 0}, {256, 200, 256}, {256, 300, 0}} {
		q := New(Options{Limit: 1000, Keep: c.keep}).queue
		for range c.events {
			q.push(entry{})
		}
		for range c.events {
			q.pop()
		}
		if len(q.ring) != c.want {
			t.Errorf("keep %d: %d places after %d events, want %d", c.keep, len(q.ring), c.events, c.want)
		}
	}
}
