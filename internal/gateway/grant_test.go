package gateway

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/lzstock/lzstock/internal/leak"
	"github.com/lzstock/lzstock/internal/memnet"
	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/market"
)

func quoteOf(s market.Symbol) market.Event {
	return market.Event{Channel: market.Quotes, Symbol: s, Quote: &market.Quote{Time: time.Date(2021, 2, 22, 15, 51, 44, 0, time.UTC)}}
}

func statusOf(s market.Symbol, code string) market.Event {
	return market.Event{Channel: market.Statuses, Symbol: s, Status: &market.Status{
		Code: code, ReasonCode: "LUDP", Time: time.Date(2021, 2, 22, 15, 51, 44, 0, time.UTC),
	}}
}

// techOnly grants the trades of two names and of all that begin with BTC.
func techOnly() session.Grant {
	return session.Grant{Channels: []market.Channel{market.Trades}, Symbols: []session.Pattern{"AAPL", "MSFT", "BTC*"}}
}

// silent fails where the client gets anything more.
func (c *client) silent() {
	c.t.Helper()
	synctest.Wait()
	if n := c.in.Buffered() + c.conn.(*memnet.Conn).Unread(); n != 0 {
		c.t.Errorf("got %s", c.next())
	}
}

func TestGrantNative(t *testing.T) {
	one(t, Config{}, func(ho *house, d *desk) {
		d.key("tech", techOnly())
		ho.publish(tradeOf("AAPL", 1), tradeOf("IBM", 1), quoteOf("AAPL"))
		c := ho.dialAs("/v1/stream?trades=AAPL,IBM&quotes=AAPL", withKey("tech"))
		const rejected = `"rejected":[{"ch":"trades","S":"IBM","code":409,"msg":"insufficient subscription: the credentials do not cover this symbol"},` +
			`{"ch":"quotes","S":"AAPL","code":411,`
		c.expect("connected", "authenticated", rejected, `"S":"AAPL"`)
		c.send(`{"action":"subscribe","id":1,"trades":["BTC/USD","IBM"],"quotes":["*"]}`)
		c.expect(`"id":1,"trades":["AAPL","BTC/USD"],"quotes":[],"bars":[],"updatedBars":[],"dailyBars":[],"statuses":[],"delivery":"adaptive","rejected":[{"ch":"trades","S":"IBM","code":409`)
		c.silent()
		c.send(`{"action":"subscribe","trades":["*"]}`)
		c.expect(`"trades":["*","AAPL","BTC/USD"]`)
		ho.publish(tradeOf("IBM", 1), tradeOf("BTCNEW", 1), tradeOf("IBMNEW", 1), tradeOf("MSFT", 1), quoteOf("MSFT"))
		got := c.next()
		if strings.Contains(got, "IBM") || strings.Count(got, `"T":"t"`) != 2 || !strings.Contains(got, "BTCNEW") || !strings.Contains(got, "MSFT") {
			t.Errorf("got %s", got)
		}
		c.silent()
	})
}

func TestGrantStrict(t *testing.T) {
	each(t, dialects[1:], Config{}, func(ho *house, d *desk, path string) {
		d.key("tech", techOnly())
		c := ho.dialAs(path, withKey("tech"))
		c.expect("connected", "authenticated")
		c.send(`{"action":"subscribe","trades":["AAPL","IBM"]}`)
		c.expect(`[{"T":"error","code":409,"msg":"insufficient subscription"}]`)
		c.send(`{"action":"subscribe","trades":["AAPL"],"quotes":["AAPL"]}`)
		c.expect(`[{"T":"error","code":411,"msg":"insufficient scope"}]`)
		if n := ho.demand.len(); n != 0 {
			t.Errorf("half a command was done: %v", ho.demand.want)
		}
		c.send(`{"action":"subscribe","trades":["AAPL","*"]}`)
		c.expect(`"trades":["*","AAPL"]`)
		ho.publish(tradeOf("IBM", 1), tradeOf("BTCX", 1))
		c.expect(`[{"T":"t","S":"BTCX"`)
		c.silent()
	})
}

// TestGrantChanges has open sockets obey a changed key at once.
func TestGrantChanges(t *testing.T) {
	one(t, Config{}, func(ho *house, d *desk) {
		d.key("tech", techOnly())
		c := ho.dialAs("/v1/stream?trades=AAPL,MSFT,*", withKey("tech"))
		strict := ho.dialAs("/v2/iex", withKey("tech"))
		other := ho.dialAs("/v1/stream?trades=AAPL", withKey("bob"))
		c.expect("connected", "authenticated", "subscription")
		strict.expect("connected", "authenticated")
		strict.send(`{"action":"subscribe","trades":["AAPL","MSFT"]}`)
		strict.expect(`"trades":["AAPL","MSFT"]`)
		other.expect("connected", "authenticated", "subscription")

		g := techOnly()
		g.Symbols = []session.Pattern{"MSFT"}
		d.key("tech", g)
		d.tell()
		c.expect(`"trades":["*","MSFT"],"quotes":[],"bars":[],"updatedBars":[],"dailyBars":[],"statuses":[],"delivery":"adaptive","rejected":[{"ch":"trades","S":"AAPL","code":409`)
		strict.expect(`[{"T":"subscription","trades":["MSFT"],"quotes":[],"bars":[],"updatedBars":[],"dailyBars":[],"statuses":[]}]`)
		other.silent()
		if ho.demand.len() != 3 {
			t.Errorf("demand: %v", ho.demand.want)
		}
		ho.publish(tradeOf("AAPL", 1), tradeOf("BTCX", 1), tradeOf("MSFT", 1))
		for _, c := range []*client{c, strict} {
			c.expect(`[{"T":"t","S":"MSFT"`)
			c.silent()
		}
		other.expect(`"S":"AAPL"`)

		d.key("tech", session.Grant{}) // everything: the wildcard shows what there is
		d.tell()
		got := c.next()
		if strings.Count(got, `"snap":true`) != 2 || !strings.Contains(got, "AAPL") || !strings.Contains(got, "BTCX") {
			t.Errorf("widened: %s", got)
		}
		strict.silent()
		ho.publish(tradeOf("AAPL", 2), tradeOf("IBM", 1))
		c.expect(`"S":"IBM"`)
		strict.silent()

		g = session.Grant{Channels: []market.Channel{market.Quotes}}
		d.key("tech", g)
		d.tell()
		c.expect(`"trades":[],"quotes":[],"bars":[],"updatedBars":[],"dailyBars":[],"statuses":[],"delivery":"adaptive","rejected":[{"ch":"trades","S":"*","code":411`)
		ho.publish(tradeOf("MSFT", 1), tradeOf("NEW", 1))
		c.silent()
		_, _, _ = c.conn.Close(), strict.conn.Close(), other.conn.Close()
		ho.clean()
	})
}

func TestKeyRemovedEndsSockets(t *testing.T) {
	each(t, dialects, Config{}, func(ho *house, d *desk, path string) {
		c, other := ho.dialAs(path, withKey("alice")), ho.dialAs(path, withKey("bob"))
		c.expect("connected", "authenticated")
		other.expect("connected", "authenticated")
		d.drop("alice")
		d.tell()
		c.expect(`"code":401`, "close 4003")
		other.send(`{"action":"subscribe","trades":["AAPL"]}`)
		other.expect("subscription")
		d.drop("bob")
		d.tell()
		other.expect(`"code":401`, "close 4003")
		ho.clean()
	})
}

// TestDelayChanged sends a client to the other hub by having it connect anew.
func TestDelayChanged(t *testing.T) {
	one(t, Config{}, func(ho *house, d *desk) {
		c := ho.dialAs("/v1/stream?trades=*", withKey("alice"))
		c.expect("connected", "authenticated", "subscription")
		d.key("alice", session.Grant{Delay: 15 * time.Minute})
		d.tell()
		c.expect(`"code":401`, "close 4203")
		ho.clean()
	})
}

func TestLimitsOfAGrant(t *testing.T) {
	one(t, Config{UserSockets: 1}, func(ho *house, d *desk) {
		d.key("two", session.Grant{Limits: session.Limits{Symbols: 2, Sockets: 2}})
		var open []*client
		for range 3 {
			c := ho.dialAs("/v1/stream", withKey("two"))
			c.expect(`"symbols":2`, "authenticated")
			open = append(open, c)
		}
		open[0].expect(`"code":406`, "close 4103")
		for _, c := range open[1:] {
			c.send(`{"action":"subscribe","trades":["A","B","C"]}`)
			c.expect(`"code":405`)
			c.send(`{"action":"subscribe","trades":["A","B"],"quotes":["A"]}`)
			c.expect("subscription")
		}
		first := ho.dialAs("/v1/stream", withKey("bob"))
		first.expect("connected", "authenticated")
		second := ho.dial("/v1/stream")
		second.send(authKey("bob"))
		second.expect("connected", "authenticated")
		first.expect(`"code":406`, "close 4103")
		in := ho.dial("/v1/stream?trades=A,B,C")
		in.send(authKey("two"))
		in.expect("connected", "authenticated", `"code":405`)
	})
}

// late makes a configuration with a second hub, whose prices are 15 minutes old.
func lateConfig(t *testing.T, d *desk) (Config, *house) {
	t.Helper()
	h := newHubBehind(t, 15*time.Minute)
	return Config{Auth: d, Delayed: map[time.Duration]Late{15 * time.Minute: {
		Hub: h, Epoch: func() market.Epoch { return 42 },
	}}}, &house{t: t, hub: h}
}

// TestDelayedClients get what the late hub has, however they say who they are,
// and nothing of the other.
func TestDelayedClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.key("now", session.Grant{})
		d.key("late", session.Grant{Delay: 15 * time.Minute})
		cfg, late := lateConfig(t, d)
		ho := newHouse(t, cfg)
		ho.publish(tradeOf("AAPL", 1_000_000_000))
		late.publish(tradeOf("AAPL", 7_000_000_000))
		synctest.Wait()
		id := ho.session("late", `{"trades":["AAPL","*"]}`)
		inBand := ho.dial("/v1/stream?trades=AAPL,*")
		inBand.expect("connected")
		ho.publish(tradeOf("AAPL", 1_000_000_000))
		inBand.send(authKey("late"))
		strict := ho.dial("/v2/iex")
		strict.expect("connected")
		strict.send(authKey("late"))
		strict.expect("authenticated")
		strict.send(`{"action":"subscribe","trades":["*"]}`)
		strict.expect("subscription")
		before, held := ho.dialAs("/v1/stream?trades=AAPL,*", withKey("late")), ho.dial(stream(id))
		before.expect(`"epoch":42`)
		held.expect(`"epoch":42`)
		for _, c := range []*client{inBand, before, held} {
			c.expect("authenticated", "subscription", `"p":7,`)
		}
		now := ho.dialAs("/v1/stream?trades=AAPL", withKey("now"))
		now.expect(`"epoch":1700000000000`, "authenticated", "subscription", `"p":1,`)
		ho.publish(tradeOf("AAPL", 2_000_000_000), tradeOf("NEW", 2_000_000_000))
		now.expect(`"p":2,`)
		all := []*client{inBand, strict, before, held}
		for _, c := range all {
			c.silent()
		}
		late.publish(tradeOf("AAPL", 8_000_000_000))
		for _, c := range all {
			c.expect(`"p":8,`)
		}
		now.silent()
		if n := late.hub.Stats().Members; n != 4 {
			t.Errorf("%d in the late hub", n)
		}
		for _, c := range append(all, now) {
			_ = c.conn.Close()
		}
		ho.clean()
		if n := late.hub.Stats().Members; n != 0 {
			t.Errorf("%d are left in the late hub", n)
		}
	})
}

// tenant is a user with its sockets, and what the test knows of them.
type tenant struct {
	name    string
	grant   session.Grant
	id      string // of its session; "": none
	c       *client
	got     map[string]int // events by q, channel and symbol
	topics  map[market.Topic]bool
	wants   map[string]bool // what must have come
	forbids map[string]bool // what must not
}

func eventName(q market.Seq, t market.Topic) string {
	return fmt.Sprintf("%d %s %s", q, t.Channel, t.Symbol)
}

// drain reads all that has come.
func (te *tenant) drain() {
	for te.c.in.Buffered()+te.c.conn.(*memnet.Conn).Unread() > 0 {
		f, err := ws.ReadFrame(te.c.in)
		if err != nil {
			te.c.t.Fatalf("%s: %v", te.name, err)
		}
		switch f.Header.OpCode { //nolint:exhaustive // others do not matter here
		case ws.OpPing:
			_ = ws.WriteFrame(te.c.conn, ws.MaskFrame(ws.NewPongFrame(nil)))
		case ws.OpClose:
			te.c.t.Fatalf("%s was ended: %s", te.name, f.Payload)
		}
		if f.Header.OpCode != ws.OpText {
			continue
		}
		var list []struct {
			T    string     `json:"T"`
			S    string     `json:"S"`
			Q    market.Seq `json:"q"`
			Snap bool       `json:"snap"`
			Size any        `json:"s"` // or it would be taken for S
			Time any        `json:"t"`
		}
		if err := json.Unmarshal(f.Payload, &list); err != nil {
			te.c.t.Fatal(err)
		}
		for _, m := range list {
			switch ch, ok := map[string]market.Channel{"t": market.Trades, "q": market.Quotes, "s": market.Statuses}[m.T]; {
			case m.T == "error":
				te.c.t.Fatalf("%s: %s", te.name, f.Payload)
			case !ok:
			case m.Snap:
				te.got[fmt.Sprintf("snap %s", market.Topic{Channel: ch, Symbol: market.Symbol(m.S)})]++
				if !te.grant.Allows(market.Topic{Channel: ch, Symbol: market.Symbol(m.S)}) {
					te.c.t.Errorf("%s was shown the value of %s %s", te.name, ch, m.S)
				}
			default:
				te.got[eventName(m.Q, market.Topic{Channel: ch, Symbol: market.Symbol(m.S)})]++
			}
		}
	}
}

// granted are the channels that users of the test subscribe to.
func granted() []market.Channel {
	return []market.Channel{market.Trades, market.Quotes, market.Statuses}
}

func randomGrant(r *rand.Rand, symbols []market.Symbol) (g session.Grant) {
	if r.IntN(3) == 0 {
		g.Channels = []market.Channel{granted()[r.IntN(len(granted()))]}
	}
	for range r.IntN(4) {
		s := string(symbols[r.IntN(len(symbols))])
		if r.IntN(3) == 0 {
			s = s[:1] + "*"
		}
		g.Symbols = append(g.Symbols, session.Pattern(s))
	}
	return g
}

// TestNobodySeesWhatIsNotTheirs has many users with random grants subscribe,
// unsubscribe, lose and gain grants, and move their sessions to new sockets while
// events are published: each socket gets exactly what it wants and may see.
func TestNobodySeesWhatIsNotTheirs(t *testing.T) {
	const rounds = 12
	users := 1000
	if leak.Race {
		users = 100
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 1))
		var symbols []market.Symbol
		for i := range 24 {
			symbols = append(symbols, market.Symbol(fmt.Sprintf("%c%d", 'A'+i%4, i)))
		}
		d := newDesk()
		cfg := Config{Auth: d, CommandRate: 1000, CommandBurst: 1000}
		cfg.Bridge.HeartbeatEvery, cfg.Bridge.PeerTimeout = 1000*time.Hour, 1000*time.Hour
		ho := newHouse(t, cfg)
		var all []*tenant
		for i := range users {
			te := &tenant{
				name: fmt.Sprintf("u%d", i), grant: randomGrant(r, symbols), got: map[string]int{},
				topics: map[market.Topic]bool{}, wants: map[string]bool{}, forbids: map[string]bool{},
			}
			d.key(te.name, te.grant)
			switch i % 4 {
			case 0:
				te.id = ho.session(te.name, `{}`)
				te.c = ho.dial(stream(te.id))
			case 1:
				te.c = ho.dial("/v1/stream")
				te.c.send(authKey(te.name))
			default:
				te.c = ho.dialAs("/v1/stream", withKey(te.name))
			}
			all = append(all, te)
		}
		synctest.Wait()
		for round := range rounds {
			for _, te := range all {
				te.act(ho, r, symbols)
			}
			// Some keys change. All sockets look again.
			for _, te := range all {
				if r.IntN(4) > 0 {
					continue
				}
				te.grant = randomGrant(r, symbols)
				d.key(te.name, te.grant)
				for topic := range te.topics {
					if !te.grant.Allows(topic) {
						delete(te.topics, topic)
					}
				}
			}
			synctest.Wait() // commands are done under the old grants
			for _, te := range all {
				te.drainAny()
			}
			d.tell()
			// Later rounds have symbols that were never seen.
			known := symbols[:min(len(symbols), 8+2*round)]
			var events []market.Event
			for range 20 {
				s := known[r.IntN(len(known))]
				switch r.IntN(3) {
				case 0:
					events = append(events, tradeOf(s, 1))
				case 1:
					events = append(events, quoteOf(s))
				default:
					events = append(events, statusOf(s, "H"))
				}
			}
			ho.publish(events...)
			synctest.Wait()
			for _, te := range all {
				for _, e := range events {
					topic := e.Topic()
					name := eventName(e.Seq, topic)
					wild := market.Topic{Channel: topic.Channel, Symbol: market.AllSymbols}
					if (te.topics[topic] || te.topics[wild]) && te.grant.Allows(topic) {
						te.wants[name] = true
					} else {
						te.forbids[name] = true
					}
				}
				te.drain()
				te.check()
			}
			if t.Failed() {
				return
			}
		}
		ho.quiet()
	})
}

// act does something at random.
func (te *tenant) act(ho *house, r *rand.Rand, symbols []market.Symbol) {
	channels := granted()
	var list []market.Topic
	for range 1 + r.IntN(4) {
		list = append(list, market.Topic{Channel: channels[r.IntN(len(channels))], Symbol: symbols[r.IntN(len(symbols))]})
	}
	if r.IntN(5) == 0 {
		list = append(list, market.Topic{Channel: channels[r.IntN(len(channels))], Symbol: market.AllSymbols})
	}
	names := map[string][]string{}
	for _, topic := range list {
		if s, ch := string(topic.Symbol), topic.Channel.String(); !slices.Contains(names[ch], s) {
			names[ch] = append(names[ch], s)
		}
	}
	lists, _ := json.Marshal(names)
	fields := strings.TrimPrefix(string(lists), "{")
	switch n := r.IntN(10); {
	case n < 6:
		te.c.send(`{"action":"subscribe",` + fields)
		for _, topic := range list {
			if te.grant.Allows(topic) {
				te.topics[topic] = true
			}
		}
	case n < 8:
		te.c.send(`{"action":"unsubscribe",` + fields)
		for _, topic := range list {
			delete(te.topics, topic)
		}
	case n < 9 && te.id != "":
		synctest.Wait()
		te.c = ho.dial(stream(te.id))
	}
}

// drainAny reads what has come under grants that are no more.
func (te *tenant) drainAny() {
	grant := te.grant
	te.grant = session.Grant{}
	te.drain()
	te.grant = grant
}

// check compares what has come with what must.
func (te *tenant) check() {
	for name := range te.wants {
		if te.got[name] != 1 {
			te.c.t.Errorf("%s got %s %d times: %+v, %v", te.name, name, te.got[name], te.grant, te.topics)
		}
	}
	for name := range te.forbids {
		if te.got[name] != 0 {
			te.c.t.Errorf("%s must not see %s: %+v, %v", te.name, name, te.grant, te.topics)
		}
	}
	te.got, te.wants, te.forbids = map[string]int{}, map[string]bool{}, map[string]bool{}
}
