package cli

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"

	"github.com/lzstock/lzstock/internal/nearest"
)

const envPrefix = "LZSTOCK_"

// settings resolves flags that the command line does not set: from the
// environment, then from the file.
type settings struct {
	environ []string
	// used says where each flag's value came from, by the flag's name.
	used map[string]string

	file string // the file's path
	env  map[string]string
	keys map[string]fileValue
}

// fileValue is one key of the file.
type fileValue struct {
	line int
	text string // as it would stand behind the flag
	set  bool   // false for null
}

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// configurable tells whether a flag can come from the environment and the file.
// What is tagged cmdline is about one call, such as the limits of a new key: the
// settings of a gateway of the same name must not slip in.
func configurable(f *kong.Flag) bool { return f.Name != "help" && !f.Tag.Has("cmdline") }

// inFile tells whether a flag can come from the file; its own path cannot.
func inFile(f *kong.Flag) bool { return configurable(f) && f.Name != "config" }

// allFlags lists the flags of every subcommand.
func allFlags(n *kong.Node) []*kong.Flag {
	out := slices.DeleteFunc(slices.Clone(n.Flags), func(f *kong.Flag) bool { return !configurable(f) })
	for _, c := range n.Children {
		out = append(out, allFlags(c)...)
	}
	return out
}

// load reads the environment and the file, and fails on the first thing that no
// subcommand knows.
func (s *settings) load(ctx *kong.Context) error {
	path := ""
	for _, f := range ctx.Model.Flags {
		if f.Name == "config" {
			path, _ = ctx.FlagValue(f).(string)
		}
	}
	problems := s.read(ctx.Model.Node, path)
	switch len(problems) {
	case 0:
		return nil
	case 1:
		return problems[0]
	}
	return fmt.Errorf("%w (and %d more: lzstock config check lists them)", problems[0], len(problems)-1)
}

// read reads the environment and the file at path, or where that is empty the
// one that the environment names, and returns all that is wrong with them.
func (s *settings) read(model *kong.Node, path string) []error {
	flags := allFlags(model)
	s.used = map[string]string{}
	problems := s.readEnv(flags)
	s.file = path
	if s.file == "" {
		s.file = s.env[envName("config")]
	}
	if s.file == "" {
		return problems
	}
	text, err := os.ReadFile(s.file)
	if err != nil {
		return append(problems, fmt.Errorf("configuration file: %w", err))
	}
	return append(problems, s.readFile(text, flags)...)
}

func (s *settings) readEnv(flags []*kong.Flag) (problems []error) {
	s.env = map[string]string{}
	known := map[string]bool{}
	for _, f := range flags {
		known[envName(f.Name)] = true
	}
	for _, kv := range s.environ {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || !strings.HasPrefix(name, envPrefix) {
			continue
		}
		switch {
		case !known[name]:
			problems = append(problems, unknownVariable(name, slices.Collect(maps.Keys(known))))
		case value != "": // empty is how compose files and charts leave out
			s.env[name] = value
		}
	}
	return problems
}

func unknownVariable(name string, known []string) error {
	if n := nearest.Name(name, known); n != "" {
		return fmt.Errorf("unknown environment variable %s, did you mean %s?", name, n)
	}
	if strings.HasSuffix(name, "_SERVICE_HOST") || strings.Contains(name, "_PORT") {
		return fmt.Errorf("unknown environment variable %s: Kubernetes adds such for a service named lzstock-*; set enableServiceLinks: false", name)
	}
	return fmt.Errorf("unknown environment variable %s: no flag has this name", name)
}

func (s *settings) readFile(text []byte, flags []*kong.Flag) (problems []error) {
	s.keys = map[string]fileValue{}
	known := map[string]bool{}
	for _, f := range flags {
		if inFile(f) {
			known[f.Name] = true
		}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return []error{fmt.Errorf("%s: %w", s.file, err)}
	}
	if len(doc.Content) == 0 {
		return nil // an empty file sets nothing
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return []error{fmt.Errorf("%s:%d: want keys with values, such as `listen: 127.0.0.1:8080`", s.file, top.Line)}
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, node := top.Content[i], top.Content[i+1]
		at := fmt.Sprintf("%s:%d", s.file, key.Line)
		before, twice := s.keys[key.Value]
		switch {
		case !known[key.Value]:
			problems = append(problems, unknownKey(at, key.Value, slices.Collect(maps.Keys(known))))
			continue
		case twice:
			problems = append(problems, fmt.Errorf("%s: %q is set a second time; the first is in line %d", at, key.Value, before.line))
			continue
		}
		v, err := valueOf(node)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %q: %w", at, key.Value, err))
			continue
		}
		v.line = key.Line
		s.keys[key.Value] = v
	}
	return problems
}

func unknownKey(at, key string, known []string) error {
	if n := nearest.Name(strings.ToLower(strings.ReplaceAll(key, "_", "-")), known); n != "" {
		return fmt.Errorf("%s: unknown key %q, did you mean %q?", at, key, n)
	}
	return fmt.Errorf("%s: unknown key %q: no flag has this name", at, key)
}

// valueOf writes a node as it would stand behind its flag.
func valueOf(n *yaml.Node) (fileValue, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		return fileValue{text: n.Value, set: n.Tag != "!!null"}, nil
	case yaml.SequenceNode:
		var parts []string
		for _, c := range n.Content {
			if c.Kind != yaml.ScalarNode {
				return fileValue{}, errors.New("want a list of plain values")
			}
			parts = append(parts, c.Value)
		}
		return fileValue{text: strings.Join(parts, ","), set: true}, nil
	default:
		return fileValue{}, errors.New("want a value or a list of values")
	}
}

// Validate is part of kong.Resolver; load has done it.
func (s *settings) Validate(*kong.Application) error { return nil }

// Resolve gives kong the value of a flag that the command line does not set.
func (s *settings) Resolve(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
	value, from, ok := s.value(f)
	if !ok {
		return nil, nil //nolint:nilnil // kong's way to say that there is none
	}
	if err := try(f, value); err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	s.used[f.Name] = from
	return value, nil
}

// value finds a flag's value in the environment or the file, and says where.
func (s *settings) value(f *kong.Flag) (value, from string, ok bool) {
	if !configurable(f) {
		return "", "", false
	}
	if v, ok := s.env[envName(f.Name)]; ok {
		return v, "environment variable " + envName(f.Name), true
	}
	if v, ok := s.keys[f.Name]; ok && v.set {
		return v.text, fmt.Sprintf("%s:%d", s.file, v.line), true
	}
	return "", "", false
}

// try parses a value as the flag would, and changes nothing.
func try(f *kong.Flag, value string) error {
	token := kong.Token{Value: value, Type: kong.FlagValueToken}
	if err := f.Mapper.Decode(&kong.DecodeContext{Value: f.Value, Scan: kong.ScanFromTokens(token)}, reflect.New(f.Target.Type()).Elem()); err != nil {
		return err
	}
	if f.Enum == "" {
		return nil
	}
	values := []string{value}
	if f.IsSlice() {
		values = strings.Split(value, ",")
	}
	allowed := f.EnumSlice()
	for _, v := range values {
		if !slices.Contains(allowed, v) {
			return fmt.Errorf("must be one of %s but got %q", strings.Join(allowed, ", "), v)
		}
	}
	return nil
}
