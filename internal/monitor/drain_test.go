package monitor_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/internal/monitor"
)

// TestDrain says NOT_SERVING at once, goes on streaming for the grace, and ends
// streams with UNAVAILABLE then, also those that come later. Calls are answered to
// the end.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, memory(), monitor.Config{}).live()
		w := f.watch(&pb.WatchRequest{Add: everything()})
		w.take()
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { f.server.Drain(t.Context(), 2*time.Second) })
		synctest.Wait()
		publish(t, f.bus, trade("A", 0, 1)) // which would make it serve
		synctest.Wait()
		r, err := healthpb.NewHealthClient(f.conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil || r.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
			t.Errorf("health: %v, %v", r, err)
		}
		time.Sleep(time.Second)
		if got := w.take(); len(batched(got)) != 1 {
			t.Errorf("within the grace: %v", kinds(got))
		}
		wg.Wait()
		if err := w.ended(); status.Code(err) != codes.Unavailable || time.Since(begin) != 2*time.Second {
			t.Errorf("ended after %s: %v", time.Since(begin), err)
		}
		if err := f.watch().ended(); status.Code(err) != codes.Unavailable {
			t.Errorf("a later Watch: %v", err)
		}
		if got := f.snapshots(); len(got.GetEvents()) == 0 {
			t.Errorf("snapshots: %v", got)
		}
	})
}
