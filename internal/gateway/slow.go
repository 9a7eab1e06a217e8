package gateway

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/internal/wire"
)

// SlowClient is a client that does not keep up, as operators see it.
type SlowClient struct {
	Conn      string `json:"conn"`           // as the log has it
	User      string `json:"user,omitempty"` // a hash, the same for all sockets of one while the process runs
	Transport string `json:"transport"`      // "websocket" or "events"
	Delivery  string `json:"delivery"`
	Age       int64  `json:"age_ms"`    // of the connection
	Oldest    int64  `json:"oldest_ms"` // how long the oldest event has waited
	Queued    int    `json:"queued"`
	Merged    uint64 `json:"conflated"`
	Bytes     uint64 `json:"bytes"`
	Busy      bool   `json:"busy"` // it has not taken all that was offered
}

// Slowest gives the clients that keep up worst, at most n. Its looking stops each
// shard for as long as it takes to see all of its sockets.
func (g *Gateway) Slowest(ctx context.Context, n int) ([]SlowClient, error) {
	hubs := []*hub.Hub{g.hub}
	for _, late := range g.cfg.Delayed {
		hubs = append(hubs, late.Hub)
	}
	list, err := g.bridges.Slowest(ctx, n, hubs...)
	if err != nil {
		return nil, err
	}
	names := g.users.names(list)
	out := make([]SlowClient, 0, len(list))
	for _, c := range list {
		s := SlowClient{
			Conn: c.ID, Transport: "websocket", Delivery: c.Mode.String(), Age: c.Age.Milliseconds(), Oldest: c.Oldest.Milliseconds(),
			Queued: c.Queued, Merged: c.Merged, Bytes: c.Bytes, Busy: c.Busy,
		}
		if c.Framing == wire.EventStream {
			s.Transport = "events"
		}
		if user, known := names[c.Handler]; known {
			s.User = g.hashed(user)
		}
		out = append(out, s)
	}
	return out, nil
}

// hashed gives a name that tells nothing of a user's.
func (g *Gateway) hashed(user session.User) string {
	h := hmac.New(sha256.New, g.pepper[:])
	_, _ = h.Write([]byte(user)) // it never fails
	return hex.EncodeToString(h.Sum(nil)[:4])
}

// names gives the users of those in a list who said who they are.
func (u *users) names(list []bridge.Client) map[bridge.Handler]session.User {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := make(map[bridge.Handler]session.User, len(list))
	for _, c := range list {
		out[c.Handler] = ""
	}
	for user, sockets := range u.sockets {
		for _, d := range sockets {
			if _, wanted := out[d]; wanted {
				out[d] = user
			}
		}
	}
	for h, user := range out {
		if user == "" {
			delete(out, h)
		}
	}
	return out
}
