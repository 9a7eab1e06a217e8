package wire

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lzstock/lzstock/market"
)

// maxKeys is the most fields that a command may have.
const maxKeys = 32

// ParseCommand reads one command of a client. Its error is a *CommandError, which
// carries the command's id where that could be read.
//
// Strict dialects have Alpaca's fields only and ignore others, as Alpaca does;
// the native one refuses a field that it does not know, so that a misspelt one is
// noticed.
func ParseCommand(f Format, frame []byte) (Command, error) {
	if len(frame) > MaxCommand {
		return Command{}, refuse("", CodeMessageTooLarge, "%d bytes are more than %d", len(frame), MaxCommand)
	}
	top, err := parse(f.Encoding(), frame)
	if err != nil {
		return Command{}, refuse("", CodeInvalidSyntax, "%v", err)
	}
	if !top.isObject() {
		return Command{}, refuse("", CodeInvalidSyntax, "%v", top.errType("one object with action"))
	}
	p := parser{dialect: f.Dialect(), fields: make(map[string]value)}
	if err := p.collect(top); err != nil {
		return Command{}, err
	}
	cmd, err := p.command()
	if err != nil {
		var ce *CommandError
		if !errors.As(err, &ce) {
			ce = refuse("", CodeInvalidSyntax, "%v", err)
		}
		ce.ID = p.id
		return Command{}, ce
	}
	cmd.ID = p.id
	return cmd, nil
}

// parser holds the fields of a command that have not been used yet.
type parser struct {
	dialect Dialect
	id      ID
	fields  map[string]value
}

func (p *parser) collect(top value) error {
	var twice string
	n := 0
	err := top.fields(func(key string, v value) error {
		if _, ok := p.fields[key]; ok {
			twice = key
		}
		p.fields[key] = v
		n++
		return nil
	})
	if err != nil {
		return refuse("", CodeInvalidSyntax, "%v", err)
	}
	if v, ok := p.use("id"); ok && p.dialect == Native && !v.isNull() {
		if p.id, err = v.id(); err != nil {
			return refuse("", CodeInvalidSyntax, "id: %v", err)
		}
	}
	switch {
	case twice != "":
		return refuse(p.id, CodeInvalidSyntax, "field %s comes twice", short(twice))
	case n > maxKeys:
		return refuse(p.id, CodeInvalidSyntax, "%d fields are more than %d", n, maxKeys)
	}
	return nil
}

// id reads an integer or a string, as it is.
func (v value) id() (ID, error) {
	if len(v.raw) > MaxID {
		return "", fmt.Errorf("it has %d bytes, more than %d", len(v.raw), MaxID)
	}
	if v.enc == MsgPack {
		if _, _, ok := v.packNumber(); ok || packIsString(v.raw[0]) {
			return ID(v.raw), nil
		}
		return "", v.errType("an integer or a string")
	}
	if v.raw[0] == '"' {
		return ID(v.raw), nil
	}
	for i, c := range v.raw {
		if (c < '0' || c > '9') && (c != '-' || i > 0) {
			return "", v.errType("an integer or a string")
		}
	}
	return ID(v.raw), nil
}

// use takes a field, as one that is known.
func (p *parser) use(key string) (value, bool) {
	v, ok := p.fields[key]
	delete(p.fields, key)
	return v, ok
}

func (p *parser) command() (Command, error) {
	v, ok := p.use("action")
	if !ok {
		return Command{}, errors.New("there is no action")
	}
	word, err := v.text()
	if err != nil {
		return Command{}, fmt.Errorf("action: %w", err)
	}
	cmd := Command{}
	for _, a := range [...]Action{Auth, Subscribe, Unsubscribe, List, Ping} {
		if word == a.String() && (p.dialect == Native || a <= Unsubscribe) {
			cmd.Action = a
		}
	}
	switch cmd.Action {
	case Auth:
		err = p.auth(&cmd)
	case Subscribe, Unsubscribe:
		err = p.subscription(&cmd)
	case List, Ping:
	default:
		return cmd, fmt.Errorf("action %s is not known: want auth, subscribe, unsubscribe, list or ping", short(word))
	}
	if err != nil || p.dialect != Native {
		return cmd, err
	}
	for key := range p.fields {
		return cmd, refuse("", CodeUnsupportedOption, "%s does not know the field %s", cmd.Action, short(key))
	}
	return cmd, nil
}

func (p *parser) auth(cmd *Command) error {
	given := 0
	for key, to := range map[string]*string{"key": &cmd.Key, "secret": &cmd.Secret, "token": &cmd.Token} {
		v, ok := p.use(key)
		if !ok || v.isNull() {
			continue
		}
		var err error
		if *to, err = v.text(); err != nil {
			return fmt.Errorf("%s: want a string", key) // never echo what may be a secret
		}
		given++
	}
	if p.dialect == Native && (cmd.Token == "" && given < 2 || cmd.Token != "" && cmd.Key+cmd.Secret != "") {
		return errors.New("auth needs key and secret, or token")
	}
	return nil
}

// subscription reads topics and options.
func (p *parser) subscription(cmd *Command) error {
	var seen map[market.Symbol]struct{} // of the channel
	for _, c := range market.Channels() {
		v, ok := p.use(c.String())
		if !ok {
			continue
		}
		list, err := v.strings()
		if err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
		if len(list) > 0 && !p.dialect.Has(c) {
			return refuse("", CodeInvalidForFeed, "there is no channel %s", c)
		}
		if seen == nil {
			seen = make(map[market.Symbol]struct{}, len(list))
		}
		clear(seen)
		cmd.Topics = slices.Grow(cmd.Topics, len(list))
		for _, s := range list {
			if err := cmd.add(p.dialect, market.Topic{Channel: c, Symbol: market.Symbol(s)}, seen); err != nil {
				return err
			}
		}
	}
	for _, foreign := range [...]string{"imbalances", "lulds", "corrections", "cancelErrors", "orderbooks", "news", "pricing"} {
		v, ok := p.use(foreign)
		if !ok {
			continue
		}
		list, err := v.strings()
		if err != nil {
			return fmt.Errorf("%s: %w", foreign, err)
		}
		if len(list) > 0 {
			return refuse("", CodeInvalidForFeed, "there is no channel %s", foreign)
		}
	}
	cmd.Snapshot = true
	if p.dialect != Native || cmd.Action != Subscribe {
		return nil
	}
	return p.options(&cmd.Options)
}

// add puts a topic into the command, unless its symbol was seen on its channel.
func (c *Command) add(d Dialect, t market.Topic, seen map[market.Symbol]struct{}) error {
	if _, twice := seen[t.Symbol]; twice {
		return nil
	}
	seen[t.Symbol] = struct{}{}
	if t.Symbol != market.AllSymbols {
		if err := t.Symbol.Validate(); err != nil {
			if d != Native {
				return err
			}
			t.Symbol = market.Symbol(cut(string(t.Symbol)))
			c.Rejected = append(c.Rejected, Rejection{Topic: t, Code: CodeUnknownSymbol, Detail: err.Error()})
			return nil
		}
	}
	c.Topics = append(c.Topics, t)
	return nil
}

func (p *parser) options(o *Options) error {
	if v, ok := p.use("delivery"); ok {
		s, err := v.text()
		if err != nil {
			return fmt.Errorf("delivery: %w", err)
		}
		if o.Delivery, err = ParseDelivery(cut(s)); err != nil {
			return refuse("", CodeUnsupportedOption, "%v", err)
		}
	}
	if v, ok := p.use("interval_ms"); ok {
		n, err := v.uint()
		if err != nil {
			return fmt.Errorf("interval_ms: %w", err)
		}
		o.setInterval(n)
	}
	if v, ok := p.use("hb_ms"); ok {
		n, err := v.uint()
		if err != nil {
			return fmt.Errorf("hb_ms: %w", err)
		}
		o.setHeartbeat(n)
	}
	if v, ok := p.use("snapshot"); ok {
		var err error
		if o.Snapshot, err = v.truth(); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
	}
	if v, ok := p.use("since"); ok {
		var err error
		if o.Since, err = readPosition(v); err != nil {
			return fmt.Errorf("since: %w", err)
		}
	}
	if err := o.validate(); err != nil {
		return refuse("", CodeUnsupportedOption, "%v", err)
	}
	return nil
}

// milliseconds converts without overflow; what is far too much stays too much.
func milliseconds(n uint64) time.Duration {
	return time.Duration(min(n, 1<<32)) * time.Millisecond
}

func (o *Options) setInterval(ms uint64) {
	d := milliseconds(ms)
	o.Interval = &d
}

func (o *Options) setHeartbeat(ms uint64) {
	o.Heartbeat = max(milliseconds(ms), 1) // 0 means that none was given
}

func (o *Options) validate() error {
	if o.Interval != nil && *o.Interval != 0 {
		if *o.Interval < MinInterval || *o.Interval > MaxInterval {
			return fmt.Errorf("interval_ms must be 0, or between %d and %d", MinInterval.Milliseconds(), MaxInterval.Milliseconds())
		}
		if o.Delivery != 0 && o.Delivery != Latest {
			return errors.New("interval_ms goes with delivery latest only")
		}
	}
	if o.Heartbeat != 0 && (o.Heartbeat < MinHeartbeat || o.Heartbeat > MaxHeartbeat) {
		return fmt.Errorf("hb_ms must be between %d and %d", MinHeartbeat.Milliseconds(), MaxHeartbeat.Milliseconds())
	}
	return nil
}

// cut shortens what a client sent, for telling it back.
func cut(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	runes := []rune(s[:most])
	return string(runes[:len(runes)-1]) + "…"
}

func short(s string) string { return fmt.Sprintf("%q", cut(s)) }

// AppendCommand writes a command as a client sends it. Topics must not hold one
// twice.
func AppendCommand(dst []byte, f Format, c *Command) []byte {
	w := &writer{enc: f.Encoding(), dst: dst}
	outer := w.open()
	w.text("action", c.Action.String())
	w.id(c.ID)
	switch c.Action {
	case Auth:
		if c.Token != "" {
			w.text("token", c.Token)
		} else {
			w.text("key", c.Key)
			w.text("secret", c.Secret)
		}
	case Subscribe, Unsubscribe:
		w.topics(c.Topics)
		if c.Action == Subscribe {
			w.options(&c.Options)
		}
	case List, Ping:
	}
	w.close(outer)
	return w.dst
}

func (w *writer) topics(topics []market.Topic) {
	for _, c := range market.Channels() {
		of := func(t market.Topic) bool { return t.Channel == c }
		if !slices.ContainsFunc(topics, of) {
			continue
		}
		w.key(c.String())
		var list []string
		for _, t := range topics {
			if of(t) {
				list = append(list, string(t.Symbol))
			}
		}
		if w.enc == MsgPack {
			w.dst = appendPackStrings(w.dst, list)
		} else {
			w.dst = appendJSONStrings(w.dst, list)
		}
	}
}

func (w *writer) options(o *Options) {
	if o.Delivery != 0 {
		w.text("delivery", o.Delivery.String())
	}
	if o.Interval != nil {
		w.number("interval_ms", uint64(o.Interval.Milliseconds()))
	}
	if o.Heartbeat != 0 {
		w.number("hb_ms", uint64(o.Heartbeat.Milliseconds()))
	}
	if !o.Snapshot {
		w.truth("snapshot", false)
	}
	if !o.Since.IsZero() {
		w.text("since", o.Since.String())
	}
}
