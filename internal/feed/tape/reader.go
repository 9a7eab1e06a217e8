package tape

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"time"

	"github.com/lzstock/lzstock/internal/rows"
	"github.com/lzstock/lzstock/market"
)

// Stdin is the name that stands for standard input.
const Stdin = "-"

// LineError says why a line of a tape was refused.
type LineError struct {
	File string
	Line int // from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("%s: line %d: %v", e.File, e.Line, e.Err) }

// Unwrap gives the reason.
func (e *LineError) Unwrap() error { return e.Err }

// Options say how a tape is read. The zero value refuses the first bad line.
type Options struct {
	// SkipBad makes bad lines be passed over.
	SkipBad bool
	// OnBad is told each line that is passed over. It may be nil.
	OnBad func(*LineError)
}

// Reader reads one tape once. It is for one goroutine.
type Reader struct {
	name    string
	opts    Options
	lines   *rows.Lines
	parser  rows.Parser
	skipped int
	closers []io.Closer
}

// Open opens a file, or reads stdin where the name is "-". A read that blocks
// ends when ctx does. Close has to be called.
func Open(ctx context.Context, name string, stdin io.Reader, opts Options) (*Reader, error) {
	var in io.Reader
	var closers []io.Closer
	if name == Stdin {
		if stdin == nil {
			return nil, errors.New("open tape: there is no standard input to read from")
		}
		name, in = "standard input", stdin
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("open tape: %w", err)
		}
		in, closers = f, []io.Closer{f}
	}
	bound, err := rows.Bind(ctx, in)
	if err != nil {
		return nil, errors.Join(err, closeAll(closers))
	}
	closers = append(closers, bound)
	r, err := NewReader(bound, name, opts)
	if err != nil {
		return nil, errors.Join(err, closeAll(closers))
	}
	r.closers = closers
	return r, nil
}

// NewReader reads a tape from r; name stands for it in errors. It fails where
// nothing can be read, or where what begins like gzip is none.
func NewReader(r io.Reader, name string, opts Options) (*Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	start, err := b.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read tape %s: %w", name, err)
	}
	var in io.Reader = b
	if len(start) == 2 && start[0] == 0x1f && start[1] == 0x8b {
		if in, err = gzip.NewReader(b); err != nil {
			return nil, fmt.Errorf("read tape %s: it begins like gzip, but: %w", name, err)
		}
	}
	return &Reader{name: name, opts: opts, lines: rows.NewLines(in)}, nil
}

// Skipped gives how many bad lines were passed over so far.
func (r *Reader) Skipped() int { return r.skipped }

// Events gives the tape's events, to be ranged over once. An error is the last
// thing it gives: a *LineError for a bad line, or what reading failed with.
func (r *Reader) Events() iter.Seq2[market.Event, error] {
	return func(yield func(market.Event, error) bool) {
		var last time.Time
		for {
			line, err := r.lines.Next()
			switch {
			case errors.Is(err, io.EOF):
				return
			case errors.Is(err, io.ErrUnexpectedEOF):
				err = r.bad(r.lines.Number()+1, errors.New("the file is cut short: its compressed end is missing"))
				if err != nil {
					yield(market.Event{}, err)
				}
				return
			case errors.Is(err, rows.ErrTooLong):
				if err := r.bad(r.lines.Number(), err); err != nil {
					yield(market.Event{}, err)
					return
				}
				continue
			case err != nil:
				yield(market.Event{}, fmt.Errorf("read tape %s after line %d: %w", r.name, r.lines.Number(), err))
				return
			}
			e, ok, err := r.event(line, last)
			if err != nil {
				if err := r.bad(r.lines.Number(), err); err != nil {
					yield(market.Event{}, err)
					return
				}
				continue
			}
			if !ok {
				continue
			}
			last = e.Time()
			if !yield(e, nil) {
				return
			}
		}
	}
}

// event reads one line; ok is false where it holds no event and need not.
func (r *Reader) event(line []byte, last time.Time) (e market.Event, ok bool, err error) {
	if len(line) == 0 {
		return e, false, nil
	}
	if r.lines.Number() == 1 && rows.IsHeader(line) {
		return e, false, rows.CheckHeader(line)
	}
	if e, err = r.parser.Parse(line); err != nil {
		return e, false, err
	}
	if at := e.Time(); at.Before(last) {
		return e, false, fmt.Errorf("its time is %s before that of the row before it: a tape is in order of time", last.Sub(at))
	}
	return e, true, nil
}

// bad passes over a bad line and gives nil, or gives why not.
func (r *Reader) bad(line int, reason error) error {
	err := &LineError{File: r.name, Line: line, Err: reason}
	if !r.opts.SkipBad {
		return err
	}
	r.skipped++
	if r.opts.OnBad != nil {
		r.opts.OnBad(err)
	}
	return nil
}

// Mended gives how many numbers held a float's artefact and were mended, as
// rows.Price says.
func (r *Reader) Mended() int { return r.parser.Mended() }

// Close closes the file, but never standard input.
func (r *Reader) Close() error {
	closers := r.closers
	r.closers = nil
	return closeAll(closers)
}

// closeAll closes the last first.
func closeAll(closers []io.Closer) error {
	var errs []error
	for _, c := range slices.Backward(closers) {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
