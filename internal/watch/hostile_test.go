package watch

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lzstock/lzstock/client"
	"github.com/lzstock/lzstock/internal/safetext"
	"github.com/lzstock/lzstock/market"
)

// A hostile gateway's words command no terminal, wherever they are shown.
func TestHostileGateway(t *testing.T) {
	const evil = "\x1b]0;owned\a\x1b[2J\u009b31m\x7f\u202e\u2066\u200bgo"
	now := time.Now()
	show := func(d display) {
		up := live()
		up.URL, up.Feed.Sources = "ws://"+evil, []market.FeedSource{{Name: evil, State: market.FeedDown, Reason: market.FeedLost, Since: now}}
		lost := client.State{Phase: client.Waiting, Err: &client.Error{Op: evil, Reason: evil, Err: errors.New(evil)}}
		d.state(up, now)
		d.state(lost, now)
		d.state(up, now)
		d.rejected(client.Rejection{Topic: market.Topic{Channel: market.Trades, Symbol: evil}, Reason: evil}, now)
		d.gap(client.Gap{Topics: []market.Topic{{Channel: market.Trades, Symbol: evil}}}, now)
		halt := status(1, evil, "T1", evil, evil)
		odd := trade(evil, "1", "1")
		odd.Trade.Conditions = []string{evil}
		for _, e := range []market.Event{halt, odd} {
			d.event(&client.Event{Event: e}, now)
		}
		d.state(lost, now)
	}
	check := func(where, text string) {
		t.Helper()
		if !strings.Contains(text, "go") || text != safetext.CleanLines(text) {
			t.Errorf("%s: %q", where, text)
		}
	}
	l := &lines{several: true}
	show(l)
	check("lines", string(l.take()))

	l = &lines{json: true, several: true}
	show(l)
	text := string(l.take())
	check("JSON", text)
	for line := range strings.Lines(text) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}

	s := stand(Config{URL: "ws://gw", URLs: []string{"ws://gw2"}})
	show(s.board)
	s.width = 1000
	check("table", s.drawn(now))
	s.board.rows[evil].lacks = errors.New(evil)
	s.screen.mode = detailMode
	check("detail", s.drawn(now))
	s.board.conn = live()
	s.board.conn.Feed.Sources = []market.FeedSource{{Name: evil, State: market.FeedDown, Reason: market.FeedLost, Since: now}}
	check("sources", s.drawn(now))
	check("what is left behind", s.screen.final(s.board, 1000, 24, now))
}
