package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	binary    string
	clients   int
	rate      int
	duration  time.Duration
	opens     int
	addresses int
	ratio     float64

	attack string // an address: this process is the attacker
	key    string
	admin  string
	more   []string // flags for the gateway
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "", "the lzstock that is measured; without, it is built")
	flag.IntVar(&o.clients, "clients", 1000, "healthy clients, with one topic each")
	flag.IntVar(&o.rate, "rate", 50, "events a second of a topic, about")
	flag.DurationVar(&o.duration, "duration", 60*time.Second, "a quarter of it in peace, a quarter beside a flood that goes elsewhere, half under the flood")
	flag.IntVar(&o.opens, "opens", 2500, "connections a second that the flood aims at")
	flag.IntVar(&o.addresses, "addresses", 32, "addresses that the flood comes from")
	flag.StringVar(&o.admin, "admin", "", "admin address of the gateway; without, a free port")
	flag.Float64Var(&o.ratio, "ratio", 1.5, "how much older prices may be under the flood, at the 99th percentile; 0 demands nothing")
	flag.StringVar(&o.attack, "attack", "", "attack this address alone (what the program starts itself for)")
	flag.StringVar(&o.key, "key", "LZNOBODY", "with -attack: a key's id, to try secrets for")
	flag.Parse()
	o.more = flag.Args()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer) (err error) {
	if o.attack != "" {
		return attack(ctx, o, out)
	}
	if o.duration < 3*time.Second || o.clients < 1 || o.opens < 1 || o.addresses < 1 || o.addresses > 250 {
		return errors.New("want a duration of 3s or more, clients, opens, and 1 to 250 addresses")
	}
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	g, err := serve(ctx, o, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	f, err := connect(ctx, g, o.clients)
	if err != nil {
		return err
	}
	defer f.close()
	return measure(ctx, o, g, f, out)
}

// settle is how long the processes have before the measurement begins.
const settle = 2 * time.Second

// rounds is how often peace and flood take turns, so that what else the machine does
// meanwhile falls on both.
const rounds = 3

// measure measures in peace and under the flood, then what is left of it.
func measure(ctx context.Context, o options, g *gateway, f *fleet, out io.Writer) error {
	if err := pause(ctx, min(settle, o.duration/5)); err != nil {
		return err
	}
	before, err := g.state(ctx)
	if err != nil {
		return err
	}
	var done outcome
	for range rounds {
		f.phase.Store(peace)
		if err := pause(ctx, o.duration/(4*rounds)); err != nil {
			return err
		}
		if _, err := under(ctx, o, g, f, decoy, noise, o.duration/(4*rounds)); err != nil {
			return err
		}
		one, err := under(ctx, o, g, f, g.addr, war, o.duration/(2*rounds))
		if err != nil {
			return err
		}
		done.add(one)
	}
	f.phase.Store(idle)
	most, err := g.state(ctx)
	if err != nil {
		return err
	}
	after, err := g.settled(ctx, before)
	if err != nil {
		return err
	}
	f.close()
	return report(out, o, f, done, [3]state{before, most, after})
}

// under measures under a flood.
func under(ctx context.Context, o options, g *gateway, f *fleet, at string, phase int32, d time.Duration) (outcome, error) {
	f.phase.Store(idle)
	flood, err := startFlood(ctx, o, g, at, d)
	if err != nil {
		return outcome{}, err
	}
	defer flood.stop()
	if err := pause(ctx, min(time.Second, d/4)); err != nil { // until it is at its rate
		return outcome{}, err
	}
	f.phase.Store(phase)
	defer f.phase.Store(idle)
	return flood.wait()
}

// memory is how much the flood may cost, in KiB.
const memory = 128 << 10

func report(out io.Writer, o options, f *fleet, flood outcome, s [3]state) error {
	calm, noisy, stormy := f.ages(peace), f.ages(noise), f.ages(war)
	if len(calm) == 0 || len(noisy) == 0 || len(stormy) == 0 {
		return errors.New("no prices came to be measured")
	}
	ratio := float64(at(stormy, 0.99)) / float64(at(calm, 0.99))
	before, most, after := s[0], s[1], s[2]
	var bad []error
	demand := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Errorf(format, args...))
		}
	}
	lost := f.lost.Load()
	demand(o.ratio == 0 || ratio <= o.ratio, "prices are %.2f times as old under the flood: want at most %.2f", ratio, o.ratio)
	demand(lost == 0, "%d of %d healthy clients lost their sockets", lost, o.clients)
	demand(most.peak-before.resident <= memory, "the flood took %d KiB of memory: want at most %d", most.peak-before.resident, memory)
	demand(after.back(before), "goroutines %d and descriptors %d have not come back to %d and %d",
		after.goroutines, after.files, before.goroutines, before.files)
	var text strings.Builder
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(&text, format, args...) } // a Builder takes all
	say("healthy clients   %d, %d of them lost\n", o.clients, lost)
	for _, m := range []struct {
		when string
		ages []int32
	}{{"in peace", calm}, {"beside a flood", noisy}, {"under flood", stormy}} {
		say("age %-14s p50 %v  p99 %v  (%d events)\n", m.when, at(m.ages, 0.5), at(m.ages, 0.99), len(m.ages))
	}
	say("ratio of p99      %.2f to peace, %.2f to the same flood on this machine, but elsewhere\n",
		ratio, float64(at(stormy, 0.99))/float64(at(noisy, 0.99)))
	say("flood             %.0f opens a second from %d addresses, %d in all, %d failed\n", float64(flood.Opens)/flood.Time.Seconds(), o.addresses, flood.Opens, flood.Failed)
	for _, m := range []map[string]int{flood.Kinds, flood.Ends} {
		for _, name := range sortedKeys(m) {
			say("  %-20s %d\n", name, m[name])
		}
	}
	say("memory (KiB)      before %d, at most %d, after %d\n", before.resident, most.peak, after.resident)
	say("goroutines        before %d, under flood's end %d, after %d\n", before.goroutines, most.goroutines, after.goroutines)
	say("descriptors       before %d, under flood's end %d, after %d\n", before.files, most.files, after.files)
	say("CPU of gateway    %.2f s a second in peace and flood together\n", after.cpu.Seconds()/after.since.Seconds())
	if _, err := io.WriteString(out, text.String()); err != nil {
		return err
	}
	return errors.Join(bad...)
}

func sortedKeys(m map[string]int) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// at gives a quantile of sorted ages.
func at(sorted []int32, q float64) time.Duration {
	return time.Duration(sorted[int(q*float64(len(sorted)-1))]) * time.Microsecond
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func keysFile(dir string) string { return filepath.Join(dir, "keys.yaml") }
