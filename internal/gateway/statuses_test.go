package gateway

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/market"
)

// TestHalts has clients of each sort learn that a symbol is halted, and traded
// again: those who are there, those who come later, those who come back.
func TestHalts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := resumable(t, Config{}, 4)
		const halt = `"T":"s","S":"AAPL","sc":"H","sm":"","rc":"LUDP","rm":"","t":"2021-02-22T15:51:44Z","z":""`
		const resumed = `"T":"s","S":"AAPL","sc":"T"`
		native := ho.dial("/v1/stream?statuses=AAPL,IBM")
		native.expect("connected", `"T":"feed"`, `"dailyBars":[],"statuses":["AAPL","IBM"],"delivery"`)
		strict := ho.dial("/v2/iex")
		strict.expect("connected")
		strict.send(`{"action":"auth","key":"k","secret":"s"}`)
		strict.expect("authenticated")
		strict.send(`{"action":"subscribe","statuses":["*"]}`)
		strict.expect(`[{"T":"subscription","trades":[],"quotes":[],"bars":[],"updatedBars":[],"dailyBars":[],"statuses":["*"]}]`)
		before := ho.seq

		ho.publish(statusOf("AAPL", "H"))
		native.expect(fmt.Sprintf(`[{%s,"q":%d,"pq":0}]`, halt, ho.seq))
		strict.expect(`[{` + halt + `}]`)

		late := ho.dial("/v1/stream?statuses=*&delivery=latest")
		late.expect("connected", `"T":"feed"`, `"statuses":["*"],"delivery":"latest"`, fmt.Sprintf(`[{%s,"q":%d,"pq":0,"snap":true}]`, halt, ho.seq))
		for range 3 { // whoever wants the latest gets no more than that
			ho.publish(statusOf("AAPL", "P"), statusOf("AAPL", "Q"), statusOf("AAPL", "T"))
		}
		var last string
		merged := 0
		for !strings.Contains(last, fmt.Sprintf(`"q":%d,`, ho.seq)) {
			last = late.next()
			merged += strings.Count(last, `"T":"s"`)
		}
		if !strings.Contains(last, resumed) || merged > 3 {
			t.Errorf("latest got %d messages, at last %s", merged, last)
		}

		back := ho.dial(fmt.Sprintf("/v1/stream?statuses=AAPL&delivery=every&since=%d-%d", epochOfTests, ho.seq-1))
		back.expect("connected", `"T":"feed"`, "subscription", resumed)
		gone := ho.dial(fmt.Sprintf("/v1/stream?statuses=AAPL&delivery=every&since=%d-%d", epochOfTests, before))
		gone.expect("connected", `"T":"feed"`, "subscription", `"T":"gap"`, resumed) // the window holds eight events

		native.send(`{"action":"unsubscribe","statuses":["AAPL"]}`)
		for !strings.Contains(last, `"statuses":["IBM"]`) {
			last = native.next()
		}
		ho.publish(statusOf("AAPL", "H"))
		native.silent()
	})
}

// Alpaca's crypto has no statuses, so that endpoint refuses them and its clients
// never hear of the channel.
func TestCryptoHasNoStatuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{})
		c := ho.dial("/v1beta3/crypto/us")
		c.expect("connected")
		c.send(`{"action":"auth","key":"k","secret":"s"}`)
		c.expect("authenticated")
		c.send(`{"action":"subscribe","statuses":["BTC/USD"]}`)
		c.expect(`"code":410`)
		c.send(`{"action":"subscribe","trades":["*"],"statuses":[]}`)
		c.expect(`[{"T":"subscription","trades":["*"],"quotes":[],"bars":[],"updatedBars":[],"dailyBars":[]}]`)
		ho.publish(statusOf("BTC/USD", "H"))
		c.silent()
	})
}

// Who may see statuses and nothing else, or all but them, gets just that; a session
// keeps them.
func TestStatusesAreGranted(t *testing.T) {
	one(t, Config{}, func(ho *house, d *desk) {
		d.key("halts", session.Grant{Channels: []market.Channel{market.Statuses}})
		d.key("tech", techOnly())
		ho.publish(statusOf("AAPL", "H"), tradeOf("AAPL", 1))
		c := ho.dialAs("/v1/stream?statuses=*&trades=AAPL", withKey("halts"))
		c.expect("connected", "authenticated", `"trades":[],"quotes":[],"bars":[],"updatedBars":[],"dailyBars":[],"statuses":["*"]`, `"T":"s","S":"AAPL"`)
		c.silent()
		other := ho.dialAs("/v1/stream?statuses=AAPL&trades=AAPL", withKey("tech"))
		other.expect("connected", "authenticated", `"rejected":[{"ch":"statuses","S":"AAPL","code":411,`, `"T":"t","S":"AAPL"`)
		other.silent()

		id := ho.session("halts", `{"statuses":["AAPL"],"snapshot":false}`)
		if _, text := ho.ask("GET", sessionsPath+"/"+id, withKey("halts"), ""); !strings.Contains(text, `"statuses":["AAPL"]`) {
			t.Errorf("the session is told as %s", text)
		}
		kept := ho.dial(stream(id))
		kept.expect("connected", "authenticated", `"statuses":["AAPL"]`)
		ho.publish(statusOf("AAPL", "T"), tradeOf("AAPL", 2))
		kept.expect(`"sc":"T"`)
		kept.silent()
	})
}
