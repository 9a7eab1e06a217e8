package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/leak"
)

// TestMain is also what attackers run, which are processes of their own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == attackerFlag {
		main()
	}
	leak.Main(m)
}

// TestAttacks plays all attacks for a moment, those of a kind at the same time, against
// the same processes and beside the same healthy clients. It asserts on facts. How much older
// prices become is for a machine that does nothing else: it is printed.
func TestAttacks(t *testing.T) {
	dir := t.TempDir()
	binary, err := build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	o := options{binary: binary, clients: 40, rate: 1000, duration: 3 * time.Second, opens: 500, seed: uint64(time.Now().UnixNano()) % 1e6}
	t.Logf("seed %d", o.seed)
	s, err := start(t.Context(), o, 2000, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"gateway.log", "up.log"} {
			if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil && t.Failed() {
				t.Logf("%s ends with:\n%s", name, text[max(0, len(text)-4000):])
			}
		}
	}()
	f, err := connect(t.Context(), s, o.clients)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for _, all := range [][]attack{churns(), works(), slices.Concat(edges(), requests()), {walkAttack()}, floods()} {
		var names []string
		for _, a := range all {
			names = append(names, a.name)
		}
		t.Run(all[0].name, func(t *testing.T) {
			a, err := find(strings.Join(names, "+"))
			if err != nil {
				t.Fatal(err)
			}
			r, err := measure(t.Context(), o, s, f, a)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("\n%s%s%s", tableHead, r.line(), notes([]row{r}))
			for _, text := range r.Broken {
				t.Error(text)
			}
			if len(r.Counts) == 0 {
				t.Error("the attacker did nothing")
			}
		})
	}
}
