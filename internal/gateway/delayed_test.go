package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/internal/poll"
	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/market"
)

// delayedHouse is a house whose feed is at position 10, and at 4 for the delayed user late.
// Its monitor knows what is behind 10.
func delayedHouse(t *testing.T) (ho, late *house) {
	t.Helper()
	d := newDesk()
	d.key("now", session.Grant{})
	d.key("late", session.Grant{Delay: 15 * time.Minute})
	cfg, late := lateConfig(t, d)
	cfg.Delayed[15*time.Minute] = Late{Hub: late.hub, Epoch: func() market.Epoch { return epochOfTests }}
	ho = resumable(t, cfg, 10)
	if err := late.hub.Feed(t.Context(), market.Feed{State: market.FeedLive, Epoch: epochOfTests}); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		late.publish(tradeOf(market.Symbol("AB"[i%2:i%2+1]), market.Scale))
	}
	ho.demand.replay = func(_ context.Context, topics []market.Topic, after market.Position) ([]market.Event, market.Seq, []market.Topic, error) {
		if after.Seq > 10 {
			return nil, 0, topics, nil
		}
		return nil, 10, nil, nil
	}
	synctest.Wait()
	return ho, late
}

// resumes are the ways in which a delayed user resumes at a position.
func resumes() map[string]func(ho *house, since string) *client {
	query := func(path, more string) func(ho *house, since string) *client {
		return func(ho *house, since string) *client {
			return ho.dialAs(path+"?trades=A,B"+more+"&since="+since, withKey("late"))
		}
	}
	return map[string]func(ho *house, since string) *client{
		"adaptive": query("/v1/stream", ""),
		"latest":   query("/v1/stream", "&delivery=latest"),
		"every":    query("/v1/stream", "&delivery=every"),
		"events":   query(eventsPath, ""),
		"an event's id": func(ho *house, since string) *client {
			h := withKey("late")
			h.Set(lastEvent, since)
			return ho.dialAs(eventsPath+"?trades=A,B", h)
		},
		"session": func(ho *house, since string) *client {
			return ho.dial(stream(ho.session("late", `{"trades":["A","B"]}`)) + "&since=" + since)
		},
		"command": func(ho *house, since string) *client {
			c := ho.dialAs("/v1/stream", withKey("late"))
			c.send(`{"action":"subscribe","trades":["A","B"],"since":"` + since + `"}`)
			return c
		},
		"auth message": func(ho *house, since string) *client {
			c := ho.dial("/v1/stream?trades=A,B&since=" + since)
			c.send(authKey("late"))
			return c
		},
	}
}

// TestSinceTellsNoRealTimePosition has a delayed user resume at positions that real time
// has passed, and has not: what comes, and when, is the same, and tells of the position
// that the user knows.
func TestSinceTellsNoRealTimePosition(t *testing.T) {
	conn := regexp.MustCompile(`"conn":"[^"]*"`)
	for name, resume := range resumes() {
		t.Run(name, func(t *testing.T) {
			var want string
			for _, seq := range []market.Seq{5, 9, 10, 11, 12, 1000, 1 << 40} {
				synctest.Test(t, func(t *testing.T) {
					ho, _ := delayedHouse(t)
					since := market.Position{Epoch: epochOfTests, Seq: seq}.String()
					begin := time.Now()
					c := resume(ho, since)
					var got strings.Builder
					for time.Since(begin) < 16*time.Minute {
						m := conn.ReplaceAllString(c.next(), "")
						fmt.Fprintf(&got, "%s %s\n", time.Since(begin), strings.ReplaceAll(m, since, "SINCE"))
						if strings.HasPrefix(m, "close") || strings.HasPrefix(m, "error") {
							t.Fatalf("%s", got.String())
						}
					}
					if want == "" {
						want = got.String()
					}
					if got.String() != want {
						t.Errorf("since %s tells real time's position from the delayed one:\n%.2000s\nand since 5:\n%.2000s", since, got.String(), want)
					}
					if n := strings.Count(got.String(), `"T":"gap"`); n != 1 || !strings.Contains(got.String(), `15m1s [{"T":"gap"`) {
						t.Errorf("%d gaps, want one after 15m1s:\n%.2000s", n, got.String())
					}
					_ = c.conn.Close()
				})
			}
		})
	}
}

// TestDelayedUserIsAhead has a delayed user resume where the gateway will be in a minute:
// nothing is lost, and nothing comes twice.
func TestDelayedUserIsAhead(t *testing.T) {
	for name, resume := range resumes() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ho, late := delayedHouse(t)
				c := resume(ho, market.Position{Epoch: epochOfTests, Seq: 6}.String())
				synctest.Wait()
				time.Sleep(30 * time.Second)
				for i := range 4 {
					late.publish(tradeOf(market.Symbol("AB"[i%2:i%2+1]), market.Scale))
					synctest.Wait()
				}
				c.wantTrades(8, "7<5", "8<6")
				_ = c.conn.Close()
			})
		})
	}
}

// TestHubsKnowTheirDelay has a gateway refuse a hub for delayed prices that would look
// positions up as others do.
func TestHubsKnowTheirDelay(t *testing.T) {
	cfg := Config{Delayed: map[time.Duration]Late{15 * time.Minute: {Hub: newHub(t)}}, Poller: poll.NewGoroutines()}
	_, err := New(cfg, newHub(t), &ledger{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err == nil || !strings.Contains(err.Error(), "15m0s late has a delay of 0s") {
		t.Errorf("error %v, want one that names both times", err)
	}
}
