package watch

import (
	"context"
	"fmt"
	"strings"
	"time"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"
	"golang.org/x/sync/errgroup"

	"github.com/lzstock/lzstock/market"
)

// terminal shows a board on the terminal and does what its keys say, until ctx
// ends or the user quits. It leaves the table behind.
func (w *watcher) terminal(ctx context.Context, cfg *Config, b *board) error {
	t := newTerminal(w, cfg, b)
	p := tea.NewProgram(t, tea.WithOutput(w.out), tea.WithInput(cfg.Keys), tea.WithEnvironment(cfg.Environ), tea.WithoutSignalHandler(), tea.WithWindowSize(usualWidth, usualHeight))
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error {
		if _, err := p.Run(); err != nil {
			return fmt.Errorf("watch: the terminal: %w", err)
		}
		return errEnded
	})
	tasks.Go(func() error {
		defer p.Quit()
		drawn := time.Now()
		return w.each(ctx, func() error {
			w.mu.Lock()
			changed := b.dirty
			b.dirty = false
			w.mu.Unlock()
			if now := time.Now(); changed || now.Sub(drawn) >= time.Second { // ages change, too
				drawn = now
				p.Send(redraw{})
			}
			return nil
		})
	})
	tasks.Go(func() error { return t.remember(ctx, newHistory(cfg)) })
	err := tasks.Wait()
	w.mu.Lock()
	left := t.screen.final(b, t.width, t.height, time.Now())
	w.mu.Unlock()
	if _, writeErr := w.out.Write([]byte(left)); writeErr != nil {
		return fmt.Errorf("watch: %w", writeErr)
	}
	return err
}

// What a terminal has that does not tell its size.
const (
	usualWidth  = 80
	usualHeight = 24
)

// redraw has the screen drawn.
type redraw struct{}

// terminal is the program that Bubble Tea runs: keys in, screens out.
type terminal struct {
	watcher       *watcher // whose lock guards board
	board         *board
	screen        screen
	input         textinput.Model
	opened        chan market.Symbol // whose detail was opened; room for one
	width, height int
}

func newTerminal(w *watcher, cfg *Config, b *board) *terminal {
	t := &terminal{
		watcher: w, board: b, input: textinput.New(), opened: make(chan market.Symbol, 1), width: usualWidth, height: usualHeight,
		screen: screen{urls: append([]string{cfg.URL}, cfg.URLs...), color: cfg.Color},
	}
	t.input.Prompt = ""
	t.input.SetVirtualCursor(false)
	return t
}

// Init implements tea.Model.
func (t *terminal) Init() tea.Cmd { return nil }

// Update implements tea.Model.
func (t *terminal) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		t.width, t.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return t, t.key(msg)
	case tea.PasteMsg:
		if t.screen.mode == addMode {
			t.edit(msg)
		}
	}
	return t, nil
}

// View implements tea.Model.
func (t *terminal) View() tea.View {
	t.watcher.mu.Lock()
	defer t.watcher.mu.Unlock()
	v := tea.NewView(t.screen.draw(t.board, t.width, t.height, time.Now()))
	v.AltScreen = true
	v.WindowTitle = "lzstock watch"
	if t.screen.mode == addMode {
		v.Cursor = tea.NewCursor(min(len(addPrompt)+t.input.Position(), t.width-1), t.height-1)
	}
	return v
}

// key does what a key says.
func (t *terminal) key(k tea.KeyPressMsg) tea.Cmd {
	v := &t.screen
	name := k.String()
	v.complain = ""
	switch {
	case name == "ctrl+c":
		return tea.Quit
	case name == "ctrl+z":
		return tea.Suspend
	case v.mode == addMode:
		t.adding(k)
		return nil
	}
	switch name {
	case "q":
		return tea.Quit
	case "?":
		t.turn(helpMode)
	case "esc", "backspace", "left", "h":
		t.turn(tableMode)
	case "up", "k":
		t.move(-1)
	case "down", "j":
		t.move(1)
	case "pgup", "ctrl+b":
		t.move(-max(1, t.height/2)) //nolint:mnd // half a page
	case "pgdown", "ctrl+f":
		t.move(max(1, t.height/2)) //nolint:mnd // half a page
	case "home", "g":
		t.move(-len(t.order()))
	case "end", "G":
		t.move(len(t.order()))
	case "enter", "right", "l":
		t.move(0)
		t.turn(detailMode)
	case "a", "+":
		t.input.Reset()
		t.input.Focus() // what it gives would make a cursor of its own blink
		v.prompt = ""
		t.turn(addMode)
	case "d", "x", "delete":
		t.remove()
	case "s":
		v.by = (v.by + 1) % columns
	case "r":
		v.reverse = !v.reverse
	}
	return nil
}

func (t *terminal) order() []market.Symbol {
	t.watcher.mu.Lock()
	defer t.watcher.mu.Unlock()
	return t.board.sorted(t.screen.by, t.screen.reverse)
}

// turn shows something else. What a detail needs is subscribed to while it is shown.
func (t *terminal) turn(to mode) {
	if to == detailMode && t.screen.selected == "" {
		return
	}
	t.screen.mode = to
	t.watcher.wanted.set(func(w *wanted) {
		w.detail = ""
		if to == detailMode {
			w.detail = t.screen.selected
		}
	})
	if to != detailMode {
		return
	}
	select {
	case <-t.opened: // nobody has looked at that one for long
	default:
	}
	t.opened <- t.screen.selected
}

// remember brings the minutes from before a symbol's detail was opened.
func (t *terminal) remember(ctx context.Context, h *history) error {
	for {
		select {
		case s := <-t.opened:
			bars, err := h.minutes(ctx, s)
			t.watcher.mu.Lock()
			t.board.past(s, bars, err)
			t.watcher.mu.Unlock()
		case <-ctx.Done():
			return nil
		}
	}
}

// move selects another symbol, n further down.
func (t *terminal) move(n int) {
	v := &t.screen
	order := t.order()
	if len(order) == 0 {
		v.selected = ""
		return
	}
	at := v.index(order)
	if v.selected != "" {
		at += n
	}
	v.selected = order[max(0, min(at, len(order)-1))]
	if v.mode == detailMode {
		t.turn(detailMode)
	}
}

// remove takes the selected symbol off.
func (t *terminal) remove() {
	gone := t.screen.selected
	if gone == "" {
		return
	}
	order := t.order()
	at := t.screen.index(order)
	switch {
	case at+1 < len(order):
		t.screen.selected = order[at+1]
	case at > 0:
		t.screen.selected = order[at-1]
	default:
		t.screen.selected = ""
	}
	t.watcher.wanted.set(func(w *wanted) { delete(w.symbols, gone) })
	t.watcher.mu.Lock()
	t.board.remove(gone)
	t.watcher.mu.Unlock()
	t.turn(tableMode)
}

const addPrompt = "add: "

// adding is for keys while symbols are typed.
func (t *terminal) adding(k tea.KeyPressMsg) {
	switch k.String() {
	case "esc":
		t.turn(tableMode)
	case "enter":
		t.add(t.input.Value())
	default:
		t.edit(k)
	}
}

func (t *terminal) edit(msg tea.Msg) {
	t.input, _ = t.input.Update(msg)
	t.screen.prompt = t.input.Value()
}

// add shows symbols as well, all that were typed or none.
func (t *terminal) add(typed string) {
	var symbols []market.Symbol
	for _, one := range strings.FieldsFunc(typed, func(r rune) bool { return r == ' ' || r == ',' }) {
		s := market.Symbol(one)
		if err := checkSymbol(s); err != nil {
			t.screen.complain = err.Error()
			return
		}
		symbols = append(symbols, s)
	}
	t.watcher.wanted.set(func(w *wanted) {
		for _, s := range symbols {
			w.symbols[s] = true
		}
	})
	t.watcher.mu.Lock()
	for _, s := range symbols {
		t.board.add(s)
	}
	t.watcher.mu.Unlock()
	if len(symbols) > 0 && symbols[0] != market.AllSymbols {
		t.screen.selected = symbols[0]
	}
	t.turn(tableMode)
}
