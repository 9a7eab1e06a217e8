// Lzstock is a market data gateway in one binary; `lzstock --help` says how.
package main

import (
	"context"
	"os"

	"github.com/lzstock/lzstock/internal/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}
