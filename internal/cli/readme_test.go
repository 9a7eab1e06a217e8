package cli

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// words splits a line as a shell does, as far as our documents go: single quotes
// and comments.
func words(line string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`'[^']*'|#.*|[^\s']+`).FindAllString(line, -1) {
		if !strings.HasPrefix(m, "#") {
			out = append(out, strings.Trim(m, "'"))
		}
	}
	return out
}

// Every command line in the documents must parse.
func TestDocumentedCommandsParse(t *testing.T) {
	top := filepath.Join("..", "..")
	found := 0
	for _, name := range []string{"README.md", "docs/operations.md"} {
		text, err := os.ReadFile(filepath.Join(top, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range strings.Split(string(text), "```") {
			if i%2 == 0 {
				continue // between blocks
			}
			for line := range strings.SplitSeq(block, "\n") {
				args := words(strings.TrimPrefix(line, "go run ./cmd/"))
				if pipe := slices.Index(args, "|"); pipe >= 0 {
					args = args[pipe+1:]
				}
				if len(args) < 2 || args[0] != "lzstock" {
					continue
				}
				found++
				if _, err := parse(&root{}, &settings{}, io.Discard, args[1:]); err != nil {
					t.Errorf("%s: %s: %v", name, strings.Join(args, " "), err)
				}
			}
		}
	}
	if found < 5 {
		t.Errorf("found %d command lines", found)
	}
}

// Every example in the help must parse.
func TestExamplesInHelpParse(t *testing.T) {
	t.Chdir(t.TempDir()) // the examples name a file
	if err := os.WriteFile("lzstock.yaml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := newParser(&root{}, &settings{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, leaf := range k.Model.Leaves(true) {
		for line := range strings.SplitSeq(leaf.Detail, "\n") {
			args := words(line)
			if pipe := slices.Index(args, "|"); pipe >= 0 {
				args = args[pipe+1:]
			}
			if !strings.HasPrefix(line, "    ") || len(args) < 2 || args[0] != "lzstock" {
				continue
			}
			found++
			if _, err := parse(&root{}, &settings{}, io.Discard, args[1:]); err != nil {
				t.Errorf("%s: %v", strings.Join(args, " "), err)
			}
		}
	}
	if found < 10 {
		t.Errorf("found %d examples", found)
	}
}
