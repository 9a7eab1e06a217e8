package upstream

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "github.com/lzstock/lzstock/internal/gen/lzstock/v1"
)

// connector watches one monitor after the other. It goes by rounds: in a round each
// monitor is tried once, the next at once when one fails. A round that brought
// nothing lasting is followed by a wait, and by more patience with each monitor.
type connector struct {
	*Client
	targets *targets
	closing sync.WaitGroup  // of connections, which may take seconds where the peer is silent
	count   uint64          // of sessions
	failed  int             // rounds in a row without a lasting stream
	vain    int             // rounds in a row without any stream of use
	wanted  string          // the address to try first in the next round
	shunned map[string]bool // the addresses that failed when they were tried last: they come last
}

// connect works until ctx ends.
func (c *Client) connect(ctx context.Context) {
	n := &connector{Client: c, targets: newTargets(&c.cfg), shunned: map[string]bool{}}
	defer n.closing.Wait()
	for ctx.Err() == nil {
		if n.round(ctx) {
			continue
		}
		wait := time.NewTimer(c.backoff(n.failed))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
		}
		n.failed++
	}
}

// round tries each monitor once, and reports whether the next round may follow at
// once: where a stream has lasted, and there is another monitor to go to.
func (n *connector) round(ctx context.Context) bool {
	patience := n.patience()
	limit, cancel := context.WithTimeout(ctx, patience)
	all, err := n.targets.all(limit)
	cancel()
	if err != nil && !n.tell(ctx, happening{session: &session{}, closed: err}) {
		return false
	}
	list := order(all, n.wanted, n.shunned)
	n.wanted = ""
	n.vain++
	for i, m := range list {
		n.count++
		s := newSession(m, n.count)
		s.last, s.alone, s.patience = i == len(list)-1, len(list) == 1, patience
		err := n.watch(ctx, s)
		if !n.tell(ctx, happening{session: s, closed: err}) {
			return false
		}
		if n.shunned[m.addr] = s.next == ""; s.synced.Load() {
			n.vain = 0
			if s.next != "" || time.Since(s.started) >= n.cfg.BackoffMax {
				n.failed, n.wanted = 0, s.next
				return !s.alone
			}
		}
	}
	return false
}

// patience is how long a monitor may take until it has welcomed us. It is short at
// first, because another one may be well, and grows where none is.
func (n *connector) patience() time.Duration {
	return min(n.cfg.Welcome<<min(n.vain, 8), max(n.cfg.Welcome, n.cfg.BackoffMax))
}

// backoff gives a random time, whose limit doubles with each failure.
func (c *Client) backoff(failures int) time.Duration {
	limit := c.cfg.BackoffMax
	if d := c.cfg.BackoffMin << min(failures, 16); d < limit {
		limit = d
	}
	return rand.N(limit) + time.Millisecond
}

// open makes a connection, which dials when it is used first.
func (n *connector) open(m target) (conn *grpc.ClientConn, done func(), err error) {
	opts := n.dial
	if n.cfg.TLS == nil || n.cfg.TLS.ServerName == "" {
		opts = append(slices.Clip(opts), grpc.WithAuthority(m.name)) // what its certificate must name
	}
	if conn, err = grpc.NewClient("passthrough:///"+m.addr, opts...); err != nil {
		return nil, nil, err
	}
	return conn, func() {
		n.closing.Go(func() { _ = conn.Close() }) // fails where it was closed before, and nobody else does
	}, nil
}

// serving asks a monitor whether it serves. One that does not know the health
// service is taken to.
func serving(ctx context.Context, conn *grpc.ClientConn) error {
	r, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: pb.MarketMonitor_ServiceDesc.ServiceName})
	switch code := status.Code(err); {
	case code == codes.Unimplemented || code == codes.NotFound:
		return nil
	case err != nil:
		return err
	case r.GetStatus() != healthpb.HealthCheckResponse_SERVING:
		return errNotServing
	}
	return nil
}

// rebalance ends a sound session now and then in favour of a random monitor that
// serves, so that gateways do not stay for ever where the last failure has driven
// them. Each picks any monitor, its own included: that keeps them spread evenly.
func (n *connector) rebalance(ctx context.Context, s *session) {
	for {
		wait := time.NewTimer(n.cfg.Rebalance/2 + rand.N(n.cfg.Rebalance))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return
		}
		if m, ok := n.another(ctx, s); ok && s.synced.Load() {
			s.next = m.addr
			s.end(errMoved)
			return
		}
	}
}

// another picks a monitor, and reports whether it is another one that serves.
func (n *connector) another(ctx context.Context, s *session) (target, bool) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Welcome)
	defer cancel()
	all, _ := n.targets.all(ctx) // names that are not known are for the next round to report
	if len(all) == 0 {
		return target{}, false
	}
	m := all[rand.N(len(all))]
	if m.addr == s.monitor {
		return m, false
	}
	conn, done, err := n.open(m)
	if err != nil {
		return m, false
	}
	defer done()
	return m, serving(ctx, conn) == nil
}
