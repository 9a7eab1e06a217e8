// Package ops holds the operator's page, as it was built. Its sources are beside it;
// make web builds them.
package ops

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Files gives the page's files.
func Files() (fs.FS, error) { return fs.Sub(dist, "dist") }
