package bus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Codes of JetStream's errors that nats.go has no names for.
const (
	codeNoPeers         = 10005 // no servers for so many copies
	codeUnavailable     = 10008 // the cluster has no leader
	codeInsufficient    = 10023 // the server has no room for it
	codeMemoryExceeded  = 10028
	codeStorageExceeded = 10047
	codeWrongStream     = 10060 // the subject belongs to another stream
	codeNoReplicas      = 10074 // the server is in no cluster
	codeStoreFailed     = 10077 // a limit of the stream, or the disk
	codeStreamOffline   = 10118
	codeMaxStreamBytes  = 10122
	codeUnderWay        = 10158 // an earlier attempt is being stored
)

// code gives the number of JetStream's answer, 0 where it is none.
func code(err error) int {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return int(api.ErrorCode)
	}
	return 0
}

// unreachable makes ErrLost of what may pass: that nobody answers.
func unreachable(err error) error {
	_, network := errors.AsType[net.Error](err)
	if bad, ok := errors.AsType[*url.Error](err); ok && bad.Op == "parse" { // a net.Error, too, which does not pass
		return err
	}
	switch {
	case network, errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrNoResponders),
		errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionReconnecting):
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return err
}

// explain says what an operator can do about an answer of JetStream.
func explain(err error) error {
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) {
		return fmt.Errorf("%w: the cluster has no leader yet, or it is a server without JetStream: %w", ErrLost, err)
	}
	switch code(err) {
	case 0:
		return unreachable(err)
	case codeUnavailable, codeStreamOffline:
		return fmt.Errorf("%w: fewer than half of the cluster's nodes are there: %w", ErrLost, err)
	case codeNoPeers:
		if strings.Contains(err.Error(), "insufficient storage") {
			return noRoom(err)
		}
		return fmt.Errorf("%w: fewer nodes are there than copies are wanted: %w", ErrLost, err)
	case codeNoReplicas:
		return fmt.Errorf("--keep-copies above 1 needs a cluster, and this server is in none: %w", err)
	case codeInsufficient, codeStorageExceeded, codeMemoryExceeded, codeMaxStreamBytes:
		return noRoom(err)
	}
	return err
}

func noRoom(err error) error {
	return fmt.Errorf("the servers have no room for what is to be kept: less --keep-bytes, or more --max-store on them: %w", err)
}

// Why a batch was not stored at once, as metrics and logs call it.
const (
	whyLost    = "lost"      // nobody answers
	whyFull    = "full"      // a limit of storage, or the disk
	whyNobody  = "no_leader" // the stream has no leader: fewer than half of its copies are there
	whyStoring = "storing"   // an earlier attempt is being stored
	whyOther   = "other"
)

// why tells why a batch was not stored.
func why(err error) string {
	switch code(err) {
	case codeInsufficient, codeMemoryExceeded, codeStorageExceeded, codeStoreFailed, codeMaxStreamBytes:
		return whyFull
	case codeUnavailable, codeStreamOffline, codeNoPeers, int(jetstream.JSErrCodeJetStreamNotEnabled):
		return whyNobody
	case codeUnderWay:
		return whyStoring
	}
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return whyNobody
	case errors.Is(err, ErrLost), errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout),
		errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrReconnectBufExceeded):
		return whyLost
	}
	return whyOther
}

// advice says what whoever reads the log can do.
func advice(why string) string {
	switch why {
	case whyFull:
		return "the bus has no room: make some on its disks, or raise the servers' limit; it goes on by itself"
	case whyNobody:
		return "fewer than half of the copies can be reached: it goes on once one more is back"
	}
	return "it goes on when the bus answers"
}
