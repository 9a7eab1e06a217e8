package wire

import (
	"fmt"

	"github.com/lzstock/lzstock/market"
)

// Encoding is how messages become bytes.
type Encoding uint8

// The encodings.
const (
	JSON    Encoding = iota // text frames
	MsgPack                 // binary frames
)

// String gives "json" or "msgpack".
func (e Encoding) String() string {
	if e == MsgPack {
		return "msgpack"
	}
	return "json"
}

// Opcode gives the opcode of the frames that carry the encoding.
func (e Encoding) Opcode() Opcode {
	if e == MsgPack {
		return OpBinary
	}
	return OpText
}

// Dialect is which messages and fields there are.
type Dialect uint8

// The dialects.
const (
	Native Dialect = iota // LZStock's own: all of them
	Stock                 // Alpaca v2 for stocks, and nothing else; sizes are whole
	Crypto                // Alpaca v1beta3 for crypto, and nothing else
)

// String gives "native", "stock" or "crypto".
func (d Dialect) String() string {
	switch d {
	case Native:
		return "native"
	case Stock:
		return "stock"
	case Crypto:
		return "crypto"
	}
	return fmt.Sprintf("dialect(%d)", uint8(d))
}

// Has tells whether the dialect has a channel: Alpaca's crypto has no statuses.
func (d Dialect) Has(c market.Channel) bool { return d != Crypto || c != market.Statuses }

// Format is an encoding of a dialect: all clients of one Format share the bodies
// of events.
type Format uint8

// The formats.
const (
	JSONNative Format = iota
	JSONStock
	JSONCrypto
	MsgPackNative
	MsgPackStock
	MsgPackCrypto

	numFormats
)

// NumFormats is the number of formats: the length of an array indexed by Format.
const NumFormats = int(numFormats)

const numDialects = 3

// NewFormat gives the format of an encoding and a dialect.
func NewFormat(e Encoding, d Dialect) Format { return Format(uint8(e)*numDialects + uint8(d)) }

// Encoding gives the format's encoding.
func (f Format) Encoding() Encoding { return Encoding(f / numDialects) }

// Dialect gives the format's dialect.
func (f Format) Dialect() Dialect { return Dialect(f % numDialects) }

// Native tells whether the format has LZStock's own messages and fields.
func (f Format) Native() bool { return f.Dialect() == Native }

// Opcode gives the opcode of the frames that carry the format.
func (f Format) Opcode() Opcode { return f.Encoding().Opcode() }

// String gives "json/native" and so on.
func (f Format) String() string { return f.Encoding().String() + "/" + f.Dialect().String() }

// Delivery says what happens to events that a client does not take in time.
type Delivery uint8

// The deliveries. The zero Delivery means that none was given.
const (
	Adaptive Delivery = iota + 1 // every event, conflated while the client is behind
	Every                        // every event, or the end of the connection
	Latest                       // the latest per channel and symbol
)

// String gives the protocol's word: "adaptive", "every" or "latest".
func (d Delivery) String() string {
	switch d {
	case Adaptive:
		return "adaptive"
	case Every:
		return "every"
	case Latest:
		return "latest"
	}
	return fmt.Sprintf("delivery(%d)", uint8(d))
}

// ParseDelivery reads the protocol's word.
func ParseDelivery(s string) (Delivery, error) {
	for _, d := range [...]Delivery{Adaptive, Every, Latest} {
		if s == d.String() {
			return d, nil
		}
	}
	return 0, fmt.Errorf("delivery %q is not known: want adaptive, every or latest", s)
}
