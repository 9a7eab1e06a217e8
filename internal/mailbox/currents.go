package mailbox

import "cmp"

// currents holds the snapshots that wait, as a heap: the one with the least position
// is the first. Each slot knows its place, so that to add, to replace and to take back
// one costs the same however many wait, but for a logarithm.
type currents []entry

func before(a, b *entry) bool {
	x, y := a.item.Event(), b.item.Event()
	return cmp.Or(cmp.Compare(x.Seq, y.Seq), cmp.Compare(x.Channel, y.Channel), cmp.Compare(x.Symbol, y.Symbol)) < 0
}

// put adds a snapshot, in place of one of the same slot.
func (c *currents) put(e entry) {
	i := int(e.slot.snapshot) - 1
	if i >= 0 {
		(*c)[i].item = e.item
	} else {
		i = len(*c)
		*c = append(*c, e)
		e.slot.snapshot = int32(i) + 1
	}
	c.fix(i)
}

// pop takes the first.
func (c *currents) pop() (first entry, ok bool) {
	if len(*c) == 0 {
		return entry{}, false
	}
	first = (*c)[0]
	c.remove(first.slot)
	return first, true
}

// remove takes back what waits of a slot. An empty heap holds no memory.
func (c *currents) remove(slot *Slot) {
	i, last := int(slot.snapshot)-1, len(*c)-1
	if i < 0 {
		return
	}
	slot.snapshot = 0
	if i < last {
		(*c)[i] = (*c)[last]
	}
	(*c)[last] = entry{}
	if *c = (*c)[:last]; last == 0 {
		*c = nil
	} else if i < last {
		c.fix(i)
	}
}

// fix moves an entry to where it belongs.
func (c currents) fix(i int) {
	e := c[i]
	for i > 0 {
		up := (i - 1) / 2
		if !before(&e, &c[up]) {
			break
		}
		c.place(i, c[up])
		i = up
	}
	for {
		down := 2*i + 1
		if down >= len(c) {
			break
		}
		if right := down + 1; right < len(c) && before(&c[right], &c[down]) {
			down = right
		}
		if !before(&c[down], &e) {
			break
		}
		c.place(i, c[down])
		i = down
	}
	c.place(i, e)
}

func (c currents) place(i int, e entry) {
	c[i] = e
	e.slot.snapshot = int32(i) + 1
}
