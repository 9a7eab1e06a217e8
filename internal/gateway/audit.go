package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/obs"
	"github.com/lzstock/lzstock/internal/session"
)

// audit writes down who was let in, who was not, and why: with user and address,
// never with a credential or a session's id.
type audit struct{ log *slog.Logger }

func (a audit) write(ctx context.Context, what string, attrs ...slog.Attr) {
	a.log.LogAttrs(ctx, obs.LevelAudit, what, attrs...) //nolint:sloglint // each caller's is a literal
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
func (a audit) admitted(ctx context.Context, d *dialog) {
	attrs := append([]slog.Attr{slog.String("conn", d.id), slog.String("address", d.address.String())}, identityAttrs(d.who)...)
	if d.held != nil {
		attrs = append(attrs, slog.String("session", d.held.Name()))
	}
	a.write(ctx, "socket admitted", attrs...)
}

// refused says that the credentials in a message were not good.
func (a audit) refused(ctx context.Context, d *dialog, err error) {
	a.write(ctx, "credentials refused", slog.String("conn", d.id), slog.String("address", d.address.String()), slog.Any("error", err))
}

// turnedAway says that a request was refused for who sent it, or from where.
func (a audit) turnedAway(r *http.Request, from netip.Addr, p problem) {
	switch p.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		a.write(r.Context(), "request refused", slog.String("address", from.String()), slog.String("cause", p.cause), slog.String("detail", p.Detail))
	}
}

// ended says how a client that was known went.
func (a audit) ended(ctx context.Context, d *dialog, end *bridge.End) {
	if d.who == nil || d.who.Method == session.Open {
		return
	}
	a.write(ctx, "socket ended", append([]slog.Attr{
		slog.String("conn", d.id), slog.String("address", d.address.String()), slog.String("reason", end.Reason.String()),
	}, identityAttrs(d.who)...)...)
}
