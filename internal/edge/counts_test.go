package edge

import (
	"sync"
	"testing"
)

func TestCounts(t *testing.T) {
	var c Counts[string]
	c.Remove("a") // of which nothing is open
	for n := range 3 {
		if !c.Add("a", 3) {
			t.Fatalf("no %d of 3", n)
		}
	}
	if c.Add("a", 3) {
		t.Error("a fourth of 3")
	}
	if !c.Add("b", 3) {
		t.Error("another key is at its limit")
	}
	if !c.Add("a", 4) || !c.Add("a", 0) {
		t.Error("a higher limit does not hold")
	}
	for range 2 {
		c.Remove("a")
	}
	if c.Add("a", 3) {
		t.Error("what was refused or removed counts")
	}
	c.Remove("a")
	if !c.Add("a", 3) {
		t.Error("no room after one has left")
	}
	for range 4 {
		c.Remove("a")
	}
	if c.Len() != 1 {
		t.Errorf("%d keys, want b alone", c.Len())
	}
	if !c.Add("a", 1) {
		t.Error("removed too often counts below nothing")
	}
	if c.Add("a", 1) {
		t.Error("removed too often leaves room")
	}
}

func TestCountsAtOnce(t *testing.T) {
	var c Counts[int]
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for range 1000 {
				if c.Add(g%2, 3) {
					c.Remove(g % 2)
				}
			}
		})
	}
	wg.Wait()
	if c.Len() != 0 {
		t.Errorf("%d keys are left", c.Len())
	}
}
