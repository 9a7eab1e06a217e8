// Command textbook is the bridge that one writes first, and that many run: for
// each socket one gRPC stream, three goroutines, a channel of 256 messages, JSON
// made for this client alone, and one write for each event. It is here to be
// compared with.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/market"

	"github.com/lzstock/lzstock/bench/internal/serve"
)

func main() {
	b := serve.Flags()
	flag.Parse()
	os.Exit(b.Main(&handler{b: b}))
}

type handler struct {
	b        *serve.Baseline
	upgrader websocket.Upgrader
}

const (
	queue      = 256
	writeLimit = 5 * time.Second
)

// message is an event as the client gets it. Prices are floats, as in most
// bridges of this kind.
type message struct {
	Type       string    `json:"T"`
	Symbol     string    `json:"S"`
	ID         int64     `json:"i,omitempty"`
	Exchange   string    `json:"x,omitempty"`
	Price      float64   `json:"p,omitempty"`
	Size       float64   `json:"s,omitempty"`
	BidAt      string    `json:"bx,omitempty"`
	Bid        float64   `json:"bp,omitempty"`
	BidSize    float64   `json:"bs,omitempty"`
	AskAt      string    `json:"ax,omitempty"`
	Ask        float64   `json:"ap,omitempty"`
	AskSize    float64   `json:"as,omitempty"`
	Time       time.Time `json:"t"`
	Conditions []string  `json:"c"`
	Tape       string    `json:"z"`
	Seq        uint64    `json:"q"`
	Prev       uint64    `json:"pq"`
	Merged     uint32    `json:"k,omitempty"`
	Snapshot   bool      `json:"snap,omitempty"`
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	topics := serve.Topics(r)
	conn, err := h.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	defer conn.Close()
	h.b.Open.Add(1)
	defer h.b.Open.Add(-1)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stream, err := h.b.Client.StreamPrices(ctx, &pb.StreamPricesRequest{Topics: topics})
	if err != nil {
		return
	}
	var tasks sync.WaitGroup
	out := make(chan message, queue)
	tasks.Go(func() {
		defer close(out)
		for {
			m, err := stream.Recv()
			if err != nil {
				return
			}
			for _, e := range m.GetEvents() {
				select {
				case out <- convert(e, m.GetSnapshot()):
				case <-ctx.Done():
					return
				}
			}
		}
	})
	tasks.Go(func() {
		defer conn.Close()
		for m := range out {
			if write(conn, m) != nil {
				return
			}
		}
	})
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			break
		}
	}
	cancel()
	tasks.Wait()
}

func write(conn *websocket.Conn, m message) error {
	text, err := json.Marshal([]message{m})
	if err != nil {
		return err
	}
	if err := conn.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return err
	}
	return conn.WriteMessage(websocket.TextMessage, text)
}

func float(v int64) float64 { return float64(v) / market.Scale }

func convert(e *pb.Event, snapshot bool) message {
	m := message{Symbol: e.GetSymbol(), Seq: e.GetSeq(), Prev: e.GetPrev(), Merged: e.GetMerged(), Snapshot: snapshot}
	if t := e.GetTrade(); t != nil {
		m.Type, m.ID, m.Exchange, m.Price, m.Size = "t", t.GetId(), t.GetExchange(), float(t.GetPrice()), float(t.GetSize())
		m.Time, m.Conditions, m.Tape = time.Unix(0, t.GetTime()).UTC(), t.GetConditions(), t.GetTape()
	}
	if q := e.GetQuote(); q != nil {
		m.Type, m.BidAt, m.Bid, m.BidSize = "q", q.GetBidExchange(), float(q.GetBidPrice()), float(q.GetBidSize())
		m.AskAt, m.Ask, m.AskSize = q.GetAskExchange(), float(q.GetAskPrice()), float(q.GetAskSize())
		m.Time, m.Conditions, m.Tape = time.Unix(0, q.GetTime()).UTC(), q.GetConditions(), q.GetTape()
	}
	return m
}
