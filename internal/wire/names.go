package wire

import "github.com/lzstock/lzstock/market"

// Codes lists all codes of in-band errors in order.
func Codes() []Code {
	return []Code{
		CodeInvalidSyntax, CodeNotAuthenticated, CodeAuthFailed, CodeAlreadyAuthenticated, CodeAuthTimeout, CodeSymbolLimit, CodeConnectionLimit,
		CodeSlowClient, CodeInsufficientSubscription, CodeInvalidForFeed, CodeInsufficientScope, CodeUnknownSymbol, CodeMessageTooLarge,
		CodeUnsupportedOption, CodeTooManyRequests, CodeInternal, CodeUpstreamUnavailable,
	}
}

// Letter gives the T of a channel's messages.
func Letter(c market.Channel) string { return string(letter(c)) }
