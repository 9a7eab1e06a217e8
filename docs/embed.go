// Package docs holds the documents of the client protocol that programs read, so that
// a gateway can serve them.
package docs

import _ "embed" // of the documents

// OpenAPI says what a gateway answers over HTTP: OpenAPI 3.1, in YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte

// AsyncAPI says what is said on its WebSockets: AsyncAPI 3.0, in YAML.
//
//go:embed asyncapi.yaml
var AsyncAPI []byte
