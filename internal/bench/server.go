package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lzstock/lzstock/internal/bench/report"
)

// servers reads the metrics of the processes under load.
type servers struct {
	urls   []string
	client *http.Client
}

// scrape is what they say at one moment: their sum, and the gateway's own series.
type scrape struct {
	at      time.Time
	sample  report.Sample
	gateway map[string]float64
}

// scrapeLimit bounds a request: a server under full load may take long.
const scrapeLimit = 5 * time.Second

func newServers(urls []string) (*servers, error) {
	s := &servers{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: scrapeLimit}}
	for _, text := range urls {
		if !strings.Contains(text, "://") {
			text = "http://" + text
		}
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("admin: %q is no address; want one such as http://127.0.0.1:9090", text)
		}
		if u.Path == "" || u.Path == "/" {
			u.Path = "/metrics"
		}
		s.urls = append(s.urls, u.String())
	}
	return s, nil
}

func (s *servers) close() { s.client.CloseIdleConnections() }

// read asks all of them.
func (s *servers) read(ctx context.Context) (scrape, error) {
	out := scrape{gateway: map[string]float64{}}
	for _, u := range s.urls {
		if err := s.readOne(ctx, u, &out); err != nil {
			return out, fmt.Errorf("admin %s: %w", u, err)
		}
	}
	out.at = time.Now()
	return out, nil
}

func (s *servers) readOne(ctx context.Context, u string, out *scrape) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answered %s", resp.Status)
	}
	return readMetrics(resp.Body, out)
}

// readMetrics reads Prometheus's text format, as far as it is of interest. Series
// of the same name are added up.
func readMetrics(r io.Reader, out *scrape) error {
	known := map[string]*float64{
		"process_cpu_seconds_total":     &out.sample.CPU,
		"process_resident_memory_bytes": &out.sample.RSS,
		"go_goroutines":                 &out.sample.Goroutines,
		"process_open_fds":              &out.sample.Files,
		"lzstock_gateway_sockets":       &out.sample.Sockets,
		"lzstock_gateway_topics":        &out.sample.Topics,
	}
	lines, found := bufio.NewScanner(r), false
	for lines.Scan() {
		line := lines.Text()
		series, text, ok := cutLast(line)
		if !ok || line[0] == '#' {
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			continue // such as a series with a time behind its value, which these servers do not have
		}
		name, _, _ := strings.Cut(series, "{")
		if to := known[name]; to != nil {
			*to += v
			found = true
		}
		if strings.HasPrefix(name, "lzstock_gateway_") {
			out.gateway[strings.TrimPrefix(series, "lzstock_gateway_")] += v
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if !found {
		return errors.New("there are no metrics of a process; want the admin address of a gateway")
	}
	return nil
}

func cutLast(line string) (before, after string, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if i <= 0 {
		return "", "", false
	}
	return line[:i], line[i+1:], true
}

// unsettled lists what the server still holds beyond what it held before the run.
// Goroutines and files differ by a few between any two moments.
func unsettled(before, now report.Sample) (out []string) {
	const few = 4
	for _, x := range []struct {
		name        string
		before, now float64
		may         float64
	}{
		{"sockets", before.Sockets, now.Sockets, 0},
		{"goroutines", before.Goroutines, now.Goroutines, few},
		{"open files", before.Files, now.Files, few},
	} {
		if more := x.now - x.before; more > x.may {
			out = append(out, fmt.Sprintf("%.0f %s more", more, x.name))
		}
	}
	return out
}

// isCounter tells a series that only grows from one that goes up and down.
func isCounter(series string) bool {
	name, _, _ := strings.Cut(series, "{")
	return strings.HasSuffix(name, "_total")
}
