package wire

import "github.com/lzstock/lzstock/market"

// AppendTradeObject writes a trade as answers over HTTP have it: the fields of a
// message but for T, S and those of the stream, with exact sizes.
func AppendTradeObject(dst []byte, t *market.Trade) []byte {
	return object(dst, func(dst []byte) []byte { return appendJSONTrade(dst, Native, t) })
}

// AppendQuoteObject writes a quote in the same way.
func AppendQuoteObject(dst []byte, q *market.Quote) []byte {
	return object(dst, func(dst []byte) []byte { return appendJSONQuote(dst, Native, q) })
}

// AppendBarObject writes a bar in the same way.
func AppendBarObject(dst []byte, b *market.Bar) []byte {
	return object(dst, func(dst []byte) []byte { return appendJSONBar(dst, Native, b) })
}

// AppendText writes a JSON string.
func AppendText(dst []byte, s string) []byte { return appendJSONString(dst, s) }

// object makes an object of fields, the first of which begins with a comma.
func object(dst []byte, fields func([]byte) []byte) []byte {
	start := len(dst)
	dst = fields(dst)
	dst[start] = '{'
	return append(dst, '}')
}
