package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/market"
)

const epochOfTests = 1_700_000_000_000

// resumable is a house whose feed has an epoch and has published n trades, of A and
// B in turn.
func resumable(t *testing.T, cfg Config, n int, network ...memnet.Option) *house {
	t.Helper()
	ho := newHouse(t, cfg, network...)
	if err := ho.hub.Feed(t.Context(), market.Feed{State: market.FeedLive, Epoch: epochOfTests}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		ho.publish(tradeOf(market.Symbol("AB"[i%2:i%2+1]), market.Scale))
	}
	return ho
}

// trades reads frames of data until one brings the event at a position, and gives
// the positions of all, with "snap" behind those of current values.
func (c *client) trades(until int) (got []string) {
	c.t.Helper()
	for {
		m := c.next()
		if strings.HasPrefix(m, "error") || strings.HasPrefix(m, "close") {
			c.t.Fatalf("%s after %v", m, got)
		}
		if strings.Contains(m, `"T":"gap"`) {
			got = append(got, "gap")
		}
		for part := range strings.SplitSeq(m, `{"T":"t"`) {
			var q, pq int
			if i := strings.Index(part, `"q":`); !strings.Contains(part, `"S":"`) || i < 0 {
				continue
			} else if _, err := fmt.Sscanf(part[i:], `"q":%d,"pq":%d`, &q, &pq); err != nil {
				c.t.Fatalf("%s: %v", part, err)
			}
			note := fmt.Sprintf("%d<%d", q, pq)
			if strings.Contains(part, `"snap":true`) {
				note = fmt.Sprintf("%d snap", q)
			}
			if got = append(got, note); q == until {
				return got
			}
		}
	}
}

func (c *client) wantTrades(until int, want ...string) {
	c.t.Helper()
	if got := c.trades(until); fmt.Sprint(got) != fmt.Sprint(want) {
		c.t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestResume comes back in each of the ways there are.
func TestResume(t *testing.T) {
	since := fmt.Sprintf("%d-6", epochOfTests)
	for name, connect := range map[string]func(ho *house) *client{
		"query": func(ho *house) *client { return ho.dial("/v1/stream?trades=A,B&since=" + since) },
		"command": func(ho *house) *client {
			c := ho.dial("/v1/stream")
			c.send(`{"action":"subscribe","trades":["A","B"],"since":"` + since + `"}`)
			return c
		},
		"every":          func(ho *house) *client { return ho.dial("/v1/stream?trades=A,B&delivery=every&since=" + since) },
		"events":         func(ho *house) *client { return ho.dial("/v1/events?trades=A,B&since=" + since) },
		"events, header": func(ho *house) *client { return ho.dialAs("/v1/events?trades=A,B&since=7-7", lastSeen(since)) },
		"wildcard":       func(ho *house) *client { return ho.dial("/v1/stream?trades=*&since=" + since) },
		"session": func(ho *house) *client {
			_, text := ho.ask("POST", sessionsPath, nil, `{"trades":["A","B"]}`)
			var s struct {
				ID string `json:"session_id"`
			}
			if err := json.Unmarshal([]byte(text), &s); err != nil {
				ho.t.Fatalf("%s: %v", text, err)
			}
			return ho.dial(stream(s.ID) + "&since=" + since)
		},
		"session, events": func(ho *house) *client {
			_, text := ho.ask("POST", sessionsPath, nil, `{"trades":["A","B"]}`)
			var v sessionView
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				ho.t.Fatalf("%s: %v", text, err)
			}
			return ho.dialAs(strings.TrimPrefix(v.EventsURL, "http://gateway"), lastSeen(since))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ho := resumable(t, Config{}, 10)
				c := connect(ho)
				c.wantTrades(10, "7<5", "8<6", "9<7", "10<8")
				ho.publish(tradeOf("A", market.Scale))
				c.wantTrades(11, "11<9")
			})
		})
	}
}

// TestResumeLatest gets what has changed, and nothing else.
func TestResumeLatest(t *testing.T) {
	bothWays(t, func(t *testing.T, path string) {
		t.Helper()
		ho := resumable(t, Config{}, 10)
		c := ho.dial(fmt.Sprintf(path+"?trades=A,B&delivery=latest&since=%d-9", epochOfTests))
		c.wantTrades(10, "10 snap")
		ho.publish(tradeOf("A", market.Scale))
		c.wantTrades(11, "11<9")
	})
}

// TestResumeFromMonitor goes back farther than the gateway remembers.
func TestResumeFromMonitor(t *testing.T) {
	bothWays(t, func(t *testing.T, path string) {
		t.Helper()
		ho := resumable(t, Config{}, 20)
		ho.demand.replay = func(_ context.Context, topics []market.Topic, after market.Position) ([]market.Event, market.Seq, []market.Topic, error) {
			time.Sleep(time.Second) // and meanwhile the feed goes on
			if len(topics) != 2 || after.Seq > 20 {
				t.Errorf("asked for %v after %s", topics, after)
			}
			var page []market.Event
			for q := after.Seq + 1; q <= 20 && len(page) < 5; q++ {
				e := tradeOf(market.Symbol("AB"[(q+1)%2:(q+1)%2+1]), market.Scale)
				e.Seq, e.Prev = q, q-2
				page = append(page, e)
			}
			return page, page[len(page)-1].Seq, nil, nil
		}
		c := ho.dial(fmt.Sprintf(path+"?trades=A,B&delivery=every&since=%d-4", epochOfTests))
		time.Sleep(500 * time.Millisecond)
		ho.publish(tradeOf("A", market.Scale), tradeOf("B", market.Scale))
		var want []string
		for q := 5; q <= 22; q++ {
			want = append(want, fmt.Sprintf("%d<%d", q, q-2))
		}
		c.wantTrades(22, want...)
	})
}

// TestResumeGap says what is lost, and why, and brings the current values.
func TestResumeGap(t *testing.T) {
	for name, tc := range map[string]struct {
		since, reason string
		err           error
	}{
		"another epoch": {since: "1-5", reason: "epoch"},
		"held no more":  {since: fmt.Sprintf("%d-2", epochOfTests), reason: "expired"},
		"no monitor":    {since: fmt.Sprintf("%d-2", epochOfTests), reason: "expired", err: errors.New("nobody is there")},
		"never was":     {since: fmt.Sprintf("%d-99", epochOfTests), reason: "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, path string) {
				t.Helper()
				ho := resumable(t, Config{ReplayTimeout: time.Second}, 20)
				ho.demand.replay = func(ctx context.Context, topics []market.Topic, _ market.Position) ([]market.Event, market.Seq, []market.Topic, error) {
					if tc.err != nil {
						<-ctx.Done()
					}
					return nil, 0, topics, tc.err
				}
				c := ho.dial(path + "?trades=A,B&delivery=every&since=" + tc.since)
				c.expect(`"connected"`, `"feed"`, `"subscription"`, `"T":"gap","reason":"`+tc.reason+`","from":"`+tc.since+`"`)
				c.wantTrades(20, "19 snap", "20 snap")
				ho.publish(tradeOf("A", market.Scale))
				c.wantTrades(21, "21<19")
			})
		})
	}
}
