package monitor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
)

// Limits of a Server.
const (
	pingAfter      = 20 * time.Second // of silence, to find dead callers
	pingTimeout    = 20 * time.Second
	pingLeast      = 5 * time.Second  // callers that ping more often are cut off
	connectWithin  = 10 * time.Second // from the connection to its first frames
	idleMost       = 15 * time.Minute // of a connection without calls
	maxRequest     = 4 << 20          // bytes
	maxHeaders     = 16 << 10         // bytes, of one call
	connectionMore = 256              // calls of a connection beside its streams; more wait
	defaultGrace   = 3 * time.Second
)

// Defaults of ServerConfig.
const (
	DefaultStreams           = 256
	DefaultConnectionStreams = 16
)

// Server is a gRPC server with the MarketMonitor service, the health service and
// reflection, and whatever else is registered with it.
type Server struct {
	monitor *Monitor
	grpc    *grpc.Server
	grace   time.Duration
	ending  sync.Once
	stopped chan struct{}
}

// ServerConfig configures a Server. Its zero value works.
type ServerConfig struct {
	// Grace is how long calls may take to end when the server stops; 0 means 3 s.
	Grace time.Duration
	// Streams is how many streams may be open, and ConnectionStreams how many on one
	// connection; 0 means 1,024 and 64. Further ones are refused.
	Streams, ConnectionStreams int
	// Options come after the Server's own, such as credentials.
	Options []grpc.ServerOption
	// Services register more services on the same port.
	Services []func(grpc.ServiceRegistrar)
}

// NewServer makes a Server for m, which does nothing before Serve.
func NewServer(m *Monitor, cfg ServerConfig) *Server {
	if cfg.Grace <= 0 {
		cfg.Grace = defaultGrace
	}
	if cfg.Streams <= 0 {
		cfg.Streams = DefaultStreams
	}
	if cfg.ConnectionStreams <= 0 {
		cfg.ConnectionStreams = DefaultConnectionStreams
	}
	s := &Server{monitor: m, grace: cfg.Grace, stopped: make(chan struct{})}
	guard := &interceptors{
		Monitor: m, stopped: s.stopped,
		streams: &openStreams{most: cfg.Streams, connectionMost: cfg.ConnectionStreams, from: map[string]int{}},
	}
	s.grpc = grpc.NewServer(append([]grpc.ServerOption{
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout, MaxConnectionIdle: idleMost}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingLeast, PermitWithoutStream: true}),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.MaxConcurrentStreams(uint32(cfg.ConnectionStreams) + connectionMore),
		grpc.ConnectionTimeout(connectWithin),
		grpc.WaitForHandlers(true),
		grpc.ChainUnaryInterceptor(guard.unary),
		grpc.ChainStreamInterceptor(guard.stream),
	}, cfg.Options...)...)
	m.Register(s.grpc)
	healthpb.RegisterHealthServer(s.grpc, m.health)
	for _, register := range cfg.Services {
		register(s.grpc)
	}
	reflection.Register(s.grpc)
	return s
}

// Register registers the MarketMonitor service alone, for servers other than
// Server.
func (m *Monitor) Register(r grpc.ServiceRegistrar) {
	pb.RegisterMarketMonitorServer(r, &service{Monitor: m})
}

// Drain takes the server out of service while Serve goes on: the health service
// says NOT_SERVING at once; after the grace, streams end with UNAVAILABLE, so that
// gateways and publishers move, and so do those that come later. It returns then,
// or with ctx.
func (s *Server) Drain(ctx context.Context, grace time.Duration) {
	s.monitor.health.Shutdown()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-timer.C:
		s.endStreams()
	case <-ctx.Done():
	}
}

func (s *Server) endStreams() { s.ending.Do(func() { close(s.stopped) }) }

// Serve answers calls on lis, which it closes, until ctx ends. Then streams end
// with UNAVAILABLE, calls in hand may end within the grace, and the rest is cut
// off. It returns nil after that, and an error where lis failed before. It is
// called once.
func (s *Server) Serve(ctx context.Context, lis net.Listener) error {
	var serving sync.WaitGroup
	failed := make(chan error, 1)
	serving.Go(func() { failed <- s.grpc.Serve(lis) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.endStreams()
	cut := time.AfterFunc(s.grace, s.grpc.Stop)
	s.grpc.GracefulStop()
	cut.Stop()
	s.grpc.Stop() // waits for handlers, whoever of the two was first
	serving.Wait()
	s.monitor.readers.Wait()
	if err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve gRPC: %w", err)
	}
	return nil
}

// interceptors are around every call: its panic becomes an error, its stop the
// server's, its end a count.
type interceptors struct {
	*Monitor
	stopped <-chan struct{}
	streams *openStreams
}

func (i *interceptors) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if r := recover(); r != nil {
			resp, err = nil, i.internal(ctx, r, debug.Stack())
		}
		i.count(info.FullMethod, err)
	}()
	return handler(ctx, req)
}

func (i *interceptors) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	leave, err := i.streams.enter(ss.Context())
	if err != nil {
		i.count(info.FullMethod, err)
		return err
	}
	defer leave()
	ctx, end := context.WithCancelCause(ss.Context())
	var watch sync.WaitGroup
	defer watch.Wait()
	defer end(nil)
	watch.Go(func() {
		select {
		case <-i.stopped:
			end(errStopping)
		case <-ctx.Done():
		}
	})
	defer func() {
		if r := recover(); r != nil {
			err = i.internal(ctx, r, debug.Stack())
		}
		i.count(info.FullMethod, err)
	}()
	return handler(srv, &boundStream{ServerStream: ss, ctx: ctx})
}

func (i *interceptors) count(method string, err error) {
	i.metrics.calls.WithLabelValues(path.Base(method), status.Code(err).String()).Inc()
}

// boundStream is a stream whose context ends with the server, too.
type boundStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // gRPC asks a stream for its context
}

// Context gives the stream's context.
func (s *boundStream) Context() context.Context { return s.ctx }
