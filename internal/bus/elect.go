package bus

import (
	"sync"
	"time"
	_ "unsafe" // for the names of nats-server's variables
)

// nats-server waits 4 to 9 s for a leader that has died, and 10 s before one that
// is alone gives up, and has no option for that; its own tests set these variables lower still. A price must not wait so
// long. TestElectionIsFast fails where a new version has other ones.
//
//nolint:gochecknoglobals // they are nats-server's
var (
	//go:linkname minElectionTimeout github.com/nats-io/nats-server/v2/server.minElectionTimeout
	minElectionTimeout time.Duration
	//go:linkname maxElectionTimeout github.com/nats-io/nats-server/v2/server.maxElectionTimeout
	maxElectionTimeout time.Duration
	//go:linkname hbInterval github.com/nats-io/nats-server/v2/server.hbInterval
	hbInterval time.Duration
	//go:linkname lostQuorumInterval github.com/nats-io/nats-server/v2/server.lostQuorumInterval
	lostQuorumInterval time.Duration
	//go:linkname lostQuorumCheck github.com/nats-io/nats-server/v2/server.lostQuorumCheck
	lostQuorumCheck time.Duration

	electOnce sync.Once
)

// A leader says every leaderBeat that it lives; where nothing was heard for
// electFirst to electLast, another is elected. That is slow enough for a node of
// plain nats-server, which says it once a second, to stay the leader. A leader that
// has not heard of half of the others for aloneFor gives up: until then it answers,
// so that nobody knows that nothing can be stored.
const (
	leaderBeat = 250 * time.Millisecond
	electFirst = 1500 * time.Millisecond
	electLast  = 3 * time.Second
	aloneFor   = 3 * time.Second
	aloneCheck = 500 * time.Millisecond
)

// electFast makes the clusters of this process find a new leader within seconds.
// It must be called before the first node starts.
func electFast() {
	electOnce.Do(func() {
		hbInterval, minElectionTimeout, maxElectionTimeout = leaderBeat, electFirst, electLast
		lostQuorumInterval, lostQuorumCheck = aloneFor, aloneCheck
	})
}
