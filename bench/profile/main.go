// Command profile takes profiles of a gateway under load: it starts `lzstock up`
// with the simulator and `lzstock bench`, fetches the profiles from the admin
// listener, and writes beside each what is at its top.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/lzstock/lzstock/bench/internal/process"
)

// universe is how many symbols there are. Each client wants ten of them.
const universe = 100

// options are the flags.
type options struct {
	out      string
	clients  int
	rate     int
	duration time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.out, "out", ".profile", "folder for the profiles; those of before are replaced")
	flag.IntVar(&o.clients, "clients", 1000, "sockets")
	flag.IntVar(&o.rate, "rate", 2000, "events a second at the source, of which a socket gets a tenth")
	flag.DurationVar(&o.duration, "duration", 25*time.Second, "time under full load, at least 5s: two fifths for the CPU, as much for mutexes and blocking")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		stop()
		os.Exit(1)
	}
}

func (o options) validate() error {
	switch {
	case o.out == "":
		return errors.New("-out is empty; want a folder")
	case o.clients < 1 || o.rate < 1:
		return fmt.Errorf("-clients %d and -rate %d; want at least 1 of each", o.clients, o.rate)
	case o.duration < 5*time.Second:
		return fmt.Errorf("-duration %s is too short; want at least 5s", o.duration)
	}
	return nil
}

// ramp is how long the load generator takes to connect all.
func (o options) ramp() time.Duration {
	return max(time.Second, time.Duration(o.clients)*time.Millisecond)
}

func run(ctx context.Context, o options, out io.Writer) error {
	if err := o.validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o750); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "lzstock-profile-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left is the system's to clean
	bin := filepath.Join(dir, "lzstock")
	if text, err := exec.CommandContext(ctx, "go", "build", "-C", "..", "-o", bin, "./cmd/lzstock").CombinedOutput(); err != nil {
		return fmt.Errorf("build lzstock: %w\n%s", err, text)
	}
	var addr [3]string
	for i := range addr {
		if addr[i], err = process.Address(ctx); err != nil {
			return err
		}
	}
	listen, admin, monitor := addr[0], addr[1], addr[2]
	up, err := process.Start(ctx, "lzstock up", bin, "--log-level", "error", "up", "--listen", listen, "--admin", admin,
		"--grpc", monitor, "--source", fmt.Sprintf("sim?symbols=%d&rate=%d", universe, o.rate))
	if err != nil {
		return err
	}
	defer up.Stop()
	if err := errors.Join(up.Listens(ctx, listen), up.Ready(ctx, admin)); err != nil {
		return err
	}
	load, err := process.Start(ctx, "lzstock bench", bin, "bench", "--url", "ws://"+listen+"/v1/stream", "--clients", strconv.Itoa(o.clients),
		"--universe", "sim:"+strconv.Itoa(universe), "--ramp", o.ramp().String(), "--duration", (o.duration + slack).String())
	if err != nil {
		return err
	}
	defer load.Stop()
	if _, err := fmt.Fprintf(out, "%d clients, %d events/s at the source: full load in %s, profiles for %s\n",
		o.clients, o.rate, o.ramp(), o.duration); err != nil {
		return err
	}
	select {
	case <-time.After(o.ramp()):
	case <-load.Done():
		return errors.Join(errors.New("the load has ended before it was full"), load.Err())
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	t := taker{admin: "http://" + admin, folder: o.out, alive: func() error {
		select {
		case <-load.Done():
			return errors.Join(errors.New("the load has ended too early"), load.Err())
		default:
			return nil
		}
	}}
	if err := t.all(ctx, o.duration); err != nil {
		return err
	}
	return t.summary(out)
}
