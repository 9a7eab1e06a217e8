package web_test

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/lzstock/lzstock/internal/page"
	"github.com/lzstock/lzstock/web"
)

// TestDashboard looks at what is embedded: it can be served, its page names files
// that are there, and needs nothing that its policy forbids.
func TestDashboard(t *testing.T) {
	files, err := web.Dashboard()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := page.New(files, "/"); err != nil {
		t.Fatal(err)
	}
	html, err := fs.ReadFile(files, page.Index)
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?:src|href)="/([^"]+)"`).FindAllSubmatch(html, -1)
	if len(named) < 3 {
		t.Fatalf("the page names %d files: want its script, its style and its icon at least\n%s", len(named), html)
	}
	for _, m := range named {
		if _, err := fs.Stat(files, string(m[1])); err != nil {
			t.Errorf("the page names a file that is not there: %v", err)
		}
	}
	for _, inline := range []string{"<style", " style=", "javascript:", " onload="} {
		if strings.Contains(string(html), inline) {
			t.Errorf("the page has %q, which its policy forbids", inline)
		}
	}
	if regexp.MustCompile(`<script[^>]*>[^<]`).Match(html) {
		t.Error("the page has an inline script, which its policy forbids")
	}
}
