package monitor

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// openStreams counts the open streams of a Server, and refuses those that are too
// many: each has a queue.
type openStreams struct {
	most, connectionMost int

	mu   sync.Mutex
	open int
	from map[string]int // by the caller's address, which is that of one connection
}

// enter counts a stream until leave is called, or says why there is no room for it.
func (o *openStreams) enter(ctx context.Context) (leave func(), err error) {
	from := ""
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		from = p.Addr.String()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.open >= o.most:
		return nil, status.Errorf(codes.ResourceExhausted, "the service has %d streams, as many as --max-streams allows: end some, or ask another replica", o.open)
	case o.from[from] >= o.connectionMost:
		return nil, status.Errorf(codes.ResourceExhausted, "this connection has %d streams, as many as --connection-streams allows: one stream takes many topics", o.from[from])
	}
	o.open++
	o.from[from]++
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.open--
		if o.from[from]--; o.from[from] == 0 {
			delete(o.from, from)
		}
	}, nil
}
