package publish

import (
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/lzstock/lzstock/internal/safetext"
)

const (
	redrawEvery = 200 * time.Millisecond // of the line on a terminal
	lineEvery   = 5 * time.Second        // elsewhere
	// notes is how many reports may wait for the writer; then the run waits.
	notes = 64
)

// print starts to write reports and progress to w. The function that it gives
// ends that, and returns once all is written.
func (p *publisher) print(w io.Writer) func() {
	if w == nil {
		return func() {}
	}
	f, ok := w.(interface{ Fd() uintptr })
	pr := &printer{w: w, terminal: ok && term.IsTerminal(int(f.Fd())), quiet: p.cfg.Quiet}
	p.notes = make(chan string, notes)
	var wg sync.WaitGroup
	wg.Go(func() { pr.run(p.notes, &p.tally) })
	return func() {
		close(p.notes)
		wg.Wait()
	}
}

// note reports one line.
func (p *publisher) note(text string) {
	if p.notes != nil {
		p.notes <- text
	}
}

// complain reports a bad line or a refusal, while there were not too many.
func (p *publisher) complain(text string) {
	yes, last := p.tally.show(p.cfg.ShowBad)
	if yes {
		p.note(text)
	}
	if last {
		p.note("further bad lines and refusals are only counted")
	}
}

// printer writes to the user. It alone uses w. What cannot be written is lost:
// the summary has the numbers.
type printer struct {
	w               io.Writer
	terminal, quiet bool
	drawn           bool    // a line of progress stands on the terminal
	last            Summary // as shown last
}

func (pr *printer) run(notes <-chan string, t *tally) {
	every := lineEvery
	if pr.terminal {
		every = redrawEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case note, ok := <-notes:
			pr.clear()
			if !ok {
				return
			}
			fmt.Fprintln(pr.w, safetext.Clean(note)) //nolint:errcheck // see printer
		case now := <-tick.C:
			pr.progress(t.summary(now))
		}
	}
}

// progress shows how far the run is, where that has changed.
func (pr *printer) progress(s Summary) {
	took := s.Took
	s.Took = 0
	if pr.quiet || s == pr.last {
		return
	}
	pr.last = s
	s.Took = took
	if pr.terminal {
		fmt.Fprintf(pr.w, "\r\x1b[K%s", s) //nolint:errcheck // see printer
		pr.drawn = true
		return
	}
	fmt.Fprintln(pr.w, s) //nolint:errcheck // see printer
}

// clear makes room for a line of its own.
func (pr *printer) clear() {
	if pr.drawn {
		io.WriteString(pr.w, "\r\x1b[K") //nolint:errcheck // see printer
		pr.drawn = false
	}
}
