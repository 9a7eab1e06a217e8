package gateway

import (
	"testing"
	"time"
)

// TestSlowClients has operators tell the sockets of a user, without knowing whose
// they are.
func TestSlowClients(t *testing.T) {
	one(t, Config{}, func(ho *house, _ *desk) {
		alice := ho.dialAs(eventsPath+"?trades=A&delivery=latest&interval_ms=10000", withKey("alice"))
		again := ho.dialAs("/v1/stream?trades=A&delivery=latest&interval_ms=10000", withKey("alice"))
		bob := ho.dialAs("/v1/stream?trades=A&delivery=latest&interval_ms=10000", withKey("bob"))
		for _, c := range []*client{alice, again, bob} {
			c.expect("connected", "authenticated", "subscription")
		}
		ho.publish(tradeOf("A", 1))
		for _, c := range []*client{alice, again, bob} {
			c.expect(`"q":1`)
		}
		ho.publish(tradeOf("A", 1))
		time.Sleep(time.Second)
		list, err := ho.g.Slowest(ho.t.Context(), 10)
		if err != nil || len(list) != 3 {
			t.Fatalf("%v %+v", err, list)
		}
		users, streams := map[string]int{}, 0
		for _, c := range list {
			users[c.User]++
			if c.Transport == "events" {
				streams++
			}
			if len(c.User) != 8 || c.Oldest != 1000 || c.Queued != 1 || c.Delivery != "latest" || c.Conn == "" {
				t.Errorf("%+v", c)
			}
		}
		if len(users) != 2 || streams != 1 {
			t.Errorf("%+v", list)
		}
		if ho.g.hashed("alice") == (&Gateway{}).hashed("alice") {
			t.Error("whoever guesses a user's name can check it")
		}
	})
}
