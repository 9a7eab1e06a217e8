package gateway

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/edge"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/market"
)

const eventsPath = "/v1/events"

// bothWays runs a test in a bubble over a WebSocket and over an event stream.
func bothWays(t *testing.T, f func(t *testing.T, path string)) {
	t.Helper()
	for _, path := range []string{"/v1/stream", eventsPath} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, path) })
		})
	}
}

func lastSeen(id string) http.Header { return http.Header{lastEvent: {id}} }

// eventState is what a reader of an event stream knows beside the events.
type eventState struct {
	head  http.Header
	last  string // id, as a browser would send it
	retry time.Duration
	close string // data of the event close
	pings int
}

// follow asks for an event stream on a connection.
func (ho *house) follow(conn net.Conn, path string, h http.Header) *client {
	ho.t.Helper()
	req, err := http.NewRequestWithContext(ho.t.Context(), http.MethodGet, "http://gateway"+path, nil)
	if err != nil {
		ho.t.Fatal(err)
	}
	if h != nil {
		req.Header = h
	}
	if err := req.Write(conn); err != nil {
		ho.t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, req)
	if err != nil || resp.StatusCode != http.StatusOK || !resp.Close || resp.Header.Get("Content-Type") != "text/event-stream" {
		ho.t.Fatalf("%s: %v %v", path, err, resp)
	}
	return &client{t: ho.t, conn: conn, in: in, events: &eventState{head: resp.Header}}
}

// nextEvent reads as a browser does, and gives the next event's data.
func (c *client) nextEvent() string {
	c.t.Helper()
	name, data, id := "", "", ""
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return "error: " + err.Error()
		}
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if id != "" {
				c.events.last = id
			}
			switch {
			case data == "":
			case name == "":
				return data
			case name == "close":
				var code int
				if _, err := fmt.Sscanf(data, `{"code":%d,`, &code); err != nil {
					c.t.Fatalf("%s: %v", data, err)
				}
				c.events.close = data
				return fmt.Sprintf("close %d", code)
			default:
				c.t.Fatalf("an event %s", name)
			}
			name, data, id = "", "", ""
		case field == "":
			c.events.pings++
		case field == "event":
			name = value
		case field == "data":
			data += value
		case field == "id":
			id = value
		case field == "retry":
			ms, err := strconv.Atoi(value)
			if err != nil {
				c.t.Fatal(err)
			}
			c.events.retry = time.Duration(ms) * time.Millisecond
		default:
			c.t.Fatalf("a line %q", line)
		}
	}
}

func TestEventStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{Origins: edge.Origins{Allow: []string{"https://app.example.com"}}})
		if err := ho.hub.Feed(t.Context(), market.Feed{State: market.FeedLive, Since: time.Now(), Epoch: 7}); err != nil {
			t.Fatal(err)
		}
		ho.publish(tradeOf("AAPL", 126_550_000_000))
		c := ho.dialAs(eventsPath+"?trades=AAPL,MSFT,no%20good&hb_ms=2000", http.Header{"Origin": {"https://app.example.com"}})
		for name, want := range map[string]string{
			"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff",
			"Access-Control-Allow-Origin": "https://app.example.com", "Content-Encoding": "",
		} {
			if got := c.events.head.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		c.expect(`"msg":"connected"`, `"T":"feed"`, `"trades":["AAPL","MSFT"],"quotes":[],"bars":[],"updatedBars":[],"dailyBars":[],"statuses":[],"delivery":"adaptive","rejected":[{"ch":"trades","S":"no good","code":412`)
		if c.events.last != "" || c.events.retry < retryLeast || c.events.retry > retryMost {
			t.Errorf("before data: %+v", c.events)
		}
		c.expect(`[{"T":"t","S":"AAPL","i":0,"x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208Z","c":[],"z":"","q":1,"pq":0,"snap":true}]`)
		if c.events.last != "7-1" {
			t.Errorf("behind the snapshot: id %q", c.events.last)
		}
		ho.publish(tradeOf("MSFT", 1), tradeOf("IBM", 1), tradeOf("AAPL", 2), tradeOf("IBM", 1))
		c.expect(`"q":4,"pq":1}]`)
		if c.events.last != "7-5" { // nothing up to there is missing
			t.Errorf("behind events: id %q", c.events.last)
		}
		ho.publish(tradeOf("IBM", 1))
		c.expect(`"T":"hb"`)
		if c.events.last != "7-6" {
			t.Errorf("behind a heartbeat: id %q", c.events.last)
		}
		for c.events.pings == 0 {
			c.expect(`"T":"hb"`)
		}
		if st := ho.g.bridges.Stats(); st.Open != 1 || st.Streams != 1 {
			t.Errorf("%+v", st)
		}
		_ = c.conn.Close()
		ho.clean()
		if st := ho.g.bridges.Stats(); st.Open != 0 || st.Streams != 0 {
			t.Errorf("left: %+v", st)
		}
	})
}

// TestEventStreamResumes cuts connections at any byte, again and again. What the ids
// let a browser resume is each event once and in order, or the last of each symbol.
func TestEventStreamResumes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, delivery := range []string{"adaptive", "every", "latest"} {
		t.Run(delivery, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const total = 3000
				r := rand.New(rand.NewPCG(seed, 2))
				ho := resumable(t, Config{}, 1, memnet.WithBuffer(1500))
				all := []market.Event{ho.published(1)}
				var mu sync.Mutex
				ho.demand.replay = func(_ context.Context, _ []market.Topic, after market.Position) ([]market.Event, market.Seq, []market.Topic, error) {
					mu.Lock()
					defer mu.Unlock()
					page := slices.Clone(all[after.Seq:min(len(all), int(after.Seq)+50)])
					return page, page[len(page)-1].Seq, nil, nil
				}
				var publisher sync.WaitGroup
				publisher.Go(func() {
					for len(all) < total {
						mu.Lock()
						e := ho.published(len(all) + 1)
						all = append(all, e)
						mu.Unlock()
						ho.publish(tradeOf(e.Symbol, market.Scale))
						time.Sleep(time.Duration(1+len(all)%5) * time.Millisecond)
					}
				})
				last, cuts := "", 0
				var got []int
				newest := map[int]int{}
				for len(got) == 0 || newest[0] < total-1 || newest[1] < total-1 {
					time.Sleep(time.Duration(r.IntN(600)) * time.Millisecond)
					h := http.Header{}
					if last != "" {
						h = lastSeen(last)
					}
					c := ho.dialAs(eventsPath+"?trades=A,B&hb_ms=1000&delivery="+delivery, h)
					cutter := time.AfterFunc(time.Duration(r.IntN(400))*time.Millisecond, func() { _ = c.conn.Close() })
					for left := r.IntN(50); left > 0 && (newest[0] < total-1 || newest[1] < total-1); left-- {
						m := c.next()
						if strings.HasPrefix(m, "error") {
							break
						}
						if strings.Contains(m, `"T":"gap"`) || strings.HasPrefix(m, "close") {
							t.Fatal(m)
						}
						for part := range strings.SplitSeq(m, `{"T":"t"`) {
							var q int
							if i := strings.Index(part, `"q":`); i > 0 && strings.Contains(part, `"S":"`) {
								_, _ = fmt.Sscanf(part[i:], `"q":%d`, &q)
								got = append(got, q)
								newest[q%2] = max(newest[q%2], q)
							}
						}
					}
					cutter.Stop()
					_ = c.conn.Close() // whatever was under way is lost
					if c.events.last != "" {
						last = c.events.last
					}
					cuts++
				}
				publisher.Wait()
				if cuts < 10 {
					t.Errorf("only %d connections", cuts)
				}
				if delivery != "latest" {
					for i, q := range got {
						if q != got[0]+i {
							t.Fatalf("%d after %d, at %d of %d, %d connections", q, got[i-1], i, len(got), cuts)
						}
					}
				}
				ho.clean()
			})
		})
	}
}

// published gives the n-th trade, as resumable makes them.
func (ho *house) published(n int) market.Event {
	e := tradeOf(market.Symbol("AB"[(n+1)%2:(n+1)%2+1]), market.Scale)
	e.Seq, e.Prev = market.Seq(n), market.Seq(max(0, n-2))
	return e
}

// TestEventStreamSaysHowItEnded in its last event, with what to do.
func TestEventStreamSaysHowItEnded(t *testing.T) {
	each(t, []string{eventsPath}, Config{UserSockets: 2}, func(ho *house, _ *desk, path string) {
		id := ho.session("alice", `{"trades":["AAPL"]}`)
		old := ho.dial(path + "?session_id=" + id)
		old.expect("connected", "authenticated", "subscription")
		ho.dial(path+"?session_id="+id).expect("connected", "authenticated", "subscription")
		old.expect("close 4005")
		if old.events.close != `{"code":4005,"reason":"superseded","msg":"a newer socket has the session","retry":"never"}` || old.events.last != "end" {
			t.Errorf("%+v", old.events)
		}
		if got := old.next(); got != "error: EOF" {
			t.Errorf("then %s", got)
		}
		// A browser comes again, and is told to stay away: the two do not take turns.
		resp, _ := ho.ask("GET", path+"?session_id="+id, lastSeen(old.events.last), "")
		if resp.StatusCode != http.StatusNoContent {
			t.Errorf("come again: %d", resp.StatusCode)
		}
		first := ho.dialAs(path+"?trades=A", withKey("alice"))
		first.expect("connected", "authenticated", "subscription")
		if resp, text := ho.ask("DELETE", sessionsPath+"/"+id, withKey("alice"), ""); resp.StatusCode != http.StatusNoContent {
			t.Error(text)
		}
		for range 2 {
			ho.dialAs(path+"?trades=A", withKey("alice")).expect("connected", "authenticated", "subscription")
		}
		first.expect(`"code":406`, "close 4103")
		if e := first.events; !strings.Contains(e.close, `"reason":"connection_limit"`) || !strings.Contains(e.close, fmt.Sprintf(`"retry":"backoff","retry_ms":%d}`, e.retry.Milliseconds())) || e.retry < time.Second {
			t.Errorf("%+v", e)
		}
	})
}

// TestEventStreamIsDrained tells the client, streams on, and has it come again soon.
func TestEventStreamIsDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{DrainWindow: 30 * time.Second})
		if err := ho.hub.Feed(t.Context(), market.Feed{State: market.FeedLive, Since: time.Now(), Epoch: 7}); err != nil {
			t.Fatal(err)
		}
		c := ho.dial(eventsPath + "?trades=A")
		c.expect("connected", "feed", "subscription")
		took := ho.drain()
		c.expect(`[{"T":"reconnect","reason":"drain","delay_ms":`)
		ho.publish(tradeOf("A", 1))
		c.expect(`"q":1`)
		if got := c.nextButHeartbeats(); got != "close 4200" || !strings.Contains(c.events.close, `"retry":"now"`) || c.events.retry > time.Second || c.events.last != "7-1" {
			t.Errorf("%s %+v", got, c.events)
		}
		<-took
		ho.clean()
	})
}

// TestEventStreamsSlowReader conflates, or ends, and costs nobody else anything.
func TestEventStreamsSlowReader(t *testing.T) {
	for _, delivery := range []string{"adaptive", "every", "latest"} {
		t.Run(delivery, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ho := newHouse(t, Config{EveryQ: 100}, memnet.WithBuffer(4096))
				slow, quick := ho.dial(eventsPath+"?trades=A&delivery="+delivery), ho.dial(eventsPath+"?trades=A&delivery=every")
				quick.expect("connected", "subscription")
				synctest.Wait()
				for q := 1; q <= 1000; q++ {
					ho.publish(tradeOf("A", 1))
					quick.expect(fmt.Sprintf(`"q":%d,"pq":%d}]`, q, q-1))
				}
				if delivery == "every" {
					for {
						if m := slow.next(); strings.HasPrefix(m, "error") || strings.HasPrefix(m, "close") {
							break
						}
					}
					time.Sleep(2 * time.Second)
					if n := ho.g.bridges.Stats(); n.Open != 1 {
						t.Errorf("%+v", n)
					}
					return
				}
				slow.expect("connected", "subscription")
				sum := 0
				for q := 0; q < 1000; {
					m := slow.next()
					for part := range strings.SplitSeq(m, `{"T":"t"`) {
						if i := strings.Index(part, `"q":`); i > 0 {
							var pq, k int
							if n, _ := fmt.Sscanf(part[i:], `"q":%d,"pq":%d,"k":%d}`, &q, &pq, &k); n < 3 {
								k = 1
							}
							sum += k
						}
					}
				}
				if sum != 1000 {
					t.Errorf("what came stands for %d events", sum)
				}
			})
		})
	}
}

// TestEventStreamClientTalks: a little is overlooked, more is not.
func TestEventStreamClientTalks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{MessageBytes: 100})
		c := ho.dial(eventsPath + "?trades=A")
		c.expect("connected", "subscription")
		for range 2 {
			if _, err := c.conn.Write(make([]byte, 50)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			ho.publish(tradeOf("A", 1))
			c.expect(`"T":"t"`)
		}
		if _, err := c.conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		c.expect("close 4004")
		ho.clean()
	})
}

// TestEventStreamLivesWithoutAWord from its client, longer than a WebSocket would.
func TestEventStreamLivesWithoutAWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{Bridge: bridge.Config{MaxAge: time.Hour}})
		c := ho.dial(eventsPath + "?trades=A")
		c.expect("connected", "subscription")
		begin := time.Now()
		for {
			m := c.nextButHeartbeats()
			if strings.HasPrefix(m, "close") {
				if m != "close 4201" || time.Since(begin) < 45*time.Minute {
					t.Errorf("%s after %s", m, time.Since(begin))
				}
				break
			}
			if !strings.Contains(m, `"reason":"max_age"`) {
				t.Error(m)
			}
		}
		if least := int(time.Since(begin) / (20 * time.Second)); c.events.pings < least-1 {
			t.Errorf("%d pings, want %d", c.events.pings, least)
		}
	})
}

// TestEventStreamsKeepGrants has what a client may see taken from it.
func TestEventStreamsKeepGrants(t *testing.T) {
	each(t, []string{eventsPath}, Config{}, func(ho *house, d *desk, path string) {
		d.key("tech", session.Grant{Symbols: []session.Pattern{"AAPL", "MSFT"}})
		c := ho.dialAs(path+"?trades=*&quotes=IBM", withKey("tech"))
		c.expect("connected", "authenticated", `"rejected":[{"ch":"quotes","S":"IBM","code":409`)
		ho.publish(tradeOf("IBM", 1), tradeOf("AAPL", 1))
		c.expect(`[{"T":"t","S":"AAPL"`)
		d.key("tech", session.Grant{Symbols: []session.Pattern{"MSFT"}})
		d.tell()
		ho.publish(tradeOf("AAPL", 1), tradeOf("MSFT", 1))
		c.expect(`[{"T":"t","S":"MSFT"`)
		d.drop("tech")
		d.tell()
		c.expect(`"code":401`, "close 4003")
		ho.clean()
	})
}
