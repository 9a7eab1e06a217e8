package bus_test

import (
	"fmt"
	"testing"

	"github.com/lzstock/lzstock/internal/bus"
)

// The benchmarks report ns/event: of publishing, acknowledgement included, of
// reading, and of the envelope alone.

func eachSize(b *testing.B, do func(b *testing.B, size int)) {
	b.Helper()
	for _, size := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			do(b, size)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/event")
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	eachSize(b, func(b *testing.B, size int) {
		b.Helper()
		events := trades(0, size)
		var buf []byte
		for b.Loop() {
			var err error
			if buf, err = bus.EncodeBatch(buf[:0], events); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	eachSize(b, func(b *testing.B, size int) {
		b.Helper()
		data, err := bus.EncodeBatch(nil, trades(0, size))
		must(b, err)
		for b.Loop() {
			if _, err := bus.DecodeBatch(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPublish(b *testing.B) {
	for name, dir := range map[string]bool{"memory": false, "file": true} {
		b.Run(name, func(b *testing.B) {
			eachSize(b, func(b *testing.B, size int) {
				b.Helper()
				stream := benchStream(b, dir)
				events := trades(0, size)
				b.ResetTimer()
				for range b.N {
					publish(b, stream, "bench", events)
				}
				b.StopTimer()
			})
		})
	}
}

func BenchmarkConsume(b *testing.B) {
	for name, dir := range map[string]bool{"memory": false, "file": true} {
		b.Run(name, func(b *testing.B) {
			eachSize(b, func(b *testing.B, size int) {
				b.Helper()
				stream := benchStream(b, dir)
				events := trades(0, size)
				for range b.N {
					publish(b, stream, "bench", events)
				}
				b.ResetTimer()
				n := 0
				for _, err := range stream.Read(b.Context(), 0) {
					must(b, err)
					if n++; n == b.N {
						break
					}
				}
				b.StopTimer()
			})
		})
	}
}

func benchStream(b *testing.B, file bool) *bus.JetStream {
	b.Helper()
	dir, stream := "", bus.StreamConfig{Storage: bus.StorageMemory}
	if file {
		dir, stream.Storage = b.TempDir(), bus.StorageFile
	}
	stream.MaxBytes = 1 << 30
	e, err := bus.StartEmbedded(bus.EmbeddedConfig{Dir: dir}, nil)
	must(b, err)
	s, err := bus.Dial(b.Context(), bus.Config{Server: e, Stream: stream})
	must(b, err)
	b.Cleanup(func() {
		must(b, s.Close())
		must(b, e.Close())
	})
	return s
}
