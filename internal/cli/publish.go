package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/lzstock/lzstock/internal/publish"
)

// publishCmd is `lzstock publish`.
type publishCmd struct {
	Grpc      string        `default:"127.0.0.1:7000" help:"The monitor whose Ingest service takes the events." placeholder:"HOST:PORT"`
	Publisher string        `default:"publish" help:"Names the source on the bus: 1 to 32 letters, digits, _ or -." placeholder:"NAME"`
	Format    string        `default:"auto" enum:"auto,csv,jsonl" help:"What standard input holds: csv, jsonl (one JSON object a line), or auto." placeholder:"FORMAT"`
	InFlight  int           `default:"32" help:"Batches that may wait for their answer." placeholder:"N"`
	GiveUp    time.Duration `default:"1m" help:"How long to try while the service does not answer." placeholder:"TIME"`
	ShowBad   int           `default:"20" help:"How many bad lines and refusals are shown in full; -1 for none." placeholder:"N"`
	Quiet     bool          `help:"Leave the progress out." short:"q"`
}

// Help is shown behind the flags.
func (publishCmd) Help() string {
	return `CSV has a tape's columns: ts_ns,symbol,type,price,size,bid,bid_size,ask,ask_size. JSON lines are the protocol's trades, quotes and statuses.

Examples:

    zcat ticks.csv.gz | lzstock publish --grpc 127.0.0.1:7000
    echo '{"T":"t","S":"AAPL","p":189.1,"s":100,"t":"2026-01-05T15:00:00Z"}' | lzstock publish

Exit code 0 means that every line became a stored event.`
}

// Run publishes standard input.
func (c publishCmd) Run(p *process) error {
	summary, err := publish.Run(p.ctx, publish.Config{
		Target: c.Grpc, Publisher: c.Publisher, Input: p.stdin, Format: publish.Format(c.Format),
		InFlight: c.InFlight, GiveUp: c.GiveUp, ShowBad: c.ShowBad, Quiet: c.Quiet, Logger: p.logger,
	}, p.stderr)
	if _, perr := fmt.Fprintln(p.stdout, summary); perr != nil {
		err = errors.Join(err, perr)
	}
	if err == nil && !summary.Complete() {
		return errors.New("not every line became a stored event")
	}
	return err
}
