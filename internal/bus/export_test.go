package bus

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Kill ends a node without handing over what it leads, as far as that goes within
// one process.
func (e *Embedded) Kill() error { return e.close(false) }

// Leads reports whether the node leads the stream.
func (e *Embedded) Leads(stream string) bool {
	return e.server.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream)
}

// Drop cuts the connections of all clients, and with them the acknowledgements on
// their way.
func (e *Embedded) Drop() error {
	all, err := e.server.Connz(nil)
	if err != nil {
		return err
	}
	for _, c := range all.Conns {
		_ = e.server.DisconnectClientByID(c.Cid) // it may have gone
	}
	return nil
}

// ElectionVariables gives what nats-server had in its variables before they were
// changed: zero where it has none of this name any more.
func ElectionVariables() []time.Duration { return asBuilt }

var asBuilt = []time.Duration{hbInterval, minElectionTimeout, maxElectionTimeout, lostQuorumInterval, lostQuorumCheck}
