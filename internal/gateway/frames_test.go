package gateway

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/session"
)

// last reads until the connection's end, and gives its last word.
func (c *client) last() string {
	c.t.Helper()
	for {
		if got := c.next(); strings.HasPrefix(got, "close") || strings.HasPrefix(got, "error") {
			return got
		}
	}
}

// TestFrameFloods sends frames of each kind as fast as they go, before the client has
// said who it is and after.
func TestFrameFloods(t *testing.T) {
	masked := func(op ws.OpCode, fin bool, payload string) []byte {
		return ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(op, fin, []byte(payload))))
	}
	fragmented := masked(ws.OpText, false, "")
	for range maxFragments - 2 {
		fragmented = append(fragmented, masked(ws.OpContinuation, false, "")...)
	}
	fragmented = append(fragmented, masked(ws.OpContinuation, true, `{"action":"ping"}`)...)
	half := append(masked(ws.OpText, false, "{"), masked(ws.OpPing, true, "")...)
	for name, flood := range map[string][]byte{
		"pings":                   masked(ws.OpPing, true, ""),
		"large pings":             masked(ws.OpPing, true, strings.Repeat("x", 125)),
		"pongs that nobody wants": masked(ws.OpPong, true, ""),
		"empty fragments":         fragmented,
		"empty messages":          masked(ws.OpText, true, ""),
		"commands":                masked(ws.OpText, true, `{"action":"ping"}`),
		"pings within a message":  append(half, masked(ws.OpContinuation, true, "}")...),
	} {
		for who, path := range map[string]string{"somebody": "/v1/stream", "nobody yet": "/v2/iex"} {
			t.Run(name+" of "+who, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newDesk()
					d.key("alice", session.Grant{})
					ho := newHouse(t, Config{Auth: d, AuthTimeout: time.Hour})
					var c *client
					if who == "somebody" {
						c = ho.dialAs(path, withKey("alice"))
					} else {
						c = ho.dial(path)
					}
					begin := time.Now()
					go func() { _, _ = c.conn.Write(bytes.Repeat(flood, 1000)) }()
					if got := c.last(); got != "close 4101" && got != "close 4004" {
						t.Errorf("ended with %s, want close 4101, or 4004 where commands make no sense", got)
					}
					if took := time.Since(begin); took > time.Second {
						t.Errorf("ended after %s", took)
					}
					_ = c.conn.Close()
					time.Sleep(2 * time.Second) // who broke the rules is not read any more
					ho.clean()
				})
			})
		}
	}
}

// TestFloodIsCut has a client send on and on after it broke the rules, and never read:
// nobody takes that for as long as the end may take.
func TestFloodIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{Bridge: bridge.Config{CloseWait: time.Hour, PeerTimeout: 2 * time.Hour}})
		c := ho.dial("/v1/stream")
		c.expect("connected")
		begin, sent := time.Now(), 0
		for ping := bytes.Repeat(ws.MustCompileFrame(ws.MaskFrame(ws.NewPingFrame(nil))), 1000); sent < 4*extraMost; {
			n, err := c.conn.Write(ping)
			if sent += n; err != nil {
				break
			}
		}
		if took := time.Since(begin); took > time.Minute || sent > 2*extraMost {
			t.Errorf("%d bytes were taken in %s", sent, took)
		}
		ho.clean()
	})
}

// TestControlFramesThatAreFine has a client ping four times a second for some minutes, in
// which its network holds them back twice, nearly for as long as a peer may be silent.
func TestControlFramesThatAreFine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{})
		c := ho.dial("/v1/stream?trades=AAPL")
		c.expect("connected", "subscription")
		ping := ws.MustCompileFrame(ws.MaskFrame(ws.NewPingFrame([]byte("p"))))
		var pinging sync.WaitGroup
		pinging.Go(func() {
			for round := range 20 {
				n := 1
				if round%10 == 9 {
					n = frameBurst
				}
				for range frameBurst / n {
					if _, err := c.conn.Write(bytes.Repeat(ping, n)); err != nil {
						return
					}
					time.Sleep(time.Duration(n) * 250 * time.Millisecond)
				}
			}
		})
		pongs := 0
		for {
			f, err := ws.ReadFrame(c.in)
			if err != nil {
				t.Fatal(err)
			}
			switch f.Header.OpCode { //nolint:exhaustive // others do not matter here
			case ws.OpPong:
				pongs++
			case ws.OpClose:
				code, _ := ws.ParseCloseFrameData(f.Payload)
				t.Fatalf("closed with %d after %d pongs", code, pongs)
			}
			if pongs == 20*frameBurst {
				break
			}
		}
		pinging.Wait()
	})
}

// TestLengthsAreMinimal refuses lengths that are written in more bytes than they need.
func TestLengthsAreMinimal(t *testing.T) {
	const mask = "\x00\x00\x00\x00"
	for name, frame := range map[string]string{
		"5 in two bytes":        "\x81\xfe\x00\x05" + mask + "hello",
		"125 in two bytes":      "\x81\xfe\x00\x7d" + mask + strings.Repeat("x", 125),
		"5 in eight bytes":      "\x81\xff\x00\x00\x00\x00\x00\x00\x00\x05" + mask + "hello",
		"200 in eight bytes":    "\x81\xff\x00\x00\x00\x00\x00\x00\x00\xc8" + mask + strings.Repeat("x", 200),
		"a ping's in two bytes": "\x89\xfe\x00\x01" + mask + "p",
		"a continuation's":      "\x01\x81" + mask + "{" + "\x80\xfe\x00\x01" + mask + "}",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ho := newHouse(t, Config{})
				c := ho.dial("/v1/stream")
				c.expect("connected")
				if _, err := c.conn.Write([]byte(frame)); err != nil {
					t.Fatal(err)
				}
				c.expect("close 1002")
			})
		})
	}
}

// TestSocketIsSmall holds what there is once a socket to its size class.
func TestSocketIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(socket{}); n > 64 {
		t.Errorf("a socket takes %d bytes, want at most 64", n)
	}
}
