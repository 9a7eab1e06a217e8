package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// maxRecord is how large a stored session may be, in bytes: 1,024 usual symbols in
// every channel fit.
const maxRecord = 64 << 10

// Session is what is known of a client between its sockets.
type Session struct {
	Identity Identity // who made it; whoever attaches a socket checks it again
	Request  Request
	Created  time.Time
	Expires  time.Time // unless it is renewed; a socket renews it
	Holder   Holder
	// Fence rises by one with every socket: of two, the greater is the holder.
	Fence uint64

	born uint64 // the revision at which it was created; 0 in what was just created
}

// Holder is the socket that a session is attached to; its zero value is none.
type Holder struct {
	Gateway string    `json:"gateway"`
	Conn    string    `json:"conn"`
	Since   time.Time `json:"since"`
}

// Attached reports whether a socket holds the session.
func (s *Session) Attached() bool { return s.Holder != Holder{} }

// account returns whom a session counts for. Where the gateway asks for nothing, User
// names an address, which is no user of that name.
func (i *Identity) account() User {
	if i.Method == Open {
		return "\x00" + i.User
	}
	return i.User
}

// Request is what a client asked for.
type Request struct {
	Topics    []market.Topic
	Delivery  wire.Delivery // 0: not given
	Interval  time.Duration // of delivery latest; 0: none
	Heartbeat time.Duration // 0: the gateway's
	Snapshot  bool          // the current values come first
}

// requestText is a request as it is stored.
type requestText struct {
	Topics    map[string][]market.Symbol `json:"topics,omitempty"`
	Delivery  string                     `json:"delivery,omitzero"`
	Interval  string                     `json:"interval,omitzero"`
	Heartbeat string                     `json:"heartbeat,omitzero"`
	Snapshot  bool                       `json:"snapshot,omitzero"`
}

// MarshalJSON writes what UnmarshalJSON reads.
func (r Request) MarshalJSON() ([]byte, error) {
	t := requestText{Snapshot: r.Snapshot}
	for _, topic := range r.Topics {
		if t.Topics == nil {
			t.Topics = map[string][]market.Symbol{}
		}
		name := topic.Channel.String()
		t.Topics[name] = append(t.Topics[name], topic.Symbol)
	}
	if r.Delivery != 0 {
		t.Delivery = r.Delivery.String()
	}
	t.Interval, t.Heartbeat = durationText(r.Interval), durationText(r.Heartbeat)
	return json.Marshal(t)
}

// UnmarshalJSON reads {"topics":{"trades":["AAPL"],"bars":["*"]},"delivery":"latest",
// "interval":"500ms","heartbeat":"1s","snapshot":true}; all of it may be left out.
// The topics are in the order of channels.
func (r *Request) UnmarshalJSON(data []byte) error {
	var t requestText
	if err := json.Unmarshal(data, &t); err != nil {
		return fmt.Errorf("bad request: %w", err)
	}
	out := Request{Snapshot: t.Snapshot}
	for _, c := range market.Channels() {
		for _, s := range t.Topics[c.String()] {
			out.Topics = append(out.Topics, market.Topic{Channel: c, Symbol: s})
		}
		delete(t.Topics, c.String())
	}
	for name := range t.Topics {
		return fmt.Errorf("bad request: no channel %q, want some of %v", name, market.Channels())
	}
	var err error
	if t.Delivery != "" {
		if out.Delivery, err = wire.ParseDelivery(t.Delivery); err != nil {
			return fmt.Errorf("bad request: %w", err)
		}
	}
	if out.Interval, err = parseDuration("interval", t.Interval); err != nil {
		return err
	}
	if out.Heartbeat, err = parseDuration("heartbeat", t.Heartbeat); err != nil {
		return err
	}
	if err := out.Validate(); err != nil {
		return err
	}
	*r = out
	return nil
}

// Validate says what is wrong with a request.
func (r *Request) Validate() error {
	for _, t := range r.Topics {
		if !slices.Contains(market.Channels(), t.Channel) {
			return fmt.Errorf("bad request: no %v, want some of %v", t.Channel, market.Channels())
		}
		if t.Symbol == market.AllSymbols {
			continue
		}
		if err := t.Symbol.Validate(); err != nil {
			return fmt.Errorf("bad request: %w", err)
		}
	}
	if r.Delivery > wire.Latest {
		return fmt.Errorf("bad request: %v is not known: want adaptive, every or latest", r.Delivery)
	}
	if r.Interval < 0 || r.Heartbeat < 0 {
		return fmt.Errorf("bad request: interval %v and heartbeat %v must not be negative", r.Interval, r.Heartbeat)
	}
	return nil
}

func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func parseDuration(name, s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("bad request: %s is %q, want a time such as 500ms", name, s)
	}
	return d, nil
}

// version is that of what is stored. A gateway leaves alone what is of another.
const version = 1

var errVersion = errors.New("it is of another version")

// record is a session as it is stored.
type record struct {
	Version  int       `json:"v"`
	Identity Identity  `json:"identity"`
	Request  Request   `json:"request"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
	Holder   Holder    `json:"holder,omitzero"`
	Fence    uint64    `json:"fence,omitzero"`
	Born     uint64    `json:"born,omitzero"`
}

// encode gives what decode reads, or says why it cannot be stored.
func (s *Session) encode() ([]byte, error) {
	data, err := json.Marshal(record{
		Version: version, Identity: s.Identity, Request: s.Request, Created: s.Created, Expires: s.Expires,
		Holder: s.Holder, Fence: s.Fence, Born: s.born,
	})
	if err != nil {
		return nil, fmt.Errorf("encode a session: %w", err)
	}
	if len(data) > maxRecord {
		return nil, fmt.Errorf("%w: %d bytes to store, want at most %d", ErrTooLarge, len(data), maxRecord)
	}
	return data, nil
}

// decode reads what is stored at a revision.
func decode(data []byte, rev uint64) (Session, error) {
	if len(data) > maxRecord {
		return Session{}, fmt.Errorf("a stored session of %d bytes: want at most %d", len(data), maxRecord)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return Session{}, fmt.Errorf("a stored session is damaged: %w", err)
	}
	if r.Version != version {
		return Session{}, fmt.Errorf("a stored session: %w: %d, want %d", errVersion, r.Version, version)
	}
	if r.Born == 0 {
		r.Born = rev
	}
	return Session{
		Identity: r.Identity, Request: r.Request, Created: r.Created, Expires: r.Expires,
		Holder: r.Holder, Fence: r.Fence, born: r.Born,
	}, nil
}

// mark is a revocation as it is stored.
type mark struct {
	Version int       `json:"v"`
	User    User      `json:"user"`
	At      time.Time `json:"at"`

	rev uint64 // at which it was stored: what was created before is revoked
}

func decodeMark(data []byte, rev uint64) (mark, error) {
	var m mark
	if err := json.Unmarshal(data, &m); err != nil {
		return mark{}, fmt.Errorf("a stored revocation is damaged: %w", err)
	}
	if m.Version != version {
		return mark{}, fmt.Errorf("a stored revocation: %w: %d, want %d", errVersion, m.Version, version)
	}
	m.rev = rev
	return m, nil
}
