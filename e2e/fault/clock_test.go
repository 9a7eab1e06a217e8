package fault

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lzstock/lzstock/e2e/proc"
)

// jumper has a program's wall clock differ from the machine's by as many seconds as a
// file says. A Go program asks the kernel for the time without the C library, which is
// where libfaketime sits: so the program is built with another time.Now.
const jumper = `package main

import (
	"os"
	"strconv"
	"strings"
	"time"
)

func init() {
	file := os.Getenv("FAULT_CLOCK")
	go func() {
		for ; ; time.Sleep(20 * time.Millisecond) {
			text, err := os.ReadFile(file)
			if n, bad := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && bad == nil {
				time.WallJump.Store(n)
			}
		}
	}()
}
`

// jumping builds an lzstock whose clock can jump.
func jumping(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		t.Skipf("no source of the Go library to build another clock from: %v", err)
	}
	changed := string(text)
	for _, edit := range [][2]string{
		{"import (\n\t\"errors\"\n", "import (\n\t\"errors\"\n\t\"sync/atomic\"\n"},
		{"func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n", "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n\tsec += WallJump.Load()\n"},
	} {
		if strings.Count(changed, edit[0]) != 1 {
			t.Skipf("time.go of %s is another than this test knows", runtime.Version())
		}
		changed = strings.Replace(changed, edit[0], edit[1], 1)
	}
	changed += "\n// WallJump is what the wall clock is wrong by, in seconds.\nvar WallJump atomic.Int64\n"
	main, err := filepath.Abs("../../cmd/lzstock")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		original:                       write(t, dir, "time.go", changed),
		filepath.Join(main, "jump.go"): write(t, dir, "jump.go", jumper),
	}})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	jumping, err := proc.Build(dir, "../../cmd/lzstock", "-overlay", write(t, dir, "overlay.json", string(overlay)))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("built an lzstock with another clock in %s", round(time.Since(began)))
	return jumping
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestClockJumps has the wall clocks of bus, monitor and gateway jump an hour ahead and
// two back: nobody is lost, nothing is stale, all events come.
func TestClockJumps(t *testing.T) {
	if !*full {
		t.Skip("another Go library takes a minute to build: make faults tests this")
	}
	seed := seeded(t)
	file := write(t, t.TempDir(), "clock", "0")
	s := build(t, seed, layout{monitors: 1, gateways: 1, binary: jumping(t), env: []string{"FAULT_CLOCK=" + file}})
	s.play() // by a clock that is right
	f := newFleet(t, seed, s.addrs(), plan{clients: *clients, symbols: simSymbols(t), each: 3, wild: 20}).start(time.Second)
	for _, jump := range []time.Duration{time.Hour, -time.Hour, 0} {
		at := time.Now()
		f.calm()
		write(t, filepath.Dir(file), "clock", strconv.Itoa(int(jump.Seconds())))
		// The gateway's heartbeats and pongs tell its time.
		proc.Eventually(t, "the jump of the gateway's clock", func() bool {
			return time.Until(serverTime(t, s.gateways[0].addr)).Round(time.Minute) == jump
		})
		t.Logf("fault: clocks are wrong by %s", jump)
		time.Sleep(3 * time.Second)
		if n := f.counting(func(c *client) bool { return len(c.words(at)) > 0 }); n > 0 {
			t.Errorf("after the jump to %s %d clients were told of a feed that is not live", jump, n)
		}
		promised(t, "the longest time without any event", spread{f.longest()}, time.Second)
	}
	s.silence()
	f.balance(readTruth(t, s.nats))
	if n := f.sum(func(c *client) int { return c.alone }); n > 0 {
		t.Errorf("%d sockets ended", n)
	}
}
