package ingest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
	"github.com/lzstock/lzstock/market"
)

// DefaultReadAhead is how many batches of a stream may wait for the store.
const DefaultReadAhead = 8

// maxReadAhead bounds what a stream can hold: a batch takes up to 4 MiB.
const maxReadAhead = 256

// Store puts events onto the bus.
type Store interface {
	// Publish stores 1 to 256 events as one message and gives their places. An id
	// that it knows, at least from the last two minutes, is not stored again: the
	// places are then those of the first time, and duplicate is true.
	Publish(ctx context.Context, source, id string, events []market.Event) (first, last market.Seq, duplicate bool, err error)
	// Epoch says which life of the stream the places belong to.
	Epoch() market.Epoch
}

// Config says what a Service is made of.
type Config struct {
	Store Store
	// ReadAhead is how many batches of a stream may wait for the store; 0 means
	// DefaultReadAhead.
	ReadAhead int
	// Beat says how a publisher is: reason 0, once a second, while its stream is open,
	// FeedEnded once it was complete, FeedLost where it broke. The sender is the
	// stream. It must not wait, and may be nil.
	Beat func(ctx context.Context, source, sender string, reason market.FeedReason) error
	// Known reports whether the feed has carried a symbol, and how many it has
	// carried. With it, symbols that are new are refused beyond Symbols in all, and
	// beyond PublisherSymbols that one publisher has brought. It must not wait, and may
	// be nil.
	Known                     func(market.Symbol) (known bool, all int)
	Symbols, PublisherSymbols int
	// Logger and Registry may be nil.
	Logger   *slog.Logger
	Registry prometheus.Registerer
}

// Service is the Ingest service.
type Service struct {
	pb.UnimplementedIngestServer
	store     Store
	beat      func(ctx context.Context, source, sender string, reason market.FeedReason) error
	readAhead int
	symbols   symbols
	logger    *slog.Logger
	metrics   *metrics
	stopOnce  sync.Once
	stopping  chan struct{}
	readers   sync.WaitGroup

	mu      sync.Mutex
	streams map[*publishing]struct{} // open now
}

// New makes the service; Register puts it on a server.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil {
		return nil, errors.New("ingest: a store is needed")
	}
	if cfg.ReadAhead == 0 {
		cfg.ReadAhead = DefaultReadAhead
	}
	if cfg.Known != nil && (cfg.Symbols < 1 || cfg.PublisherSymbols < 1) {
		return nil, fmt.Errorf("ingest: %d symbols, %d of a publisher: want 1 or more of each", cfg.Symbols, cfg.PublisherSymbols)
	}
	if cfg.ReadAhead < 1 || cfg.ReadAhead > maxReadAhead {
		return nil, fmt.Errorf("ingest: read ahead of %d batches: want 1 to %d", cfg.ReadAhead, maxReadAhead)
	}
	s := &Service{
		store: cfg.Store, beat: cfg.Beat, readAhead: cfg.ReadAhead, logger: cfg.Logger,
		stopping: make(chan struct{}), streams: make(map[*publishing]struct{}),
		symbols: symbols{
			known: cfg.Known, most: cfg.Symbols, publisher: cfg.PublisherSymbols,
			fresh: map[market.Symbol]time.Time{}, brought: map[string]int{},
		},
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.metrics, err = newMetrics(s, cfg.Registry); err != nil {
		return nil, fmt.Errorf("ingest: register metrics: %w", err)
	}
	return s, nil
}

// Register registers the service with a gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) { pb.RegisterIngestServer(r, s) }

// Stop ends all streams, and those that come, with UNAVAILABLE. It does not wait.
func (s *Service) Stop() { s.stopOnce.Do(func() { close(s.stopping) }) }

// Wait returns when nothing of the service runs any more. It is for after the
// server was stopped: a stream's reader ends when gRPC has ended the stream.
func (s *Service) Wait() { s.readers.Wait() }

func stopped() error {
	return status.Error(codes.Unavailable, "LZStock is stopping: connect again, and send again what was not acknowledged")
}

// Publish serves one publisher's stream.
func (s *Service) Publish(stream grpc.BidiStreamingServer[pb.PublishRequest, pb.PublishResponse]) error {
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	p := &publishing{s: s, batches: make(chan *pb.PublishRequest, s.readAhead), sender: rand.Text()}
	s.open(p)
	defer s.close(p)
	// The reader outlives this call by a moment: gRPC frees its Recv only once the
	// handler has returned. Wait waits for it.
	s.readers.Go(func() { p.read(ctx, stream) })

	start := time.Now()
	err := p.serve(ctx, stream)
	end(nil)
	p.rest(ctx, err)
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelWarn
	}
	s.logger.LogAttrs(ctx, level, "publisher's stream ended", slog.String("publisher", p.publisher),
		slog.Uint64("batches", p.answered), slog.Uint64("events", p.stored), slog.Uint64("refused", p.refused),
		slog.Duration("after", time.Since(start)), slog.String("reason", reasonOf(err)))
	return err
}

func reasonOf(err error) string {
	if err == nil {
		return "it was complete"
	}
	return status.Convert(err).Message()
}

func (s *Service) open(p *publishing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[p] = struct{}{}
}

func (s *Service) close(p *publishing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, p)
}

// load gives the number of streams and of batches that wait in them.
func (s *Service) load() (streams, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.streams {
		waiting += len(p.batches)
	}
	return len(s.streams), waiting
}

// read hands on what the publisher sends, in order, until the stream ends.
func (p *publishing) read(ctx context.Context, stream grpc.BidiStreamingServer[pb.PublishRequest, pb.PublishResponse]) {
	defer close(p.batches)
	for {
		req, err := stream.Recv()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				p.ended = err
			}
			return
		}
		select {
		case p.batches <- req:
		case <-ctx.Done():
			p.ended = context.Cause(ctx)
			return
		}
	}
}

// serve stores and answers what was read.
func (p *publishing) serve(ctx context.Context, stream grpc.BidiStreamingServer[pb.PublishRequest, pb.PublishResponse]) error {
	for {
		select {
		case <-p.s.stopping:
			return stopped()
		default:
		}
		select {
		case <-p.s.stopping:
			return stopped()
		case <-ctx.Done():
			return causeOf(ctx)
		case req, ok := <-p.batches:
			switch {
			case ok:
			case status.Code(p.ended) == codes.Canceled:
				return causeOf(ctx)
			default:
				return p.ended
			}
			resp, err := p.take(ctx, req)
			if err != nil {
				return err
			}
			if err := stream.Send(resp); err != nil {
				return err
			}
		}
	}
}

// causeOf gives why a stream's context has ended: what the server says, where it
// ended it, else that the publisher did.
func causeOf(ctx context.Context) error {
	if st, ok := status.FromError(context.Cause(ctx)); ok && st.Code() != codes.OK {
		return st.Err()
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return status.Error(codes.DeadlineExceeded, "the publisher's deadline has passed")
	}
	return status.Error(codes.Canceled, "the publisher went away")
}
