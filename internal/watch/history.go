package watch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lzstock/lzstock/market"
)

// history asks gateways for minutes of the past, over REST.
type history struct {
	bases  []*url.URL // of gateways, the first that answers is asked
	header http.Header
	client *http.Client
}

func newHistory(cfg *Config) *history {
	h := &history{header: make(http.Header), client: &http.Client{
		Timeout:   10 * time.Second, //nolint:mnd // somebody waits for it
		Transport: &http.Transport{DialContext: cfg.NetDial, TLSClientConfig: cfg.TLS, DisableKeepAlives: true},
	}}
	for _, address := range append([]string{cfg.URL}, cfg.URLs...) {
		u, err := url.Parse(address)
		if err != nil {
			continue // the client has said so
		}
		scheme := strings.Replace(u.Scheme, "ws", "http", 1)
		h.bases = append(h.bases, &url.URL{Scheme: scheme, Host: u.Host})
	}
	switch {
	case cfg.Token != "":
		h.header.Set("Authorization", "Bearer "+cfg.Token)
	case cfg.Key != "":
		h.header.Set("APCA-API-KEY-ID", cfg.Key)
		h.header.Set("APCA-API-SECRET-KEY", cfg.Secret)
	}
	return h
}

// minutes gives the last minutes of a symbol, the newest last.
func (h *history) minutes(ctx context.Context, s market.Symbol) (bars []market.Bar, err error) {
	for _, base := range h.bases {
		if bars, err = h.ask(ctx, base, s); err == nil {
			return bars, nil
		}
	}
	return nil, err
}

func (h *history) ask(ctx context.Context, base *url.URL, s market.Symbol) ([]market.Bar, error) {
	u := base.JoinPath("/v2/stocks/bars")
	u.RawQuery = url.Values{
		"symbols": {string(s)}, "timeframe": {"1Min"}, "sort": {"desc"}, "limit": {strconv.Itoa(keptBars)},
	}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask for minutes: %w", err)
	}
	req.Header = h.header
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask for minutes: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	const most = 1 << 20
	body := json.NewDecoder(io.LimitReader(resp.Body, most))
	if resp.StatusCode != http.StatusOK {
		var problem struct {
			Detail string `json:"detail"`
		}
		_ = body.Decode(&problem) // without it the status is all there is
		return nil, fmt.Errorf("ask for minutes: %s: %s", resp.Status, problem.Detail)
	}
	var answer struct {
		Bars map[market.Symbol][]struct {
			Open   market.Price `json:"o"`
			High   market.Price `json:"h"`
			Low    market.Price `json:"l"`
			Close  market.Price `json:"c"`
			Volume market.Size  `json:"v"`
			Trades uint64       `json:"n"`
			VWAP   market.Price `json:"vw"`
			Time   time.Time    `json:"t"`
		} `json:"bars"`
	}
	if err := body.Decode(&answer); err != nil {
		return nil, fmt.Errorf("ask for minutes: %w", err)
	}
	list := answer.Bars[s]
	bars := make([]market.Bar, len(list))
	for i, b := range list {
		bars[len(list)-1-i] = market.Bar{Open: b.Open, High: b.High, Low: b.Low, Close: b.Close, Volume: b.Volume, Trades: b.Trades, VWAP: b.VWAP, Time: b.Time}
	}
	return bars, nil
}
