package market

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Timeframe is how long the intervals of bars are.
type Timeframe uint8

// The timeframes.
const (
	Minute Timeframe = iota + 1
	FiveMinutes
	QuarterHour
	Hour
	Day // of a time zone: 23 to 25 hours
)

// Timeframes lists all timeframes, the shortest first.
func Timeframes() []Timeframe { return []Timeframe{Minute, FiveMinutes, QuarterHour, Hour, Day} }

// words gives what the timeframe is called: first the usual word.
func (f Timeframe) words() []string {
	switch f {
	case Minute:
		return []string{"1Min", "1T"}
	case FiveMinutes:
		return []string{"5Min", "5T"}
	case QuarterHour:
		return []string{"15Min", "15T"}
	case Hour:
		return []string{"1Hour", "1H"}
	case Day:
		return []string{"1Day", "1D"}
	}
	return []string{fmt.Sprintf("timeframe(%d)", uint8(f))}
}

// String gives "1Min", "5Min", "15Min", "1Hour" or "1Day".
func (f Timeframe) String() string { return f.words()[0] }

// Length gives how long an interval is; 0 for Day, whose length differs.
func (f Timeframe) Length() time.Duration {
	switch f {
	case Minute:
		return time.Minute
	case FiveMinutes:
		return 5 * time.Minute
	case QuarterHour:
		return 15 * time.Minute
	case Hour:
		return time.Hour
	case Day:
	}
	return 0
}

// ParseTimeframe reads what String gives, and Alpaca's shorter words: 1T, 5T, 15T,
// 1H and 1D.
func ParseTimeframe(s string) (Timeframe, error) {
	var usual []string
	for _, f := range Timeframes() {
		if slices.Contains(f.words(), s) {
			return f, nil
		}
		usual = append(usual, f.String())
	}
	return 0, fmt.Errorf("timeframe %.20q is not known: want one of %s", s, strings.Join(usual, ", "))
}
