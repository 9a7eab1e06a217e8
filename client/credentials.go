package client

import (
	"context"
	"time"

	"github.com/lzstock/lzstock/internal/wire"
)

// renewAgain is how long to wait before a new token is asked for again, while the
// present one is still good.
const renewAgain = 10 * time.Second

// token gives the token for a new connection.
func (c *Client) token(ctx context.Context) (string, *Error) {
	if c.cfg.TokenSource == nil {
		return c.cfg.Token, nil
	}
	token, err := c.cfg.TokenSource(ctx)
	if err != nil {
		return "", &Error{Op: "connect", Reason: "no token", Retry: RetryBackoff, Err: err}
	}
	return token, nil
}

// renew fetches a newer token and sends it, before the present one expires. When
// that fails until then, the gateway ends the connection.
func (s *session) renew(ctx context.Context) {
	if s.c.cfg.TokenSource == nil || !s.renewals.CompareAndSwap(false, true) {
		return
	}
	s.renewing.Go(func() {
		defer s.renewals.Store(false)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		s.renewing.Go(func() { // ends the fetching with the connection
			select {
			case <-s.ended:
				cancel()
			case <-ctx.Done():
			}
		})
		for ctx.Err() == nil {
			if token, err := s.c.token(ctx); err == nil {
				auth := wire.Command{Action: wire.Auth, Token: token}
				s.control(s.format.Opcode(), wire.AppendCommand(nil, s.format, &auth))
				return
			}
			sleep(ctx, renewAgain)
		}
	})
}

// sleep waits, unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
