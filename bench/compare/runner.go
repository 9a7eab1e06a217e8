package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/lzstock/lzstock/internal/bench/report"
)

const (
	universe   = 100              // symbols; each socket wants ten of them
	benchSlack = 90 * time.Second // beyond what a run is to take: for one that does not keep up
)

// runner builds what is compared, and puts the load on.
type runner struct {
	dir  string // of the binaries
	hold time.Duration
}

func (r *runner) build(ctx context.Context) error {
	for _, args := range [][]string{
		{"build", "-o", r.dir + string(filepath.Separator), "./textbook", "./floor"},
		{"build", "-C", "..", "-o", filepath.Join(r.dir, "lzstock"), "./cmd/lzstock"},
	} {
		cmd := exec.CommandContext(ctx, "go", args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go %v: %w\n%s", args, err, out)
		}
	}
	return nil
}

// bench puts the load on, and reads the report.
func (r *runner) bench(ctx context.Context, w work, listen, admin string) (*report.Report, error) {
	ramp := max(time.Second, time.Duration(w.sockets)*time.Millisecond)
	ctx, cancel := context.WithTimeout(ctx, ramp+r.hold+benchSlack)
	defer cancel()
	file := filepath.Join(r.dir, "report.json")
	cmd := exec.CommandContext(ctx, filepath.Join(r.dir, "lzstock"), "bench", "--url", "ws://"+listen+"/v1/stream",
		"--clients", strconv.Itoa(w.sockets), "--universe", "sim:"+strconv.Itoa(universe), "--symbols", "10",
		"--ramp", ramp.String(), "--duration", r.hold.String(), "--admin", "http://"+admin, "--json", file)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("lzstock bench: %w\n%s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	rep := &report.Report{}
	return rep, json.Unmarshal(text, rep)
}
