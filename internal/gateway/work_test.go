package gateway

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/market"
)

// What a socket subscribes to is charged by how much it is; what was taken before goes
// on, and what was paid for comes back with time.
func TestSubscriptionsAreCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{TopicRate: 1, Bridge: bridge.Config{HeartbeatEvery: time.Hour, PeerTimeout: time.Hour}})
		for i := range 100 {
			ho.publish(tradeOf(market.Symbol(rune('A'+i%26))+market.Symbol(rune('A'+i/26)), market.Scale))
		}
		synctest.Wait() // the hub knows all of them
		c := ho.dial("/v1/stream")
		c.expect("connected")
		c.send(`{"action":"subscribe","trades":["*"],"snapshot":false}`) // 100 of 5, and the wildcard itself
		c.expect("subscription")
		c.send(`{"action":"subscribe","id":7,"quotes":["A"]}`)
		c.expect(`"id":7,"code":429,"msg":"too many requests: too many symbols were subscribed to in too short a time: try again in 1m37s"`)
		ho.publish(tradeOf("AA", market.Scale))
		c.expect(`"S":"AA"`)
		c.send(`{"action":"unsubscribe","trades":["*"]}`) // costs nothing
		c.expect("subscription")
		time.Sleep(97 * time.Second)
		c.send(`{"action":"subscribe","quotes":["A"]}`)
		c.expect("subscription")
		strict := ho.dial("/v2/iex")
		strict.expect("connected")
		strict.send(authKey("anybody"))
		strict.expect("authenticated")
		strict.send(`{"action":"subscribe","trades":["*"]}`)
		strict.expect("subscription")
		strict.send(`{"action":"subscribe","trades":["A"]}`)
		strict.expect(`"code":429`)
	})
}

// Commands about much count for the user, however many sockets there are. Whoever is
// refused at the start is to come again later.
func TestMuchIsChargedToTheUser(t *testing.T) {
	one(t, Config{UserWork: 100}, func(ho *house, d *desk) {
		d.key("carol", session.Grant{})
		for i := range 7000 {
			ho.publish(tradeOf(market.Symbol("S"+time.Duration(i).String()), market.Scale))
		}
		synctest.Wait()
		for _, want := range [][]string{{"subscription"}, {`"code":429`, "close 4101"}} {
			c := ho.dialAs("/v1/stream?trades=*&snapshot=false", withKey("alice"))
			c.expect(append([]string{"connected", "authenticated"}, want...)...)
		}
		for _, other := range []string{"/v1/stream?trades=*&snapshot=false", "/v1/stream?trades=A,B,C"} {
			user := map[bool]string{true: "carol", false: "alice"}[other[len(other)-1] == 'e']
			c := ho.dialAs(other, withKey(user))
			c.expect("connected", "authenticated", "subscription")
		}
		time.Sleep(time.Minute)
		c := ho.dialAs("/v1/stream?trades=*&snapshot=false", withKey("alice"))
		c.expect("connected", "authenticated", "subscription")
	})
}

// What is too much for upstream is refused to the one who asks, in words.
func TestTooManyTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{})
		c := ho.dial("/v1/stream?trades=A")
		c.expect("connected", "subscription")
		ho.demand.refusal = errors.New("one user has 6, and may have 6")
		c.send(`{"action":"subscribe","id":2,"trades":["B"]}`)
		c.expect(`"id":2,"code":405,"msg":"symbol limit exceeded: one user has 6, and may have 6"`)
		ho.demand.refusal = nil
		c.send(`{"action":"list"}`)
		c.expect(`"trades":["A"]`)
		_ = c.conn.Close()
		ho.clean()
	})
}
