package memnet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/memnet"
)

func TestMain(m *testing.M) { leak.Main(m) }

func dial(t *testing.T, opts ...memnet.Option) (l *memnet.Listener, client, server *memnet.Conn) {
	t.Helper()
	l = memnet.Listen(opts...)
	client, err := l.Dial()
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return l, client, c.(*memnet.Conn)
}

func TestBytesArriveInOrderThroughASmallBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client, server := dial(t, memnet.WithBuffer(7))
		want := []byte(strings.Repeat("0123456789", 1000))
		var wg sync.WaitGroup
		wg.Go(func() {
			if n, err := client.Write(want); n != len(want) || err != nil {
				t.Errorf("Write = %d, %v", n, err)
			}
			if err := client.CloseWrite(); err != nil {
				t.Error(err)
			}
			// The other direction still works after the half close.
			if got, err := io.ReadAll(client); string(got) != "bye" || err != nil {
				t.Errorf("client read %q, %v", got, err)
			}
		})
		got, err := io.ReadAll(server)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("server read %d bytes, %v", len(got), err)
		}
		if _, err := server.Write([]byte("bye")); err != nil {
			t.Error(err)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}

func TestCloseFreesBothBlockedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client, server := dial(t, memnet.WithBuffer(4))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("blocked Read: %v", err)
			}
		})
		wg.Go(func() {
			n, err := client.Write([]byte("abcdefgh"))
			if n != 4 || !errors.Is(err, net.ErrClosed) {
				t.Errorf("blocked Write = %d, %v", n, err)
			}
		})
		synctest.Wait()
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if err := client.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
		// The peer gets what had been sent, then the end.
		if got, err := io.ReadAll(server); string(got) != "abcd" || err != nil {
			t.Errorf("server read %q, %v", got, err)
		}
		if _, err := server.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write to a closed peer: %v", err)
		}
	})
}

func TestPeerCloseFreesABlockedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pair(memnet.WithBuffer(1))
		var wg sync.WaitGroup
		wg.Go(func() {
			if n, err := a.Write([]byte("ab")); n != 1 || !errors.Is(err, syscall.EPIPE) {
				t.Errorf("Write = %d, %v", n, err)
			}
		})
		synctest.Wait()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pair(memnet.WithBuffer(2))
		start := time.Now()
		check := func(what string, err error, after time.Duration) {
			t.Helper()
			var ne net.Error
			if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("%s: %v", what, err)
			}
			if got := time.Since(start); got != after {
				t.Errorf("%s: after %v, want %v", what, got, after)
			}
		}
		_ = a.SetReadDeadline(start.Add(time.Second))
		_, err := a.Read(make([]byte, 1))
		check("read", err, time.Second)

		_ = a.SetWriteDeadline(start.Add(3 * time.Second))
		n, err := a.Write([]byte("abc"))
		check("write", err, 3*time.Second)
		if n != 2 {
			t.Errorf("wrote %d, want 2", n)
		}
		_, err = a.TryWrite([]byte("c"))
		check("try write", err, 3*time.Second)

		// A blocked Read is freed by a deadline set from elsewhere, as
		// net/http does, and one that is moved away does not fire.
		_ = b.SetReadDeadline(start.Add(4 * time.Second))
		_ = b.SetReadDeadline(time.Time{})
		if got := make([]byte, 8); func() bool { n, err := b.Read(got); return n != 2 || err != nil }() {
			t.Error("read after a cleared deadline failed")
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := b.Read(make([]byte, 1))
			check("freed", err, time.Hour)
		})
		time.Sleep(time.Until(start.Add(time.Hour)))
		_ = b.SetReadDeadline(time.Unix(1, 0))
		wg.Wait()
		_ = a.Close()
		if err := a.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("SetDeadline after Close: %v", err)
		}
	})
}

func TestTryWriteTakesWhatFitsAndStallFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pair(memnet.WithBuffer(4))
		b.Stall()
		var wg sync.WaitGroup
		got := make([]byte, 8)
		wg.Go(func() {
			n, err := b.Read(got)
			if string(got[:n]) != "abcd" || err != nil {
				t.Errorf("read %q, %v", got[:n], err)
			}
		})
		for _, step := range []struct {
			in   string
			want int
		}{{"abc", 3}, {"def", 1}, {"ef", 0}, {"", 0}} {
			if n, err := a.TryWrite([]byte(step.in)); n != step.want || err != nil {
				t.Errorf("TryWrite(%q) = %d, %v; want %d", step.in, n, err, step.want)
			}
		}
		synctest.Wait()
		if n := b.Unread(); n != 4 {
			t.Errorf("Unread = %d, want 4: a stalled end read", n)
		}
		b.Resume()
		wg.Wait()
		_ = b.Close()
		if _, err := a.TryWrite([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("TryWrite to a closed peer: %v", err)
		}
		_ = a.Close()
	})
}

func TestListenerCloseAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, client, server := dial(t)
		waiting, err := l.Dial()
		if err != nil {
			t.Fatal(err)
		}
		if c, s := l.Open(); c != 2 || s != 2 {
			t.Errorf("Open = %d, %d; want 2, 2", c, s)
		}
		if client.LocalAddr().String() != server.RemoteAddr().String() {
			t.Errorf("addresses differ: %v, %v", client.LocalAddr(), server.RemoteAddr())
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v", err)
		}
		if _, err := l.DialContext(t.Context(), "tcp", "x:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial after Close: %v", err)
		}
		if _, err := waiting.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("a connection that nobody accepted: %v", err)
		}
		_, _, _ = client.Close(), server.Close(), waiting.Close()
		if c, s := l.Open(); c != 0 || s != 0 {
			t.Errorf("Open = %d, %d; want 0, 0", c, s)
		}
	})
}

func TestDialContextHeedsItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	if _, err := memnet.Listen().DialContext(ctx, "", ""); !errors.Is(err, why) {
		t.Errorf("err = %v, want the cause", err)
	}
}

func TestAnHourUnderHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen()
		srv := &http.Server{
			ReadHeaderTimeout: time.Minute,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				select {
				case <-time.After(time.Hour):
				case <-r.Context().Done():
				}
				_, _ = w.Write(append([]byte("got "), body...))
			}),
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
		tr := &http.Transport{DialContext: l.DialContext}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://memnet/", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: tr}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if string(got) != "got hello" || err != nil {
			t.Errorf("body %q, %v", got, err)
		}
		tr.CloseIdleConnections()
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		wg.Wait()
		synctest.Wait()
		if c, s := l.Open(); c != 0 || s != 0 {
			t.Errorf("Open = %d, %d; want 0, 0", c, s)
		}
	})
}

func TestGRPCInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen()
		srv := grpc.NewServer()
		h := health.NewServer()
		healthpb.RegisterHealthServer(srv, h)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := srv.Serve(l); err != nil {
				t.Error(err)
			}
		})
		cc, err := grpc.NewClient("passthrough:///memnet",
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
				return l.DialContext(ctx, "memnet", addr)
			}))
		if err != nil {
			t.Fatal(err)
		}
		watch, err := healthpb.NewHealthClient(cc).Watch(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if m, err := watch.Recv(); err != nil || m.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("first: %v, %v", m, err)
		}
		time.Sleep(time.Hour) // nothing to do: the bubble's clock jumps
		h.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
		if m, err := watch.Recv(); err != nil || m.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
			t.Errorf("second: %v, %v", m, err)
		}
		if err := cc.Close(); err != nil {
			t.Error(err)
		}
		srv.Stop()
		wg.Wait()
		synctest.Wait()
		if c, s := l.Open(); c != 0 || s != 0 {
			t.Errorf("Open = %d, %d; want 0, 0", c, s)
		}
	})
}
