package wire

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/lzstock/lzstock/market"
)

// ParseQuery reads the subscription that a native client gives in the URL of its
// upgrade request: comma lists of symbols by channel, delivery, interval_ms,
// hb_ms, snapshot and since. The command is a Subscribe, without topics where the URL
// names none. The error is a *CommandError.
func ParseQuery(q url.Values) (Command, error) {
	cmd := Command{Action: Subscribe, Options: Options{Snapshot: true}}
	seen := make(map[market.Symbol]struct{}) // of the channel
	known := []string{"delivery", "interval_ms", "hb_ms", "snapshot", "since"}
	for _, c := range market.Channels() {
		known = append(known, c.String())
		clear(seen)
		for _, list := range q[c.String()] {
			for s := range strings.SplitSeq(list, ",") {
				if s = strings.TrimSpace(s); s == "" {
					continue
				}
				if err := cmd.add(Native, market.Topic{Channel: c, Symbol: market.Symbol(s)}, seen); err != nil {
					return Command{}, refuse("", CodeInvalidSyntax, "%s: %v", c, err)
				}
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(q)) {
		if !slices.Contains(known, key) {
			return Command{}, refuse("", CodeUnsupportedOption, "query parameter %s is not known: want one of %s", short(key), strings.Join(known, ", "))
		}
	}
	var err error
	if q.Has("delivery") {
		cmd.Delivery, err = ParseDelivery(cut(q.Get("delivery")))
	}
	if err == nil && q.Has("interval_ms") {
		err = queryNumber(q, "interval_ms", cmd.setInterval)
	}
	if err == nil && q.Has("hb_ms") {
		err = queryNumber(q, "hb_ms", cmd.setHeartbeat)
	}
	if err == nil && q.Has("snapshot") {
		if cmd.Snapshot, err = strconv.ParseBool(q.Get("snapshot")); err != nil {
			err = fmt.Errorf("snapshot is %s: want true or false", short(q.Get("snapshot")))
		}
	}
	if err == nil && q.Has("since") {
		if cmd.Since, err = market.ParsePosition(cut(q.Get("since"))); err != nil {
			err = fmt.Errorf("since: %w", err)
		}
	}
	if err == nil {
		err = cmd.validate()
	}
	if err != nil {
		return Command{}, refuse("", CodeUnsupportedOption, "%v", err)
	}
	return cmd, nil
}

func queryNumber(q url.Values, key string, set func(uint64)) error {
	n, err := strconv.ParseUint(q.Get(key), 10, 64)
	if err != nil {
		return fmt.Errorf("%s is %s: want a whole number of milliseconds", key, short(q.Get(key)))
	}
	set(n)
	return nil
}
