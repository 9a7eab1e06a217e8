// Package names reads files that say what trades under symbols.
//
// A file is CSV with two columns, the symbol and the name, and may begin with the
// line symbol,name. Lines that begin with # are left out.
package names

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lzstock/lzstock/market"
)

const (
	maxNames = 1_000_000
	maxName  = 200 // bytes
)

// File reads a file.
func File(path string) (map[market.Symbol]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("names: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	out, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("names in %s: %w", path, err)
	}
	return out, nil
}

// Read reads what a file holds. The error names the line.
func Read(r io.Reader) (map[market.Symbol]string, error) {
	c := csv.NewReader(r)
	c.Comment, c.FieldsPerRecord, c.TrimLeadingSpace, c.ReuseRecord = '#', -1, true, true
	out := map[market.Symbol]string{}
	for first := true; ; first = false {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := c.FieldPos(0)
		if len(row) != 2 {
			return nil, fmt.Errorf("line %d: %d columns, want two: symbol,name (a name with a comma stands in quotes)", line, len(row))
		}
		symbol, name := market.Symbol(strings.TrimSpace(strings.TrimPrefix(row[0], "\ufeff"))), strings.TrimSpace(row[1])
		if first && symbol == "symbol" && name == "name" {
			continue
		}
		switch err := symbol.Validate(); {
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", line, err)
		case name == "":
			return nil, fmt.Errorf("line %d: %s has an empty name: leave the line out", line, symbol)
		case len(name) > maxName:
			return nil, fmt.Errorf("line %d: the name of %s has %d bytes, want %d at the most", line, symbol, len(name), maxName)
		case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
			return nil, fmt.Errorf("line %d: the name of %s is not plain text in UTF-8", line, symbol)
		}
		if _, twice := out[symbol]; twice {
			return nil, fmt.Errorf("line %d: %s comes twice", line, symbol)
		}
		if out[symbol] = name; len(out) > maxNames {
			return nil, fmt.Errorf("line %d: more than %d names", line, maxNames)
		}
	}
}

// Write writes a file that Read reads, of names in some order.
func Write(w io.Writer, names map[market.Symbol]string) error {
	c := csv.NewWriter(w)
	rows := [][]string{{"symbol", "name"}}
	for symbol, name := range names {
		rows = append(rows, []string{string(symbol), name})
	}
	if err := c.WriteAll(rows); err != nil {
		return fmt.Errorf("write names: %w", err)
	}
	return nil
}
