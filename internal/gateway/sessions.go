package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lzstock/lzstock/internal/edge"
	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// sessionBody is what POST /v1/sessions takes.
type sessionBody struct {
	Trades      []string `json:"trades"`
	Quotes      []string `json:"quotes"`
	Bars        []string `json:"bars"`
	UpdatedBars []string `json:"updatedBars"`
	DailyBars   []string `json:"dailyBars"`
	Statuses    []string `json:"statuses"`
	Delivery    string   `json:"delivery"`
	Interval    *uint64  `json:"interval_ms"`
	Heartbeat   *uint64  `json:"hb_ms"`
	Snapshot    *bool    `json:"snapshot"`
}

// readBody reads one object. Its errors are for the client: they name nothing of
// ours.
func readBody(r io.Reader) (body sessionBody, err error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err = d.Decode(&body); err == nil {
		_, err = d.Token()
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if _, large := errors.AsType[*http.MaxBytesError](err); !large {
			err = errors.New("something follows the object")
		}
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		err = fmt.Errorf("%s is not what belongs there", wrong.Value)
		if wrong.Field != "" {
			err = fmt.Errorf("%s: %w", wrong.Field, err)
		}
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: "); ok {
		err = errors.New(field)
	}
	return body, err
}

// command reads the body as the command that a URL would hold: the same words, and
// the same errors.
func (b *sessionBody) command() (wire.Command, error) {
	q := url.Values{}
	for name, list := range map[string][]string{
		"trades": b.Trades, "quotes": b.Quotes, "bars": b.Bars, "updatedBars": b.UpdatedBars, "dailyBars": b.DailyBars,
		"statuses": b.Statuses,
	} {
		if len(list) > 0 {
			q.Set(name, strings.Join(list, ","))
		}
	}
	if b.Delivery != "" {
		q.Set("delivery", b.Delivery)
	}
	for name, v := range map[string]*uint64{"interval_ms": b.Interval, "hb_ms": b.Heartbeat} {
		if v != nil {
			q.Set(name, strconv.FormatUint(*v, 10))
		}
	}
	if b.Snapshot != nil {
		q.Set("snapshot", strconv.FormatBool(*b.Snapshot))
	}
	return wire.ParseQuery(q)
}

func requestOf(cmd *wire.Command) session.Request {
	r := session.Request{Topics: cmd.Topics, Delivery: cmd.Delivery, Heartbeat: cmd.Heartbeat, Snapshot: cmd.Snapshot}
	if cmd.Interval != nil {
		r.Interval = *cmd.Interval
	}
	return r
}

func commandOf(r *session.Request) *wire.Command {
	cmd := &wire.Command{Action: wire.Subscribe, Topics: r.Topics, Options: wire.Options{
		Delivery: r.Delivery, Heartbeat: r.Heartbeat, Snapshot: r.Snapshot,
	}}
	if r.Interval > 0 {
		cmd.Interval = &r.Interval
	}
	return cmd
}

// sessionView is a session as its user sees it.
type sessionView struct {
	ID        string         `json:"session_id,omitempty"`
	StreamURL string         `json:"stream_url,omitempty"`
	EventsURL string         `json:"events_url,omitempty"` // the same as server-sent events
	State     string         `json:"state"`                // "waiting" or "attached"
	Attached  bool           `json:"attached"`
	Created   time.Time      `json:"created_at"`
	Expires   time.Time      `json:"expires_at"`
	Delivery  string         `json:"delivery"`
	Interval  int64          `json:"interval_ms,omitempty"`
	Limits    *sessionLimits `json:"limits,omitempty"`
	Rejected  []rejectedView `json:"rejected,omitempty"`

	Trades      []market.Symbol `json:"trades,omitempty"`
	Quotes      []market.Symbol `json:"quotes,omitempty"`
	Bars        []market.Symbol `json:"bars,omitempty"`
	UpdatedBars []market.Symbol `json:"updatedBars,omitempty"`
	DailyBars   []market.Symbol `json:"dailyBars,omitempty"`
	Statuses    []market.Symbol `json:"statuses,omitempty"`
}

type sessionLimits struct {
	Symbols           int `json:"symbols"`
	CommandsPerSecond int `json:"commands_per_s"`
	MessageBytes      int `json:"message_bytes"`
}

type rejectedView struct {
	Channel string        `json:"ch"`
	Symbol  market.Symbol `json:"S"`
	Code    int           `json:"code"`
	Message string        `json:"msg"`
}

func view(s *session.Session) sessionView {
	v := sessionView{
		State: "waiting", Attached: s.Attached(), Created: s.Created, Expires: s.Expires,
		Delivery: wire.Adaptive.String(), Interval: s.Request.Interval.Milliseconds(),
	}
	if v.Attached {
		v.State = "attached"
	}
	if s.Request.Delivery != 0 {
		v.Delivery = s.Request.Delivery.String()
	}
	lists := map[market.Channel]*[]market.Symbol{
		market.Trades: &v.Trades, market.Quotes: &v.Quotes, market.Bars: &v.Bars,
		market.UpdatedBars: &v.UpdatedBars, market.DailyBars: &v.DailyBars, market.Statuses: &v.Statuses,
	}
	for _, t := range s.Request.Topics {
		*lists[t.Channel] = append(*lists[t.Channel], t.Symbol)
	}
	return v
}

// rest runs a handler of the session API: who asks is known, and what went wrong
// becomes a problem document.
func (g *Gateway) rest(f func(w http.ResponseWriter, r *http.Request, who session.Identity) *problem) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if g.cfg.Origins.CORS(w, r) {
			return
		}
		who, p := g.identify(r)
		switch {
		case p != nil:
		case who == nil:
			p = notAuthenticated("")
		default:
			p = f(w, r, *who)
		}
		if p != nil {
			g.refuse(w, r, *p)
		}
	}
}

func (g *Gateway) answer(w http.ResponseWriter, r *http.Request, status int, v any) {
	g.headers(w, r)
	w.Header().Set("Content-Type", "application/json")
	write(w, status, v)
}

func (g *Gateway) createSession(w http.ResponseWriter, r *http.Request, who session.Identity) *problem {
	if p := g.closed(); p != nil {
		return p
	}
	given := r.Header.Get("Content-Type")
	if kind, _, err := mime.ParseMediaType(given); err != nil || kind != "application/json" {
		return &problem{
			Status: http.StatusUnsupportedMediaType, cause: "bad-content-type",
			Detail: fmt.Sprintf("Content-Type is %q: want application/json", given),
		}
	}
	body, err := readBody(http.MaxBytesReader(w, r.Body, int64(g.cfg.SessionBytes)))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &problem{Status: http.StatusRequestEntityTooLarge, cause: "too-large", Detail: fmt.Sprintf("a session's request may have %d bytes", g.cfg.SessionBytes)}
	}
	if err != nil {
		return &problem{Status: http.StatusBadRequest, cause: "bad-body", Detail: `want a JSON object such as {"trades":["AAPL"],"delivery":"latest"}: ` + err.Error()}
	}
	cmd, err := body.command()
	if err != nil {
		return &problem{Status: http.StatusBadRequest, cause: "bad-body", Detail: err.Error()}
	}
	dialog := g.newDialog(wire.JSONNative, &cmd)
	dialog.who = &who
	_ = dialog.grant(&cmd) // the native dialect rejects by topic
	if n, limit := dialog.topics.symbols(cmd.Topics), dialog.symbolLimit(); n > limit {
		return &problem{Status: http.StatusBadRequest, cause: "too-many-symbols", Detail: tooManySymbols(n, limit).Error()}
	}
	if who.Method == session.Open {
		who.User = session.User(edge.Network(g.cfg.Addresses.Of(r)).String())
	}
	id, s, err := g.sessions.Create(r.Context(), who, requestOf(&cmd))
	if err != nil {
		return g.sessionProblem(r.Context(), err)
	}
	secure := ""
	if g.cfg.Addresses.Secure(r) {
		secure = "s"
	}
	v := view(&s)
	query := "?session_id=" + url.QueryEscape(string(id))
	v.ID = string(id)
	v.StreamURL, v.EventsURL = "ws"+secure+"://"+r.Host+"/v1/stream"+query, "http"+secure+"://"+r.Host+"/v1/events"+query
	v.Limits = &sessionLimits{dialog.symbolLimit(), g.cfg.CommandRate, g.cfg.MessageBytes}
	for _, rej := range cmd.Rejected {
		v.Rejected = append(v.Rejected, rejectedView{rej.Topic.Channel.String(), rej.Topic.Symbol, int(rej.Code), rej.Code.Text()})
	}
	g.audit.write(r.Context(), "session created", append([]slog.Attr{
		slog.String("session", id.Name()), slog.String("address", g.cfg.Addresses.Of(r).String()),
	}, identityAttrs(&who)...)...)
	w.Header().Set("Location", "/v1/sessions/"+string(id))
	g.answer(w, r, http.StatusCreated, v)
	return nil
}

func (g *Gateway) getSession(w http.ResponseWriter, r *http.Request, who session.Identity) *problem {
	s, err := g.sessions.Get(r.Context(), session.ID(r.PathValue("id")), who.User)
	if err != nil {
		return g.sessionProblem(r.Context(), err)
	}
	g.answer(w, r, http.StatusOK, view(&s))
	return nil
}

func (g *Gateway) deleteSession(w http.ResponseWriter, r *http.Request, who session.Identity) *problem {
	id := session.ID(r.PathValue("id"))
	if err := g.sessions.Delete(r.Context(), id, who.User); err != nil {
		return g.sessionProblem(r.Context(), err)
	}
	g.audit.write(r.Context(), "session deleted", append([]slog.Attr{
		slog.String("session", id.Name()), slog.String("address", g.cfg.Addresses.Of(r).String()),
	}, identityAttrs(&who)...)...)
	g.headers(w, r)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// sessionProblem says over HTTP what went wrong with a session. What the store
// says of itself is for the log alone.
func (g *Gateway) sessionProblem(ctx context.Context, err error) *problem {
	switch {
	case errors.Is(err, session.ErrNotFound):
		return &problem{Status: http.StatusNotFound, cause: "no-session", Detail: "no such session: it is unknown, has expired, or belongs to somebody else"}
	case errors.Is(err, session.ErrUserQuota):
		return &problem{Status: http.StatusTooManyRequests, cause: "session-quota", Detail: session.ErrUserQuota.Error() + ": delete some, or let them expire", retryAfter: time.Minute}
	case errors.Is(err, session.ErrUserBytes):
		return &problem{Status: http.StatusTooManyRequests, cause: "session-bytes", Detail: session.ErrUserBytes.Error() + ": delete some, or let them expire", retryAfter: time.Minute}
	case errors.Is(err, session.ErrTotalQuota), errors.Is(err, session.ErrTotalBytes):
		return &problem{Status: http.StatusServiceUnavailable, cause: "sessions-full", Detail: "there is no room for more sessions", retryAfter: time.Minute}
	case errors.Is(err, session.ErrRevoked):
		return &problem{Status: http.StatusUnauthorized, cause: "auth-revoked", Detail: session.ErrRevoked.Error(), challenge: true}
	case errors.Is(err, session.ErrSuperseded):
		return &problem{Status: http.StatusConflict, cause: "superseded", Detail: session.ErrSuperseded.Error()}
	case errors.Is(err, session.ErrTooLarge):
		return &problem{Status: http.StatusRequestEntityTooLarge, cause: "too-large", Detail: session.ErrTooLarge.Error()}
	}
	g.log.LogAttrs(ctx, slog.LevelWarn, "sessions are not available", slog.Any("error", err))
	return &problem{Status: http.StatusServiceUnavailable, cause: "sessions-unavailable", Detail: session.ErrUnavailable.Error(), retryAfter: 5 * time.Second}
}

// attach gives the dialog the session that a URL names. The client sends nothing:
// it is who made the session, and gets what that asked for. Whoever proves to be
// somebody else does not disturb the socket that has it.
func (g *Gateway) attach(ctx context.Context, id session.ID, c credentials, d *dialog) *problem {
	if !c.none() {
		asks, err := g.authenticate(ctx, c)
		if err != nil {
			return authProblem(err)
		}
		if _, err := g.sessions.Get(ctx, id, asks.User); err != nil {
			return g.sessionProblem(ctx, err)
		}
	}
	held, err := g.sessions.Attach(ctx, id, d.id, func(cause session.Cause) {
		d.turn.do(func() bool {
			d.lost = cause
			if d.bridge != nil {
				d.bridge.Stop(reasonOf(cause), nil)
			}
			return false
		})
	})
	if err != nil {
		return g.sessionProblem(ctx, err)
	}
	d.held = held // serve lets go of it where nothing comes of the socket
	s := held.Session()
	who, err := g.auth.Check(ctx, s.Identity)
	if err == nil {
		err = g.offers(&who)
	}
	if err != nil {
		return authProblem(err)
	}
	d.who = &who
	first := commandOf(&s.Request)
	if d.first != nil {
		first.Since = d.first.Since
	}
	d.want(first)
	return nil
}

func reasonOf(c session.Cause) wire.Reason {
	switch c {
	case session.Superseded:
		return wire.Superseded
	case session.Revoked:
		return wire.Revoked
	case session.Deleted:
	}
	return wire.SessionDeleted
}

// letGo detaches a session, which waits for the store.
func (g *Gateway) letGo(held *session.Attachment) {
	if err := held.Detach(g.ctx); err != nil {
		g.log.LogAttrs(g.ctx, slog.LevelWarn, "session was not detached: it lives no longer than its last renewal allows", slog.Any("error", err))
	}
}

// saving begins to save what the session does not know yet, and reports whether it
// has: then the turn is kept.
func (d *dialog) saving(ctx context.Context) bool {
	if !d.unsaved {
		return false
	}
	d.unsaved = false
	d.save(ctx)
	return true
}

// save has the session remember what the client is subscribed to. It waits for the
// store: on a goroutine of its own, which keeps the turn.
func (d *dialog) save(ctx context.Context) {
	req := d.held.Session().Request
	req.Topics, req.Delivery, req.Interval, req.Heartbeat = d.topics.all(), d.delivery, d.interval, d.heartbeat
	d.g.tasks.Go(func() {
		defer d.turn.give()
		err := d.held.Update(ctx, req)
		level := slog.LevelWarn
		switch {
		case err == nil, errors.Is(err, session.ErrSuperseded), errors.Is(err, session.ErrNotFound):
			return
		case errors.Is(err, session.ErrTooLarge), errors.Is(err, session.ErrUserBytes): // the client's own doing
			level = slog.LevelDebug
		}
		d.g.log.LogAttrs(ctx, level, "session was not stored", slog.String("session", d.held.Name()), slog.Any("error", err))
	})
}
