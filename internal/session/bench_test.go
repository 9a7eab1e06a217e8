package session_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/lzstock/lzstock/internal/session"
)

// BenchmarkStored reports the memory a session takes: where it is only known of,
// as on every gateway, and with the store that holds it in the same process.
func BenchmarkStored(b *testing.B) {
	const n = 10_000
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return float64(s.HeapAlloc)
	}
	for b.Loop() {
		kv := session.NewMemory(session.MemoryConfig{})
		empty := heap()
		creator := start(b, kv, "creator", session.Config{PerUser: n})
		for i := range n {
			creator.create(session.User(fmt.Sprint("user-", i%1000)))
		}
		creator.stop()
		creator.Manager = nil
		stored := heap()
		g := start(b, kv, "g", session.Config{})
		for g.Ready() != nil {
			runtime.Gosched()
		}
		known := heap()
		b.ReportMetric((stored-empty)/n, "B/stored")
		b.ReportMetric((known-stored)/n, "B/known")
		b.ReportMetric(float64(g.Stats().Bytes)/n, "B/counted")
		g.stop()
		runtime.KeepAlive(kv)
	}
}
