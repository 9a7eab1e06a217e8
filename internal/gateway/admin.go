package gateway

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/lzstock/lzstock/internal/session"
)

// AdminHeader must be there, whatever it holds, where something is changed: a web
// page cannot send it to another host unasked, so that none changes anything from
// an operator's browser.
const AdminHeader = "X-Lzstock"

// SessionInfo is a session as operators see it, a line of GET /sessions.
type SessionInfo struct {
	Name     string    `json:"session"` // as the logs have it; not what clients attach with
	User     string    `json:"user"`
	Method   string    `json:"method"`
	Created  time.Time `json:"created_at"`
	Expires  time.Time `json:"expires_at"`
	Attached bool      `json:"attached"`
	Gateway  string    `json:"gateway,omitempty"` // that has its socket
	Conn     string    `json:"conn,omitempty"`
	Topics   int       `json:"topics"`
}

// Revoked is the answer of POST /revoke.
type Revoked struct {
	User     string `json:"user"`
	Sessions int    `json:"sessions"` // that were deleted
}

// Admin registers what operators see of clients, and do to them:
//
//	GET  /sessions?user=NAME  the sessions, of one user or all, one JSON object a line
//	POST /revoke?user=NAME    ends the sessions and sockets of a user, on all gateways
func (g *Gateway) Admin(mux *http.ServeMux) {
	mux.HandleFunc("GET /sessions", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		e := json.NewEncoder(w)
		for info, err := range g.sessions.List(r.Context(), session.User(r.URL.Query().Get("user"))) { //nolint:contextcheck // it has the request's
			if err != nil {
				g.log.LogAttrs(r.Context(), slog.LevelWarn, "sessions are not available", slog.Any("error", err))
				http.Error(w, session.ErrUnavailable.Error(), http.StatusServiceUnavailable)
				return
			}
			_ = e.Encode(SessionInfo{ // who has left does not need it
				Name: info.Name, User: string(info.Identity.User), Method: string(info.Identity.Method),
				Created: info.Created, Expires: info.Expires, Attached: info.Attached(),
				Gateway: info.Holder.Gateway, Conn: info.Holder.Conn, Topics: len(info.Request.Topics),
			})
		}
	})
	mux.HandleFunc("POST /revoke", func(w http.ResponseWriter, r *http.Request) {
		user := session.User(r.URL.Query().Get("user"))
		switch {
		case r.Header.Get(AdminHeader) == "":
			http.Error(w, "want the header "+AdminHeader+", so that no web page does this from your browser", http.StatusForbidden)
			return
		case user == "":
			http.Error(w, "want a user: /revoke?user=NAME", http.StatusBadRequest)
			return
		}
		n, err := g.sessions.Revoke(r.Context(), user)
		if err != nil {
			g.log.LogAttrs(r.Context(), slog.LevelWarn, "user was not revoked", slog.String("user", string(user)), slog.Any("error", err))
			http.Error(w, session.ErrUnavailable.Error()+": repeat this", http.StatusServiceUnavailable)
			return
		}
		g.audit.write(r.Context(), "user revoked", slog.String("user", string(user)), slog.Int("sessions", n))
		w.Header().Set("Content-Type", "application/json")
		write(w, http.StatusOK, Revoked{User: string(user), Sessions: n})
	})
}
