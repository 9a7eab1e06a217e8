package poll

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/lzstock/lzstock/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// collector is a Sink that keeps everything.
type collector struct {
	mu   sync.Mutex
	got  []byte
	ends []error
	end  chan struct{} // closed by the first End
	wait chan struct{} // where not nil, Data waits for it
}

func newCollector() *collector { return &collector{end: make(chan struct{})} }

func (c *collector) Data(p []byte) {
	if c.wait != nil {
		<-c.wait
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, p...)
	clear(p) // it is ours to change
}

func (c *collector) End(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ends = append(c.ends, err); len(c.ends) == 1 {
		close(c.end)
	}
}

// pair gives both ends of a TCP connection.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	return client, server
}

// readers are the implementations that this system has.
func readers(t *testing.T, f func(t *testing.T, r Reader, stop func() error)) {
	t.Helper()
	for name, create := range map[string]func() (Reader, error){
		"goroutines": func() (Reader, error) { return NewGoroutines(), nil },
		"best":       New,
	} {
		t.Run(name, func(t *testing.T) {
			r, err := create()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- r.Run(ctx) }()
			stop := sync.OnceValue(func() error { cancel(); return <-done })
			defer func() { _ = stop() }()
			f(t, r, stop)
		})
	}
}

func TestBytesComeInOrderAndThenTheEnd(t *testing.T) {
	readers(t, func(t *testing.T, r Reader, _ func() error) {
		t.Helper()
		const conns = 20
		want := bytes.Repeat([]byte("0123456789"), 20_000)
		var senders sync.WaitGroup
		var sinks []*collector
		for range conns {
			client, server := pair(t)
			c := newCollector()
			if _, err := r.Add(server, c); err != nil {
				t.Fatal(err)
			}
			sinks = append(sinks, c)
			senders.Go(func() {
				for p := want; len(p) > 0; p = p[min(len(p), 7777):] {
					if _, err := client.Write(p[:min(len(p), 7777)]); err != nil {
						t.Error(err)
					}
				}
				_ = client.Close()
			})
		}
		senders.Wait()
		for _, c := range sinks {
			<-c.end
			if !bytes.Equal(c.got, want) || len(c.ends) != 1 || !errors.Is(c.ends[0], io.EOF) {
				t.Errorf("%d bytes, ends %v", len(c.got), c.ends)
			}
		}
	})
}

func TestRemoveEndsOnceAndWaits(t *testing.T) {
	readers(t, func(t *testing.T, r Reader, _ func() error) {
		t.Helper()
		client, server := pair(t)
		c := newCollector()
		c.wait = make(chan struct{})
		w, err := r.Add(server, c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		c.wait <- struct{}{} // the sink is being called
		w.Remove()
		w.Remove()
		if _, err := client.Write([]byte("y")); err != nil {
			t.Fatal(err)
		}
		_ = server.Close()
		if string(c.got) != "x" || len(c.ends) != 1 || !errors.Is(c.ends[0], ErrClosed) {
			t.Errorf("got %q, ends %v", c.got, c.ends)
		}
	})
}

func TestCloseByTheOwnerAfterRemove(t *testing.T) {
	readers(t, func(t *testing.T, r Reader, _ func() error) {
		t.Helper()
		// Descriptors are used again at once: what belongs to a new connection must
		// not reach an old sink.
		for range 200 {
			client, server := pair(t)
			c := newCollector()
			w, err := r.Add(server, c)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = client.Write([]byte("hello"))
			w.Remove()
			_ = server.Close()
			_ = client.Close()
			if len(c.ends) != 1 || (len(c.got) > 0 && string(c.got) != "hello") {
				t.Fatalf("got %q, ends %v", c.got, c.ends)
			}
		}
	})
}

func TestStopEndsAll(t *testing.T) {
	readers(t, func(t *testing.T, r Reader, stop func() error) {
		t.Helper()
		var sinks []*collector
		for range 10 {
			_, server := pair(t)
			c := newCollector()
			if _, err := r.Add(server, c); err != nil {
				t.Fatal(err)
			}
			sinks = append(sinks, c)
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
		for _, c := range sinks {
			if len(c.ends) != 1 || !errors.Is(c.ends[0], ErrClosed) {
				t.Errorf("ends %v", c.ends)
			}
		}
		_, server := pair(t)
		if _, err := r.Add(server, newCollector()); !errors.Is(err, ErrClosed) {
			t.Errorf("add after the end: %v", err)
		}
	})
}
