package poll

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/testcert"
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

// stage is one implementation, running, with a way to connect to it.
type stage struct {
	t      *testing.T
	poller Poller
	secure bool
	stop   func() error
}

// pair gives both ends of a connection, the server's as the poller is to take it.
func (s *stage) pair() (client, server net.Conn) {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	if server, err = Listen(l).Accept(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	if !s.secure {
		return client, server
	}
	cert, roots := testcert.Make(s.t, 1)
	far := tls.Client(client, &tls.Config{RootCAs: roots, ServerName: "localhost"})
	near := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}})
	shaken := make(chan error, 1)
	go func() { shaken <- far.HandshakeContext(s.t.Context()) }()
	if err := near.HandshakeContext(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		s.t.Fatal(err)
	}
	return far, near
}

// take gives the client's end of a new connection, and the poller's.
func (s *stage) take() (net.Conn, Conn) {
	s.t.Helper()
	client, server := s.pair()
	c, err := s.poller.Take(server)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return client, c
}

// pollers are the implementations that this system has, plain and with TLS.
func pollers(t *testing.T, f func(t *testing.T, s *stage)) {
	t.Helper()
	for name, create := range map[string]func() (Poller, error){
		"goroutines": func() (Poller, error) { return NewGoroutines(), nil },
		"best":       New,
	} {
		for _, secure := range []bool{false, true} {
			if secure {
				name += " with TLS"
			}
			t.Run(name, func(t *testing.T) {
				p, err := create()
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- p.Run(ctx) }()
				s := &stage{t: t, poller: p, secure: secure, stop: sync.OnceValue(func() error { cancel(); return <-done })}
				defer func() { _ = s.stop() }()
				f(t, s)
			})
		}
	}
}

func TestBytesComeInOrderAndThenTheEnd(t *testing.T) {
	pollers(t, func(t *testing.T, s *stage) {
		t.Helper()
		const conns = 20
		want := bytes.Repeat([]byte("0123456789"), 20_000)
		var senders sync.WaitGroup
		var sinks []*collector
		for range conns {
			client, conn := s.take()
			c := newCollector()
			conn.Start(c)
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

// What came before the start, in the same records as what was read already, is
// not lost.
func TestEarlyBytes(t *testing.T) {
	pollers(t, func(t *testing.T, s *stage) {
		t.Helper()
		client, server := s.pair()
		if _, err := client.Write([]byte("first, then more")); err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 5)
		if _, err := io.ReadFull(server, first); err != nil {
			t.Fatal(err)
		}
		conn, err := s.poller.Take(server)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		c := newCollector()
		conn.Start(c)
		_, _ = client.Write([]byte(", and the end"))
		_ = client.Close()
		<-c.end
		if got := string(first) + string(c.got); got != "first, then more, and the end" {
			t.Errorf("got %q", got)
		}
	})
}

// offer writes all of p as a bridge does, and calls full before each Push.
func offer(c Conn, p []byte, full func()) error {
	rest, err := c.Offer(p)
	for err == nil && len(rest) > 0 {
		full()
		rest, err = c.Push(rest, 10*time.Second)
	}
	return err
}

func TestWritesArriveWhole(t *testing.T) {
	pollers(t, func(t *testing.T, s *stage) {
		t.Helper()
		client, conn := s.take()
		conn.Start(newCollector())
		piece := bytes.Repeat([]byte("0123456789abcdef"), 10_000)
		const pieces = 100 // 16 MB: more than the kernel takes
		full := make(chan struct{})
		told := sync.OnceFunc(func() { close(full) })
		var writer sync.WaitGroup
		writer.Go(func() {
			for range pieces {
				if err := offer(conn, piece, told); err != nil {
					t.Error(err)
					return
				}
			}
		})
		<-full // nobody reads before Push is tried
		got := make([]byte, pieces*len(piece))
		if _, err := io.ReadFull(client, got); err != nil {
			t.Fatal(err)
		}
		writer.Wait()
		if !bytes.Equal(got, bytes.Repeat(piece, pieces)) {
			t.Error("what arrived is not what was written")
		}
	})
}

// Reading and writing at once, both ways, each whole.
func TestBothWays(t *testing.T) {
	pollers(t, func(t *testing.T, s *stage) {
		t.Helper()
		client, conn := s.take()
		c := newCollector()
		conn.Start(c)
		want := bytes.Repeat([]byte("0123456789"), 50_000)
		var tasks sync.WaitGroup
		tasks.Go(func() { _, _ = client.Write(want) })
		tasks.Go(func() { _ = offer(conn, want, func() {}) })
		got := make([]byte, len(want))
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v", err)
		}
		tasks.Wait()
		_ = client.Close()
		<-c.end
		if !bytes.Equal(c.got, want) {
			t.Errorf("%d bytes came", len(c.got))
		}
	})
}

// fill writes until the connection takes no more, and gives what is left.
func fill(t *testing.T, c Conn) []byte {
	t.Helper()
	for range 1000 {
		rest, err := c.Offer(make([]byte, 64<<10))
		if err != nil {
			t.Fatal(err)
		}
		if len(rest) > 0 {
			return rest
		}
	}
	t.Fatal("64 MB were taken for a client that does not read")
	return nil
}

func TestPushEndsInTime(t *testing.T) {
	pollers(t, func(t *testing.T, s *stage) {
		t.Helper()
		_, conn := s.take()
		conn.Start(newCollector())
		rest := fill(t, conn)
		for len(rest) > 0 { // the kernel may find room for some more
			left, err := conn.Push(rest, 20*time.Millisecond)
			if err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) || len(left) == 0 {
					t.Errorf("%d left, %v", len(left), err)
				}
				return
			}
			rest = fill(t, conn)
		}
	})
}

func TestCloseFreesPush(t *testing.T) {
	pollers(t, func(t *testing.T, s *stage) {
		t.Helper()
		_, conn := s.take()
		c := newCollector()
		conn.Start(c)
		var rest []byte
		for len(rest) == 0 { // until the kernel finds room for no more
			rest, _ = conn.Push(fill(t, conn), 20*time.Millisecond)
		}
		var writer sync.WaitGroup
		began := make(chan struct{})
		writer.Go(func() {
			close(began)
			if _, err := conn.Push(rest, time.Hour); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Push: %v", err)
			}
		})
		<-began
		_ = conn.Close()
		writer.Wait()
		if len(c.ends) != 1 || !errors.Is(c.ends[0], ErrClosed) {
			t.Errorf("ends %v", c.ends)
		}
		if rest, err := conn.Offer([]byte("x")); err == nil && len(rest) == 0 {
			t.Error("a closed connection took something")
		}
	})
}

func TestPushBeforeStart(t *testing.T) {
	pollers(t, func(t *testing.T, s *stage) {
		t.Helper()
		client, conn := s.take()
		rest := fill(t, conn)
		pushed := make(chan error, 1)
		go func() {
			_, err := conn.Push(rest, 10*time.Second)
			pushed <- err
		}()
		conn.Start(newCollector())
		var reader sync.WaitGroup
		reader.Go(func() { _, _ = io.Copy(io.Discard, client) })
		if err := <-pushed; err != nil {
			t.Error(err)
		}
		_ = conn.Close()
		reader.Wait()
	})
}

func TestCloseEndsOnceAndWaits(t *testing.T) {
	pollers(t, func(t *testing.T, s *stage) {
		t.Helper()
		client, conn := s.take()
		c := newCollector()
		c.wait = make(chan struct{})
		conn.Start(c)
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		c.wait <- struct{}{} // the sink is being called
		_ = conn.Close()
		_ = conn.Close()
		if string(c.got) != "x" || len(c.ends) != 1 || !errors.Is(c.ends[0], ErrClosed) {
			t.Errorf("got %q, ends %v", c.got, c.ends)
		}
	})
}

func TestCloseBeforeStart(t *testing.T) {
	pollers(t, func(t *testing.T, s *stage) {
		t.Helper()
		_, conn := s.take()
		_ = conn.Close()
		c := newCollector()
		conn.Start(c)
		<-c.end
		if !errors.Is(c.ends[0], ErrClosed) && !errors.Is(c.ends[0], net.ErrClosed) {
			t.Errorf("ends %v", c.ends)
		}
	})
}

func TestThePeerSeesTheEnd(t *testing.T) {
	pollers(t, func(t *testing.T, s *stage) {
		t.Helper()
		client, conn := s.take()
		conn.Start(newCollector())
		_ = conn.Close()
		if _, err := client.Read(make([]byte, 1)); err == nil {
			t.Error("the client read something")
		}
	})
}

func TestDescriptorsAreUsedAgain(t *testing.T) {
	pollers(t, func(t *testing.T, s *stage) {
		t.Helper()
		// What belongs to a new connection must not reach an old sink.
		for range 50 {
			client, conn := s.take()
			c := newCollector()
			conn.Start(c)
			_, _ = client.Write([]byte("hello"))
			_ = conn.Close()
			_ = client.Close()
			if len(c.ends) != 1 || (len(c.got) > 0 && string(c.got) != "hello") {
				t.Fatalf("got %q, ends %v", c.got, c.ends)
			}
		}
	})
}

func TestStopEndsAll(t *testing.T) {
	pollers(t, func(t *testing.T, s *stage) {
		t.Helper()
		var sinks []*collector
		for range 10 {
			_, conn := s.take()
			c := newCollector()
			conn.Start(c)
			sinks = append(sinks, c)
		}
		if err := s.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
		for _, c := range sinks {
			if len(c.ends) != 1 || !errors.Is(c.ends[0], ErrClosed) {
				t.Errorf("ends %v", c.ends)
			}
		}
		_, conn := s.take()
		c := newCollector()
		conn.Start(c)
		if <-c.end; !errors.Is(c.ends[0], ErrClosed) {
			t.Errorf("started after the end: %v", c.ends)
		}
	})
}

// wrapped is a connection that somebody has listened to at its beginning.
type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

func TestWrappedConnectionsAreTakenBare(t *testing.T) {
	pollers(t, func(t *testing.T, s *stage) {
		t.Helper()
		client, server := s.pair()
		if !s.secure {
			server = wrapped{server.(*seam).Conn}
		}
		conn, err := s.poller.Take(server)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if st, ok := conn.(*stream); ok {
			if _, still := st.Conn.(wrapped); still {
				t.Error("what is read and written is the wrapper")
			}
		}
		c := newCollector()
		conn.Start(c)
		_, _ = client.Write([]byte("hello"))
		_ = client.Close()
		if <-c.end; string(c.got) != "hello" {
			t.Errorf("got %q", c.got)
		}
	})
}

func TestBrokenTLSEndsTheConnection(t *testing.T) {
	pollers(t, func(t *testing.T, s *stage) {
		t.Helper()
		if !s.secure {
			return
		}
		client, conn := s.take()
		c := newCollector()
		conn.Start(c)
		if _, err := client.(*tls.Conn).NetConn().Write([]byte("this is no record of TLS")); err != nil {
			t.Fatal(err)
		}
		<-c.end
		if len(c.got) > 0 || errors.Is(c.ends[0], io.EOF) {
			t.Errorf("got %q, ends %v", c.got, c.ends)
		}
	})
}

// layered stands on a connection and lets go of it, as those of listeners do.
type layered struct {
	net.Conn
	gone bool
}

func (l *layered) NetConn() net.Conn {
	l.gone = true
	return l.Conn
}

func TestWhatStandsOnAConnectionLetsGo(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	inner := &layered{Conn: a}
	outer := &layered{Conn: inner}
	if got := bare(outer); got != a || !inner.gone || !outer.gone {
		t.Errorf("bare gives %T; let go: %t, %t", got, inner.gone, outer.gone)
	}
}
