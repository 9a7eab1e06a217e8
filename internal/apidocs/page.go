package apidocs

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // of the template and its style sheet
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
)

//go:embed page.html
var pageText string

//go:embed style.css
var style string

// Page is a page, and what a browser must be told to show it.
type Page struct {
	HTML []byte
	// Policy is the Content-Security-Policy that it needs: it allows the style sheet
	// and nothing else.
	Policy string
}

// document is one of the two, as the template has it.
type document struct {
	ID, Title string
	Text      template.HTML
	Groups    []group
	Shapes    []item
	Closes    []closing
}

// group is what belongs together, with a title.
type group struct {
	Title string
	Text  template.HTML
	Items []item
}

// item is one call, message or shape.
type item struct {
	ID, Method, Path, Summary string
	Text, Body                template.HTML
	Fields, Answers           []field
	Examples                  []string
}

// field is one line of a table.
type field struct {
	Name, Where string
	Required    bool
	Type, Text  template.HTML
}

// closing is one close code.
type closing struct{ Code, Error, Reasons, Client string }

// New makes the page of an OpenAPI and an AsyncAPI document, both in YAML.
func New(openAPI, asyncAPI []byte) (*Page, error) {
	over, err := overHTTP(openAPI)
	if err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	sockets, err := overSockets(asyncAPI)
	if err != nil {
		return nil, fmt.Errorf("AsyncAPI document: %w", err)
	}
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return nil, fmt.Errorf("the page's template: %w", err)
	}
	var out bytes.Buffer
	data := struct {
		Style     template.CSS
		Documents []document
	}{template.CSS(style), []document{over, sockets}} //nolint:gosec // it is ours
	if err := t.Execute(&out, data); err != nil {
		return nil, fmt.Errorf("the page: %w", err)
	}
	if !bytes.Contains(out.Bytes(), []byte("<style>"+style+"</style>")) {
		return nil, errors.New("the page: its style sheet is not as it was written, and its hash would be wrong")
	}
	hash := sha256.Sum256([]byte(style))
	return &Page{
		HTML: out.Bytes(),
		Policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}, nil
}
