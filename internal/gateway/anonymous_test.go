package gateway

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestNobodyYetIsToldNoPosition has a client that has not said who it is be told how the
// gateway is, with heartbeats and a drain, but not where real time is.
func TestNobodyYetIsToldNoPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho, _ := delayedHouse(t)
		ho.g.cfg.AuthTimeout = time.Hour
		nobody, now, late := ho.dial("/v1/stream?hb_ms=1000"), ho.dialAs("/v1/stream?hb_ms=1000", withKey("now")), ho.dialAs("/v1/stream?hb_ms=1000", withKey("late"))
		nobody.expect("connected", `"T":"feed"`)
		now.expect("connected", `"T":"feed"`, "authenticated")
		late.expect("connected", `"T":"feed"`, "authenticated")
		if m := nobody.next(); !strings.Contains(m, `"T":"hb"`) || strings.Contains(m, `"q"`) {
			t.Errorf("a heartbeat for nobody: %s", m)
		}
		now.expect(`"q":10`)
		late.expect(`"q":4`)
		nobody.send(authKey("now"))
		nobody.expect("authenticated", `"q":10`)
	})
	synctest.Test(t, func(t *testing.T) {
		ho, _ := delayedHouse(t)
		ho.g.cfg.AuthTimeout, ho.g.cfg.DrainWindow = time.Hour, 20*time.Second
		c := ho.dial("/v1/stream")
		c.expect("connected", `"T":"feed"`)
		synctest.Wait()
		ho.drain()
		if m := c.nextButHeartbeats(); !strings.Contains(m, `"T":"reconnect"`) || strings.Contains(m, "since") {
			t.Errorf("a drain's notice for nobody: %s", m)
		}
	})
}
