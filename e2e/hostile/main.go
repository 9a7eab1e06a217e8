package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	binary   string
	attacks  []attack
	clients  int
	rate     int
	duration time.Duration
	opens    int
	seed     uint64
	json     string
	assert   bool
	more     []string // flags for the gateway
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == attackerFlag {
		exit(attacker(context.Background(), os.Stdin, os.Stdout))
	}
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = run(ctx, o, os.Stdout)
		stop()
	}
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

const usage = `Hostile attacks a gateway beside healthy clients and measures what those notice.

Each attack gets processes of its own on loopback: a gateway, and one process with the
bus, the monitor and a simulator. A table on standard output compares the ages of
prices without and with the attack. The exit status is 1 if a promise is broken: a
healthy client was told stale or down, lost an event or its socket; a process took more
than 192 MiB, by gRPC 512; topics, descriptors, goroutines or heap did not come back; or the attacker
got an answer that it should not get.

  go run ./e2e/hostile --duration 60s
  go run ./e2e/hostile --attack churn-1,churn-2 --binary /tmp/lzstock-of-last-week --json old.json
  go run ./e2e/hostile --attack walk --duration 1h --seed 7

Arguments after -- go to the gateway, such as -- --max-waiting 100.

Flags:
`

func parse(args []string) (options, error) {
	o := options{attacks: attacks()}
	names := "all"
	f := flag.NewFlagSet("hostile", flag.ContinueOnError)
	f.StringVar(&o.binary, "binary", "", "`path` of the lzstock to attack; it is built if this is empty")
	f.StringVar(&names, "attack", names, "attacks to run: `names` separated by commas; a + between two has them at the same time")
	f.IntVar(&o.clients, "clients", 300, "healthy clients, with one topic each")
	f.IntVar(&o.rate, "rate", 3000, "events a second of all symbols together")
	f.DurationVar(&o.duration, "duration", 30*time.Second, "how long each attack goes on; half as long is measured without it first, at most 30s")
	f.IntVar(&o.opens, "opens", 2500, "connections a second that the attack garbage aims at")
	f.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano())%1e6, "seed of what is random")
	f.StringVar(&o.json, "json", "", "`file` to write the results to")
	f.BoolVar(&o.assert, "assert", false, fmt.Sprintf("fail if prices are older than %.1f times their age without the attack, or if it takes more than %.0fs until all is back", ratioBound, backBound))
	f.Usage = func() {
		_, _ = io.WriteString(f.Output(), usage)
		f.PrintDefaults()
		_, _ = io.WriteString(f.Output(), "\nAttacks:\n")
		for _, a := range attacks() {
			_, _ = fmt.Fprintf(f.Output(), "  %-16s %s\n", a.name, a.text)
		}
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.more = f.Args()
	if o.duration < time.Second || o.clients < 10 || o.rate < 100 || o.opens < 1 {
		return o, errors.New("want a --duration of 1s or more, 10 --clients or more, a --rate of 100 or more, and --opens")
	}
	if names == "all" {
		return o, nil
	}
	o.attacks = nil
	for name := range strings.SplitSeq(names, ",") {
		a, err := find(name)
		if err != nil {
			return o, fmt.Errorf("--attack: %w", err)
		}
		o.attacks = append(o.attacks, a)
	}
	return o, nil
}

// run carries out the attacks, each against processes of its own.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if o.binary == "" {
		if o.binary, err = build(ctx, dir); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(out, "seed %d, %d healthy clients, %d events a second, %s an attack\n\n%s", o.seed, o.clients, o.rate, o.duration, tableHead); err != nil {
		return err
	}
	var rows []row
	broken := 0
	for _, a := range o.attacks {
		r, err := alone(ctx, o, a, filepath.Join(dir, a.name))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.Broken = append(r.Broken, err.Error())
		}
		broken += len(r.Broken)
		rows = append(rows, r)
		if _, err := io.WriteString(out, r.line()); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(out, notes(rows)); err != nil {
		return err
	}
	if o.json != "" {
		text, err := json.MarshalIndent(rows, "", "  ")
		if err == nil {
			err = os.WriteFile(o.json, append(text, '\n'), 0o600)
		}
		if err != nil {
			return err
		}
	}
	if broken > 0 {
		return fmt.Errorf("%d promises are broken: they are listed above", broken)
	}
	return nil
}

// alone starts processes and healthy clients for one attack.
func alone(ctx context.Context, o options, a attack, dir string) (r row, err error) {
	r.Attack = a.name
	if err := os.Mkdir(dir, 0o700); err != nil {
		return r, err
	}
	s, err := start(ctx, o, a.symbols, dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	f, err := connect(ctx, s, o.clients)
	if err != nil {
		return r, err
	}
	defer f.close()
	// Until the windows of the hubs are full, heaps grow without any attack.
	if err := pause(ctx, min(o.duration/2, time.Duration(hubWindow/o.rate)*time.Second)); err != nil {
		return r, err
	}
	return measure(ctx, o, s, f, a)
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
