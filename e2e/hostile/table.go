package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// row is the result of one attack.
type row struct {
	Attack string
	Seed   uint64

	Without, With ages
	Events        int     // that were measured under the attack
	Ping          float64 // longest round trip, ms

	Stale, Gaps, Losses, Ends int // what healthy clients were told, and lost

	Before, Peak, After states
	Back                float64        // seconds until all was back
	Counts              map[string]int // what the attacker did and got
	Faults              map[string]int // what it should not have got
	Broken              []string       // promises

	left []string // what did not come back
}

// ages are in milliseconds.
type ages struct{ P50, P99, Max float64 }

func agesOf(all []int32) ages {
	if len(all) == 0 {
		return ages{}
	}
	slices.Sort(all)
	at := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))]) / 1000 }
	return ages{at(0.5), at(0.99), at(1)}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

const tableHead = `| attack | age p99 without → with (ms) | ratio | greatest age without → with (ms) | ping at most (ms) | stale or down | gaps, losses, sockets lost | RSS peak gateway, monitor (MiB) | topics peak gateway, monitor | heap before → after, gateway; monitor (MiB) | seconds until back | promises broken |
|---|---|---|---|---|---|---|---|---|---|---|---|
`

func (r *row) line() string {
	ratio := "–"
	if r.Without.P99 > 0 && r.Events > 0 {
		ratio = fmt.Sprintf("%.2f", r.With.P99/r.Without.P99)
	}
	back := fmt.Sprintf("%.0f", r.Back)
	if len(r.left) > 0 {
		back = "not in " + back
	}
	return fmt.Sprintf("| %s | %.1f → %.1f | %s | %.0f → %.0f | %.0f | %d | %d, %d, %d | %d, %d | %d, %d | %d → %d; %d → %d | %s | %d |\n",
		r.Attack, r.Without.P99, r.With.P99, ratio, r.Without.Max, r.With.Max, r.Ping, r.Stale, r.Gaps, r.Losses, r.Ends,
		r.Peak.Gateway.Resident>>10, r.Peak.Monitor.Resident>>10, r.Peak.Gateway.Topics, r.Peak.Monitor.Topics,
		r.Before.Gateway.Heap>>10, r.After.Gateway.Heap>>10, r.Before.Monitor.Heap>>10, r.After.Monitor.Heap>>10, back, len(r.Broken))
}

// notes lists below the table what attackers did and got, and which promises are broken.
func notes(rows []row) string {
	var b strings.Builder
	for _, r := range rows {
		b.WriteString("\n" + r.Attack + "\n")
		for _, name := range sortedKeys(r.Counts) {
			_, _ = fmt.Fprintf(&b, "  %8d  %s\n", r.Counts[name], name)
		}
		for _, text := range r.Broken {
			b.WriteString("  BROKEN: " + text + "\n")
		}
	}
	return b.String()
}
