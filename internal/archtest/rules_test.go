package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const module = "github.com/lzstock/lzstock/"

// maxLines is how long a file that is not a test may be.
const maxLines = 400

// goAllowed lists the files that may start goroutines with a go statement, with
// the reason. All others use an errgroup or a WaitGroup, whose owner waits.
var goAllowed = map[string]string{}

// longAllowed lists the files that may be longer than maxLines, with the reason.
var longAllowed = map[string]string{}

// core are the packages that know no transport. They may know each other, and
// of the rest of the project nothing.
var core = []string{"market", "internal/wire", "internal/mailbox", "internal/hub", "internal/bridge", "internal/session", "internal/delay"}

// coreForeign are import paths that the core must not use, with all below them.
var coreForeign = []string{
	"net/http", "github.com/gobwas", "github.com/nats-io", "google.golang.org", "github.com/alecthomas",
}

// edges are the packages that each know one outside world. They know the core,
// and never each other: app joins them.
var edges = []string{
	"internal/gateway", "internal/upstream", "internal/monitor", "internal/ingest", "internal/bus", "internal/feed",
	"internal/auth", "internal/watch", "internal/publish",
}

// testOnly are the packages that only tests may import.
var testOnly = []string{"internal/memnet", "internal/leak", "internal/archtest", "internal/testcert", "internal/session/kvtest", "internal/apidocs/schemas"}

// importers lists who may import the packages that join others: all others must
// not. A package may always be imported by its own folder.
var importers = map[string][]string{
	"internal/app": {"internal/cli", "e2e"},
	"internal/cli": {"cmd", "e2e"},
}

// source is one parsed file.
type source struct {
	path  string // from the module's root, with slashes
	test  bool
	gen   bool
	lines int
	fset  *token.FileSet
	ast   *ast.File
}

// folder is the package's path in the module.
func (s source) folder() string { return path.Dir(s.path) }

func parse(fset *token.FileSet, name string, text []byte) (source, error) {
	f, err := parser.ParseFile(fset, name, text, parser.SkipObjectResolution|parser.ParseComments)
	if err != nil {
		return source{}, err
	}
	return source{
		path:  name,
		test:  strings.HasSuffix(name, "_test.go"),
		gen:   ast.IsGenerated(f),
		lines: strings.Count(string(text), "\n"),
		fset:  fset,
		ast:   f,
	}, nil
}

// load parses all Go files of the module; other modules inside it are left out.
func load(root string) ([]source, error) {
	var out []source
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			_, noModule := os.Stat(filepath.Join(p, "go.mod"))
			if rel != "." && (noModule == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		s, err := parse(fset, rel, text)
		if err != nil {
			return err
		}
		out = append(out, s)
		return nil
	})
	return out, err
}

// bareGo reports go statements outside tests.
func bareGo(all []source) (bad []string) {
	for _, s := range all {
		if s.test || s.gen || goAllowed[s.path] != "" {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				bad = append(bad, fmt.Sprintf("%s: go statement; use an errgroup or WaitGroup.Go that someone waits on", s.fset.Position(g.Pos())))
			}
			return true
		})
	}
	return bad
}

// within tells whether p is one of the paths or below one.
func within(p string, paths []string) bool {
	return slices.ContainsFunc(paths, func(q string) bool { return p == q || strings.HasPrefix(p, q+"/") })
}

// imports calls f with each import of s: a path in the module, or a foreign one.
func (s source) imports(f func(p string, ours bool)) {
	for _, i := range s.ast.Imports {
		p := strings.Trim(i.Path.Value, `"`)
		ours, ok := strings.CutPrefix(p, module)
		if ok {
			f(ours, true)
		} else {
			f(p, false)
		}
	}
}

// direction reports imports that point outward. Tests may import what they like.
func direction(all []source) (bad []string) {
	for _, s := range all {
		if s.test || s.gen {
			continue
		}
		from := s.folder()
		s.imports(func(p string, ours bool) {
			if why := refuse(from, p, ours); why != "" {
				bad = append(bad, fmt.Sprintf("%s imports %s: %s", s.path, p, why))
			}
		})
	}
	return bad
}

// refuse says why the package from must not import p, or nothing.
func refuse(from, p string, ours bool) string {
	if !ours {
		switch {
		case from == "market" && strings.Contains(strings.Split(p, "/")[0], "."):
			return "market knows the standard library only"
		case within(from, core) && within(p, coreForeign):
			return "the core knows no transport"
		}
		return ""
	}
	same := within(p, []string{from}) || within(from, []string{p})
	switch {
	case same:
		return ""
	case from == "market":
		return "market knows the standard library only"
	case within(from, core) && !within(p, core):
		return "the core knows only the core"
	case within(from, edges) && within(p, edges) && !sameEdge(from, p):
		return "edges never know each other; let internal/app join them"
	case within(p, testOnly) && !within(from, testOnly):
		return "only tests may import it"
	}
	for joined, may := range importers {
		if within(p, []string{joined}) && !within(from, append(may, joined)) {
			return "only " + strings.Join(may, " and ") + " may import it"
		}
	}
	return ""
}

// sameEdge tells whether both belong to one edge, as its folders do.
func sameEdge(a, b string) bool {
	return slices.ContainsFunc(edges, func(e string) bool {
		return within(a, []string{e}) && within(b, []string{e})
	})
}

// long reports files that nobody reads in one go.
func long(all []source) (bad []string) {
	for _, s := range all {
		if !s.test && !s.gen && s.lines > maxLines && longAllowed[s.path] == "" {
			bad = append(bad, fmt.Sprintf("%s has %d lines, more than %d: split it, or list it in longAllowed with a reason", s.path, s.lines, maxLines))
		}
	}
	return bad
}

// undocumented reports packages without a comment that says what they are.
func undocumented(all []source) (bad []string) {
	documented := map[string]bool{}
	for _, s := range all {
		if s.gen || strings.HasSuffix(s.ast.Name.Name, "_test") {
			continue
		}
		documented[s.folder()] = documented[s.folder()] || s.ast.Doc != nil
	}
	for folder, ok := range documented {
		if !ok {
			bad = append(bad, folder+": no package comment; add a doc.go that says what it owns and promises")
		}
	}
	slices.Sort(bad)
	return bad
}

// unchecked reports packages that start goroutines without a TestMain that
// checks for leaks.
func unchecked(all []source) (bad []string) {
	starts, checks := map[string]token.Position{}, map[string]bool{}
	for _, s := range all {
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok && !s.test && !s.gen {
				starts[s.folder()] = s.fset.Position(n.Pos())
			}
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch x, _ := sel.X.(*ast.Ident); {
			case !s.test && !s.gen && sel.Sel.Name == "Go":
				starts[s.folder()] = s.fset.Position(call.Pos())
			case s.test && x != nil && x.Name == "leak" && sel.Sel.Name == "Main":
				checks[s.folder()] = true
			}
			return true
		})
	}
	for folder, pos := range starts {
		if !checks[folder] {
			bad = append(bad, fmt.Sprintf("%s starts a goroutine, but no TestMain of %s calls leak.Main", pos, folder))
		}
	}
	slices.Sort(bad)
	return bad
}
