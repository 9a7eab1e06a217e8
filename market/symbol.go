package market

import (
	"errors"
	"fmt"
)

// Symbol identifies an instrument, such as "AAPL", "BRK.B", "BTC/USD" or
// "BTCUSD_PERP".
type Symbol string

// AllSymbols is the wildcard that stands for every symbol in a subscription.
// It is not a symbol itself.
const AllSymbols Symbol = "*"

// MaxSymbolLen is the greatest length of a symbol in bytes.
const MaxSymbolLen = 32

// Validate returns an error that says what is wrong where s is not a symbol:
// it has 1 to 32 ASCII letters, digits or any of ". / _ - : ^".
func (s Symbol) Validate() error {
	if s == "" {
		return errors.New("bad symbol: it is empty")
	}
	if len(s) > MaxSymbolLen {
		return fmt.Errorf("bad symbol %q…: longer than %d bytes", s[:MaxSymbolLen], MaxSymbolLen)
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case c == '.', c == '/', c == '_', c == '-', c == ':', c == '^':
		default:
			return fmt.Errorf("bad symbol %q: letters, digits and . / _ - : ^ only", string(s))
		}
	}
	return nil
}
