package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// state is what a process holds at a moment.
type state struct {
	Resident   int // KiB
	Heap       int // KiB
	Topics     int
	Goroutines int
	Files      int
	Events     int // that its hub has had
}

// most returns the greater of each number.
func (s state) most(t state) state {
	return state{
		max(s.Resident, t.Resident), max(s.Heap, t.Heap), max(s.Topics, t.Topics), max(s.Goroutines, t.Goroutines), max(s.Files, t.Files), max(s.Events, t.Events),
	}
}

// The differences that are no attack's fault.
const (
	slackCount = 10       // the polls of the admin listener
	heapGrowth = 12 << 10 // KiB
	heapWindow = 48 << 10 // KiB, of a hub's window when it fills
	hubWindow  = 32_768   // events that a hub keeps for clients that resume
)

// more says which numbers are greater than before. Of topics there may be those of all
// symbols that exist, and grown KiB of heap are no attack's.
func (s state) more(before state, topics, grown int) (what []string) {
	grown += heapGrowth
	if before.Events < hubWindow {
		grown += heapWindow
	}
	for _, n := range []struct {
		name      string
		is, bound int
	}{
		{"topics", s.Topics, max(before.Topics, topics) + slackCount},
		{"goroutines", s.Goroutines, before.Goroutines + slackCount},
		{"descriptors", s.Files, before.Files + slackCount},
		{"KiB of heap", s.Heap, before.Heap + before.Heap/20 + grown},
	} {
		if n.is > n.bound {
			what = append(what, fmt.Sprintf("%d %s, at most %d wanted", n.is, n.name, n.bound))
		}
	}
	return what
}

func (p process) get(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.200s", path, resp.Status, body)
	}
	return string(body), err
}

// collect has the process collect its garbage, so that its heap can be compared.
func (p process) collect(ctx context.Context) error {
	_, err := p.get(ctx, "/debug/pprof/heap?gc=1")
	return err
}

func (p process) state(ctx context.Context) (s state, err error) {
	proc := fmt.Sprintf("/proc/%d", p.cmd.Process.Pid)
	entries, err := os.ReadDir(proc + "/fd")
	if err != nil {
		return s, err
	}
	s.Files = len(entries)
	text, err := os.ReadFile(proc + "/status")
	if err != nil {
		return s, err
	}
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		if words := strings.Fields(string(line)); len(words) > 1 && words[0] == "VmRSS:" {
			s.Resident, err = strconv.Atoi(words[1])
		}
	}
	if err != nil {
		return s, err
	}
	page, err := p.get(ctx, "/metrics")
	if err != nil {
		return s, err
	}
	m := metrics(page)
	s.Heap = int(m["go_memstats_heap_alloc_bytes"]) >> 10
	s.Goroutines = int(m["go_goroutines"])
	s.Events = int(max(m["lzstock_monitor_events_total"], m["lzstock_gateway_events_total"]))
	// A gateway has topics in its hub and wants topics of its monitor: nearly the same.
	s.Topics = int(m["lzstock_monitor_hub_topics"] + max(m["lzstock_gateway_topics"], m["lzstock_upstream_topics"]))
	if _, ok := m["lzstock_gateway_topics"]; !ok {
		return s, fmt.Errorf("%s has no metric lzstock_gateway_topics", p.admin)
	}
	return s, nil
}

// metrics sums the metrics of each name, whatever their labels are.
func metrics(page string) map[string]float64 {
	sums := map[string]float64{}
	for line := range strings.SplitSeq(page, "\n") {
		name, _, _ := strings.Cut(line, " ")
		name, _, _ = strings.Cut(name, "{")
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err == nil && !strings.HasPrefix(line, "#") {
			sums[name] += v
		}
	}
	return sums
}
