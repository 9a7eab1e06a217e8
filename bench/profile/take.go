package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	slack = 10 * time.Second // of load beyond what the profiles take
	lines = "40"             // of a profile's top
)

// profile is one that is taken.
type profile struct {
	file string // and the text beside it is file.txt
	path string // on the admin listener
	args []string
}

// taker takes profiles from one admin listener into one folder.
type taker struct {
	admin  string // URL
	folder string
	alive  func() error // nil while there is load
}

// plan gives the profiles of a loaded process, those in one group at the same
// time: what samples mutexes and blocking would show in the CPU's profile.
func plan(total time.Duration) [][]profile {
	part := max(1, int(total.Seconds())*2/5)
	seconds := fmt.Sprintf("?seconds=%d", part)
	return [][]profile{
		{{file: "cpu.pprof", path: "/debug/pprof/profile" + seconds}},
		{
			{file: "mutex.pprof", path: "/debug/pprof/mutex" + seconds},
			{file: "block.pprof", path: "/debug/pprof/block" + seconds},
		},
		{
			{file: "heap.pprof", path: "/debug/pprof/heap?gc=1", args: []string{"-sample_index=inuse_space"}},
			{file: "allocs.pprof", path: "/debug/pprof/allocs", args: []string{"-sample_index=alloc_space"}},
			{file: "goroutine.pprof", path: "/debug/pprof/goroutine"},
			{file: "goroutines.txt", path: "/debug/pprof/goroutine?debug=2"},
		},
	}
}

func (t *taker) all(ctx context.Context, total time.Duration) error {
	for _, group := range plan(total) {
		g, ctx := errgroup.WithContext(ctx)
		for _, p := range group {
			g.Go(func() error { return t.fetch(ctx, p) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if err := t.alive(); err != nil {
			return err
		}
	}
	for _, group := range plan(total) {
		for _, p := range group {
			if filepath.Ext(p.file) == ".pprof" {
				if err := t.top(ctx, p); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (t *taker) fetch(ctx context.Context, p profile) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.admin+p.path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return fmt.Errorf("read %s: %w", p.path, err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("get %s: %s: %s", p.path, resp.Status, bytes.TrimSpace(body))
	}
	return os.WriteFile(filepath.Join(t.folder, p.file), body, 0o600)
}

// top writes what is at the top of a profile.
func (t *taker) top(ctx context.Context, p profile) error {
	file := filepath.Join(t.folder, p.file)
	args := append([]string{"tool", "pprof", "-top", "-nodecount=" + lines}, p.args...)
	var text, said bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", append(args, file)...)
	cmd.Stdout, cmd.Stderr = &text, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go tool pprof %s: %w\n%s", file, err, said.Bytes())
	}
	return os.WriteFile(file+".txt", text.Bytes(), 0o600)
}

// summary says where everything is.
func (t *taker) summary(out io.Writer) error {
	folder, err := filepath.Abs(t.folder)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s has cpu, mutex, block, heap, allocs and goroutine profiles, the top of each in FILE.txt, and goroutines.txt.\n"+
		"Look closer with: go tool pprof -http=: %s\n", folder, filepath.Join(folder, "cpu.pprof"))
	return err
}
