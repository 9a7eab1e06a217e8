package auth

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lzstock/lzstock/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// write puts a file in place at once, as editors and Kubernetes do.
func write(tb testing.TB, path, text string) string {
	tb.Helper()
	if !filepath.IsAbs(path) {
		path = filepath.Join(tb.TempDir(), path)
	}
	must(tb, os.WriteFile(path+".new", []byte(text), 0o600))
	must(tb, os.Rename(path+".new", path))
	return path
}
