package apidocs

import (
	"cmp"
	"errors"
	"html/template"
	"slices"
	"strings"
)

// methods are those of HTTP that a path may have.
func methods() []string { return []string{"get", "post", "put", "patch", "delete"} }

// overHTTP reads an OpenAPI document.
func overHTTP(text []byte) (document, error) {
	root, err := parse(text)
	if err != nil {
		return document{}, err
	}
	b := &book{name: "http", root: root}
	d := document{ID: b.name, Title: root.at("info", "title").text(), Text: paragraphs(root.at("info", "description").text()), Shapes: b.shapes()}
	for _, tag := range root.at("tags").list() {
		g := group{Title: tag.at("name").text(), Text: paragraphs(tag.at("description").text())}
		for path, at := range root.at("paths").pairs() {
			for method, op := range at.pairs() {
				if slices.Contains(methods(), method) && slices.Contains(op.at("tags").texts(), g.Title) {
					g.Items = append(g.Items, b.call(path, method, at, op))
				}
			}
		}
		d.Groups = append(d.Groups, g)
	}
	if d.Title == "" || len(d.Groups) == 0 {
		return document{}, errors.New("it has no title, or no tags")
	}
	return d, nil
}

func (b *book) call(path, method string, at, op node) item {
	c := item{
		ID: b.anchor(op.at("operationId").text()), Method: strings.ToUpper(method), Path: path,
		Summary: op.at("summary").text(), Text: paragraphs(op.at("description").text()),
	}
	for _, p := range append(at.at("parameters").list(), op.at("parameters").list()...) {
		p = b.resolve(p)
		c.Fields = append(c.Fields, field{
			Name: p.at("name").text(), Where: p.at("in").text(), Required: p.at("required").text() == "true",
			Type: b.kind(p.at("schema")), Text: inline(p.at("description").text()),
		})
	}
	for _, content := range op.at("requestBody", "content").pairs() {
		c.Body = b.kind(content.at("schema"))
	}
	for status, answer := range op.at("responses").pairs() {
		answer = b.resolve(answer)
		f := field{Name: status, Text: inline(answer.at("description").text())}
		if status == "default" {
			f.Name = "otherwise"
		}
		for _, content := range answer.at("content").pairs() {
			f.Type = b.kind(content.at("schema"))
		}
		c.Answers = append(c.Answers, f)
	}
	return c
}

// overSockets reads an AsyncAPI document.
func overSockets(text []byte) (document, error) {
	root, err := parse(text)
	if err != nil {
		return document{}, err
	}
	b := &book{name: "sockets", root: root}
	d := document{ID: b.name, Title: root.at("info", "title").text(), Text: paragraphs(root.at("info", "description").text()), Shapes: b.shapes()}
	for name, channel := range root.at("channels").pairs() {
		g := group{
			Title: channel.at("address").text() + ": " + cmp.Or(channel.at("title").text(), name),
			Text:  paragraphs(channel.at("description").text()),
		}
		for _, op := range root.at("operations").pairs() {
			if op.at("channel", "$ref").text() != "#/channels/"+name {
				continue
			}
			who := map[string]string{"receive": "client →", "send": "← server"}[op.at("action").text()]
			for _, ref := range op.at("messages").list() {
				g.Items = append(g.Items, b.message(name, who, ref))
			}
		}
		d.Groups = append(d.Groups, g)
	}
	for code, c := range root.at("x-close-codes").pairs() {
		d.Closes = append(d.Closes, closing{code, c.at("error").text(), strings.Join(c.at("reasons").texts(), ", "), c.at("client").text()})
	}
	if d.Title == "" || len(d.Groups) == 0 {
		return document{}, errors.New("it has no title, or no channels")
	}
	return d, nil
}

func (b *book) message(channel, who string, ref node) item {
	path := ref.at("$ref").text()
	name := path[strings.LastIndexByte(path, '/')+1:]
	m := b.resolve(ref)
	out := item{
		ID: b.anchor(channel + "-" + strings.ReplaceAll(who, " ", "") + "-" + name), Method: who, Path: name,
		Summary: m.at("summary").text(), Body: template.HTML(""),
	}
	out.Answers = []field{{Name: "message", Type: b.kind(m.at("payload"))}}
	for _, e := range m.at("examples").list() {
		out.Examples = append(out.Examples, e.at("payload").json())
	}
	return out
}
