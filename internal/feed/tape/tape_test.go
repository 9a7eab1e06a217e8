package tape_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lzstock/lzstock/internal/feed/tape"
	"github.com/lzstock/lzstock/internal/rows"
	"github.com/lzstock/lzstock/market"
)

const (
	one   = "1571664575573162915,SRTY,trade,22.68,622,,,,\n"
	two   = "1571664601425450676,TBPH,trade,16.995,20,,,,\n"
	three = "1571664601425450676,TBPH,quote,,,16.99,1,17,2\n"
)

func compress(tb testing.TB, text string) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func readAll(tb testing.TB, r io.Reader, opts tape.Options) ([]market.Event, error) {
	tb.Helper()
	tr, err := tape.NewReader(r, "test.csv", opts)
	if err != nil {
		return nil, err
	}
	var list []market.Event
	for e, err := range tr.Events() {
		if err != nil {
			return list, err
		}
		list = append(list, e)
	}
	return list, nil
}

func TestReadPlainAndGzip(t *testing.T) {
	for name, in := range map[string]string{
		"header":         rows.Header + "\n" + one + two + three,
		"no header":      one + two + three,
		"CRLF":           strings.ReplaceAll(rows.Header+"\n"+one+two+three, "\n", "\r\n"),
		"blank lines":    "\n" + one + "\n" + two + three + "\n",
		"no end of line": one + two + strings.TrimSuffix(three, "\n"),
	} {
		for _, r := range []io.Reader{strings.NewReader(in), bytes.NewReader(compress(t, in))} {
			got, err := readAll(t, r, tape.Options{})
			if err != nil || len(got) != 3 || got[0].Symbol != "SRTY" || got[2].Quote.AskPrice != 17_000_000_000 {
				t.Errorf("%s: got %v, %v", name, got, err)
			}
		}
	}
}

func TestReadRefusesWithFileLineAndReason(t *testing.T) {
	for name, c := range map[string]struct {
		in, want string
		good     int
	}{
		"malformed":    {one + "x\n" + two, "test.csv: line 2: it has 1 fields", 1},
		"header":       {"ts_ns,symbol\n" + two, "test.csv: line 1: the header is", 0},
		"late header":  {one + rows.Header + "\n", "test.csv: line 2: ts_ns is", 1},
		"out of order": {rows.Header + "\n" + two + one, "test.csv: line 3: its time is 25.852287761s before", 1},
		"too long":     {one + strings.Repeat("1", 70000) + "\n", "test.csv: line 2: the line is longer", 1},
	} {
		got, err := readAll(t, strings.NewReader(c.in), tape.Options{})
		var bad *tape.LineError
		if !errors.As(err, &bad) || !strings.HasPrefix(err.Error(), c.want) || len(got) != c.good {
			t.Errorf("%s: got %d events and %v, want %d and %q…", name, len(got), err, c.good, c.want)
		}
	}
}

func TestSkipBadGoesOnAndCounts(t *testing.T) {
	var told []string
	opts := tape.Options{SkipBad: true, OnBad: func(e *tape.LineError) { told = append(told, e.Error()) }}
	r, err := tape.NewReader(strings.NewReader(one+"x\n"+two+one+three), "t", opts)
	if err != nil {
		t.Fatal(err)
	}
	good := 0
	for _, err := range r.Events() {
		if err != nil {
			t.Fatal(err)
		}
		good++
	}
	if good != 3 || r.Skipped() != 2 || len(told) != 2 || !strings.HasPrefix(told[1], "t: line 4: its time is") {
		t.Errorf("%d good, %d skipped, told %q", good, r.Skipped(), told)
	}
}

func TestACutFileYieldsItsWholeLines(t *testing.T) {
	long := strings.Repeat(one, 2000)
	whole := compress(t, long)
	cut := whole[:len(whole)/2]
	got, err := readAll(t, bytes.NewReader(cut), tape.Options{})
	if err == nil || !strings.Contains(err.Error(), "cut short") || len(got) == 0 || len(got) >= 2000 {
		t.Errorf("got %d events, %v", len(got), err)
	}
	again, err := readAll(t, bytes.NewReader(cut), tape.Options{SkipBad: true})
	if err != nil || len(again) != len(got) {
		t.Errorf("with SkipBad: %d events, %v, want %d", len(again), err, len(got))
	}
	for _, e := range again {
		if e.Trade.Size != 622_000_000_000 {
			t.Fatalf("half a line became %+v", e.Trade)
		}
	}
	if _, err := readAll(t, bytes.NewReader(whole[:5]), tape.Options{}); err == nil {
		t.Error("five bytes of gzip were accepted")
	}
}

func TestOpen(t *testing.T) {
	_, err := tape.Open(t.Context(), filepath.Join(t.TempDir(), "none.csv"), nil, tape.Options{})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
	if _, err := tape.Open(t.Context(), "-", nil, tape.Options{}); err == nil {
		t.Error("standard input was read though there is none")
	}
	r, err := tape.Open(t.Context(), "-", strings.NewReader(one+"x\n"), tape.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range r.Events() {
		if n++; n == 2 && (err == nil || err.Error() != "standard input: line 2: it has 1 fields, want 9: "+rows.Header) {
			t.Errorf("got %v", err)
		}
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil || n != 2 {
		t.Errorf("%d results, %v", n, err)
	}
}

// The recorded tapes are not part of the repository.
func recorded(tb testing.TB, name string) string {
	tb.Helper()
	path := filepath.Join("..", "..", "..", "..", "shared", "data", name)
	if _, err := os.Stat(path); err != nil {
		tb.Skipf("the recorded tape %s is not here", name)
	}
	return path
}

func TestRecordedTapes(t *testing.T) {
	for _, c := range []struct {
		name                            string
		trades, quotes, symbols, mended int
	}{
		{"us-equities.csv.gz", 12_219, 0, 2_551, 2},
		{"crypto-binance.csv.gz", 78_638, 335_931, 6, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.quotes > 0 && testing.Short() {
				t.Skip("400,000 rows: not in short mode")
			}
			r, err := tape.Open(t.Context(), recorded(t, c.name), nil, tape.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			count, symbols := [market.NumChannels]int{}, map[market.Symbol]bool{}
			for e, err := range r.Events() {
				if err != nil {
					t.Fatal(err)
				}
				count[e.Channel]++
				symbols[e.Symbol] = true
			}
			if count[market.Trades] != c.trades || count[market.Quotes] != c.quotes || len(symbols) != c.symbols {
				t.Errorf("got %d trades, %d quotes, %d symbols, want %d, %d, %d",
					count[market.Trades], count[market.Quotes], len(symbols), c.trades, c.quotes, c.symbols)
			}
			if r.Mended() != c.mended {
				t.Errorf("mended %d numbers, want %d", r.Mended(), c.mended)
			}
		})
	}
}

// What was recorded and read again is byte for byte the tape, but for two prices
// in which its recorder left a float's artefact.
func TestRecordedTapeIsWrittenAgainAsItWas(t *testing.T) {
	path := recorded(t, "us-equities.csv.gz")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	want, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	events, err := readAll(t, bytes.NewReader(want), tape.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for artefact, price := range map[string]string{"0.5710000000000001": "0.571", "0.8009999999999999": "0.801"} {
		want = bytes.ReplaceAll(want, []byte(artefact), []byte(price))
	}
	var got bytes.Buffer
	w := tape.NewWriter(&got, false, tape.WriterOptions{})
	if err := errors.Join(w.Write(events...), w.Close()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("the tape changed on its way through Reader and Writer")
	}
}

func at(ms int) time.Time {
	return time.Unix(1723161254, 0).UTC().Add(time.Duration(ms) * time.Millisecond)
}

func trade(ms int) market.Event {
	return market.Event{Channel: market.Trades, Symbol: "AAPL", Trade: &market.Trade{Price: 1, Size: 1, Time: at(ms)}}
}

func TestWriteAndReadBack(t *testing.T) {
	for _, name := range []string{"tape.csv", "tape.csv.gz"} {
		path := filepath.Join(t.TempDir(), name)
		w, err := tape.Create(path, tape.WriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := []market.Event{trade(0), {
			Channel: market.Quotes, Symbol: "BTC/USD",
			Quote: &market.Quote{BidPrice: -1, BidSize: 2, Time: at(1)},
		}, trade(1), trade(5000)}
		bar := market.Event{Channel: market.Bars, Symbol: "AAPL", Bar: &market.Bar{Time: at(0)}}
		rich := trade(5000)
		rich.Trade.Exchange, rich.Trade.Conditions, rich.Trade.ID = "SIM", []string{"@"}, 7
		rich.Seq = 77
		if err := w.Write(want[0], bar, want[1], want[2], rich); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s has its name before it is complete: %v", name, err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		part, err := os.ReadFile(path + ".part")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readAll(t, bytes.NewReader(part), tape.Options{SkipBad: true}); err != nil || len(got) != 3 {
			t.Errorf("%s: what was flushed reads back as %v, %v", name, got, err)
		}
		if err := errors.Join(w.Close(), w.Close()); err != nil {
			t.Fatal(err)
		}
		if c := w.Counts(); c != (tape.Counts{Written: 4, Bars: 1}) {
			t.Errorf("%s: counts %+v", name, c)
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if gz := bytes.HasPrefix(whole, []byte{0x1f, 0x8b}); gz != strings.HasSuffix(name, ".gz") {
			t.Errorf("%s: compressed is %v", name, gz)
		}
		got, err := readAll(t, bytes.NewReader(whole), tape.Options{})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", name, err, diff)
		}
	}
}

func TestNothingRecordedIsOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tape.csv")
	w, err := tape.Create(path, tape.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tape.Create(path, tape.WriterOptions{}); err == nil || !strings.Contains(err.Error(), ".part is there") {
		t.Errorf("a second recording gives %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := tape.Create(path, tape.WriterOptions{}); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("a recording over a recording gives %v", err)
	}
}

func TestWriterPutsLateEventsInOrder(t *testing.T) {
	var out bytes.Buffer
	w := tape.NewWriter(&out, false, tape.WriterOptions{Window: time.Second})
	for _, ms := range []int{0, 400, 100, 400, 900, 300, 2000, 1500, 50, 1000, 3000} {
		e := trade(ms)
		e.Trade.Price = market.Price(ms)
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if c := w.Counts(); c != (tape.Counts{Written: 10, Late: 1}) {
		t.Errorf("counts %+v", c)
	}
	got, err := readAll(t, &out, tape.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var order []int
	for _, e := range got {
		order = append(order, int(e.Trade.Price))
	}
	if diff := cmp.Diff([]int{0, 100, 300, 400, 400, 900, 1000, 1500, 2000, 3000}, order); diff != "" {
		t.Error(diff)
	}
}

type failing struct{ n int }

func (f *failing) Write(p []byte) (int, error) {
	if f.n--; f.n < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestWriterReportsAFullDisk(t *testing.T) {
	w := tape.NewWriter(&failing{n: 1}, false, tape.WriterOptions{Window: -1})
	var err error
	wrote := 0
	for ; err == nil && wrote < 10_000; wrote++ {
		err = w.Write(trade(wrote))
	}
	if err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Fatalf("after %d rows: %v", wrote, err)
	}
	if err := w.Flush(); err == nil {
		t.Error("a flush after the failure succeeds")
	}
	if err := w.Close(); err == nil {
		t.Error("a close after the failure succeeds")
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(rows.Header + "\n" + one + two + three))
	f.Add(compress(f, one))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 1<<16 {
			t.Skip("long inputs teach nothing new")
		}
		r, err := tape.NewReader(io.LimitReader(bytes.NewReader(in), 1<<16), "fuzz", tape.Options{SkipBad: true})
		if err != nil {
			return
		}
		var last time.Time
		n := 0
		for e, err := range r.Events() {
			if err != nil {
				return
			}
			if at := e.Time(); at.Before(last) {
				t.Fatalf("time runs back: %s after %s", at, last)
			} else {
				last = at
			}
			if err := e.Validate(); err != nil {
				t.Fatal(err)
			}
			if n++; n > 100_000 {
				return
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	var text strings.Builder
	for range 10_000 {
		text.WriteString(two + three)
	}
	plain, packed := []byte(text.String()), compress(b, text.String())
	for name, in := range map[string][]byte{"plain": plain, "gzip": packed} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				r, err := tape.NewReader(bytes.NewReader(in), name, tape.Options{})
				if err != nil {
					b.Fatal(err)
				}
				for _, err := range r.Events() {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	w := tape.NewWriter(io.Discard, false, tape.WriterOptions{Window: time.Millisecond})
	var list []market.Event
	for i := range 1000 {
		list = append(list, trade(i))
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		list[n%1000].Trade.Time = at(n)
		if err := w.Write(list[n%1000]); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}
