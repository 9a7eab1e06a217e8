package cli

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"

	"github.com/lzstock/lzstock/internal/safetext"
)

// configCmd groups what is about the configuration itself.
type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Check the environment and a configuration file, and list all that is wrong."`
	Print configPrintCmd `cmd:"" help:"Print a command's effective configuration, and where each value comes from."`
}

// configCheckCmd is `lzstock config check [FILE]`.
type configCheckCmd struct {
	File string `arg:"" help:"The file; by default the one of --config or LZSTOCK_CONFIG." optional:""`
}

// Help is shown behind the flags.
func (configCheckCmd) Help() string {
	return `A file holds the flags of any commands, one key each; keys of commands that do not run are ignored:

    # lzstock.yaml
    listen: 0.0.0.0:8080
    source: tape:ticks.csv.gz?speed=60&loop=true
    log-level: debug

Exit code 0 means that every command accepts it.`
}

// Run checks all names, and the value of each flag of each command.
func (c configCheckCmd) Run(p *process, r *root) error {
	s := &settings{environ: p.environ}
	k, err := newParser(&root{}, s, io.Discard)
	if err != nil {
		return err
	}
	path := c.File
	if path == "" {
		path = r.Config
	}
	problems := s.read(k.Model.Node, path)
	seen := map[string]bool{}
	for _, f := range allFlags(k.Model.Node) {
		value, from, ok := s.value(f)
		if !ok {
			continue
		}
		if err := try(f, value); err != nil {
			if line := fmt.Sprintf("%s: %s: %v", from, f.Name, err); !seen[line] {
				seen[line] = true
				problems = append(problems, errors.New(line))
			}
		}
	}
	for _, err := range problems {
		if _, err := fmt.Fprintln(p.stderr, oneLine(err)); err != nil {
			return err
		}
	}
	if n := len(problems); n > 0 {
		return usageError{fmt.Errorf("the configuration has %d problem(s)", n)}
	}
	what := "the environment is right; there is no file"
	if s.file != "" {
		what = s.file + " is right"
	}
	_, err = fmt.Fprintln(p.stdout, what)
	return err
}

// configPrintCmd is `lzstock config print [COMMAND …]`.
type configPrintCmd struct {
	Command []string `arg:"" help:"The command, with flags where you like; by default up." optional:"" passthrough:""`
}

// Help is shown behind the flags.
func (configPrintCmd) Help() string {
	return `Examples:

    lzstock config print
    lzstock --config lzstock.yaml config print gateway --listen 127.0.0.1:9000
    lzstock config print feed tape ticks.csv.gz

Secrets are left out, those in addresses, too.`
}

// Run parses COMMAND as if it were to run, and prints what it would run with.
func (c configPrintCmd) Run(p *process, kctx *kong.Context) error {
	args := c.Command
	if len(args) == 0 {
		args = []string{"up"}
	}
	s := &settings{environ: p.environ}
	ctx, err := parse(&root{}, s, p.stdout, append(rootFlags(kctx), args...))
	if err != nil {
		return err
	}
	text, err := effective(ctx, s)
	if err != nil {
		return err
	}
	_, err = p.stdout.Write(text)
	return err
}

// rootFlags are the flags in front of the subcommand, as they were given.
func rootFlags(ctx *kong.Context) []string {
	var out []string
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved && slices.Contains(ctx.Model.Flags, p.Flag) {
			out = append(out, "--"+p.Flag.Name+"="+fmt.Sprint(ctx.FlagValue(p.Flag)))
		}
	}
	return out
}

// effective writes each flag of the parsed command as YAML, with its source.
func effective(ctx *kong.Context, s *settings) ([]byte, error) {
	given := map[string]bool{}
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			given[p.Flag.Name] = true
		}
	}
	about := "lzstock " + strings.Join(commandWords(ctx), " ") + ": a flag wins over the environment, that over the file, that over the default"
	if s.file != "" {
		about += "\nfile: " + s.file
	}
	doc := &yaml.Node{Kind: yaml.MappingNode, HeadComment: about}
	for _, p := range ctx.Path {
		if p.Flag != nil {
			continue
		}
		for _, f := range p.Flags {
			if !inFile(f) {
				continue
			}
			value := yamlValue(f.Target)
			switch {
			case f.Tag.Has(secretTag) && !f.Target.IsZero():
				value.SetString("***")
			case f.Tag.Has(serversTag):
				for _, n := range append(value.Content, value) {
					n.Value = safetext.List(n.Value)
				}
			}
			switch from := s.used[f.Name]; {
			case given[f.Name]:
				value.LineComment = "flag"
			case from != "":
				value.LineComment = from
			default:
				value.LineComment = "default"
			}
			doc.Content = append(doc.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.Name}, value)
		}
	}
	return yaml.Marshal(doc)
}

// yamlValue writes a flag's value as it would stand in the file.
func yamlValue(v reflect.Value) *yaml.Node {
	if v.Kind() == reflect.Slice {
		list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for i := range v.Len() {
			list.Content = append(list.Content, yamlValue(v.Index(i)))
		}
		return list
	}
	text := fmt.Sprint(v.Interface())
	if m, ok := reflect.TypeAssert[encoding.TextMarshaler](v); ok {
		if b, err := m.MarshalText(); err == nil {
			text = string(b)
		}
	}
	n := &yaml.Node{}
	n.SetString(safetext.Redact(text))
	if v.Kind() != reflect.String {
		n.Tag = "" // a number or a switch needs no quotes
	}
	return n
}
