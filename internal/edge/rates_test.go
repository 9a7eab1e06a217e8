package edge

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func rates(tb testing.TB, cfg RatesConfig) *Rates {
	tb.Helper()
	r, err := NewRates(cfg)
	must(tb, err)
	return r
}

// nth gives one of many addresses.
func nth(n int) netip.Addr {
	var four [4]byte
	binary.BigEndian.PutUint32(four[:], uint32(n))
	return netip.AddrFrom4(four)
}

// spend opens until no more may be, and gives how many were.
func spend(r *Rates, addr netip.Addr) (n int, after time.Duration) {
	for {
		ok, after := r.Allow(addr)
		if !ok {
			return n, after
		}
		n++
	}
}

func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rates(t, RatesConfig{})
		a, b := nth(1), nth(2)
		n, after := spend(r, a)
		if n != 40 || after != 50*time.Millisecond {
			t.Errorf("%d at once, then after %s", n, after)
		}
		if n, _ := spend(r, b); n != 40 {
			t.Errorf("another address gets %d", n)
		}
		time.Sleep(after - time.Nanosecond)
		if ok, left := r.Allow(a); ok || left != 1 {
			t.Errorf("%t too soon, then after %s", ok, left)
		}
		time.Sleep(time.Nanosecond)
		if n, _ := spend(r, a); n != 1 {
			t.Errorf("%d when it was said", n)
		}
		time.Sleep(time.Second)
		if n, _ := spend(r, a); n != 20 {
			t.Errorf("%d after a second", n)
		}
		time.Sleep(time.Hour)
		if n, _ := spend(r, a); n != 40 {
			t.Errorf("%d after an hour", n)
		}
	})
}

func TestRatesCountNetworks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rates(t, RatesConfig{PerSecond: 1, Burst: 1})
		ask := func(s string) bool {
			addr, _ := netip.ParseAddr(s)
			ok, _ := r.Allow(addr)
			return ok
		}
		for _, c := range []struct {
			addr string
			want bool
		}{
			{"2001:db8::1", true},
			{"2001:db8::ffff:ffff:ffff:ffff", false},
			{"2001:db8:0:1::1", true},
			{"192.0.2.1", true},
			{"::ffff:192.0.2.1", false},
			{"192.0.2.2", true},
			{"fe80::1%a", true},
			{"fe80::1%b", false},
			{"", true},
			{"", false},
			{"::", true},
			{"0.0.0.0", true},
		} {
			if got := ask(c.addr); got != c.want {
				t.Errorf("%s: %t", c.addr, got)
			}
		}
	})
}

func TestRatesForgetWhatIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rates(t, RatesConfig{Addresses: 1000})
		for n := range 500 {
			spend(r, nth(n))
		}
		if n := r.Len(); n != 500 {
			t.Fatalf("%d are known", n)
		}
		time.Sleep(2*time.Second + 1) // all are full
		for range 249 {
			r.Allow(nth(1000))
		}
		if n := r.Len(); n > 3 {
			t.Errorf("%d are known still", n)
		}
		if n := len(r.buckets); n > 502 {
			t.Errorf("%d buckets for 500 addresses", n)
		}
	})
}

func TestRatesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 100
		r := rates(t, RatesConfig{Addresses: most})
		kept, left := nth(1), nth(2)
		spend(r, kept)
		spend(r, left)
		for n := range 10 * most {
			r.Allow(nth(1000 + n))
			if n%(most/2) == 0 {
				if ok, _ := r.Allow(kept); ok {
					t.Fatalf("an address that keeps asking was forgotten after %d others", n)
				}
			}
			if r.Len() > most || len(r.buckets) > most+1 {
				t.Fatalf("%d are known in %d buckets", r.Len(), len(r.buckets))
			}
		}
		if n, _ := spend(r, left); n != 40 {
			t.Errorf("a forgotten address gets %d, want a bucket and no more", n)
		}
	})
}

func TestRatesConfig(t *testing.T) {
	for want, cfg := range map[string]RatesConfig{
		"opens a second is -1":     {PerSecond: -1},
		"burst of opens is -1":     {Burst: -1},
		"known addresses is -1":    {Addresses: -1},
		"want 1 to 1000000":        {PerSecond: 2e6},
		"known addresses is 99999": {Addresses: 99999999},
	} {
		if _, err := NewRates(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", cfg, err, want)
		}
	}
	if n, _ := spend(rates(t, RatesConfig{PerSecond: 1e6, Burst: 1}), nth(1)); n < 1 {
		t.Error("the fastest allows none")
	}
}

func TestRatesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rates(t, RatesConfig{Addresses: 100})
		var shared, own atomic.Int32
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for range 100 {
					if ok, _ := r.Allow(nth(1)); ok {
						shared.Add(1)
					}
					if ok, _ := r.Allow(nth(1000 + g)); ok {
						own.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if shared.Load() != 40 || own.Load() != 8*40 {
			t.Errorf("%d of one address, %d of 8 others", shared.Load(), own.Load())
		}
	})
}

func TestRatesDoNotAllocate(t *testing.T) {
	r := rates(t, RatesConfig{Addresses: 1000})
	n := 0
	for ; n < 3000; n++ {
		r.Allow(nth(n))
	}
	if got := testing.AllocsPerRun(1000, func() { r.Allow(nth(n - 1)) }); got > 0 {
		t.Errorf("a known address costs %g allocations", got)
	}
	if got := testing.AllocsPerRun(1000, func() { r.Allow(nth(n)); n++ }); got > 0 {
		t.Errorf("a new address costs %g allocations", got)
	}
}

func BenchmarkRates(b *testing.B) {
	for name, next := range map[string]func(n int) netip.Addr{
		"one":      func(int) netip.Addr { return nth(1) },
		"known":    func(n int) netip.Addr { return nth(n * 7919 & 0x7fff) },
		"evicting": nth,
	} {
		b.Run(name, func(b *testing.B) {
			r := rates(b, RatesConfig{})
			for n := range 1 << 16 {
				r.Allow(next(n))
			}
			b.ReportAllocs()
			n := 1 << 16
			for b.Loop() {
				r.Allow(next(n))
				n++
			}
		})
	}
	b.Run("parallel", func(b *testing.B) {
		r := rates(b, RatesConfig{})
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for n := 0; pb.Next(); n++ {
				r.Allow(nth(n & 0x7fff))
			}
		})
	})
}
