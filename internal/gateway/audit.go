package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/obs"
	"github.com/lzstock/lzstock/internal/session"
)

// audit writes down who was let in, who was not, and why: with user and address,
// never with a credential or a session's id. What anybody can cause is written
// refusalLines times a second at most; then it is counted, for the next line to say.
type audit struct {
	log *slog.Logger

	mu      sync.Mutex
	second  time.Time // that the lines are counted in
	lines   int
	skipped int // since the last line
}

const refusalLines = 20

// refusal writes down a refusal, or counts it.
func (a *audit) refusal(ctx context.Context, what string, attrs func() []slog.Attr) {
	skipped, ok := a.sample(time.Now())
	if !ok {
		return
	}
	list := attrs()
	if skipped > 0 {
		list = append(list, slog.Int("refusals_before_not_written", skipped))
	}
	a.write(ctx, what, list...)
}

func (a *audit) sample(now time.Time) (skipped int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.second) >= time.Second {
		a.second, a.lines = now, 0
	}
	if a.lines++; a.lines > refusalLines {
		a.skipped++
		return 0, false
	}
	skipped, a.skipped = a.skipped, 0
	return skipped, true
}

func (a *audit) write(ctx context.Context, what string, attrs ...slog.Attr) {
	a.log.LogAttrs(ctx, obs.LevelAudit, what, attrs...) //nolint:sloglint // what its callers say is literal
}

func identityAttrs(who *session.Identity) []slog.Attr {
	if who == nil {
		return nil
	}
	return []slog.Attr{
		slog.String("user", string(who.User)), slog.String("method", string(who.Method)), slog.String("credential", who.Credential),
	}
}

// admitted says that a client is in.
func (a *audit) admitted(ctx context.Context, d *dialog) {
	attrs := append([]slog.Attr{slog.String("conn", d.id), slog.String("address", d.address.String())}, identityAttrs(d.who)...)
	if d.held != nil {
		attrs = append(attrs, slog.String("session", d.held.Name()))
	}
	a.write(ctx, "socket admitted", attrs...)
}

// refused says that the credentials in a message were not good.
func (a *audit) refused(ctx context.Context, d *dialog, err error) {
	a.refusal(ctx, "credentials refused", func() []slog.Attr {
		return []slog.Attr{slog.String("conn", d.id), slog.String("address", d.address.String()), slog.Any("error", err)}
	})
}

// turnedAway says that a request was refused for who sent it, or from where.
func (a *audit) turnedAway(r *http.Request, from netip.Addr, p problem) {
	switch p.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		a.refusal(r.Context(), "request refused", func() []slog.Attr {
			return []slog.Attr{slog.String("address", from.String()), slog.String("cause", p.cause), slog.String("detail", p.Detail)}
		})
	}
}

// ended says how a client that was known went.
func (a *audit) ended(ctx context.Context, d *dialog, end *bridge.End) {
	if d.who == nil || d.who.Method == session.Open {
		return
	}
	a.write(ctx, "socket ended", append([]slog.Attr{
		slog.String("conn", d.id), slog.String("address", d.address.String()), slog.String("reason", end.Reason.String()),
	}, identityAttrs(d.who)...)...)
}
