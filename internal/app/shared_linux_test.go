package app

import (
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
)

// count accepts, counts, and closes.
func count(wg *sync.WaitGroup, l net.Listener) (n *int) {
	n = new(int)
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			*n++
			_ = c.Close()
		}
	})
	return n
}

// TestHandoverOfAPort turns all connections to the other listener, the newer or
// the older, and leaves nothing behind for the next one.
func TestHandoverOfAPort(t *testing.T) {
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, nil))
	first, err := listenShared(t.Context(), "127.0.0.1:0", log)
	if err != nil {
		t.Fatal(err)
	}
	addr := first.l.Addr().String()
	if first.handover(t.Context()) {
		t.Error("a handover to nobody")
	}
	if _, err := listen(t.Context(), "listen", addr, ""); err == nil {
		t.Error("a port that is shared is free for others")
	}
	join := func() *sharedPort {
		t.Helper()
		p, err := listenShared(t.Context(), addr, log)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	// all has leaving hand over, and checks that staying alone is connected to.
	all := func(name string, leaving, staying *sharedPort) {
		t.Helper()
		if !leaving.handover(t.Context()) {
			t.Fatalf("%s: nobody is there: %s", name, out.String())
		}
		var wg sync.WaitGroup
		left, stayed := count(&wg, leaving.l), count(&wg, staying.l)
		for range 100 {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			_, _ = c.Read(make([]byte, 1)) // until it is closed
			_ = c.Close()
		}
		_ = leaving.l.Close()
		for range 10 {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatalf("%s, afterwards: %v", name, err)
			}
			_, _ = c.Read(make([]byte, 1))
			_ = c.Close()
		}
		_ = staying.l.Close()
		wg.Wait()
		if *left != 0 || *stayed != 110 {
			t.Errorf("%s: %d connections to who leaves, %d to who stays", name, *left, *stayed)
		}
	}
	second := join()
	all("to the newer", first, second)

	first, err = listenShared(t.Context(), addr, log)
	if err != nil {
		t.Fatal(err)
	}
	second = join()
	all("to the older", second, first)

	// The first leaves, and hands over to the second, which is the first then, and
	// hands over to a third.
	first, err = listenShared(t.Context(), addr, log)
	if err != nil {
		t.Fatal(err)
	}
	second = join()
	first.handover(t.Context())
	_ = first.l.Close()
	all("one after the other", second, join())
	if out.Len() > 0 {
		t.Errorf("warned: %s", out.String())
	}
}

func TestSharedPortNeedsItsFlagOnBothSides(t *testing.T) {
	l, err := listen(t.Context(), "listen", "127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if _, err := listenShared(t.Context(), l.Addr().String(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "started without --reuse-port") {
		t.Errorf("err = %v", err)
	}
}
