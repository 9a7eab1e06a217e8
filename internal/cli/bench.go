package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/lzstock/lzstock/internal/app"
	"github.com/lzstock/lzstock/internal/bench"
	"github.com/lzstock/lzstock/internal/bench/report"
	"github.com/lzstock/lzstock/internal/wire"
)

// benchCmd is `lzstock bench`.
type benchCmd struct {
	Url         string        `default:"ws://127.0.0.1:8080/v1/stream" help:"The stream to put load on." placeholder:"URL"`
	Clients     int           `default:"0" help:"Sockets; 0 is the profile's number, or 100." placeholder:"N"`
	Symbols     int           `default:"0" help:"Symbols of each client; 0 is 10, or all where there are fewer." placeholder:"N"`
	Universe    string        `default:"sim" help:"Symbols to choose from: sim (the simulator's 30), sim:N, @FILE, or a list such as AAPL,MSFT." placeholder:"SYMBOLS"`
	Channels    string        `default:"trades,quotes" help:"Channels of each symbol: some of trades, quotes, bars, updatedBars, dailyBars, statuses." placeholder:"LIST"`
	Delivery    string        `default:"adaptive" enum:"adaptive,every,latest" help:"How clients want their events: adaptive, every or latest." placeholder:"HOW"`
	Interval    time.Duration `default:"0s" help:"Least time between two frames of a client, with --delivery latest." placeholder:"TIME"`
	Duration    time.Duration `default:"0s" help:"Time at full load, 0 is 30s; with --profile the time of all of it, 0 is its own." placeholder:"TIME"`
	Ramp        time.Duration `default:"0s" help:"Time to full load; 0 is 1s for each 1,000 clients." placeholder:"TIME"`
	Stalled     bench.Share   `default:"0%" help:"Share of the clients that stop reading once subscribed." placeholder:"PERCENT"`
	Drip        bench.Share   `default:"0%" help:"Share of the clients that read 500 bytes a second." placeholder:"PERCENT"`
	Churn       bench.Rate    `default:"0/s" help:"Clients a second that leave and come back." placeholder:"N/s"`
	Vanish      bool          `help:"At the end all clients drop their connection at once, without a close frame."`
	Profile     string        `default:"" enum:",smoke,spike,capacity" help:"A known course of load: smoke, spike or capacity." placeholder:"NAME"`
	SourceAddrs string        `default:"auto" help:"Addresses to connect from, such as 127.0.0.1-127.0.0.8; auto is as many as the ports need, where the server is on loopback." placeholder:"ADDRS"`
	Admin       []string      `default:"off" help:"Admin addresses of the processes under load, whose CPU, memory and counts are reported." placeholder:"URL"`
	Insecure    bool          `help:"With wss: accept any certificate."`
	Assert      string        `default:"" help:"Conditions such as p99<50ms,loss=0; where one does not hold, the exit code is 1." placeholder:"CONDITIONS"`
	Json        string        `default:"" help:"Write the report as JSON to this file." placeholder:"FILE"`
	Html        string        `default:"" help:"Write the report as a page with curves to this file." placeholder:"FILE"`
}

// Help is shown behind the flags.
func (benchCmd) Help() string {
	return `Each client subscribes to some symbols of the universe, checks that every event follows the one before it (pq), and measures how old it is. Its age is the time of receipt less the event's own: that needs a source whose times are now, as the simulator's are.

Profiles: smoke is 50 clients for 30s. spike is 1,000 within 3m, held for 1m, 1,500 within 30s, held for 1m, and none within 10s. capacity is 5,000 within 3m, held for 1m, and none within 10s. --clients changes their height, --duration their length.

Conditions:

` + report.Metrics() + `
    with slow. in front, such as slow.p99: of the clients that stall or drip

Examples:

    lzstock up --source 'sim?symbols=100&rate=2000'
    lzstock bench --clients 1000 --universe sim:100 --admin http://127.0.0.1:9090
    lzstock bench --clients 5000 --stalled 20% --drip 10% --html report.html
    lzstock bench --profile smoke --assert 'p99<50ms,loss=0,closes=0'

Stop with Ctrl-C: the report is of what was until then.`
}

// config makes the run's configuration of the flags.
func (c benchCmd) config(p *process) (bench.Config, error) {
	cfg := bench.Config{
		URL: c.Url, Clients: c.Clients, Symbols: c.Symbols, Interval: c.Interval, Duration: c.Duration, Ramp: c.Ramp,
		Stalled: c.Stalled, Drip: c.Drip, Churn: c.Churn, Vanish: c.Vanish, Profile: c.Profile, Insecure: c.Insecure,
		Version: p.build.Version, Command: strings.Join(p.command, " "),
	}
	for _, a := range c.Admin {
		switch a {
		case app.Off:
		case app.Auto:
			cfg.Admin = append(cfg.Admin, app.UsualAdmin)
		default:
			cfg.Admin = append(cfg.Admin, a)
		}
	}
	var errs [4]error
	cfg.Universe, errs[0] = bench.ParseUniverse(c.Universe)
	cfg.Channels, errs[1] = bench.ParseChannels(c.Channels)
	cfg.Delivery, errs[2] = wire.ParseDelivery(c.Delivery)
	cfg.SourceAddrs, errs[3] = bench.ParseSources(c.SourceAddrs)
	return cfg, errors.Join(errs[:]...)
}

// demands reads what is demanded of the run.
func (c benchCmd) demands() ([]report.Demand, error) {
	if c.Assert == "" {
		return nil, nil
	}
	list, err := report.ParseDemands(c.Assert)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		if d.NeedsServer() && (len(c.Admin) == 0 || c.Admin[0] == app.Off) {
			return nil, fmt.Errorf("condition %s is about the server's own figures: it needs --admin", d)
		}
	}
	return list, nil
}

// Run puts the load on and reports.
func (c benchCmd) Run(p *process) error {
	cfg, err := c.config(p)
	if err != nil {
		return usageError{err}
	}
	demands, err := c.demands()
	if err != nil {
		return usageError{err}
	}
	if c.Json != "" && c.Json == c.Html {
		return usageError{fmt.Errorf("--json and --html name the same file, %s", c.Json)}
	}
	files := map[string]func(*report.Report, io.Writer) error{c.Json: (*report.Report).WriteJSON, c.Html: (*report.Report).WriteHTML}
	delete(files, "")
	for name := range files { // what cannot be written is better known before
		if err := writeFile(name, func(io.Writer) error { return nil }); err != nil {
			return err
		}
	}
	r, err := bench.Run(p.ctx, cfg, p.stderr)
	if err != nil {
		return err
	}
	holds := r.Judge(demands)
	errs := []error{r.WriteText(p.stdout)}
	for name, write := range files {
		errs = append(errs, writeFile(name, func(w io.Writer) error { return write(r, w) }))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if !holds {
		return errors.New("not all that was demanded holds")
	}
	return nil
}

func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return fmt.Errorf("report %s: %w", name, err)
	}
	return nil
}
