package wire

import "fmt"

// Reason says why a connection ended. What follows from it (close code, in-band
// error, text, metric label, advice to the client) is in one table, here.
type Reason uint8

// The reasons. The zero Reason is none.
const (
	_                 Reason = iota
	ClientClosed             // the client sent a close frame
	ClientGone               // the connection broke, or its peer vanished
	GoingAway                // the server stops
	PeerSilent               // nothing was heard from the client for too long
	SlowConsumer             // the client's queue is full, or its oldest event too old
	WriteStalled             // the client took no byte for too long
	FeedMerged               // events were merged before they got here, and delivery is every
	MaxAge                   // the connection reached its greatest age
	AuthFailed               // the credentials are wrong
	AuthTimeout              // no credentials came in time
	TokenExpired             // the credentials were good once
	Revoked                  // the credentials are good no more
	Superseded               // a newer socket has the session
	SessionDeleted           // the session was deleted
	ConnectionLimit          // a newer socket of the same user took its place
	ProtocolViolation        // too many messages that make no sense
	BadFrame                 // bytes that RFC 6455 forbids: no mask, a reserved opcode or bit
	WrongFrameType           // text where binary was agreed, or the reverse
	BadUTF8                  // a text frame that is not UTF-8
	TooBig                   // a message above the limit
	RateLimited              // commands came too fast for too long
	UpstreamDown             // the prices' source is gone for too long
	Internal                 // a bug of the server
	Drain                    // the server is taken out of service, and the client was told to move

	numReasons
)

// NumReasons is one more than the greatest Reason: the length of an array indexed
// by Reason.
const NumReasons = int(numReasons)

type ending struct {
	close uint16
	code  Code
	label string
	text  string
}

func (r Reason) ending() ending {
	switch r {
	case ClientClosed:
		return ending{1000, 0, "client_closed", "goodbye"}
	case ClientGone:
		return ending{0, 0, "client_gone", "connection lost"}
	case GoingAway:
		return ending{1001, 0, "going_away", "server is going away"}
	case PeerSilent:
		return ending{4202, 0, "peer_silent", "nothing was heard from the client"}
	case SlowConsumer:
		return ending{4102, CodeSlowClient, "slow_consumer", "slow client"}
	case WriteStalled:
		return ending{4102, CodeSlowClient, "write_stalled", "slow client: it took nothing for too long"}
	case FeedMerged:
		return ending{4102, CodeSlowClient, "feed_merged", "events were merged upstream, so that not every event can be sent"}
	case MaxAge:
		return ending{4201, 0, "max_age", "maximum age of a connection reached"}
	case AuthFailed:
		return ending{4001, CodeAuthFailed, "auth_failed", "auth failed"}
	case AuthTimeout:
		return ending{4002, CodeAuthTimeout, "auth_timeout", "auth timeout"}
	case TokenExpired:
		return ending{4203, CodeNotAuthenticated, "token_expired", "the credentials have expired"}
	case Revoked:
		return ending{4003, CodeNotAuthenticated, "revoked", "the credentials were revoked"}
	case Superseded:
		return ending{4005, 0, "superseded", "a newer socket has the session"}
	case SessionDeleted:
		return ending{4003, 0, "session_deleted", "the session was deleted"}
	case ConnectionLimit:
		return ending{4103, CodeConnectionLimit, "connection_limit", "a newer connection took the place of this one"}
	case ProtocolViolation:
		return ending{4004, 0, "protocol_violation", "too many messages that make no sense"}
	case BadFrame:
		return ending{1002, 0, "bad_frame", "a frame that RFC 6455 forbids"}
	case WrongFrameType:
		return ending{1003, 0, "wrong_frame_type", "wrong frame type: text for JSON, binary for MessagePack"}
	case BadUTF8:
		return ending{1007, 0, "bad_utf8", "text is not valid UTF-8"}
	case TooBig:
		return ending{1009, CodeMessageTooLarge, "too_big", "message too large"}
	case RateLimited:
		return ending{4101, CodeTooManyRequests, "rate_limited", "too many requests"}
	case UpstreamDown:
		return ending{4104, CodeUpstreamUnavailable, "upstream_down", "prices are not available"}
	case Drain:
		return ending{4200, 0, "drain", "the server is taken out of service"}
	case Internal:
		return ending{1011, CodeInternal, "internal", "internal error"}
	default:
		return ending{1011, CodeInternal, "unknown", fmt.Sprintf("reason %d", uint8(r))}
	}
}

// CloseCode gives the code of the close frame; 0 where none can be sent.
func (r Reason) CloseCode() uint16 { return r.ending().close }

// Code gives the code of the in-band error that precedes the close frame; 0 where
// there is none.
func (r Reason) Code() Code { return r.ending().code }

// Text gives the close frame's text.
func (r Reason) Text() string { return r.ending().text }

// String gives the label of metrics and logs, such as "slow_consumer".
func (r Reason) String() string { return r.ending().label }

// Advice says what a client that was ended for r should do.
func (r Reason) Advice() Advice { return AdviceFor(r.CloseCode()) }

// Advice says what a client should do after a connection has ended.
type Advice uint8

// The advices.
const (
	RetryNever   Advice = iota + 1 // do not connect again unchanged
	RetryBackoff                   // back off with full jitter
	RetryNow                       // connect again at once
)

// String gives "never", "backoff" or "now".
func (a Advice) String() string {
	switch a {
	case RetryNever:
		return "never"
	case RetryBackoff:
		return "backoff"
	case RetryNow:
		return "now"
	}
	return fmt.Sprintf("advice(%d)", uint8(a))
}

// AdviceFor reads any close code, those of this protocol by their range. Codes
// that nobody knows, and a connection without one (0), mean backing off.
func AdviceFor(closeCode uint16) Advice {
	switch closeCode {
	case 1002, 1003, 1007, 1008, 1009, 1010: // the server will not like it the next time either
		return RetryNever
	}
	switch closeCode / 100 {
	case 40:
		return RetryNever
	case 42:
		return RetryNow
	}
	return RetryBackoff
}
