package edge

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// RatesConfig configures Rates.
type RatesConfig struct {
	PerSecond int // opens a second of one address; 0 means 20
	Burst     int // opens at once; 0 means twice PerSecond
	Addresses int // greatest number of addresses that are known; 0 means 65,536
}

func (c RatesConfig) withDefaults() (RatesConfig, error) {
	for _, v := range []struct {
		name  string
		value *int
		usual func() int
		most  int
	}{
		{"opens a second", &c.PerSecond, func() int { return 20 }, 1e6},
		{"burst of opens", &c.Burst, func() int { return 2 * c.PerSecond }, 1e6},
		{"known addresses", &c.Addresses, func() int { return 1 << 16 }, 1 << 24},
	} {
		if *v.value < 0 || *v.value > v.most {
			return c, fmt.Errorf("edge: %s is %d: want 1 to %d, or 0 for the usual", v.name, *v.value, v.most)
		}
		if *v.value == 0 {
			*v.value = min(v.usual(), v.most)
		}
	}
	return c, nil
}

// Rates limits how often an address may open something, with a bucket of tokens
// for each: Burst of them, of which PerSecond come back a second. An IPv6 address
// stands for its network of 64 bits. It is safe for concurrent use.
//
// A bucket that is full again is forgotten, which changes nothing. Where more
// addresses than may be known have buckets that are not full, the one that has
// not asked for longest is forgotten early, and begins anew with a full bucket:
// nobody ever gets more than that. To have it for an address of their own,
// attackers must first ask from as many others as may be known, each of which
// would have had a full bucket anyway. An address that keeps asking stays known.
type Rates struct {
	every time.Duration // in which a token comes back
	early time.Duration // how much sooner than that a call may come
	most  int
	begun time.Time

	mu    sync.Mutex
	known map[client]int32 // index of a bucket
	// buckets form a ring by when they were used last. The first of them is no
	// bucket: next is the one used last, prev the one not used for longest.
	buckets []bucket
	free    []int32
}

// client is what a bucket belongs to: a family and an address, or a part of one.
type client [9]byte

// bucket keeps one time in place of tokens: when it is full again.
type bucket struct {
	full       time.Duration // since the beginning
	client     client
	prev, next int32
}

// NewRates makes Rates.
func NewRates(cfg RatesConfig) (*Rates, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	every := time.Second / time.Duration(cfg.PerSecond)
	return &Rates{
		every: every, early: every * time.Duration(cfg.Burst-1), most: cfg.Addresses,
		begun: time.Now(), known: map[client]int32{}, buckets: make([]bucket, 1),
	}, nil
}

// Allow reports whether addr may open one more now or, where it may not, after
// which time it may. All invalid addresses are one.
func (r *Rates) Allow(addr netip.Addr) (ok bool, after time.Duration) { return r.Take(addr, 1) }

// Take is Allow for what is worth n tokens. It asks for one: what is taken beyond
// those that are there has to come back before the next may.
func (r *Rates) Take(addr netip.Addr, n int) (ok bool, after time.Duration) {
	c := clientOf(addr)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Since(r.begun)
	r.sweep(now)
	i, ok := r.known[c]
	if ok {
		r.unlink(i)
	} else {
		i = r.add(c)
	}
	r.link(i)
	b := &r.buckets[i]
	b.full = max(b.full, now)
	if after = b.full - now - r.early; after > 0 {
		return false, after
	}
	b.full += time.Duration(n) * r.every
	return true, 0
}

// Charge takes n more tokens from addr for what it has opened, down to none.
func (r *Rates) Charge(addr netip.Addr, n int) {
	c := clientOf(addr)
	r.mu.Lock()
	defer r.mu.Unlock()
	i, ok := r.known[c]
	if !ok {
		i = r.add(c)
		r.link(i)
	}
	now := time.Since(r.begun)
	b := &r.buckets[i]
	b.full = min(max(b.full, now)+time.Duration(n)*r.every, max(b.full, now+r.early+r.every))
}

// Len is how many addresses are known.
func (r *Rates) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.known)
}

func clientOf(addr netip.Addr) (c client) {
	switch addr = plain(addr); {
	case addr.Is4():
		four := addr.As4()
		c[0] = 4
		copy(c[1:], four[:])
	case addr.Is6():
		six := addr.As16()
		c[0] = 6
		copy(c[1:], six[:])
	}
	return c
}

// sweep forgets full buckets: two a call, so that their number falls where they
// are many.
func (r *Rates) sweep(now time.Duration) {
	for range 2 {
		i := r.buckets[0].prev
		if i == 0 || r.buckets[i].full > now {
			return
		}
		r.forget(i)
	}
}

// forget frees a bucket.
func (r *Rates) forget(i int32) {
	delete(r.known, r.buckets[i].client)
	r.unlink(i)
	r.free = append(r.free, i)
}

// add gives a full bucket, outside the ring.
func (r *Rates) add(c client) int32 {
	if len(r.known) >= r.most {
		r.forget(r.buckets[0].prev)
	}
	var i int32
	if last := len(r.free) - 1; last >= 0 {
		i = r.free[last]
		r.free = r.free[:last]
	} else {
		i = int32(len(r.buckets))
		r.buckets = append(r.buckets, bucket{})
	}
	r.buckets[i] = bucket{client: c}
	r.known[c] = i
	return i
}

// link puts a bucket where the one used last is.
func (r *Rates) link(i int32) {
	next := r.buckets[0].next
	r.buckets[i].prev, r.buckets[i].next = 0, next
	r.buckets[next].prev, r.buckets[0].next = i, i
}

func (r *Rates) unlink(i int32) {
	prev, next := r.buckets[i].prev, r.buckets[i].next
	r.buckets[prev].next, r.buckets[next].prev = next, prev
}
