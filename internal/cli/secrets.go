package cli

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/lzstock/lzstock/internal/safetext"
)

// Tags of flags that say what is secret in their values.
const (
	secretTag  = "secret"  // all of it
	serversTag = "servers" // the users of URLs in a comma list, which may lack their schemes
)

// commandLine returns the program's name and its arguments, with secrets hidden.
func commandLine(model *kong.Node, args []string) []string {
	out, tag := []string{"lzstock"}, ""
	for _, arg := range args {
		prefix, value := "", arg
		if name, is := strings.CutPrefix(arg, "--"); is && tag == "" {
			name, given, both := strings.Cut(name, "=")
			tag = tagOf(model, name)
			if !both {
				out = append(out, arg)
				continue
			}
			prefix, value = "--"+name+"=", given
		}
		switch tag {
		case secretTag:
			value = "***"
		case serversTag:
			value = safetext.List(value)
		default:
			value = safetext.Redact(value)
		}
		out, tag = append(out, prefix+value), ""
	}
	return out
}

// tagOf returns which of the tags above a flag of any subcommand has.
func tagOf(model *kong.Node, name string) string {
	for _, f := range allFlags(model) {
		if f.Name != name && !slices.Contains(f.Aliases, name) {
			continue
		}
		for _, tag := range []string{secretTag, serversTag} {
			if f.Tag.Has(tag) {
				return tag
			}
		}
	}
	return ""
}
