package sim

import (
	"fmt"

	"github.com/lzstock/lzstock/market"
)

const (
	cent       = market.Scale / 100
	sectors    = 8
	noSector   = sectors // level never moves
	wholeUnit  = market.Scale
	cryptoUnit = market.Scale / 10_000
)

// profile is what never changes about an instrument.
type profile struct {
	symbol market.Symbol
	cents  int64  // price at which it opens
	tape   string // consolidated tape
	sector int
	beta   int64 // what it follows of the market, in thousandths
	vol    int64 // own volatility, % a year
	spread int64 // typical spread, in millionths of the price; at least a tick
	weight int64 // its share of the events
	unit   int64 // sizes are multiples of it
	lot    int64 // units in a round lot
	steady bool  // never halts
}

// wellKnown gives the default list. The first ones are the busiest that a person
// tries first, so that a short list still holds them.
func wellKnown() []profile {
	stock := func(symbol market.Symbol, cents int64, tape string, sector int, beta, vol, spread, weight int64) profile {
		return profile{symbol, cents, tape, sector, beta, vol, spread, weight, wholeUnit, 100, false}
	}
	steady := func(p profile) profile {
		p.steady = true
		return p
	}
	crypto := func(symbol market.Symbol, cents, vol, weight int64) profile {
		return profile{symbol, cents, "", 7, 600, vol, 20, weight, cryptoUnit, 500, true}
	}
	berkshire := stock("BRK.A", 720_000_00, "A", 3, 850, 10, 900, 4)
	berkshire.lot = 1
	return []profile{
		stock("AAPL", 230_10, "C", 0, 1200, 18, 30, 3600),
		stock("MSFT", 452_35, "C", 0, 1050, 15, 40, 2400),
		steady(stock("FAKEPACA", 134_50, "A", noSector, 0, 35, 150, 1500)),
		steady(stock("SPY", 601_20, "B", noSector, 1000, 1, 15, 4200)),
		stock("NVDA", 139_90, "C", 0, 1800, 35, 40, 4000),
		stock("TSLA", 341_75, "C", 1, 1900, 45, 60, 3400),
		stock("AMZN", 204_60, "C", 1, 1250, 22, 40, 1900),
		crypto("BTC/USD", 97_250_00, 45, 1800),
		stock("META", 612_40, "C", 2, 1250, 25, 60, 1300),
		stock("GOOGL", 176_25, "C", 2, 1100, 20, 40, 1500),
		steady(stock("QQQ", 521_80, "C", noSector, 1150, 3, 20, 2200)),
		stock("AMD", 141_15, "C", 0, 1700, 35, 70, 1600),
		crypto("ETH/USD", 3_310_00, 55, 1100),
		stock("NFLX", 905_50, "C", 2, 1200, 28, 150, 500),
		stock("JPM", 245_30, "A", 3, 1100, 16, 80, 600),
		stock("BAC", 46_85, "A", 3, 1200, 18, 100, 900),
		stock("V", 311_20, "A", 3, 900, 14, 100, 420),
		stock("BRK.B", 481_60, "A", 3, 850, 10, 120, 330),
		stock("XOM", 118_45, "A", 4, 800, 20, 90, 620),
		stock("JNJ", 155_10, "A", 5, 500, 13, 90, 420),
		stock("PFE", 26_15, "A", 5, 600, 20, 100, 760),
		stock("UNH", 560_90, "A", 5, 700, 22, 250, 260),
		stock("WMT", 92_40, "A", 6, 600, 15, 100, 520),
		stock("PG", 170_75, "A", 6, 450, 12, 100, 340),
		stock("KO", 64_20, "A", 6, 450, 11, 120, 420),
		stock("HD", 402_60, "A", 1, 1000, 17, 180, 240),
		stock("DIS", 112_95, "A", 2, 1050, 22, 100, 380),
		stock("INTC", 24_30, "C", 0, 1200, 32, 100, 880),
		stock("F", 10_85, "A", 1, 1300, 25, 100, 560),
		berkshire,
	}
}

// symbolOf gives the symbol of instrument n of a long list.
func symbolOf(n int) market.Symbol { return market.Symbol(fmt.Sprintf("SIM%04d", n)) }

// generated makes up instrument n of a long list. The further down, the quieter
// and the wider.
func generated(n int, r *random) profile {
	tapes := [...]string{"A", "B", "C"}
	return profile{
		symbol: symbolOf(n),
		cents:  5_00 + r.below(95_00) + r.below(4)*r.below(150_00),
		tape:   tapes[r.below(int64(len(tapes)))],
		sector: int(r.below(sectors)),
		beta:   500 + r.below(1300),
		vol:    15 + r.below(45),
		spread: 80 + r.below(400) + int64(n)/10,
		weight: 20 + 20_000/int64(n+10),
		unit:   wholeUnit,
		lot:    100,
	}
}
