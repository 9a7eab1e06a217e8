package fault

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/lzstock/lzstock/e2e/proc"
)

const patience = proc.Patience

// What may be chosen: go test ./e2e/fault -args -clients 2000.
var (
	clients  = flag.Int("clients", 250, "clients of each test")
	rate     = flag.Int("rate", 200, "events a second of the simulator")
	soak     = flag.Duration("soak", 12*time.Second, "how long TestSoak goes on")
	seedFlag = flag.Uint64("seed", 0, "what chance follows; 0: another one each time")
	slack    = flag.Float64("slack", slackOf(), "how many times as long as promised things may take on a busy machine (FAULT_SLACK)")
	given    = flag.String("binary", "", "the lzstock to test; built where it is empty")
	full     = flag.Bool("full", false, "the faults' full lengths: minutes")
)

// binary is the lzstock under test. It is built without the race detector, which
// would make it another program in what time it needs.
var binary string

func slackOf() float64 {
	if v, err := strconv.ParseFloat(os.Getenv("FAULT_SLACK"), 64); err == nil && v >= 1 {
		return v
	}
	return 1
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "lzstock-fault")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if *given != "" {
		binary = *given
	} else if binary, err = proc.Build(dir, "../../cmd/lzstock"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// seeded gives the seed of a test, and prints it.
func seeded(t *testing.T) uint64 {
	t.Helper()
	s := *seedFlag
	if s == 0 {
		s = uint64(time.Now().UnixNano()) % 1_000_000
	}
	t.Logf("seed %d", s)
	return s
}

// promised compares what was measured with what is promised. The value is always
// reported; only beyond the slack does the test fail.
func promised(t *testing.T, what string, got spread, limit time.Duration) {
	t.Helper()
	t.Logf("%s: %s (promised %s)", what, got, limit)
	if most := time.Duration(float64(limit) * *slack); got.at(1) > most {
		t.Errorf("%s took up to %s: want at most %s (%s × slack %g)", what, round(got.at(1)), most, limit, *slack)
	}
}
