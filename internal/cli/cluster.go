package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/lzstock/lzstock/internal/cluster"
	"github.com/lzstock/lzstock/internal/feed/sim"
	"github.com/lzstock/lzstock/internal/names"
)

// clusterCmd groups what runs many processes for development.
type clusterCmd struct {
	Up     clusterUpCmd     `cmd:"" help:"Run servers of the bus, monitors, gateways and a feed, each a process of its own."`
	Status clusterStatusCmd `cmd:"" help:"Show what runs where, and whether it is ready."`
}

// clusterFile says what runs where, in the cluster's folder.
const clusterFile = "cluster.json"

// clusterUpCmd is `lzstock cluster up`.
type clusterUpCmd struct {
	Nodes    int    `cmdline:"" default:"3" help:"Servers of the bus: 3 go on when one dies." placeholder:"N"`
	Monitors int    `cmdline:"" default:"2" help:"Market Monitors." placeholder:"N"`
	Gateways int    `cmdline:"" default:"3" help:"Gateways." placeholder:"N"`
	Source   source `default:"sim" help:"Where prices come from, as for lzstock up; none to publish them yourself." placeholder:"SOURCE"`
	Port     int    `cmdline:"" default:"0" help:"First of the ports, which are used one after the other: gateways first; 0 is wherever there are free ones." placeholder:"PORT"`
	Data     string `help:"Folder for events and logs; without, a temporary one that is removed at the end." placeholder:"DIR"`
	Logs     bool   `cmdline:"" help:"Show what all processes log."`
	Names    string `help:"File with the names of symbols, as for lzstock up; the simulator brings its own." placeholder:"FILE"`
	Restart  bool   `cmdline:"" default:"true" negatable:"" help:"Start again what dies."`
}

// Help is shown behind the flags.
func (clusterUpCmd) Help() string {
	return `All of it is on loopback, and asks nobody for credentials. Kill what you like, with kill -9 and the PIDs that are printed: clients should hardly notice.

Examples:

    lzstock cluster up
    lzstock cluster up --gateways 2 --port 8080 --logs
    lzstock cluster up --source 'tape:ticks.csv.gz?speed=60&loop=true' --data ./data

Environment and file go to all processes, so that LZSTOCK_MAX_AGE=1m is every gateway's. Ctrl-C ends all, in order; again, at once.`
}

// Run runs a cluster.
func (c clusterUpCmd) Run(p *process) (err error) {
	switch {
	case c.Nodes < 1 || c.Nodes > 5 || c.Nodes == 2:
		return usageError{fmt.Errorf("--nodes %d: want 1, 3, 4 or 5; of two, the loss of either would stop both", c.Nodes)}
	case c.Monitors < 1 || c.Gateways < 1 || c.Monitors > 100 || c.Gateways > 100:
		return usageError{fmt.Errorf("--monitors %d, --gateways %d: want 1 to 100 of each", c.Monitors, c.Gateways)}
	}
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("this program's own file: %w", err)
	}
	ports, err := cluster.Ports(c.Port, c.ports())
	if err != nil {
		if c.Port != 0 {
			return fmt.Errorf("--port: %w", err)
		}
		return err
	}
	dir, err := c.folder()
	if err != nil {
		return err
	}
	if c.Data == "" {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	named, err := c.names(dir)
	if err != nil {
		return err
	}
	plan := c.plan(dir, named, ports)
	if err := writePlan(dir, plan); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(p.stdout, "Data and logs are in %s\n", dir); err != nil {
		return err
	}
	cfg := cluster.Config{
		Binary: binary, Environ: p.environ, Dir: dir, Restart: c.Restart, Out: p.stdout, Processes: plan,
		Ready: func() { _, _ = fmt.Fprint(p.stdout, c.hints(plan, dir)) },
	}
	if c.Logs {
		cfg.Logs = p.stderr
	}
	return cluster.Run(p.ctx, cfg)
}

// names gives the file with the names of symbols: the one that was named, or the
// simulator's own, which it writes.
func (c clusterUpCmd) names(dir string) (path string, err error) {
	if c.Names != "" {
		if _, err := names.File(c.Names); err != nil {
			return "", fmt.Errorf("--names: %w", err)
		}
		return filepath.Abs(c.Names)
	}
	if c.Source.Source == nil || c.Source.Sim == nil {
		return "", nil
	}
	path = filepath.Join(dir, "names.csv")
	f, err := os.Create(path)
	if err != nil {
		return "", fmt.Errorf("names of symbols: %w", err)
	}
	return path, errors.Join(names.Write(f, sim.Names(c.Source.Sim.Symbols)), f.Close())
}

// hints say what to try.
func (c clusterUpCmd) hints(plan []cluster.Process, dir string) string {
	for i := range plan {
		if plan[i].Name == "gateway-0" {
			return fmt.Sprintf("\nTry in another terminal:\n  lzstock watch --url %s AAPL MSFT\n  lzstock cluster status --data %s\n\nStop with Ctrl-C.\n",
				plan[i].Where, dir)
		}
	}
	return ""
}

// folder gives the absolute path of the folder for data and logs.
func (c clusterUpCmd) folder() (string, error) {
	if c.Data == "" {
		return os.MkdirTemp("", "lzstock-cluster-")
	}
	dir, err := filepath.Abs(c.Data)
	if err == nil {
		err = os.MkdirAll(dir, 0o750)
	}
	if err != nil {
		return "", fmt.Errorf("--data: %w", err)
	}
	return dir, nil
}

// clusterEntry is one line of clusterFile.
type clusterEntry struct{ Name, Where, Admin string }

func writePlan(dir string, plan []cluster.Process) error {
	entries := make([]clusterEntry, len(plan))
	for i := range plan {
		entries[i] = clusterEntry{Name: plan[i].Name, Where: plan[i].Where, Admin: plan[i].Admin}
	}
	text, err := json.MarshalIndent(entries, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, clusterFile), append(text, '\n'), 0o600)
}

// clusterStatusCmd is `lzstock cluster status`.
type clusterStatusCmd struct {
	Data string `required:"" help:"The cluster's folder, as lzstock cluster up prints it." placeholder:"DIR"`
}

// Help is shown behind the flags.
func (clusterStatusCmd) Help() string {
	return `Examples:

    lzstock cluster status --data ./data

The exit code is 1 where something is not ready.`
}

// Run asks every process of a cluster whether it is ready.
func (c clusterStatusCmd) Run(p *process) error {
	text, err := os.ReadFile(filepath.Join(c.Data, clusterFile))
	if err != nil {
		return fmt.Errorf("--data %s: no cluster was started there: %w", c.Data, err)
	}
	var entries []clusterEntry
	if err := json.Unmarshal(text, &entries); err != nil {
		return fmt.Errorf("%s: %w", clusterFile, err)
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	_, err = fmt.Fprintln(t, "NAME\tREADY\tSERVES\tADMIN")
	bad := 0
	for _, e := range entries {
		state := "yes"
		if why := cluster.Ready(p.ctx, e.Admin); why != nil {
			bad++
			state = "no"
		}
		_, perr := fmt.Fprintf(t, "%s\t%s\t%s\thttp://%s\n", e.Name, state, e.Where, e.Admin)
		err = errors.Join(err, perr)
	}
	if err := errors.Join(err, t.Flush()); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d processes are not ready", bad, len(entries))
	}
	return nil
}
