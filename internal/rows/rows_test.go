package rows_test

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/rows"
	"github.com/lzstock/lzstock/market"
)

func TestMain(m *testing.M) { leak.Main(m) }

const (
	tradeRow = "1571664575573162915,SRTY,trade,22.68,622,,,,"
	quoteRow = "1723161254024619568,ETHUSDT,quote,,,2683.8,3.0292,2683.81,31.4395"
)

func TestParse(t *testing.T) {
	var p rows.Parser
	for _, c := range []struct {
		row  string
		want market.Event
	}{
		{tradeRow, market.Event{Channel: market.Trades, Symbol: "SRTY", Trade: &market.Trade{
			Price: 22_680_000_000, Size: 622_000_000_000, Time: time.Unix(0, 1571664575573162915).UTC(),
		}}},
		{"0,X,trade,-37.63,0,,,,", market.Event{Channel: market.Trades, Symbol: "X", Trade: &market.Trade{
			Price: -37_630_000_000, Time: time.Unix(0, 0).UTC(),
		}}},
		{quoteRow, market.Event{Channel: market.Quotes, Symbol: "ETHUSDT", Quote: &market.Quote{
			BidPrice: 2683_800_000_000, BidSize: 3_029_200_000, AskPrice: 2683_810_000_000, AskSize: 31_439_500_000,
			Time: time.Unix(0, 1723161254024619568).UTC(),
		}}},
		{"7289654399999999999,X,quote,,,,,1.000000001,2", market.Event{Channel: market.Quotes, Symbol: "X", Quote: &market.Quote{
			AskPrice: 1_000_000_001, AskSize: 2_000_000_000, Time: time.Unix(0, 7289654399999999999).UTC(),
		}}},
	} {
		got, err := p.Parse([]byte(c.row))
		if err != nil {
			t.Errorf("%s: %v", c.row, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.row, diff)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("%s: %v", c.row, err)
		}
	}
}

func TestParseRefusesAndSaysWhy(t *testing.T) {
	var p rows.Parser
	for row, reason := range map[string]string{
		"":                                     "it has 1 fields, want 9",
		tradeRow + ",":                         "it has 10 fields, want 9",
		"1,X,trade,1,1,,,":                     "it has 8 fields, want 9",
		",X,trade,1,1,,,,":                     "ts_ns is",
		"1.5,X,trade,1,1,,,,":                  "ts_ns is",
		"-1,X,trade,1,1,,,,":                   "ts_ns is",
		"7289654400000000000,X,trade,1,1,,,,":  "between the years 1970 and 2200",
		"99999999999999999999,X,trade,1,1,,,,": "ts_ns is",
		"1,,trade,1,1,,,,":                     "bad symbol",
		"1,A A,trade,1,1,,,,":                  "bad symbol",
		"1,X,Trade,1,1,,,,":                    "want trade or quote",
		"1,X,bar,1,1,,,,":                      "want trade or quote",
		"1,X,trade,,1,,,,":                     "price: bad decimal",
		"1,X,trade,1,,,,,":                     "size: bad decimal",
		"1,X,trade,1,-1,,,,":                   "a size cannot be negative",
		"1,X,trade,1.0000000001,1,,,,":         "more than 9 decimal places",
		"1,X,trade, 1,1,,,,":                   "price: bad decimal",
		`1,X,trade,"1",1,,,,`:                  "price: bad decimal",
		"1,X,trade,1,1,2,,,":                   "a trade has bid or ask",
		"1,X,quote,1,,1,1,2,1":                 "a quote has price or size",
		"1,X,quote,,,,,,":                      "neither bid nor ask",
		"1,X,quote,,,1,,2,1":                   "bid: size: bad decimal",
		"1,X,quote,,,1,1,,1":                   "ask: price: bad decimal",
	} {
		if _, err := p.Parse([]byte(row)); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: got %v, want an error with %q", row, err, reason)
		}
	}
}

func TestAFloatsArtefactIsMendedAndNothingElse(t *testing.T) {
	for text, want := range map[string]market.Price{
		"0.5710000000000001":            571_000_000,
		"0.8009999999999999":            801_000_000,
		"-0.8009999999999999":           -801_000_000,
		"0.30000000000000004":           300_000_000,
		"-0.000000000999":               -1,
		"0.999999999999":                1_000_000_000,
		"9223372036.854775806999999999": math.MaxInt64,
	} {
		if got, mended, err := rows.Price([]byte(text)); err != nil || !mended || got != want {
			t.Errorf("%s: got %s, mended %v, %v, want %s", text, got, mended, err, want)
		}
	}
	for _, text := range []string{
		"0.1234567891", "0.12345678900", "0.000000000123", "0.5710000000010", "0.571000000998", "0.57100000000000x", "0.5710000000000001e3",
		"9223372036.854775807999999999", "-", ".", "",
	} {
		if got, mended, err := rows.Price([]byte(text)); err == nil && mended {
			t.Errorf("%s: was mended to %s", text, got)
		}
	}
	if got, mended, err := rows.Price([]byte("0.571")); got != 571_000_000 || mended || err != nil {
		t.Errorf("0.571: got %s, mended %v, %v", got, mended, err)
	}
	if got, mended, err := rows.Size([]byte("0.30000000000000004")); got != 300_000_000 || !mended || err != nil {
		t.Errorf("size: got %s, mended %v, %v", got, mended, err)
	}
	if _, _, err := rows.Size([]byte("-0.30000000000000004")); err == nil {
		t.Error("a negative size was accepted")
	}
	var p rows.Parser
	if _, err := p.Parse([]byte("1571677564881909399,WTRH,trade,0.5710000000000001,3,,,,")); err != nil || p.Mended() != 1 {
		t.Errorf("mended %d, %v", p.Mended(), err)
	}
}

func TestAppendReadsBack(t *testing.T) {
	var p rows.Parser
	for _, row := range []string{tradeRow, quoteRow} {
		e, err := p.Parse([]byte(row))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := rows.Append(nil, &e); !ok || string(got) != row+"\n" {
			t.Errorf("got %q, %v, want %q", got, ok, row+"\n")
		}
	}
	if got, ok := rows.Append([]byte("x"), &market.Event{Channel: market.Bars, Symbol: "X", Bar: &market.Bar{}}); ok || string(got) != "x" {
		t.Errorf("a bar became %q, %v", got, ok)
	}
}

func TestHeader(t *testing.T) {
	if !rows.IsHeader([]byte(rows.Header)) || rows.CheckHeader([]byte(rows.Header)) != nil {
		t.Error("our own header is refused")
	}
	if err := rows.CheckHeader([]byte("ts_ns,price")); err == nil || !strings.Contains(err.Error(), rows.Header) {
		t.Errorf("a strange header gives %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(tradeRow))
	f.Add([]byte(quoteRow))
	f.Add([]byte("1,X,quote,,,,,1,2"))
	f.Add([]byte("1,X,trade,1e3,.5,,,,"))
	f.Fuzz(func(t *testing.T, row []byte) {
		var p rows.Parser
		e, err := p.Parse(row)
		if err != nil {
			return
		}
		if err := e.Validate(); err != nil {
			t.Fatalf("%q gives an event that is none: %v", row, err)
		}
		text, ok := rows.Append(nil, &e)
		if !ok {
			t.Fatalf("%q cannot be written again", row)
		}
		again, err := p.Parse(text[:len(text)-1])
		if err != nil {
			t.Fatalf("%q, written as %q: %v", row, text, err)
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Fatalf("%q, written as %q: %s", row, text, diff)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	var p rows.Parser
	list := [][]byte{[]byte(tradeRow), []byte(quoteRow)}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := p.Parse(list[i%2]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	var p rows.Parser
	e, err := p.Parse([]byte(quoteRow))
	if err != nil {
		b.Fatal(err)
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = rows.Append(buf[:0], &e)
	}
}

func read(r io.Reader) (lines []string, err error) {
	l := rows.NewLines(r)
	for {
		line, err := l.Next()
		if errors.Is(err, rows.ErrTooLong) {
			lines = append(lines, "too long")
			continue
		}
		if err != nil {
			return lines, err
		}
		lines = append(lines, string(line))
		if l.Number() != len(lines) {
			return lines, errors.New("wrong line number")
		}
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	cut := errors.New("cut")
	for name, c := range map[string]struct {
		in   io.Reader
		want []string
		err  error
	}{
		"nothing":        {strings.NewReader(""), nil, io.EOF},
		"no last end":    {strings.NewReader("a\nb"), []string{"a", "b"}, io.EOF},
		"ends":           {strings.NewReader("a\r\n\nb\n"), []string{"a", "", "b"}, io.EOF},
		"byte by byte":   {iotest.OneByteReader(strings.NewReader("ab\ncd\n")), []string{"ab", "cd"}, io.EOF},
		"data with EOF":  {iotest.DataErrReader(strings.NewReader("ab\ncd")), []string{"ab", "cd"}, io.EOF},
		"too long":       {strings.NewReader("a\n" + long + "\nb\n"), []string{"a", "too long", "b"}, io.EOF},
		"too long, last": {strings.NewReader("a\n" + long), []string{"a", "too long"}, io.EOF},
		"cut short":      {io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(cut)), []string{"a"}, cut},
		"never anything": {io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(nil)), []string{"a"}, io.ErrNoProgress},
	} {
		got, err := read(c.in)
		if diff := cmp.Diff(c.want, got); diff != "" || !errors.Is(err, c.err) {
			t.Errorf("%s: got %v, %v, want %v (-want +got)\n%s", name, got, err, c.err, diff)
		}
	}
}

func TestLinesReady(t *testing.T) {
	l := rows.NewLines(strings.NewReader("a\nb\n"))
	if l.Ready() {
		t.Error("ready before anything was read")
	}
	for want := range 3 {
		if _, err := l.Next(); err != nil && want < 2 {
			t.Fatal(err)
		}
		if got := l.Ready(); got != (want != 1) {
			t.Errorf("after line %d: ready is %v", want+1, got)
		}
	}
}

func TestBindFreesABlockedRead(t *testing.T) {
	gone := errors.New("gone")
	file, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	defer writer.Close()
	pipe, pipeWriter := io.Pipe()
	defer pipeWriter.Close()
	for name, c := range map[string]struct {
		r io.Reader
		w io.Writer
	}{"file": {file, writer}, "closer": {pipe, pipeWriter}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			b, err := rows.Bind(ctx, c.r)
			if err != nil {
				t.Fatal(err)
			}
			read := make(chan error)
			buf := make([]byte, 8)
			go func() {
				for {
					_, err := b.Read(buf)
					read <- err
					if err != nil {
						return
					}
				}
			}()
			if _, err := c.w.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if err := <-read; err != nil || buf[0] != 'x' {
				t.Fatalf("read %q, %v", buf, err)
			}
			cancel(gone)
			if err := <-read; !errors.Is(err, gone) {
				t.Errorf("the blocked read gave %v, want the cause", err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			if _, err := b.Read(buf); !errors.Is(err, gone) {
				t.Errorf("a further read gave %v, want the cause", err)
			}
		})
	}
}

func TestBindLeavesTheFileOpen(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("ab"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	b, err := rows.Bind(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b); err != nil || string(got) != "ab" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if _, err := f.Stat(); err != nil {
		t.Errorf("the file was closed: %v", err)
	}
}
