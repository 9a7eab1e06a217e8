package gateway

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/internal/wire"
)

// users knows the sockets of those who said who they are, the oldest first.
type users struct {
	mu      sync.Mutex
	sockets map[session.User][]*dialog
}

// add counts a socket in and gives those that are too many now, the oldest.
func (u *users) add(user session.User, d *dialog, limit int) (surplus []*dialog) {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := append(u.sockets[user], d)
	if n := len(list) - limit; limit > 0 && n > 0 {
		surplus = slices.Clone(list[:n])
		list = slices.Clone(list[n:])
	}
	u.sockets[user] = list
	return surplus
}

func (u *users) remove(user session.User, d *dialog) {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := slices.DeleteFunc(u.sockets[user], func(o *dialog) bool { return o == d })
	if len(list) == 0 {
		delete(u.sockets, user)
	} else {
		u.sockets[user] = list
	}
}

func (u *users) of(user session.User) []*dialog {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.sockets[user])
}

func (u *users) all() (out []*dialog) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, list := range u.sockets {
		out = append(out, list...)
	}
	return out
}

// revoke ends the sockets of a user that were opened with credentials issued until
// then.
func (g *Gateway) revoke(user session.User, at time.Time) {
	for _, d := range g.users.of(user) {
		d.turn.do(func() bool {
			if d.who != nil && !d.who.Issued.After(at) {
				d.bridge.Stop(wire.Revoked, nil)
			}
			return false
		})
	}
}

// follow has open sockets obey when keys change, until ctx ends.
func (g *Gateway) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.auth.Changed():
		}
		for _, d := range g.users.all() {
			d.turn.do(func() (kept bool) {
				d.bridge.Run(func() error {
					err := d.recheck(g.ctx) // which outlives ctx: to stop is no error of a client
					kept = err == nil && d.saving(g.ctx)
					return err
				})
				return kept
			})
		}
	}
}

// recheck has the client see what it may see now, or ends it.
func (d *dialog) recheck(ctx context.Context) error {
	if d.over || d.who == nil {
		return nil
	}
	who, err := d.check(ctx)
	if err != nil {
		return err
	}
	return d.regrant(ctx, &who)
}

// check asks whether the client is still who it was, and gives it as it is now.
func (d *dialog) check(ctx context.Context) (session.Identity, error) {
	if d.g.sessions.IsRevoked(d.who.User, d.who.Issued) {
		return session.Identity{}, ended(wire.Revoked, nil)
	}
	who, err := d.g.auth.Check(ctx, *d.who)
	switch {
	case errors.Is(err, session.ErrExpired):
		return who, ended(wire.TokenExpired, nil)
	case err != nil:
		return who, ended(wire.Revoked, err)
	case who.Grant.Delay != d.who.Grant.Delay:
		return who, ended(wire.TokenExpired, errors.New("its prices are delayed otherwise now"))
	}
	return who, nil
}
