package apidocs

import (
	"encoding/json"
	"errors"
	"html"
	"html/template"
	"iter"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// node is a place in a document. Its methods take what is missing for empty.
type node struct{ *yaml.Node }

func parse(text []byte) (node, error) {
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil {
		return node{}, err
	}
	if len(n.Content) != 1 || n.Content[0].Kind != yaml.MappingNode {
		return node{}, errors.New("want a mapping at the top")
	}
	return node{n.Content[0]}, nil
}

// at goes down by keys.
func (n node) at(keys ...string) node {
	for _, key := range keys {
		next := node{}
		for name, child := range n.pairs() {
			if name == key {
				next = child
			}
		}
		n = next
	}
	return n
}

// pairs gives the fields of a mapping, in order.
func (n node) pairs() iter.Seq2[string, node] {
	return func(yield func(string, node) bool) {
		if n.Node == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i].Value, node{n.Content[i+1]}) {
				return
			}
		}
	}
}

// list gives the elements of a sequence.
func (n node) list() (out []node) {
	if n.Node == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	for _, c := range n.Content {
		out = append(out, node{c})
	}
	return out
}

// text gives a scalar.
func (n node) text() string {
	if n.Node == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// texts gives the scalars of a sequence.
func (n node) texts() (out []string) {
	for _, e := range n.list() {
		out = append(out, e.text())
	}
	return out
}

func (n node) exists() bool { return n.Node != nil }

// json writes a place as JSON, for examples.
func (n node) json() string {
	var v any
	if err := n.Decode(&v); err != nil {
		return ""
	}
	out, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(out)
}

// paragraphs writes a description as HTML: paragraphs, `code` and links of this host.
func paragraphs(text string) template.HTML {
	code := regexp.MustCompile("`([^`]+)`")
	link := regexp.MustCompile(`\[([^\]]+)\]\((/[^)\s]*)\)`)
	var out strings.Builder
	for p := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if p = strings.TrimSpace(p); p == "" {
			continue
		}
		p = html.EscapeString(p)
		p = code.ReplaceAllString(p, "<code>$1</code>")
		out.WriteString("<p>" + link.ReplaceAllString(p, `<a href="$2">$1</a>`) + "</p>\n")
	}
	return template.HTML(out.String()) //nolint:gosec // it was escaped above
}
