package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/lzstock/lzstock/internal/app"
	"github.com/lzstock/lzstock/internal/cluster"
	"github.com/lzstock/lzstock/internal/obs"
	"github.com/lzstock/lzstock/internal/safetext"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// root is the whole command line.
type root struct {
	Help       helpFlag      `help:"Show what there is, and examples." short:"h"`
	Config     string        `help:"Read settings from this YAML file: a key is a flag's name."                              placeholder:"FILE"`
	LogLevel   slog.Level    `default:"info" help:"Least level that is logged: debug, info, warn or error."                   placeholder:"LEVEL"`
	LogFormat  obs.LogFormat `default:"auto" enum:"auto,text,json" help:"How log lines look: text, json, or auto: text on a terminal." placeholder:"FORMAT"`
	WithParent bool          `hidden:"" cmdline:"" help:"End when standard input does: the process that started this one has gone."`

	Up       upCmd      `cmd:"" help:"Run everything in one process: bus, feed, monitor and gateway."`
	Gateway  gatewayCmd `cmd:"" help:"Run a gateway: WebSockets for clients, prices from a monitor."`
	Monitor  monitorCmd `cmd:"" help:"Run a Market Monitor: prices from the bus, served by gRPC."`
	Cluster  clusterCmd `cmd:"" help:"Run a whole cluster on this machine, for development: many processes, one command."`
	Bus      busCmd     `cmd:"" help:"Run one server of the bus: NATS with JetStream, alone or in a cluster."`
	Feed     feedCmd    `cmd:"" help:"Bring prices onto the bus, or record what it carries."`
	Publish  publishCmd `cmd:"" help:"Publish trades, quotes and statuses from standard input through a monitor's Ingest service."`
	Watch    watchCmd   `cmd:"" help:"Watch prices in the terminal."`
	Key      keyCmd     `cmd:"" help:"Make, list or revoke API keys."`
	Session  sessionCmd `cmd:"" help:"List clients' sessions, or revoke a user."`
	Drain    drainCmd   `cmd:"" help:"Take a process out of service: move its clients to others."`
	Token    tokenCmd   `cmd:"" help:"Print a JSON Web Token for development."`
	Bench    benchCmd   `cmd:"" help:"Put load on a gateway and measure what arrives."`
	Settings configCmd  `cmd:"" help:"Check or print the configuration." name:"config"`
	Version  versionCmd `cmd:"" help:"Print the version."`
}

// process is what subcommands get from outside.
type process struct {
	ctx     context.Context //nolint:containedctx // it is the argument of one Run, which kong calls
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	command []string // the command line, with its secrets hidden
	environ []string
	logger  *slog.Logger
	build   obs.Build
}

// app is what processes get of it.
func (p *process) app() app.Process {
	return app.Process{Logger: p.logger, Build: p.build, Command: p.command, Out: p.stdout}
}

// errHelp ends parsing after the help was printed.
var errHelp = errors.New("help was asked for")

// usageError is a wrong use that shows only after parsing.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// helpFlag prints the help and ends parsing, without ending the process.
type helpFlag bool

// BeforeReset is called by kong where the flag is given.
func (helpFlag) BeforeReset(ctx *kong.Context) error {
	if err := ctx.PrintUsage(false); err != nil {
		return err
	}
	return errHelp
}

// BeforeResolve is called by kong when the command line is read and before other
// sources are.
func (r *root) BeforeResolve(ctx *kong.Context, s *settings) error {
	if strings.HasPrefix(ctx.Command(), "config check") {
		return nil // it reports what is wrong itself
	}
	return s.load(ctx)
}

// Main runs the command line and returns the exit code. The first SIGINT or
// SIGTERM ends ctx, and Main returns when what runs has ended; on the second it
// returns at once.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, environ []string) int {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	return heed(ctx, signals, stderr, func(ctx context.Context) int {
		return run(ctx, args, stdin, stdout, stderr, environ)
	})
}

// heed runs work and lets signals end it. It waits for work, except after a
// second signal: then the process is to end whatever work does.
func heed(ctx context.Context, signals <-chan os.Signal, stderr io.Writer, work func(ctx context.Context) int) int {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	code := make(chan int, 1)
	var task sync.WaitGroup
	task.Go(func() { code <- work(ctx) })
	for stopping := false; ; stopping = true {
		select {
		case c := <-code:
			task.Wait()
			return c
		case s := <-signals:
			if stopping {
				_, _ = fmt.Fprintf(stderr, "lzstock: %s again: not waiting any longer\n", s)
				return exitFailure
			}
			stop(fmt.Errorf("%s signal received", s))
		}
	}
}

// run runs the command line and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, environ []string) int {
	if len(args) == 0 {
		return finish(showHelp(stderr), stderr, "")
	}
	var r root
	kctx, err := parse(&r, &settings{environ: environ}, stdout, args)
	if err != nil {
		return finish(err, stderr, commandOf(err))
	}
	logger, err := obs.NewLogger(stderr, obs.LogConfig{Format: r.LogFormat, Level: r.LogLevel})
	if err != nil {
		return finish(usageError{err}, stderr, "")
	}
	if file, ok := stdin.(*os.File); ok && r.WithParent {
		bound, release, err := cluster.Lifeline(ctx, file)
		if err != nil {
			return finish(err, stderr, "")
		}
		defer release()
		ctx = bound
	}
	err = kctx.Run(&process{
		ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr, command: commandLine(kctx.Model.Node, args), environ: environ,
		logger: logger, build: obs.ReadBuild(),
	})
	return finish(err, stderr, strings.Join(commandWords(kctx), " "))
}

// newParser builds kong's parser over r. Flags that r does not set come from s.
func newParser(r *root, s *settings, out io.Writer) (*kong.Kong, error) {
	return kong.New(r,
		kong.Name("lzstock"),
		kong.Description("LZStock is a market data gateway: prices from internal services, to WebSockets.\n\n"+
			"Begin with `lzstock up`, then look with `lzstock watch AAPL MSFT`."),
		kong.NoDefaultHelp(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.ValueFormatter(helpText),
		kong.Writers(out, out),
		kong.Bind(s),
		kong.Resolvers(s),
	)
}

func parse(r *root, s *settings, out io.Writer, args []string) (*kong.Context, error) {
	k, err := newParser(r, s, out)
	if err != nil {
		return nil, fmt.Errorf("the command line's declaration: %w", err)
	}
	return k.Parse(args)
}

// showHelp is what a bare lzstock does: the help, and the exit code of wrong use.
func showHelp(w io.Writer) error {
	_, err := parse(&root{}, &settings{}, w, []string{"--help"})
	if errors.Is(err, errHelp) {
		return usageError{errors.New("a command is missing; to begin: lzstock up")}
	}
	return err
}

// helpText adds the environment variable to a flag's help.
func helpText(v *kong.Value) string {
	if v.Flag == nil || !configurable(v.Flag) {
		return v.Help
	}
	help := strings.TrimSuffix(v.Help, ".") + " ($" + envName(v.Flag.Name) + ")"
	if v.Default != "" {
		help += " [" + v.Default + "]"
	}
	return help + "."
}

// commandWords are the names of the selected subcommand.
func commandWords(ctx *kong.Context) []string {
	var words []string
	for _, p := range ctx.Path {
		if p.Command != nil {
			words = append(words, p.Command.Name)
		}
	}
	return words
}

// commandOf names the subcommand whose arguments did not parse.
func commandOf(err error) string {
	if pe, ok := errors.AsType[*kong.ParseError](err); ok && pe.Context != nil {
		return strings.Join(commandWords(pe.Context), " ")
	}
	return ""
}

// finish prints err in one line and turns it into the exit code.
func finish(err error, stderr io.Writer, command string) int {
	_, parsing := errors.AsType[*kong.ParseError](err)
	_, usage := errors.AsType[usageError](err)
	switch {
	case err == nil, errors.Is(err, errHelp):
		return exitOK
	case parsing || usage:
		_, _ = fmt.Fprintf(stderr, "lzstock: %s; see lzstock %s\n", oneLine(err), strings.TrimSpace(command+" --help"))
		return exitUsage
	}
	_, _ = fmt.Fprintf(stderr, "lzstock: %s\n", oneLine(err)) // who closed stderr has the exit code
	return exitFailure
}

// oneLine joins the lines of a joined error. It hides the secrets of URLs, and what
// would command the terminal: an error may quote what a peer has sent.
func oneLine(err error) string {
	text := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	return safetext.Clean(safetext.Redact(text))
}
