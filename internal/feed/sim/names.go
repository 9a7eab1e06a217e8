package sim

import "github.com/lzstock/lzstock/market"

// Names gives what trades under the first n symbols of the simulator. The names of
// the well-known symbols are those of the companies; their prices are made up, and
// so are all other names.
func Names(n int) map[market.Symbol]string {
	if n == 0 {
		n = DefaultSymbols
	}
	known := map[market.Symbol]string{
		"AAPL": "Apple Inc.", "MSFT": "Microsoft Corporation", "FAKEPACA": "Fake Alpaca Test Stock", "SPY": "SPDR S&P 500 ETF Trust",
		"NVDA": "NVIDIA Corporation", "TSLA": "Tesla, Inc.", "AMZN": "Amazon.com, Inc.", "BTC/USD": "Bitcoin in US dollars",
		"META": "Meta Platforms, Inc.", "GOOGL": "Alphabet Inc. Class A", "QQQ": "Invesco QQQ Trust", "AMD": "Advanced Micro Devices, Inc.",
		"ETH/USD": "Ether in US dollars", "NFLX": "Netflix, Inc.", "JPM": "JPMorgan Chase & Co.", "BAC": "Bank of America Corporation",
		"V": "Visa Inc.", "BRK.A": "Berkshire Hathaway Inc. Class A", "BRK.B": "Berkshire Hathaway Inc. Class B", "XOM": "Exxon Mobil Corporation",
		"JNJ": "Johnson & Johnson", "PFE": "Pfizer Inc.", "UNH": "UnitedHealth Group Incorporated", "WMT": "Walmart Inc.",
		"PG": "The Procter & Gamble Company", "KO": "The Coca-Cola Company", "HD": "The Home Depot, Inc.", "DIS": "The Walt Disney Company",
		"INTC": "Intel Corporation", "F": "Ford Motor Company",
	}
	first := [...]string{
		"Amber", "Birch", "Cobalt", "Dover", "Ember", "Falcon", "Granite", "Harbor", "Indigo", "Juniper", "Kestrel", "Lumen",
		"Meridian", "Northgate", "Onyx", "Pinewood", "Quarry", "Redstone", "Silver", "Timber", "Umber", "Valley", "Willow",
	}
	second := [...]string{
		"Logistics", "Robotics", "Foods", "Energy", "Materials", "Biotech", "Software", "Airlines", "Insurance", "Media", "Shipping",
		"Semiconductors", "Water", "Hotels", "Tools", "Mining", "Networks", "Paper", "Rail",
	}
	out := make(map[market.Symbol]string, n)
	list := wellKnown()
	for i := range n {
		if i < len(list) {
			out[list[i].symbol] = known[list[i].symbol]
			continue
		}
		out[symbolOf(i+1)] = first[i%len(first)] + " " + second[i%len(second)] + " (simulated)"
	}
	return out
}
