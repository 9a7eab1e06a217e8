package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/lzstock/lzstock/internal/wire"
)

// preflight opens one socket as the clients will, so that what is wrong with the
// address or the subscription is said before anything runs.
func (f *fleet) preflight(ctx context.Context) error {
	c := &crew{f: f}
	conn, err := c.dial(ctx, &hand{})
	if err != nil {
		return fmt.Errorf("%s: %w", f.cfg.URL, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	if err := conn.SetDeadline(time.Now().Add(shakeLimit)); err != nil {
		return fmt.Errorf("%s: %w", f.cfg.URL, err)
	}
	request, _ := f.request(0)
	if _, err := conn.Write(request); err != nil {
		return fmt.Errorf("%s: %w", f.cfg.URL, err)
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return fmt.Errorf("%s: the answer to the upgrade: %w", f.cfg.URL, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		_, _ = conn.Write(appendMasked(nil, wire.OpClose, []byte{1000 >> 8, 1000 & 0xff})) // it ends all the same
		_, _ = io.Copy(io.Discard, in)
		return nil
	}
	const most = 300
	body, _ := io.ReadAll(io.LimitReader(resp.Body, most)) // what came of it may help
	return fmt.Errorf("%s: the upgrade was refused with %s: %s", f.cfg.URL, resp.Status, strings.TrimSpace(string(body)))
}
