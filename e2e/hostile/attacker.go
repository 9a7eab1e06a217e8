package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// attackerFlag has the program be the attacker.
const attackerFlag = "-attacker"

// target is what an attacker knows. It comes on its standard input.
type target struct {
	Attack   string
	Duration time.Duration
	Seed     uint64
	Opens    int

	Gateway      string // asks for keys
	GatewayAdmin string
	Open         string // a gateway that asks nobody, in the monitor's process
	MonitorAdmin string
	GRPC         string

	Users        []key
	Late, Narrow key
	Symbols      []string // that exist
}

// user returns the nth user of the attacker, five sockets each, with an address for
// each socket.
func (t *target) user(n int) user { return user{t.Users[n/5%len(t.Users)], t.address(n)} }

// address returns the nth address of an attack. Each has 256 of its own.
func (t *target) address(n int) net.IP {
	i := slices.IndexFunc(attacks(), func(a attack) bool { return a.name == t.Attack })
	return net.IPv4(127, 66, byte(i), byte(n))
}

// nobody is who comes without a key.
func (t *target) nobody(n int) user { return user{ip: t.address(n)} }

// attack is one kind of attack.
type attack struct {
	name, text string
	symbols    int  // that exist
	memory     int  // MiB that it may cost a process; 0: memoryBound
	publishes  bool // what it publishes stays
	machine    bool // it takes the machine's own processors: ages are no promise
	greatest   bool // the greatest age is a promise, too
	play       func(ctx context.Context, t *target, c *tally) error
}

func attacks() []attack {
	return slices.Concat(churns(), works(), edges(), requests(), floods(), []attack{walkAttack()})
}

// find returns the attack of a name; of several names, joined by +, one that plays them
// at the same time.
func find(names string) (attack, error) {
	var all attack
	var parts []attack
	for name := range strings.SplitSeq(names, "+") {
		i := slices.IndexFunc(attacks(), func(a attack) bool { return a.name == name })
		if i < 0 {
			return all, fmt.Errorf("%q is no attack: want one of those that --help lists", name)
		}
		a := attacks()[i]
		parts = append(parts, a)
		all.symbols, all.memory = max(all.symbols, a.symbols), max(all.memory, a.memory)
		all.publishes, all.machine, all.greatest = all.publishes || a.publishes, all.machine || a.machine, all.greatest || a.greatest
	}
	all.name = names
	all.play = func(ctx context.Context, t *target, c *tally) error {
		errs := make([]error, len(parts))
		each(len(parts), func(i int) {
			own := *t
			own.Attack = parts[i].name
			errs[i] = parts[i].play(ctx, &own, c)
		})
		return errors.Join(errs...)
	}
	return all, nil
}

// tally counts what an attacker did and got, and what it should not have got.
type tally struct {
	mu             sync.Mutex
	Counts, Faults map[string]int
}

func (c *tally) count(format string, args ...any) { c.add(c.Counts, 1, format, args...) }

func (c *tally) fault(format string, args ...any) { c.add(c.Faults, 1, format, args...) }

func (c *tally) add(m map[string]int, n int, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m[fmt.Sprintf(format, args...)] += n
}

// attacker plays an attack to its end, and reports.
func attacker(ctx context.Context, in io.Reader, out io.Writer) error {
	var t target
	if err := json.NewDecoder(in).Decode(&t); err != nil {
		return err
	}
	a, err := find(t.Attack)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.Duration)
	defer cancel()
	c := &tally{Counts: map[string]int{}, Faults: map[string]int{}}
	if err := a.play(ctx, &t, c); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(c)
}

// child is the attacker's process. It gives way to the others: on the internet it
// would have processors of its own.
type child struct {
	cmd *exec.Cmd
	out bytes.Buffer
}

func startAttacker(ctx context.Context, t target) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, "nice", "-n", "19", self, attackerFlag)}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = bytes.NewReader(text), &c.out, os.Stderr
	return c, c.cmd.Start()
}

func (c *child) wait() (*tally, error) {
	if err := c.cmd.Wait(); err != nil {
		return nil, fmt.Errorf("the attacker: %w", err)
	}
	t := &tally{}
	return t, json.Unmarshal(c.out.Bytes(), t)
}

// stop ends it if it goes on.
func (c *child) stop() {
	if c.cmd.ProcessState == nil {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	}
}

// each runs n tasks side by side and waits for them.
func each(n int, f func(i int)) {
	var tasks sync.WaitGroup
	for i := range n {
		tasks.Go(func() { f(i) })
	}
	tasks.Wait()
}
