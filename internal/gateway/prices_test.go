package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/market"
)

// shelf is Prices with a few of them.
type shelf struct {
	mu     sync.Mutex
	err    error // in place of an answer
	bars   market.BarQuery
	topics []market.Topic
}

var noon = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

func barAt(t time.Time, price market.Price) market.Bar {
	return market.Bar{Open: price, High: price, Low: price, Close: price, Volume: market.Scale / 2, Trades: 1, VWAP: price, Time: t}
}

func (s *shelf) Bars(ctx context.Context, q *market.BarQuery) (market.BarPage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bars = *q
	if errors.Is(s.err, context.DeadlineExceeded) {
		<-ctx.Done()
		return market.BarPage{}, context.Cause(ctx)
	}
	p := market.BarPage{Next: "next"}
	for _, symbol := range q.Symbols {
		p.Symbols = append(p.Symbols, market.SymbolBars{Symbol: symbol, Bars: []market.Bar{barAt(noon, 7), barAt(noon.Add(time.Minute), 8)}})
	}
	return p, s.err
}

func (s *shelf) Values(_ context.Context, topics []market.Topic) (out []market.Event, days map[market.Symbol]market.Bar, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.topics = topics
	days = map[market.Symbol]market.Bar{"AAPL": barAt(noon.AddDate(0, 0, -1), 3)}
	for _, t := range topics {
		if t.Symbol != "AAPL" {
			continue
		}
		e := market.Event{Seq: 7, Channel: t.Channel, Symbol: t.Symbol}
		switch t.Channel {
		case market.Trades:
			e.Trade = &market.Trade{ID: 1, Exchange: "SIM", Price: 189_123_456_789, Size: market.Scale / 4, Time: noon, Conditions: []string{"@"}, Tape: "C"}
		case market.Quotes:
			e.Quote = &market.Quote{BidPrice: 1, AskPrice: 2, Time: noon}
		case market.Bars:
			e.Bar = new(barAt(noon, 4))
		case market.UpdatedBars:
			e.Seq, e.Bar = 8, new(barAt(noon, 5))
		case market.DailyBars:
			e.Bar = new(barAt(noon, 6))
		case market.Statuses:
		}
		out = append(out, e)
	}
	return out, days, s.err
}

func (s *shelf) Listings(_ context.Context, prefix, token string, limit int) (market.ListingPage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if token == "bad" {
		return market.ListingPage{}, market.ErrPageToken
	}
	var p market.ListingPage
	for _, symbol := range []market.Symbol{"AAPL", "AMD", "BTC/USD", "MSFT"} {
		if !strings.HasPrefix(string(symbol), prefix) || string(symbol) <= token {
			continue
		}
		if len(p.Listings) == min(limit, 2) { // smaller pages than were asked for
			p.Next = string(p.Listings[1].Symbol)
			break
		}
		p.Listings = append(p.Listings, market.Listing{Symbol: symbol, Name: map[market.Symbol]string{"AAPL": `Apple "Inc."`}[symbol]})
	}
	return p, s.err
}

const (
	latestTrade = `{"i":1,"x":"SIM","p":189.123456789,"s":0.25,"t":"2026-01-05T12:00:00Z","c":["@"],"z":"C"}`
	latestQuote = `{"bx":"","bp":0.000000001,"bs":0,"ax":"","ap":0.000000002,"as":0,"t":"2026-01-05T12:00:00Z","c":[],"z":""}`
)

func barText(units int, at string) string {
	p := fmt.Sprintf("0.%09d", units)
	return fmt.Sprintf(`{"o":%s,"h":%s,"l":%s,"c":%s,"v":0.5,"n":1,"vw":%s,"t":%q}`, p, p, p, p, p, at)
}

// priced runs a test over a house with a shelf.
func priced(t *testing.T, cfg Config, f func(ho *house, d *desk, s *shelf)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d, s := newDesk(), &shelf{}
		d.key("alice", session.Grant{})
		cfg.Auth, cfg.Prices, cfg.Delayed = d, s, map[time.Duration]Late{15 * time.Minute: {}}
		ho := newHouse(t, cfg)
		f(ho, d, s)
		ho.quiet()
	})
}

func (ho *house) get(user, path string, want int) string {
	ho.t.Helper()
	resp, text := ho.ask("GET", path, withKey(user), "")
	if resp.StatusCode != want {
		ho.t.Errorf("%s as %s: %d %s, want %d", path, user, resp.StatusCode, text, want)
	}
	if want == http.StatusOK && (!json.Valid([]byte(text)) || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-Content-Type-Options") != "nosniff") {
		ho.t.Errorf("%s: %s with headers %v", path, text, resp.Header)
	}
	return strings.TrimSuffix(text, "\n")
}

func TestPrices(t *testing.T) {
	const at, later, before = "2026-01-05T12:00:00Z", "2026-01-05T12:01:00Z", "2026-01-04T12:00:00Z"
	snapshot := `"latestTrade":` + latestTrade + `,"latestQuote":` + latestQuote + `,"minuteBar":` + barText(5, at) + `,"dailyBar":` + barText(6, at) + `,"prevDailyBar":` + barText(3, before)
	list := "[" + barText(7, at) + "," + barText(8, later) + "]"
	priced(t, Config{}, func(ho *house, _ *desk, _ *shelf) {
		for path, want := range map[string]string{
			"/v2/stocks/trades/latest?symbols=AAPL,NONE&feed=iex":         `{"trades":{"AAPL":` + latestTrade + `}}`,
			"/v2/stocks/quotes/latest?symbols=AAPL&currency=USD":          `{"quotes":{"AAPL":` + latestQuote + `}}`,
			"/v2/stocks/bars/latest?symbols=AAPL":                         `{"bars":{"AAPL":` + barText(5, at) + `}}`,
			"/v2/stocks/AAPL/trades/latest":                               `{"symbol":"AAPL","trade":` + latestTrade + `}`,
			"/v2/stocks/AAPL/quotes/latest":                               `{"symbol":"AAPL","quote":` + latestQuote + `}`,
			"/v2/stocks/AAPL/bars/latest":                                 `{"symbol":"AAPL","bar":` + barText(5, at) + `}`,
			"/v2/stocks/snapshots?symbols=AAPL,NONE":                      `{"AAPL":{` + snapshot + `}}`,
			"/v2/stocks/AAPL/snapshot":                                    `{"symbol":"AAPL",` + snapshot + `}`,
			"/v2/stocks/bars?symbols=AAPL,BTC/USD&timeframe=1Min&limit=7": `{"bars":{"AAPL":` + list + `,"BTC/USD":` + list + `},"next_page_token":"next"}`,
			"/v2/stocks/BTC%2FUSD/bars?timeframe=1D":                      `{"bars":` + list + `,"symbol":"BTC/USD","next_page_token":"next"}`,
			"/v1/symbols":                                                 `{"symbols":[{"symbol":"AAPL","name":"Apple \"Inc.\""},{"symbol":"AMD"},{"symbol":"BTC/USD"},{"symbol":"MSFT"}],"next_page_token":null}`,
			"/v1/symbols?limit=3":                                         `{"symbols":[{"symbol":"AAPL","name":"Apple \"Inc.\""},{"symbol":"AMD"},{"symbol":"BTC/USD"}],"next_page_token":"BTC/USD"}`,
			"/v1/symbols?limit=3&page_token=BTC/USD":                      `{"symbols":[{"symbol":"MSFT"}],"next_page_token":null}`,
			"/v1/symbols?prefix=AM":                                       `{"symbols":[{"symbol":"AMD"}],"next_page_token":null}`,
			"/v2/stocks/trades/latest?symbols=NONE":                       `{"trades":{}}`,
			"/v2/stocks/trades/latest?symbols=A,,%20":                     `{"trades":{}}`,
		} {
			if got := ho.get("alice", path, http.StatusOK); got != want {
				t.Errorf("%s:\n got %s\nwant %s", path, got, want)
			}
		}
		if n := testutil.CollectAndCount(ho.g.metrics.rest); n != 11 {
			t.Errorf("%d paths and statuses are measured, want 11", n)
		}
	})
}

// TestBarQueries reads what the shelf was asked for.
func TestBarQueries(t *testing.T) {
	priced(t, Config{}, func(ho *house, d *desk, s *shelf) {
		d.key("late", session.Grant{Delay: 15 * time.Minute})
		ho.get("late", "/v2/stocks/bars?symbols=B,A&symbols=C&timeframe=15Min&start=2026-01-05T10:00:00.5%2B01:00&end=2026-01-06&limit=10&page_token=x&sort=desc&adjustment=raw&asof=-", http.StatusOK)
		want := market.BarQuery{
			Symbols: []market.Symbol{"B", "A", "C"}, Timeframe: market.QuarterHour, Descending: true, Limit: 10, Token: "x", Delay: 15 * time.Minute,
			Start: time.Date(2026, 1, 5, 9, 0, 0, 5e8, time.UTC), End: time.Date(2026, 1, 7, 0, 0, 0, 0, time.UTC).Add(-1),
		}
		if got := s.bars; !slices.Equal(got.Symbols, want.Symbols) || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("asked for %+v, want %+v", got, want)
		}
	})
}

// TestBadPriceQueries says what is wrong, and what would be right.
func TestBadPriceQueries(t *testing.T) {
	priced(t, Config{Symbols: 2}, func(ho *house, _ *desk, _ *shelf) {
		for path, want := range map[string]string{
			"/v2/stocks/snapshots":                                                            "symbols is missing",
			"/v2/stocks/snapshots?symbols=*":                                                  "bad symbol",
			"/v2/stocks/snapshots?symbols=A,B,C":                                              "more than 2",
			"/v2/stocks/snapshots?symbol=A":                                                   "did you mean symbols?",
			"/v2/stocks/snapshots?symbols=A&zzzzzzzzzz=1":                                     "is not known. Want one of currency, feed, symbols",
			"/v2/stocks/snapshots?symbols=A&feed=otc":                                         "want one of iex, sip, test",
			"/v2/stocks/snapshots?symbols=A&currency=EUR":                                     "want USD",
			"/v2/stocks/A/snapshot?symbols=A":                                                 "is not known",
			"/v2/stocks/A%20B/snapshot":                                                       "bad symbol",
			"/v2/stocks/trades/latest?symbols=A&feed=iex&feed=sip":                            "2 times",
			"/v2/stocks/bars?symbols=A":                                                       "timeframe is missing: want one of 1Min, 5Min, 15Min, 1Hour, 1Day",
			"/v2/stocks/bars?symbols=A&timeframe=2Min":                                        "want one of 1Min, 5Min, 15Min, 1Hour, 1Day",
			"/v2/stocks/bars?symbols=A&timeframe=1Min&limit=0":                                "from 1 to 10000",
			"/v2/stocks/bars?symbols=A&timeframe=1Min&limit=10001":                            "from 1 to 10000",
			"/v2/stocks/bars?symbols=A&timeframe=1Min&sort=up":                                "want asc or desc",
			"/v2/stocks/bars?symbols=A&timeframe=1Min&start=yesterday":                        "want a time such as",
			"/v2/stocks/bars?symbols=A&timeframe=1Min&start=1900-01-01":                       "between 1970 and 2200",
			"/v2/stocks/bars?symbols=A&timeframe=1Min&adjustment=split":                       "want raw",
			"/v2/stocks/bars?symbols=A&timeframe=1Min&asof=soon":                              "asof is",
			"/v2/stocks/bars?symbols=A&timeframe=1Min&start=2026-01-02&end=2026-01-01":        "is before start",
			"/v2/stocks/bars?symbols=A&timeframe=1Min&page_token=" + strings.Repeat("x", 201): "page token",
			"/v1/symbols?symbols=A":                                                           "is not known",
			"/v1/symbols?page_token=bad":                                                      "page token",
			"/v1/symbols?prefix=" + strings.Repeat("x", 101):                                  "101 bytes",
		} {
			if text := ho.get("alice", path, http.StatusBadRequest); !strings.Contains(text, want) {
				t.Errorf("%s: %s, want %q", path, text, want)
			}
		}
	})
}

// TestGrantsOverREST asks with grants of many kinds: nothing passes that is not
// covered.
func TestGrantsOverREST(t *testing.T) {
	priced(t, Config{}, func(ho *house, d *desk, s *shelf) {
		d.key("a", session.Grant{Symbols: []session.Pattern{"A*"}})
		d.key("trades", session.Grant{Channels: []market.Channel{market.Trades}})
		d.key("daily", session.Grant{Channels: []market.Channel{market.DailyBars}})
		d.key("updated", session.Grant{Channels: []market.Channel{market.UpdatedBars}})
		d.key("small", session.Grant{Limits: session.Limits{Symbols: 1}})
		d.key("late", session.Grant{Delay: 15 * time.Minute})
		const ok, no = http.StatusOK, http.StatusForbidden
		for _, c := range []struct {
			user, path string
			want       int
		}{
			{"a", "/v2/stocks/trades/latest?symbols=AAPL,AMD", ok},
			{"a", "/v2/stocks/trades/latest?symbols=AAPL,MSFT", no},
			{"a", "/v2/stocks/MSFT/bars?timeframe=1Min", no},
			{"a", "/v2/stocks/snapshots?symbols=MSFT", no},
			{"a", "/v2/stocks/MSFT/snapshot", no},
			{"a", "/v2/stocks/bars?symbols=MSFT&timeframe=1Day", no},
			{"trades", "/v2/stocks/trades/latest?symbols=AAPL", ok},
			{"trades", "/v2/stocks/quotes/latest?symbols=AAPL", no},
			{"trades", "/v2/stocks/bars/latest?symbols=AAPL", no},
			{"trades", "/v2/stocks/bars?symbols=AAPL&timeframe=1Min", no},
			{"trades", "/v2/stocks/bars?symbols=AAPL&timeframe=1Day", no},
			{"daily", "/v2/stocks/bars?symbols=AAPL&timeframe=1Day", ok},
			{"daily", "/v2/stocks/bars?symbols=AAPL&timeframe=1Hour", no},
			{"updated", "/v2/stocks/bars?symbols=AAPL&timeframe=1Min", no},
			{"updated", "/v2/stocks/snapshots?symbols=AAPL", no},
			{"small", "/v2/stocks/trades/latest?symbols=AAPL", ok},
			{"small", "/v2/stocks/trades/latest?symbols=AAPL,AMD", http.StatusBadRequest},
			{"late", "/v2/stocks/trades/latest?symbols=AAPL", no},
			{"late", "/v2/stocks/snapshots?symbols=AAPL", no},
			{"late", "/v2/stocks/bars/latest?symbols=AAPL", no},
			{"late", "/v2/stocks/bars?symbols=AAPL&timeframe=1Day", ok},
			{"late", "/v1/symbols", ok},
			{"eve", "/v1/symbols", http.StatusUnauthorized},
			{"eve", "/v2/stocks/bars?symbols=AAPL&timeframe=1Day", http.StatusUnauthorized},
		} {
			ho.get(c.user, c.path, c.want)
			if want := map[string]time.Duration{"late": 15 * time.Minute}[c.user]; strings.Contains(c.path, "timeframe") && c.want == ok && s.bars.Delay != want {
				t.Errorf("%s as %s: a delay of %v is asked for", c.path, c.user, s.bars.Delay)
			}
		}
		// Snapshots hold what the grant covers, and no more was asked for.
		if got, want := ho.get("trades", "/v2/stocks/snapshots?symbols=AAPL", ok), `{"AAPL":{"latestTrade":`+latestTrade+`}}`; got != want || len(s.topics) != 1 {
			t.Errorf("got %s, asked for %v", got, s.topics)
		}
		if got := ho.get("daily", "/v2/stocks/AAPL/snapshot", ok); strings.Contains(got, "minuteBar") || !strings.Contains(got, "prevDailyBar") {
			t.Errorf("got %s", got)
		}
		if got := ho.get("a", "/v1/symbols?limit=2", ok); got != `{"symbols":[{"symbol":"AAPL","name":"Apple \"Inc.\""},{"symbol":"AMD"}],"next_page_token":"AMD"}` {
			t.Errorf("got %s", got)
		}
		if got := ho.get("a", "/v1/symbols?page_token=AMD", ok); got != `{"symbols":[],"next_page_token":null}` {
			t.Errorf("got %s", got)
		}
	})
}

func TestUserRate(t *testing.T) {
	priced(t, Config{Requests: 2}, func(ho *house, d *desk, _ *shelf) {
		d.key("bob", session.Grant{})
		for range 4 { // twice as many at once
			ho.get("alice", "/v1/symbols", http.StatusOK)
		}
		resp, _ := ho.ask("GET", "/v1/symbols", withKey("alice"), "")
		if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "1" {
			t.Errorf("%d, retry after %q", resp.StatusCode, resp.Header.Get("Retry-After"))
		}
		ho.get("bob", "/v1/symbols", http.StatusOK)
		time.Sleep(time.Second)
		ho.get("alice", "/v1/symbols", http.StatusOK)
	})
}

// TestNoMonitorAnswers has a request end in time.
func TestNoMonitorAnswers(t *testing.T) {
	priced(t, Config{}, func(ho *house, _ *desk, s *shelf) {
		s.err = context.DeadlineExceeded
		began := time.Now()
		ho.get("alice", "/v2/stocks/bars?symbols=AAPL&timeframe=1Day", http.StatusServiceUnavailable)
		if took := time.Since(began); took != pricesTimeout {
			t.Errorf("it took %v", took)
		}
	})
}

// TestPricesCORS lets a page of an allowed origin read prices.
func TestPricesCORS(t *testing.T) {
	cfg := Config{}
	cfg.Origins.Allow = []string{"https://app.example.com"}
	priced(t, cfg, func(ho *house, _ *desk, _ *shelf) {
		h := withKey("alice")
		h.Set("Origin", "https://app.example.com")
		resp, _ := ho.ask("GET", "/v1/symbols", h, "")
		if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "https://app.example.com" {
			t.Errorf("allowed is %q", got)
		}
		resp, _ = ho.ask("OPTIONS", "/v2/stocks/AAPL/bars", http.Header{
			"Origin": {"https://app.example.com"}, "Access-Control-Request-Method": {"GET"},
		}, "")
		if resp.StatusCode != http.StatusNoContent || !strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), "APCA-API-KEY-ID") {
			t.Errorf("preflight: %d %v", resp.StatusCode, resp.Header)
		}
	})
}

// FuzzPriceQuery gives foreign queries: one that is taken keeps the limits, and means
// the same when it is written again.
func FuzzPriceQuery(f *testing.F) {
	for _, q := range []string{
		"symbols=AAPL,MSFT&timeframe=1Min&start=2026-01-05&end=2026-01-06T00:00:00Z&limit=10&sort=desc&page_token=x",
		"symbols=A&symbols=B", "prefix=A&limit=10", "symbols=%2A", "timeframe=1T&limit=-1", "symbols=A&asof=2026-01-05&adjustment=raw&feed=iex&currency=USD",
		"start=2200-12-31T23:59:59.999999999-12:00&symbols=A&timeframe=1D", "a=1&a=2", "%",
	} {
		f.Add(q, 0)
		f.Add(q, 1)
		f.Add(q, 2)
	}
	f.Fuzz(func(t *testing.T, text string, kind int) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		p := []priceParams{{symbols: 3}, {symbols: 3, bars: true}, {list: true}}[uint(kind)%3]
		p.feeds = []string{"iex"}
		q, err := p.parse(values)
		if err != nil {
			if err.Error() == "" || len(err.Error()) > 600 {
				t.Errorf("error %q", err)
			}
			return
		}
		if q.Limit < 1 || q.Limit > market.MaxPage || len(q.Symbols) > 3 || p.symbols > 0 && len(q.Symbols) == 0 || p.bars && q.Timeframe == 0 {
			t.Errorf("%q is taken as %+v", text, q)
		}
		for _, s := range q.Symbols {
			if s.Validate() != nil {
				t.Errorf("%q is taken as %+v", text, q)
			}
		}
		again := maps.Clone(values)
		if p.bars && !q.End.IsZero() {
			again.Set("end", q.End.Format(time.RFC3339Nano))
		}
		second, err := p.parse(again)
		if err != nil || fmt.Sprint(second) != fmt.Sprint(q) {
			t.Errorf("%q is taken as %+v, then as %+v, error %v", text, q, second, err)
		}
	})
}
