package bus

import (
	"sync"
	"time"
	_ "unsafe" // for the names of nats-server's variables
)

// nats-server waits 4 to 9 s for a leader that has died, and has no option for
// that; its own tests set these variables lower still. A price must not wait so
// long. TestElection fails where a new version has other ones.
//
//nolint:gochecknoglobals // they are nats-server's
var (
	//go:linkname minElectionTimeout github.com/nats-io/nats-server/v2/server.minElectionTimeout
	minElectionTimeout time.Duration
	//go:linkname maxElectionTimeout github.com/nats-io/nats-server/v2/server.maxElectionTimeout
	maxElectionTimeout time.Duration
	//go:linkname hbInterval github.com/nats-io/nats-server/v2/server.hbInterval
	hbInterval time.Duration

	electOnce sync.Once
)

// A leader says every leaderBeat that it lives; where nothing was heard for
// electFirst to electLast, another is elected. That is slow enough for a node of
// plain nats-server, which says it once a second, to stay the leader.
const (
	leaderBeat = 250 * time.Millisecond
	electFirst = 1500 * time.Millisecond
	electLast  = 3 * time.Second
)

// electFast makes the clusters of this process find a new leader within seconds.
// It must be called before the first node starts.
func electFast() {
	electOnce.Do(func() { hbInterval, minElectionTimeout, maxElectionTimeout = leaderBeat, electFirst, electLast })
}
