package wire

import (
	"testing"

	"github.com/lzstock/lzstock/market"
)

// TestHotPathDoesNotAllocate guards the promise that an event costs no allocation
// where the buffer has room.
func TestHotPathDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 4<<10)
	body := make([]byte, 0, 1<<10)
	for f := range Format(NumFormats) {
		for _, e := range []*market.Event{aTrade(), aQuote(), aBar(market.DailyBars), aStatus()} {
			n := testing.AllocsPerRun(100, func() {
				body = AppendEvent(body[:0], f, e)
				buf = BeginArray(buf[:MaxHeader], f)
				buf = AppendData(buf, f, body, Tail{Prev: 12345678901, Merged: 3, Snapshot: true})
				buf = AppendData(buf, f, body, Tail{Prev: 12345678901})
				buf = EndArray(buf, f, MaxHeader, 2)
				PutFrameHeader(buf, f.Opcode(), len(buf)-MaxHeader)
				buf = EndEvent(BeginEvent(buf[:0]), market.Position{Epoch: 1_700_000_000_000, Seq: 12345678901})
			})
			if n != 0 {
				t.Errorf("%s of %s: %v allocations", f, e.Channel, n)
			}
		}
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	for f := range Format(NumFormats) {
		for _, e := range []*market.Event{aTrade(), aQuote(), aBar(market.Bars), aStatus()} {
			b.Run(f.String()+"/"+e.Channel.String(), func(b *testing.B) {
				b.ReportAllocs()
				buf := make([]byte, 0, 1<<10)
				for b.Loop() {
					buf = AppendEvent(buf[:0], f, e)
				}
				b.ReportMetric(float64(len(buf)), "bytes")
			})
		}
	}
}

// BenchmarkAppendData is what an event costs for each further client: a frame of
// 16 events.
func BenchmarkAppendData(b *testing.B) {
	for _, f := range []Format{JSONNative, JSONStock, MsgPackNative, MsgPackStock} {
		b.Run(f.String(), func(b *testing.B) {
			b.ReportAllocs()
			body := AppendEvent(nil, f, aQuote())
			buf := make([]byte, MaxHeader, 8<<10)
			for b.Loop() {
				buf = BeginArray(buf[:MaxHeader], f)
				for range 16 {
					buf = AppendData(buf, f, body, Tail{Prev: 1234567890})
				}
				buf = EndArray(buf, f, MaxHeader, 16)
				PutFrameHeader(buf, f.Opcode(), len(buf)-MaxHeader)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/16, "ns/event")
		})
	}
}

func BenchmarkDecodeFrame(b *testing.B) {
	for _, f := range []Format{JSONNative, MsgPackNative} {
		b.Run(f.Encoding().String(), func(b *testing.B) {
			b.ReportAllocs()
			in := frame(f, Tail{Prev: 1}, aTrade(), aQuote(), aTrade(), aQuote())
			for b.Loop() {
				if _, err := DecodeFrame(f.Encoding(), in); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4, "ns/event")
		})
	}
}
