package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// Get fetches a page; the status is 0 where nothing answers, and the body says why.
func Get(url string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// Eventually waits until ok, and fails the test when it does not come.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(Patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatalf("waited %s: %s did not come", Patience, what)
		}
	}
}

// nextPort is the last port that FreeAddr gave. Ports below the system's own range
// for outgoing connections stay free between the look and the use.
var nextPort atomic.Int64 //nolint:gochecknoglobals // the ports are the process's

// FreeAddr gives an address on loopback that nobody listens on.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	const first, count = 12_000, 20_000
	nextPort.CompareAndSwap(0, int64(os.Getpid()))
	for range count {
		addr := fmt.Sprintf("127.0.0.1:%d", first+nextPort.Add(1)%count)
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			tb.Fatal(err)
		}
		return addr
	}
	tb.Fatal("no port is free")
	return ""
}

// Tape gives a recorded tape, or skips the test. root is where the project is,
// seen from the test.
func Tape(tb testing.TB, root, name string) string {
	tb.Helper()
	path := filepath.Join(root, "..", "shared", "data", name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		tb.Skipf("no recorded market data here (%s): the simulator's tests serve", path)
	}
	return path
}
