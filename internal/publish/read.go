package publish

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/lzstock/lzstock/internal/rows"
	"github.com/lzstock/lzstock/market"
)

// read turns the input into chunks. It hands one on when it is as large as a
// batch, or when the input has nothing more at the moment.
func (p *publisher) read(ctx context.Context) error {
	defer close(p.chunks)
	in, err := rows.Bind(ctx, p.cfg.Input)
	if err != nil {
		return err
	}
	defer in.Close()
	var (
		lines = rows.NewLines(in)
		d     = decoder{format: p.cfg.Format}
		c     chunk
		count int // lines not yet in the tally
	)
	hand := func() bool {
		n, mended := count, d.mends()
		p.tally.change(func(s *Summary) {
			s.Lines += n
			s.Mended = mended
		})
		count = 0
		for len(c.events) > 0 {
			select {
			case p.chunks <- c.cut(market.BatchLimit):
			case <-ctx.Done():
				return false
			}
		}
		c = chunk{}
		return true
	}
	for {
		line, err := lines.Next()
		switch {
		case errors.Is(err, rows.ErrTooLong):
			p.bad(lines.Number(), err)
		case err != nil:
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				p.readErr = fmt.Errorf("read the input after line %d: %w", lines.Number(), err)
			}
			hand()
			return nil
		default:
			err := d.decode(line, func(e market.Event, err error) {
				if err != nil {
					p.bad(lines.Number(), err)
					return
				}
				c.events = append(c.events, e)
				c.lines = append(c.lines, lines.Number())
			})
			if err != nil {
				p.readErr = fmt.Errorf("the input's line %d: %w", lines.Number(), err)
				return nil
			}
		}
		count++
		if (len(c.events) >= market.BatchLimit || !lines.Ready()) && !hand() {
			return nil
		}
	}
}

// bad reports a line that holds no event.
func (p *publisher) bad(line int, reason error) {
	p.tally.change(func(s *Summary) { s.BadLines++ })
	p.complain(fmt.Sprintf("line %d: %v", line, reason))
}
