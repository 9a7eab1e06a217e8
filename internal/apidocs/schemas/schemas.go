// Package schemas holds what is said to what the documents of the protocol say, for
// tests.
package schemas

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// Document is an OpenAPI or AsyncAPI document.
type Document struct {
	// Tree is all of it.
	Tree map[string]any

	compiler *jsonschema.Compiler
}

const address = "document.json"

// New reads a document.
func New(text []byte) (*Document, error) {
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	data, err := json.Marshal(plain(tree))
	if err != nil {
		return nil, err
	}
	d := &Document{compiler: jsonschema.NewCompiler()}
	if err := json.Unmarshal(data, &d.Tree); err != nil {
		return nil, err
	}
	resource, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	return d, d.compiler.AddResource(address, resource)
}

// plain gives YAML's values as JSON has them: numbers may be keys only there.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			v[key] = plain(value)
		}
	case map[any]any:
		out := map[string]any{}
		for key, value := range v {
			out[fmt.Sprint(key)] = plain(value)
		}
		return out
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	}
	return v
}

// Check says how a JSON text breaks the schema at a place, such as
// "components/schemas/Bar".
func (d *Document) Check(place string, text []byte) error {
	schema, err := d.compiler.Compile(address + "#/" + place)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// At gives a part of the document, nil where there is none. References are followed.
func (d *Document) At(keys ...string) any {
	var v any = d.Tree
	for _, key := range keys {
		m, _ := v.(map[string]any)
		v = m[key]
		if inner, ok := v.(map[string]any); ok {
			if ref, ok := inner["$ref"].(string); ok {
				v = d.At(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			}
		}
	}
	return v
}
