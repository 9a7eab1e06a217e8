// Package apidocs makes one readable page of an OpenAPI and an AsyncAPI document.
//
// The page is plain HTML with one style sheet inside: it runs no script, loads
// nothing, and needs no more from a Content-Security-Policy than the sheet's hash,
// which comes with it. It knows the parts of the two formats that LZStock's documents
// use, and fails on a document without them.
package apidocs
