package publish

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/lzstock/lzstock/market"
)

func TestDecodeRefusesAndSaysWhy(t *testing.T) {
	for line, want := range map[string]string{
		`{`:          "it is no JSON object",
		`[{"T":"t"}`: "it is no JSON object",
		`[1]`:        "it is no JSON object",
		`{"T":"b","S":"A","t":"2021-02-22T15:51:44Z"}`:                        `T is "b": want "t" for a trade, "q" for a quote or "s" for a status`,
		`{"S":"A","t":"2021-02-22T15:51:44Z"}`:                                `T is "": want`,
		`{"T":"t","S":"A","p":1,"s":1}`:                                       `t is "": want a time such as`,
		`{"T":"t","S":"A","p":1,"s":1,"t":"noon"}`:                            `t is "noon"`,
		`{"T":"t","S":"A","p":1,"s":1,"t":7}`:                                 "t: ",
		`{"T":"t","S":"A","s":1,"t":"2021-02-22T15:51:44Z"}`:                  "p is missing",
		`{"T":"t","S":"A","P":1,"s":1,"t":"2021-02-22T15:51:44Z"}`:            "p is missing",
		`{"T":"t","S":"A","p":1,"t":"2021-02-22T15:51:44Z"}`:                  "s is missing",
		`{"T":"t","S":"A","p":"1","s":1,"t":"2021-02-22T15:51:44Z"}`:          "p: bad decimal",
		`{"T":"t","S":"A","p":1,"s":-1,"t":"2021-02-22T15:51:44Z"}`:           "s: bad decimal",
		`{"T":"t","S":"A","p":1.0000000001,"s":1,"t":"2021-02-22T15:51:44Z"}`: "more than 9 decimal places",
		`{"T":"t","S":"A A","p":1,"s":1,"t":"2021-02-22T15:51:44Z"}`:          "bad symbol",
		`{"T":"t","S":"A","p":1,"s":1,"t":"1921-02-22T15:51:44Z"}`:            "is not between 1970 and 2200",
		`{"T":"q","S":"A","t":"2021-02-22T15:51:44Z"}`:                        "bp and ap are missing",
		`{"T":"q","S":"A","bp":1,"t":"2021-02-22T15:51:44Z"}`:                 "bs is missing",
		`{"T":"s","S":"A","sm":"Trading Halt","t":"2021-02-22T15:51:44Z"}`:    `sc is missing: a status needs a code, such as "H"`,
		`{"T":"s","S":"A","sc":4,"t":"2021-02-22T15:51:44Z"}`:                 "sc: ",
		`{"T":"s","S":"A","sc":"H"}`:                                          `t is "": want a time`,
	} {
		d := decoder{format: Auto}
		var got []error
		if err := d.decode([]byte(line), func(_ market.Event, err error) { got = append(got, err) }); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if len(got) != 1 || got[0] == nil || !strings.Contains(got[0].Error(), want) {
			t.Errorf("%s: got %v, want %q", line, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"T":"t","S":"AAPL","i":1,"x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208Z","c":["@"],"z":"C"}`))
	f.Add([]byte(`[{"T":"q","S":"A","bp":1,"bs":1,"ap":2e0,"as":null,"t":"2021-02-22T15:51:44Z"}]`))
	f.Add([]byte(`{"T":"s","S":"A","sc":"H","sm":"Trading Halt","rc":"T12","rm":null,"t":"2021-02-22T15:51:44Z","z":"C"}`))
	f.Add([]byte("1571664575573162915,SRTY,trade,22.68,622,,,,"))
	f.Fuzz(func(t *testing.T, line []byte) {
		d := decoder{format: Auto}
		_ = d.decode(line, func(e market.Event, err error) {
			if err == nil {
				err = e.Validate()
				if err != nil || e.Channel.IsBar() {
					t.Fatalf("%q became an event that is none: %+v, %v", line, e, err)
				}
			}
		})
	})
}

func TestTheTerminalHasOneLine(t *testing.T) {
	var out bytes.Buffer
	pr := &printer{w: &out, terminal: true}
	pr.progress(Summary{Sent: 1, Took: time.Second})
	pr.progress(Summary{Sent: 1, Took: 2 * time.Second}) // no news
	pr.progress(Summary{Sent: 2, Stored: 2, Took: 2 * time.Second})
	pr.clear()
	pr.clear()
	want := "\r\x1b[K1 sent, 0 stored, 0 refused, 0 duplicates in 1s (0/s)" +
		"\r\x1b[K2 sent, 2 stored, 0 refused, 0 duplicates in 2s (1/s)\r\x1b[K"
	if out.String() != want {
		t.Errorf("got %q, want %q", &out, want)
	}
	out.Reset()
	pr = &printer{w: &out, quiet: true}
	pr.progress(Summary{Sent: 3})
	if out.Len() > 0 {
		t.Errorf("quiet, but %q", &out)
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, line := range map[string]string{
		"csv":   "1571664575573162915,SRTY,trade,22.68,622,,,,",
		"jsonl": `{"T":"t","S":"AAPL","i":96921,"x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208Z","c":["@"],"z":"C"}`,
	} {
		b.Run(name, func(b *testing.B) {
			d := decoder{format: Auto}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				err := d.decode([]byte(line), func(_ market.Event, err error) {
					if err != nil {
						b.Fatal(err)
					}
				})
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}
