package gateway

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/lzstock/lzstock/internal/bridge"
	"github.com/lzstock/lzstock/internal/edge"
	"github.com/lzstock/lzstock/internal/hub"
	"github.com/lzstock/lzstock/internal/mailbox"
	"github.com/lzstock/lzstock/internal/poll"
	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/internal/wire"
	"github.com/lzstock/lzstock/market"
)

// Demand counts who wants which topics from upstream. Its calls do not wait for
// the network.
type Demand interface {
	// Acquire counts one more of a user's who wants each of the topics. An error says
	// what is too many, in words for the client; then none counts.
	Acquire(user string, topics []market.Topic) error
	Release(user string, topics []market.Topic)
	// Epoch gives the feed's epoch, 0 while it is not known.
	Epoch() market.Epoch
	// Replay gives events of the past: some of those of topics after a position, all
	// up to through but of topics in missed, whose events nobody has. It waits for a
	// monitor until ctx ends.
	Replay(ctx context.Context, topics []market.Topic, after market.Position) (
		events []market.Event, through market.Seq, missed []market.Topic, err error)
}

// Config configures a Gateway; its zero values mean the defaults of the
// protocol.
type Config struct {
	Bridge       bridge.Config
	Feeds        []string      // names that /v2/{feed} answers to; none means iex, sip and test
	MessageBytes int           // greatest message of a client; 0 means 16 KiB
	Symbols      int           // greatest number of symbols a socket; 0 means 1,024
	CommandRate  int           // commands a second; 0 means 10
	CommandBurst int           // commands at once; 0 means 20
	Connections  int           // greatest number of sockets; 0 means no limit
	AdaptiveQ    int           // events that wait in adaptive delivery; 0 means 256
	EveryQ       int           // events that wait in every delivery; 0 means 65,536
	AuthTimeout  time.Duration // for the auth message; 0 means 10 s

	Auth           Authenticator          // nil asks nobody
	Sessions       session.Config         // its zero value keeps sessions in memory, for this gateway alone
	SessionBytes   int                    // greatest request for a session; 0 means 64 KiB
	Delayed        map[time.Duration]Late // where clients that may see prices late alone get them, by how late
	Addresses      edge.Addresses         // whose word counts for a client's address
	Origins        edge.Origins           // which pages may connect, beside the gateway's own
	Hosts          *edge.Hosts            // that requests may be for; nil: all
	Prices         Prices                 // answers REST calls for prices; nil: there are none
	TopicRate      int                    // topics a second that a socket may subscribe to anew; 0 means 1,000
	UserWork       int                    // the same of a user, of commands that are about many; 0 means no limit
	Requests       int                    // REST calls for prices a second a user; 0 means no limit
	Opens          int                    // requests a second an address; 0 means no limit
	AddressSockets int                    // greatest number of sockets an address; 0 means no limit
	UserSockets    int                    // greatest number of sockets a user, the newest win; 0 means no limit
	Authenticating int                    // auth messages that are looked at at once; 0 means 256

	ReplayTimeout time.Duration // for a page of the past; 0 means 10 s
	StopTimeout   time.Duration // for the end of all sockets; 0 means 4 s
	DrainGrace    time.Duration // from the beginning of a drain to its first notice
	DrainWindow   time.Duration // in which a drain ends all sockets; 0: it leaves them to the end of Run
	// Handover has another process take the new connections, and reports whether
	// there is one; nil: there is none.
	Handover func(ctx context.Context) bool
	Poller   poll.Poller // holds the sockets; nil means the system's best

	Dashboard fs.FS // files of the page at /; nil: there is none
}

func (c Config) withDefaults() (Config, error) {
	for name, v := range map[string]int{
		"message_bytes": c.MessageBytes, "symbols": c.Symbols, "command_rate": c.CommandRate, "command_burst": c.CommandBurst,
		"connections": c.Connections, "adaptive queue": c.AdaptiveQ, "every queue": c.EveryQ,
		"opens": c.Opens, "requests a user": c.Requests, "sockets an address": c.AddressSockets, "sockets a user": c.UserSockets,
		"topics a second": c.TopicRate, "work of a user": c.UserWork,
	} {
		if v < 0 {
			return c, fmt.Errorf("gateway: %s is %d, want 0 or more", name, v)
		}
	}
	for by, late := range c.Delayed {
		if late.Hub != nil && late.Hub.Delay() != by {
			return c, fmt.Errorf("gateway: the hub for prices that are %s late has a delay of %s: want the same", by, late.Hub.Delay())
		}
	}
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if len(c.Feeds) == 0 {
		c.Feeds = []string{"iex", "sip", "test"}
	}
	def(&c.MessageBytes, 16<<10)
	def(&c.Symbols, 1024)
	def(&c.CommandRate, 10)
	def(&c.CommandBurst, 20)
	def(&c.TopicRate, 1000)
	def(&c.SessionBytes, 64<<10)
	def(&c.Authenticating, 256)
	def(&c.AdaptiveQ, mailbox.AdaptiveLimit)
	def(&c.EveryQ, mailbox.EveryLimit)
	if c.Auth == nil {
		c.Auth = everybody{}
	}
	if c.AuthTimeout == 0 {
		c.AuthTimeout = 10 * time.Second
	}
	if c.ReplayTimeout == 0 {
		c.ReplayTimeout = 10 * time.Second
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 4 * time.Second
	}
	return c, nil
}

// Late is where prices are shown late.
type Late struct {
	Hub *hub.Hub
	// Epoch gives the epoch of what is shown.
	Epoch func() market.Epoch
}

// everybody is the Authenticator that asks nobody.
type everybody struct{}

func (everybody) Open() bool { return true }

func (everybody) Key(context.Context, string, string) (session.Identity, error) { return open(), nil }

func (everybody) Token(context.Context, string) (session.Identity, error) { return open(), nil }

func (everybody) Check(_ context.Context, who session.Identity) (session.Identity, error) {
	return who, nil
}

func (everybody) Changed() <-chan struct{} { return nil }

// Gateway serves the client protocol over one hub.
type Gateway struct {
	cfg      Config
	made     time.Time
	hub      *hub.Hub
	demand   Demand
	auth     Authenticator
	anybody  session.Identity // everybody's, where nobody is asked
	sessions *session.Manager
	users    users
	topics   topicTable
	opens    *edge.Rates // nil: no limit
	requests *edge.Rates // by user; nil: no limit
	work     *edge.Rates // by user; nil: no limit
	slots    *semaphore.Weighted
	bridges  *bridge.Factory
	poller   poll.Poller
	limits   *frameLimits
	log      *slog.Logger
	audit    *audit
	metrics  *metrics
	mux      *http.ServeMux
	pepper   [16]byte       // of hashes of users
	tasks    sync.WaitGroup // what is done for clients beside their turns

	mu      sync.Mutex
	closing bool // no socket may begin
	drain   door // what a drain has done to who comes
	sockets sync.WaitGroup
	open    int
	from    edge.Counts[netip.Prefix] // sockets by where they come from
	ctx     context.Context           //nolint:containedctx // the sockets' common fate, which outlives each request
	asking  context.Context           //nolint:containedctx // of auth messages: nobody waits for them when the gateway stops
}

// New makes a gateway.
func New(cfg Config, h *hub.Hub, demand Demand, log *slog.Logger, reg prometheus.Registerer) (*Gateway, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		cfg: cfg, made: time.Now(), hub: h, demand: demand, auth: cfg.Auth, anybody: open(), log: log, audit: &audit{log: log}, bridges: bridge.NewFactory(h, cfg.Bridge),
		users: users{sockets: map[session.User][]*dialog{}}, slots: semaphore.NewWeighted(int64(cfg.Authenticating)),
	}
	g.limits = newFrameLimits(cfg.MessageBytes, cfg.CommandRate+frameRate, cfg.CommandBurst+frameBurst)
	sessions := cfg.Sessions
	sessions.OnRevoke, sessions.Logger = g.revoke, log
	if g.sessions, err = session.New(sessions); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if cfg.Opens > 0 {
		if g.opens, err = edge.NewRates(edge.RatesConfig{PerSecond: cfg.Opens}); err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
	}
	if cfg.Requests > 0 {
		if g.requests, err = edge.NewRates(edge.RatesConfig{PerSecond: cfg.Requests}); err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
	}
	if cfg.UserWork > 0 {
		if g.work, err = edge.NewRates(edge.RatesConfig{PerSecond: cfg.UserWork, Burst: int(userBurst/time.Second) * cfg.UserWork}); err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
	}
	if g.poller = cfg.Poller; g.poller == nil {
		if g.poller, err = poll.New(); err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
	}
	if g.metrics, err = newMetrics(g, reg); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	_, _ = crand.Read(g.pepper[:]) // it never fails
	g.mux = http.NewServeMux()
	g.mux.HandleFunc("/v1/stream", g.native)
	g.mux.HandleFunc("/v1/events", g.events)
	g.mux.HandleFunc("OPTIONS /v1/events", g.preflight("GET"))
	g.mux.HandleFunc("/v2/{feed}", g.stock)
	g.mux.HandleFunc("/v1beta3/crypto/{loc}", g.crypto)
	g.mux.HandleFunc("POST /v1/sessions", g.rest(g.createSession))
	g.mux.HandleFunc("OPTIONS /v1/sessions", g.preflight("POST"))
	g.mux.HandleFunc("GET /v1/sessions/{id}", g.rest(g.getSession))
	g.mux.HandleFunc("DELETE /v1/sessions/{id}", g.rest(g.deleteSession))
	g.mux.HandleFunc("OPTIONS /v1/sessions/{id}", g.preflight("GET, DELETE"))
	g.mux.HandleFunc("/v1/sessions", g.wrongMethod("POST"))
	g.mux.HandleFunc("/v1/sessions/{id}", g.wrongMethod("GET, DELETE"))
	if cfg.Prices != nil {
		g.routePrices()
	}
	g.routeDocs()
	g.mux.HandleFunc("/", g.unknown)
	if err := g.dashboard(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return g, nil
}

// Run serves on a listener until ctx ends. Then it refuses new sockets, ends
// those that are there with 1001 and waits for them.
func (g *Gateway) Run(ctx context.Context, l net.Listener) error {
	own, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	asking, stopAsking := context.WithCancel(own)
	defer stopAsking()
	g.mu.Lock()
	g.ctx, g.asking = own, asking
	g.mu.Unlock()
	srv := &http.Server{
		Handler:           g,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second, // with this, sockets that were taken over have none
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		// Go's own answer to "OPTIONS *" would not count for its address.
		DisableGeneralOptionsHandler: true,
		BaseContext:                  func(net.Listener) context.Context { return own },
	}
	tasks, running := errgroup.WithContext(ctx)
	polling, stopPolling := context.WithCancel(own)
	defer stopPolling()
	tasks.Go(func() error {
		if err := g.poller.Run(polling); !errors.Is(err, context.Canceled) {
			g.bridges.StopAll(wire.Internal, err)
			return fmt.Errorf("read from sockets: %w", err)
		}
		return nil
	})
	keeping, stopKeeping := context.WithCancel(own)
	defer stopKeeping()
	tasks.Go(func() error {
		if err := g.sessions.Run(keeping); err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("sessions: %w", err)
		}
		return nil
	})
	tasks.Go(func() error {
		g.follow(running)
		return nil
	})
	tasks.Go(func() error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", l.Addr(), err)
		}
		return nil
	})
	tasks.Go(func() error {
		<-running.Done()
		g.close()
		g.bridges.StopAll(wire.GoingAway, context.Cause(running))
		stopAsking()
		timeout, cancel := context.WithTimeout(own, g.cfg.StopTimeout)
		defer cancel()
		err := srv.Shutdown(timeout)
		if err != nil {
			err = errors.Join(fmt.Errorf("stop serving: %w", err), srv.Close())
		}
		g.sockets.Wait() // each ends by itself: its farewell is bounded
		g.bridges.Wait()
		g.tasks.Wait()
		stopKeeping()
		stopPolling()
		return err
	})
	return tasks.Wait()
}

// admit counts a new socket in, or says why not.
func (g *Gateway) admit(from netip.Addr) *problem {
	g.mu.Lock()
	defer g.mu.Unlock()
	busy := problem{Status: http.StatusServiceUnavailable, retryAfter: retryAfter}
	if p := g.shut(); p != nil {
		return p
	}
	switch {
	case g.cfg.Connections > 0 && g.open >= g.cfg.Connections:
		busy.cause, busy.Detail = "over-capacity", "the gateway is at its limit of connections"
		return &busy
	case g.cfg.AddressSockets > 0 && !g.from.Add(edge.Network(from), g.cfg.AddressSockets):
		return &problem{
			Status: http.StatusTooManyRequests, cause: "address-sockets", retryAfter: 5 * time.Second,
			Detail: fmt.Sprintf("this address has %d connections, as many as one may", g.cfg.AddressSockets),
		}
	}
	g.open++
	g.sockets.Add(1)
	return nil
}

func (g *Gateway) dismiss(from netip.Addr) {
	g.mu.Lock()
	g.open--
	if g.cfg.AddressSockets > 0 {
		g.from.Remove(edge.Network(from))
	}
	g.mu.Unlock()
	g.sockets.Done()
}

func (g *Gateway) close() {
	g.mu.Lock()
	g.closing = true
	g.mu.Unlock()
}
