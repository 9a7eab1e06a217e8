package fault

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/lzstock/lzstock/e2e/proc"
)

// TestBusNodes plays a recorded day while each of three nodes of the bus is killed, the
// stream's leader among them, and one is cut off, where the test may do that: nothing
// is lost or doubled, and the feed goes on within five seconds.
func TestBusNodes(t *testing.T) {
	file := proc.Tape(t, "../..", "us-equities.csv.gz")
	seed := seeded(t)
	l := layout{bus: 3, monitors: 2, gateways: 2}
	if canLAN() {
		l.lan = newLAN(t)
		l.lanBus = true
	}
	s := build(t, seed, l)
	rows, _ := tapeRows(t, file)
	f := newFleet(t, seed, s.addrs(), plan{clients: *clients, symbols: busiest(rows, 100), each: 5, wild: 5}).start(time.Second)
	s.playTape(file, 650) // 36 s
	f.within(patience, "a first event", func(c *client) bool { return c.fleet.last.Load() > 0 })

	seen := map[string]bool{}
	for range s.bus {
		leader := s.leader()
		if seen[leader.spec.Name] { // each in turn
			for _, n := range s.bus {
				if !seen[n.spec.Name] {
					leader = n
				}
			}
		} else {
			t.Logf("%s leads the stream", leader.spec.Name)
		}
		seen[leader.spec.Name] = true
		f.calm()
		leader.kill()
		f.flow(2 * time.Second)
		promised(t, "after kill -9 "+leader.spec.Name+", the longest time without any event", spread{f.longest()}, 5*time.Second)
		leader.start().proc.WaitReady()
		s.wholeBus()
	}
	if l.lanBus {
		leader := s.leader()
		t.Logf("%s leads the stream", leader.spec.Name)
		f.calm()
		leader.host.drop(1, 0)
		f.flow(4 * time.Second)
		promised(t, "after the cut of "+leader.spec.Name+", the longest time without any event", spread{f.longest()}, 5*time.Second)
		leader.host.heal()
		s.wholeBus()
	} else {
		t.Log("no node is cut off: that needs root, ip and iptables")
	}
	select {
	case <-s.feed.proc.Done:
	case <-time.After(2 * patience):
		t.Fatal("the tape has not come to its end")
	}
	tr := readTruth(t, s.nats)
	tr.isTape(t, file)
	f.balance(tr)
}

// stream asks the bus how it keeps the events.
func (s *system) stream() (*jetstream.StreamInfo, error) {
	nc, err := nats.Connect(s.nats)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(s.t.Context(), "MD")
	if err != nil {
		return nil, err
	}
	return stream.CachedInfo(), nil
}

// leader gives the node that leads the stream.
func (s *system) leader() (leader *node) {
	s.t.Helper()
	proc.Eventually(s.t, "a leader of the stream", func() bool {
		info, err := s.stream()
		if err != nil || info.Cluster == nil {
			return false
		}
		for _, n := range s.bus {
			if n.spec.Name == info.Cluster.Leader {
				leader = n
			}
		}
		return leader != nil
	})
	return leader
}

// wholeBus waits until all nodes have all events.
func (s *system) wholeBus() {
	s.t.Helper()
	proc.Eventually(s.t, "all copies of the stream", func() bool {
		info, err := s.stream()
		if err != nil || info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != len(s.bus)-1 {
			return false
		}
		for _, r := range info.Cluster.Replicas {
			if !r.Current || r.Offline {
				return false
			}
		}
		return true
	})
}
