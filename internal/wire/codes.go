package wire

import "fmt"

// Code is the number of an in-band error. Numbers and texts up to 411 are
// Alpaca's; its SDKs match them.
type Code int

// The codes.
const (
	CodeInvalidSyntax            Code = 400
	CodeNotAuthenticated         Code = 401
	CodeAuthFailed               Code = 402
	CodeAlreadyAuthenticated     Code = 403
	CodeAuthTimeout              Code = 404
	CodeSymbolLimit              Code = 405
	CodeConnectionLimit          Code = 406
	CodeSlowClient               Code = 407
	CodeInsufficientSubscription Code = 409
	CodeInvalidForFeed           Code = 410
	CodeInsufficientScope        Code = 411
	CodeUnknownSymbol            Code = 412
	CodeMessageTooLarge          Code = 413
	CodeUnsupportedOption        Code = 415
	CodeTooManyRequests          Code = 429
	CodeInternal                 Code = 500
	CodeUpstreamUnavailable      Code = 503
)

// Text gives the protocol's text of the code.
func (c Code) Text() string {
	switch c {
	case CodeInvalidSyntax:
		return "invalid syntax"
	case CodeNotAuthenticated:
		return "not authenticated"
	case CodeAuthFailed:
		return "auth failed"
	case CodeAlreadyAuthenticated:
		return "already authenticated"
	case CodeAuthTimeout:
		return "auth timeout"
	case CodeSymbolLimit:
		return "symbol limit exceeded"
	case CodeConnectionLimit:
		return "connection limit exceeded"
	case CodeSlowClient:
		return "slow client"
	case CodeInsufficientSubscription:
		return "insufficient subscription"
	case CodeInvalidForFeed:
		return "invalid subscribe action for this feed"
	case CodeInsufficientScope:
		return "insufficient scope"
	case CodeUnknownSymbol:
		return "unknown symbol"
	case CodeMessageTooLarge:
		return "message too large"
	case CodeUnsupportedOption:
		return "unsupported option"
	case CodeTooManyRequests:
		return "too many requests"
	case CodeInternal:
		return "internal error"
	case CodeUpstreamUnavailable:
		return "upstream unavailable"
	}
	return fmt.Sprintf("error %d", int(c))
}

// Retry tells whether the same request may succeed later, unchanged.
func (c Code) Retry() bool {
	switch c {
	case CodeAuthTimeout, CodeConnectionLimit, CodeSlowClient, CodeTooManyRequests, CodeInternal, CodeUpstreamUnavailable:
		return true
	default:
		return c > CodeInternal
	}
}
