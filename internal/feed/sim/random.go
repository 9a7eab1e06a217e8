package sim

import (
	"math/bits"
	"math/rand/v2"
)

// random draws whole numbers only, with no method of rand.Rand, whose results may
// change between releases of Go: a seed means the same for ever.
type random struct{ pcg *rand.PCG }

func newRandom(seed uint64) *random {
	return &random{rand.NewPCG(seed, 0x6c7a73746f636b00)}
}

// below gives 0 to n-1, each as likely as the other but for one part in 2^64/n.
func (r *random) below(n int64) int64 {
	hi, _ := bits.Mul64(r.pcg.Uint64(), uint64(n))
	return int64(hi)
}

// between gives lo to hi.
func (r *random) between(lo, hi int64) int64 { return lo + r.below(hi-lo+1) }

// bell gives a number around 0 with standard deviation 4, nearly normal: 64 fair
// coins.
func (r *random) bell() int64 { return int64(bits.OnesCount64(r.pcg.Uint64())) - 32 }

// noise gives how far a walk goes in so many steps, vol being what one unit of
// bell moves it in one.
func (r *random) noise(vol, steps int64) int64 {
	const fine = 8 // the root is taken of steps × fine², for precision
	return r.bell() * vol * root(steps*fine*fine) / fine
}

// tail gives 0 half of the time, 1 a quarter, 2 an eighth and so on.
func (r *random) tail() int64 { return int64(bits.TrailingZeros64(r.pcg.Uint64() | 1<<20)) }

// scale gives v × billionths / 1e9, rounded towards 0.
func scale(v, billionths int64) int64 {
	negative := (v < 0) != (billionths < 0)
	hi, lo := bits.Mul64(magnitude(v), magnitude(billionths))
	q, _ := bits.Div64(hi, lo, 1_000_000_000)
	if negative {
		return -int64(q)
	}
	return int64(q)
}

func magnitude(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

// root gives the square root of n, rounded down.
func root(n int64) int64 {
	if n <= 0 {
		return 0
	}
	x := int64(1) << ((bits.Len64(uint64(n)) + 1) / 2)
	for {
		y := (x + n/x) / 2
		if y >= x {
			return x
		}
		x = y
	}
}
