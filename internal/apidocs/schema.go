package apidocs

import (
	"html"
	"html/template"
	"strings"
)

// book is a document with a name, which its anchors begin with.
type book struct {
	name string
	root node
}

// resolve follows a reference within the document.
func (b *book) resolve(n node) node {
	for range 10 { // no document of ours goes further
		ref := n.at("$ref").text()
		path, ok := strings.CutPrefix(ref, "#/")
		if !ok {
			return n
		}
		n = b.root.at(strings.Split(path, "/")...)
	}
	return n
}

// shapes lists the schemas of the document.
func (b *book) shapes() (out []item) {
	for name, schema := range b.root.at("components", "schemas").pairs() {
		s := item{ID: b.anchor(name), Path: name, Summary: firstLine(schema.at("description").text()), Body: b.kind(schema)}
		inner := schema
		if items := schema.at("items"); items.at("properties").exists() {
			inner = items
		}
		s.Fields = b.fields("", inner)
		if e := schema.at("example"); e.exists() {
			s.Examples = append(s.Examples, e.json())
		}
		out = append(out, s)
	}
	return out
}

func (b *book) anchor(name string) string { return b.name + "-" + name }

// fields lists the properties of an object, those of objects within it, too.
func (b *book) fields(prefix string, schema node) (out []field) {
	required := map[string]bool{}
	for _, name := range schema.at("required").texts() {
		required[name] = true
	}
	for name, p := range schema.at("properties").pairs() {
		out = append(out, field{
			Name: prefix + name, Required: required[name], Type: b.kind(p), Text: inline(p.at("description").text()),
		})
		out = append(out, b.fields(prefix+name+".", p)...)
		out = append(out, b.fields(prefix+name+"[].", p.at("items"))...)
	}
	return out
}

// kind says in a few words what a schema allows; references are links.
func (b *book) kind(s node) template.HTML {
	return template.HTML(b.words(s)) //nolint:gosec // words escapes
}

func (b *book) words(s node) string {
	if name, ok := strings.CutPrefix(s.at("$ref").text(), "#/components/schemas/"); ok {
		name = html.EscapeString(name)
		return `<a href="#` + b.anchor(name) + `">` + name + `</a>`
	}
	if c := s.at("const"); c.exists() {
		return "<code>" + html.EscapeString(c.text()) + "</code>"
	}
	if list := s.at("enum").texts(); len(list) > 0 {
		for i, e := range list {
			list[i] = "<code>" + html.EscapeString(e) + "</code>"
		}
		return strings.Join(list, ", ")
	}
	for _, key := range []string{"oneOf", "anyOf"} {
		var list []string
		for _, one := range s.at(key).list() {
			if w := b.words(one); w != "" {
				list = append(list, w)
			}
		}
		if len(list) > 0 {
			return strings.Join(list, " or ")
		}
	}
	kind := s.at("type").text()
	if several := s.at("type").texts(); len(several) > 0 {
		kind = strings.Join(several, " or ")
	}
	switch {
	case s.at("items").exists():
		kind = "list of " + orThings(b.words(s.at("items")))
	case kind == "object" && s.at("additionalProperties", "$ref").exists():
		kind = "by name: " + b.words(s.at("additionalProperties"))
	case kind == "object" && s.at("additionalProperties", "items").exists():
		kind = "by name: " + b.words(s.at("additionalProperties"))
	default:
		kind = html.EscapeString(kind)
	}
	low, high := s.at("minimum").text(), s.at("maximum").text()
	switch {
	case low != "" && high != "":
		kind += ", " + html.EscapeString(low) + " to " + html.EscapeString(high)
	case low != "":
		kind += ", " + html.EscapeString(low) + " or more"
	}
	if d := s.at("default").text(); d != "" {
		kind += ", <code>" + html.EscapeString(d) + "</code> by default"
	}
	return kind
}

func orThings(s string) string {
	if s == "" || s == "object" {
		return "objects"
	}
	return s
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// inline writes a description within a line.
func inline(s string) template.HTML {
	p := strings.TrimSuffix(strings.TrimPrefix(string(paragraphs(strings.ReplaceAll(s, "\n\n", " "))), "<p>"), "</p>\n")
	return template.HTML(p) //nolint:gosec // paragraphs escapes
}
