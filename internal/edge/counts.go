package edge

import "sync"

// Counts counts how many things are open by key. Its zero value is ready, and it
// holds no key of which nothing is open. It is safe for concurrent use.
type Counts[K comparable] struct {
	mu   sync.Mutex
	open map[K]int
}

// Add counts one more, unless limit are open already; 0 means no limit. Where it
// reports true, Remove follows.
func (c *Counts[K]) Add(key K, limit int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.open[key]
	if limit > 0 && n >= limit {
		return false
	}
	if c.open == nil {
		c.open = map[K]int{}
	}
	c.open[key] = n + 1
	return true
}

// Remove counts one less. A key of which nothing is open stays so.
func (c *Counts[K]) Remove(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch n := c.open[key]; {
	case n > 1:
		c.open[key] = n - 1
	default:
		delete(c.open, key)
	}
}

// Len is how many keys there are.
func (c *Counts[K]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}
