package tape

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lzstock/lzstock/internal/rows"
	"github.com/lzstock/lzstock/market"
)

// DefaultWindow is how late an event may reach a Writer and still be put into
// its place.
const DefaultWindow = 2 * time.Second

// chunk is how many bytes of rows are written at once.
const chunk = 32 << 10

// WriterOptions configure a Writer. The zero value is ready.
type WriterOptions struct {
	// Window is the span of event time within which events may arrive out of
	// order; 0 means DefaultWindow, less than 0 none. So many events wait in
	// memory before they are written.
	Window time.Duration
}

// Counts says what a Writer did with the events it was given.
type Counts struct {
	Written  uint64 // rows handed to the file, or waiting for the window
	Bars     uint64 // left out, because a tape holds trades and quotes only
	Statuses uint64 // likewise
	Late     uint64 // left out, because their time was too long past
}

// Writer records a tape. It is for one goroutine.
type Writer struct {
	window time.Duration
	out    io.Writer    // gz or the file
	gz     *gzip.Writer // nil where the tape is plain
	file   *os.File     // nil where the writer was made by NewWriter
	name   string       // what the file is called at the end
	buf    []byte       // whole rows
	wait   queue        // events within the window, by time
	newest time.Time    // latest time seen
	last   time.Time    // time of the last row
	counts Counts
	err    error // the first failure; all later calls return it
}

// Create records into a new file; gzip, where the name ends in ".gz". It fails
// where the file, or the unfinished NAME.part, exists: nothing recorded is ever
// overwritten.
func Create(name string, opts WriterOptions) (*Writer, error) {
	name = filepath.Clean(name)
	if _, err := os.Lstat(name); err == nil {
		return nil, fmt.Errorf("record to %s: it exists already; choose another name, or remove it", name)
	}
	f, err := os.OpenFile(name+".part", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // a name that the user gave, for data that is no secret
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("record to %s: %s.part is there, from a recording that goes on or was cut short; it can be read as a tape; move it away", name, name)
	case err != nil:
		return nil, fmt.Errorf("record to %s: %w", name, err)
	}
	w := NewWriter(f, strings.HasSuffix(name, ".gz"), opts)
	w.file, w.name = f, name
	return w, nil
}

// NewWriter records to out, which Close leaves open.
func NewWriter(out io.Writer, compress bool, opts WriterOptions) *Writer {
	w := &Writer{out: out, window: opts.Window, buf: append(make([]byte, 0, chunk+1024), rows.Header+"\n"...)}
	if w.window == 0 {
		w.window = DefaultWindow
	}
	w.window = max(w.window, 0)
	if compress {
		w.gz = gzip.NewWriter(out)
		w.out = w.gz
	}
	return w
}

// Write takes events; they may wait in memory until Flush or Close. The writer
// keeps what they point to for as long as the window.
func (w *Writer) Write(events ...market.Event) error {
	for i := range events {
		e := &events[i]
		switch e.Channel {
		case market.Trades, market.Quotes:
		case market.Statuses:
			w.counts.Statuses++
			continue
		default:
			w.counts.Bars++
			continue
		}
		at := e.Time()
		if at.Before(w.last) {
			w.counts.Late++
			continue
		}
		if at.After(w.newest) {
			w.newest = at
		}
		w.counts.Written++
		w.wait.push(*e, at)
		if err := w.drain(w.newest.Add(-w.window)); err != nil {
			return err
		}
	}
	return w.err
}

// Counts says what became of the events so far.
func (w *Writer) Counts() Counts { return w.counts }

// Flush hands all rows that are beyond the window to the system, so that what is
// on the disk is a tape up to there.
func (w *Writer) Flush() error {
	if err := w.write(); err != nil {
		return err
	}
	if w.gz != nil {
		if err := w.gz.Flush(); err != nil {
			return w.fail(err)
		}
	}
	return nil
}

// Close writes what waits and, where Create made the writer, puts the whole tape
// on the disk under its name. After a failure the file stays NAME.part.
func (w *Writer) Close() error {
	if errors.Is(w.err, fs.ErrClosed) {
		return nil
	}
	err := w.drain(w.newest)
	if err == nil {
		err = w.write()
	}
	if w.gz != nil {
		err = errors.Join(err, w.gz.Close())
	}
	if w.file != nil {
		if err == nil {
			err = w.file.Sync()
		}
		err = errors.Join(err, w.file.Close())
		if err == nil {
			err = os.Rename(w.file.Name(), w.name)
		}
	}
	w.err = fs.ErrClosed
	if err != nil {
		return fmt.Errorf("finish tape: %w", err)
	}
	return nil
}

// drain turns the events up to and including limit into rows.
func (w *Writer) drain(limit time.Time) error {
	for {
		e, at, ok := w.wait.popUntil(limit)
		if !ok {
			return w.err
		}
		w.buf, _ = rows.Append(w.buf, &e)
		w.last = at
		if len(w.buf) >= chunk {
			if err := w.write(); err != nil {
				return err
			}
		}
	}
}

func (w *Writer) write() error {
	if w.err != nil {
		return w.err
	}
	if _, err := w.out.Write(w.buf); err != nil {
		return w.fail(err)
	}
	w.buf = w.buf[:0]
	return nil
}

func (w *Writer) fail(err error) error {
	w.err = fmt.Errorf("write tape: %w", err)
	return w.err
}
