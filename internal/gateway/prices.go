package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/market"
)

// Prices answers what is asked over REST. Its calls wait for a monitor until ctx
// ends.
type Prices interface {
	// Bars gives a page of bars of the past. The error is market.ErrPageToken where
	// the query's token is none.
	Bars(ctx context.Context, q *market.BarQuery) (market.BarPage, error)
	// Values gives the current values of topics, and the day before of each symbol
	// whose day bar is among them.
	Values(ctx context.Context, topics []market.Topic) ([]market.Event, map[market.Symbol]market.Bar, error)
	// Listings gives a page of the symbols that begin with prefix, or whose name has
	// a word that does; errors as those of Bars.
	Listings(ctx context.Context, prefix, token string, limit int) (market.ListingPage, error)
}

const (
	pricesTimeout = 4 * time.Second // for a monitor's answer, with all attempts
	pricesRetry   = 2 * time.Second // after which to ask again where none answers
)

// pricesCall answers one request for prices of somebody who is known.
type pricesCall func(w http.ResponseWriter, r *http.Request, who *session.Identity) *problem

// routePrices adds the paths of the REST calls for prices.
func (g *Gateway) routePrices() {
	for path, serve := range map[string]pricesCall{
		"/v2/stocks/snapshots":              g.getSnapshots,
		"/v2/stocks/trades/latest":          g.getLatest(market.Trades),
		"/v2/stocks/quotes/latest":          g.getLatest(market.Quotes),
		"/v2/stocks/bars/latest":            g.getLatest(market.Bars),
		"/v2/stocks/bars":                   g.getBars,
		"/v2/stocks/{symbol}/snapshot":      g.getSnapshots,
		"/v2/stocks/{symbol}/trades/latest": g.getLatest(market.Trades),
		"/v2/stocks/{symbol}/quotes/latest": g.getLatest(market.Quotes),
		"/v2/stocks/{symbol}/bars/latest":   g.getLatest(market.Bars),
		"/v2/stocks/{symbol}/bars":          g.getBars,
		"/v1/symbols":                       g.getSymbols,
	} {
		g.mux.HandleFunc("GET "+path, g.measured(path, g.rest(g.paced(serve))))
		g.mux.HandleFunc("OPTIONS "+path, g.preflight("GET"))
		g.mux.HandleFunc(path, g.wrongMethod("GET"))
	}
}

// measured counts a path's answers, and how long they took.
func (g *Gateway) measured(path string, f http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			g.metrics.rest.WithLabelValues(path, strconv.Itoa(seen.status)).Observe(time.Since(began).Seconds())
		}()
		f(seen, r)
	}
}

// restSeconds measures REST calls for prices.
func restSeconds() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "lzstock_gateway_rest_seconds", Help: "Time that REST calls for prices took.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	}, []string{"path", "status"})
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// paced holds a user to how many requests one may send, from wherever.
func (g *Gateway) paced(serve pricesCall) func(http.ResponseWriter, *http.Request, session.Identity) *problem {
	return func(w http.ResponseWriter, r *http.Request, who session.Identity) *problem {
		if g.requests != nil && who.Method != session.Open {
			if ok, after := g.requests.Allow(placeOf(who.User)); !ok {
				return &problem{
					Status: http.StatusTooManyRequests, cause: "user-rate", retryAfter: max(after, time.Second),
					Detail: fmt.Sprintf("more than %d requests a second: as many as a user may send", g.cfg.Requests),
				}
			}
		}
		return serve(w, r, &who)
	}
}

// placeOf gives the address at which a user's requests are counted: its first half,
// which is what counts, comes from the user's name.
func placeOf(user session.User) netip.Addr {
	hash := sha256.Sum256([]byte(user))
	return netip.AddrFrom16([16]byte(hash[:16]))
}

// ask gives the query of a request, whose symbols may stand in the path, and whether
// they do.
func (g *Gateway) ask(r *http.Request, who *session.Identity, p priceParams) (q priceQuery, single bool, wrong *problem) {
	p.feeds = g.cfg.Feeds
	symbol := market.Symbol(r.PathValue("symbol"))
	if single = symbol != ""; !single && !p.list {
		p.symbols = g.symbolLimit(who)
	}
	q, err := p.parse(r.URL.Query())
	if err == nil && single {
		q.Symbols, err = []market.Symbol{symbol}, symbol.Validate()
	}
	if err != nil {
		return q, single, &problem{Status: http.StatusBadRequest, cause: "bad-query", Detail: err.Error()}
	}
	return q, single, nil
}

// symbolLimit gives how many symbols a user may ask for at once.
func (g *Gateway) symbolLimit(who *session.Identity) int {
	if n := who.Grant.Limits.Symbols; n > 0 {
		return n
	}
	return g.cfg.Symbols
}

// covered refuses symbols that the credentials do not cover on any of some channels,
// and gives the channels that they do cover.
func covered(who *session.Identity, symbols []market.Symbol, channels ...market.Channel) (granted []market.Channel, wrong *problem) {
	for _, c := range channels {
		if who.Grant.Channel(c) {
			granted = append(granted, c)
		}
	}
	if len(granted) == 0 {
		return nil, &problem{
			Status: http.StatusForbidden, cause: "not-covered",
			Detail: fmt.Sprintf("the credentials do not cover %s", channels[0]),
		}
	}
	for _, s := range symbols {
		if !who.Grant.Allows(market.Topic{Channel: granted[0], Symbol: s}) {
			return nil, &problem{Status: http.StatusForbidden, cause: "not-covered", Detail: fmt.Sprintf("the credentials do not cover the symbol %s", s)}
		}
	}
	return granted, nil
}

// current refuses those who may not see what is current.
func current(who *session.Identity) *problem {
	if who.Grant.Delay == 0 {
		return nil
	}
	return &problem{
		Status: http.StatusForbidden, cause: "delayed-only",
		Detail: fmt.Sprintf("with these credentials prices are %s late, and the latest are not: ask for bars, which end so long ago, or open a stream", who.Grant.Delay),
	}
}

// pricesProblem says over HTTP why a monitor's answer did not come. What it says of
// itself is for the log alone.
func (g *Gateway) pricesProblem(ctx context.Context, err error) *problem {
	if errors.Is(err, market.ErrPageToken) {
		return &problem{Status: http.StatusBadRequest, cause: "bad-query", Detail: market.ErrPageToken.Error()}
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		g.log.LogAttrs(ctx, slog.LevelWarn, "prices are not available over REST", slog.Any("error", err))
	}
	return &problem{Status: http.StatusServiceUnavailable, cause: "no-monitor", Detail: "no monitor answers at this moment", retryAfter: pricesRetry}
}

// getSymbols answers GET /v1/symbols. A page has as many symbols as are wanted of
// those that the credentials cover.
func (g *Gateway) getSymbols(w http.ResponseWriter, r *http.Request, who *session.Identity) *problem {
	q, _, p := g.ask(r, who, priceParams{list: true})
	if p != nil {
		return p
	}
	ctx, cancel := context.WithTimeout(r.Context(), pricesTimeout)
	defer cancel()
	all := len(who.Grant.Symbols) == 0
	var out market.ListingPage
	for token, most := q.Token, q.Limit; ; most = market.MaxPage {
		if !all {
			most = market.MaxPage
		}
		page, err := g.cfg.Prices.Listings(ctx, q.prefix, token, most)
		if err != nil {
			return g.pricesProblem(r.Context(), err)
		}
		for i, l := range page.Listings {
			if !all && !who.Grant.AllowsSymbol(l.Symbol) {
				continue
			}
			if out.Listings = append(out.Listings, l); len(out.Listings) == q.Limit {
				if i+1 < len(page.Listings) || page.Next != "" {
					out.Next = string(l.Symbol)
				}
				break
			}
		}
		if len(out.Listings) == q.Limit || page.Next == "" {
			break
		}
		token = page.Next
	}
	g.send(w, r, appendListings(nil, &out))
	return nil
}
