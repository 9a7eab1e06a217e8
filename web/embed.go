// Package web holds the pages that the binary serves, as they were built. Their
// sources are beside it; make web builds them.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Dashboard gives the files of the gateway's page.
func Dashboard() (fs.FS, error) { return fs.Sub(dist, "dist") }
