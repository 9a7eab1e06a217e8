package session_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/internal/session"
)

// world is some gateways over one store, and what must be true of them.
type world struct {
	t        *testing.T
	rng      *rand.Rand
	kv       *session.Memory
	gateways []*gateway
	started  int

	mu      sync.Mutex
	known   []*made
	sockets []*taken
}

// made is a session as the model has it.
type made struct {
	id   session.ID
	user session.User
	dead bool // deleted or revoked
}

// taken is a socket as the model has it.
type taken struct {
	*socket
	on   *made
	gw   *gateway
	conn string
	left bool // it was detached, or its gateway killed
}

const modelPerUser, modelTotal = 3, 7

// TestModel does at random what clients, operators and fate do, and checks
// after each step what must hold once all is quiet.
func TestModel(t *testing.T) {
	seeds, steps := 60, 40
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 7)), kv: session.NewMemory(session.MemoryConfig{})}
				for range 3 {
					w.gateways = append(w.gateways, w.start())
				}
				synctest.Wait()
				for range steps {
					what := w.step()
					synctest.Wait()
					if w.check(); t.Failed() {
						t.Fatalf("after %s", what)
					}
				}
				for _, g := range w.gateways {
					g.stop()
				}
			})
		})
	}
}

func (w *world) start() *gateway {
	w.started++
	return start(w.t, w.kv, fmt.Sprint("gw-", w.started), session.Config{PerUser: modelPerUser, Total: modelTotal})
}

func (w *world) gateway() *gateway { return w.gateways[w.rng.IntN(len(w.gateways))] }

// step does one thing, or some at once.
func (w *world) step() string {
	switch n := w.rng.IntN(20); n {
	case 0: // kill a gateway; another starts
		i := w.rng.IntN(len(w.gateways))
		w.gateways[i].stop()
		for _, s := range w.sockets {
			s.left = s.left || s.gw == w.gateways[i]
		}
		w.gateways[i] = w.start()
		return "kill"
	case 1:
		w.kv.SetDown(true)
		time.Sleep(time.Duration(w.rng.IntN(300)) * time.Second)
		w.kv.SetDown(false)
		time.Sleep(3 * time.Second)
		return "outage"
	case 2:
		w.kv.Wipe()
		time.Sleep(3 * time.Second)
		return "wipe"
	case 3, 4:
		time.Sleep(time.Duration(w.rng.IntN(200)) * time.Second)
		return "time"
	default:
		return w.burst()
	}
}

// burst does some things at once: creates on one gateway alone, since quotas are
// exact only there.
func (w *world) burst() string {
	creator := w.gateway()
	var all []func()
	what := []string{"burst:"}
	for range 1 + w.rng.IntN(6) {
		var do func()
		var name string
		switch w.rng.IntN(10) {
		case 0, 1:
			name, do = w.create(creator)
		case 2:
			name, do = w.delete()
		case 3, 4:
			name, do = w.detach()
		case 5:
			name, do = w.update()
		case 6:
			if w.rng.IntN(4) == 0 {
				name, do = w.revoke()
			}
		default:
			name, do = w.attach()
		}
		if do != nil {
			what, all = append(what, name), append(all, do)
		}
	}
	var wg sync.WaitGroup
	for _, do := range all {
		wg.Go(do)
	}
	wg.Wait()
	return strings.Join(what, " ")
}

func (w *world) user() session.User { return []session.User{"ann", "bob", "eve"}[w.rng.IntN(3)] }

func (w *world) some() *made {
	if len(w.known) == 0 {
		return nil
	}
	return w.known[max(0, len(w.known)-1-w.rng.IntN(8))]
}

func (w *world) create(g *gateway) (string, func()) {
	user := w.user()
	return "create", func() {
		id, _, err := g.Create(w.t.Context(), identity(user), request("AAPL"))
		if err != nil {
			if !errors.Is(err, session.ErrUserQuota) && !errors.Is(err, session.ErrTotalQuota) {
				w.t.Errorf("create: %v", err)
			}
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.known = append(w.known, &made{id: id, user: user})
	}
}

func (w *world) attach() (string, func()) {
	on, g, conn := w.some(), w.gateway(), fmt.Sprint("c-", w.rng.Uint32())
	if on == nil {
		return "", nil
	}
	was := on.dead
	return "attach", func() {
		s, err := g.tryAttach(on.id, conn)
		if err != nil {
			if !errors.Is(err, session.ErrNotFound) && !errors.Is(err, session.ErrSuperseded) {
				w.t.Errorf("attach: %v", err)
			}
			return
		}
		if was {
			w.t.Errorf("%v was attached, which is dead", on.id)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sockets = append(w.sockets, &taken{socket: s, on: on, gw: g, conn: conn})
	}
}

func (w *world) lively() *taken {
	var live []*taken
	for _, s := range w.sockets {
		if !s.left && s.ended() == 0 {
			live = append(live, s)
		}
	}
	if len(live) == 0 {
		return nil
	}
	return live[w.rng.IntN(len(live))]
}

func (w *world) detach() (string, func()) {
	s := w.lively()
	if s == nil {
		return "", nil
	}
	s.left = true
	return "detach", func() {
		if err := s.Detach(w.t.Context()); err != nil {
			w.t.Errorf("detach: %v", err)
		}
	}
}

func (w *world) update() (string, func()) {
	s := w.lively()
	if s == nil {
		return "", nil
	}
	return "update", func() {
		err := s.Update(w.t.Context(), request("MSFT"))
		if err != nil && !errors.Is(err, session.ErrNotFound) && !errors.Is(err, session.ErrSuperseded) {
			w.t.Errorf("update: %v", err)
		}
	}
}

func (w *world) delete() (string, func()) {
	on, g, user := w.some(), w.gateway(), w.user()
	if on == nil {
		return "", nil
	}
	return "delete", func() {
		err := g.Delete(w.t.Context(), on.id, user)
		switch {
		case err == nil && user != on.user:
			w.t.Errorf("%s deleted a session of %s", user, on.user)
		case err == nil:
			w.mu.Lock()
			defer w.mu.Unlock()
			on.dead = true
		case !errors.Is(err, session.ErrNotFound):
			w.t.Errorf("delete: %v", err)
		}
	}
}

func (w *world) revoke() (string, func()) {
	user, g := w.user(), w.gateway()
	var before []*made
	for _, on := range w.known {
		if on.user == user {
			before = append(before, on)
		}
	}
	return "revoke", func() {
		if _, err := g.Revoke(w.t.Context(), user); err != nil {
			w.t.Errorf("revoke: %v", err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, on := range before {
			on.dead = true
		}
	}
}

// check holds the model against the gateways.
func (w *world) check() {
	t := w.t
	stored := map[string]session.Info{}
	users := map[session.User]int{}
	for info, err := range w.gateway().List(t.Context(), "") {
		must(t, err)
		stored[info.Name] = info
		users[info.Identity.User]++
	}
	for user, n := range users {
		if n > modelPerUser {
			t.Errorf("%s has %d sessions", user, n)
		}
	}
	if len(stored) > modelTotal {
		t.Errorf("there are %d sessions", len(stored))
	}
	for _, g := range w.gateways {
		if s := g.Stats(); s.Sessions != len(stored) {
			t.Errorf("a gateway knows of %d sessions, there are %d", s.Sessions, len(stored))
		}
	}
	holds := map[session.ID]int{}
	for _, s := range w.sockets {
		if s.left || s.ended() != 0 {
			continue
		}
		holds[s.on.id]++
		h := stored[s.on.id.Name()].Holder
		if s.on.dead || holds[s.on.id] > 1 || h.Conn != s.conn {
			t.Errorf("socket %s has %v (dead: %v, sockets: %d), the store says %+v", s.conn, s.on.id, s.on.dead, holds[s.on.id], h)
		}
	}
	for _, on := range w.known[max(0, len(w.known)-10):] {
		g := w.gateway()
		if _, err := g.Get(t.Context(), on.id, on.user+"x"); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("%v is visible to others: %v", on.id, err)
		}
		_, there := stored[on.id.Name()]
		if _, err := g.Get(t.Context(), on.id, on.user); (err == nil) != there || (on.dead && there) {
			t.Errorf("%v: %v, dead: %v, stored: %v", on.id, err, on.dead, there)
		}
	}
}
