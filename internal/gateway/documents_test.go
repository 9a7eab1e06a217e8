package gateway

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lzstock/lzstock/docs"
	"github.com/lzstock/lzstock/internal/apidocs/schemas"
	"github.com/lzstock/lzstock/internal/session"
	"github.com/lzstock/lzstock/market"
)

func openAPI(t *testing.T) *schemas.Document {
	t.Helper()
	d, err := schemas.New(docs.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// routes walks the code for the paths that the gateway answers: with the method that
// a pattern names, or "".
func routes(t *testing.T) map[string][]string {
	t.Helper()
	pattern := regexp.MustCompile(`^(?:([A-Z]+) )?(/(?:v\d|docs)[^ ?]*)$`)
	out := map[string][]string{}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") || f.Name() == "admin.go" {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				s, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				if m := pattern.FindStringSubmatch(s); m != nil && !strings.HasSuffix(m[2], "/") {
					out[m[2]] = append(out[m[2]], m[1])
				}
			}
			return true
		})
	}
	return out
}

// TestRoutesAreDocumented has every path of the gateway in openapi.yaml, with its
// methods, and every call there answered by a route of its own.
func TestRoutesAreDocumented(t *testing.T) {
	d := openAPI(t)
	paths, _ := d.At("paths").(map[string]any)
	found := routes(t)
	if len(found) < 15 {
		t.Errorf("only %v are found", slices.Sorted(maps.Keys(found)))
	}
	for path, methods := range found {
		item, ok := paths[path].(map[string]any)
		if !ok {
			t.Errorf("%s is not documented", path)
			continue
		}
		for _, m := range methods {
			if m != "" && m != http.MethodOptions && item[strings.ToLower(m)] == nil {
				t.Errorf("%s %s is not documented", m, path)
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ho := newHouse(t, Config{Prices: &shelf{}})
		for path, item := range paths {
			for method := range item.(map[string]any) {
				if method == "parameters" {
					continue
				}
				real := strings.NewReplacer("{symbol}", "AAPL", "{id}", "x", "{feed}", "iex", "{loc}", "us").Replace(path)
				_, pattern := ho.g.mux.Handler(httptest.NewRequest(strings.ToUpper(method), real, nil))
				if got := pattern[strings.IndexByte(pattern, '/'):]; got != path {
					t.Errorf("%s %s is answered by %q", method, path, pattern)
				}
			}
		}
	})
}

// TestParametersAreDocumented has the same parameters in openapi.yaml as the parsers
// know.
func TestParametersAreDocumented(t *testing.T) {
	d := openAPI(t)
	names := func(path string) (out []string) {
		list, _ := d.At("paths", path, "get", "parameters").([]any)
		for _, p := range list {
			ref, _ := p.(map[string]any)
			if to, ok := ref["$ref"].(string); ok {
				ref, _ = d.At(strings.Split(strings.TrimPrefix(to, "#/"), "/")...).(map[string]any)
			}
			if ref["in"] == "query" {
				out = append(out, ref["name"].(string))
			}
		}
		slices.Sort(out)
		return out
	}
	for path, p := range map[string]priceParams{
		"/v1/symbols": {list: true}, "/v2/stocks/bars": {symbols: 1, bars: true}, "/v2/stocks/{symbol}/bars": {bars: true},
		"/v2/stocks/snapshots": {symbols: 1}, "/v2/stocks/{symbol}/snapshot": {}, "/v2/stocks/trades/latest": {symbols: 1},
	} {
		if got, want := names(path), p.names(); !slices.Equal(got, want) {
			t.Errorf("%s has the parameters %v in the document, want %v", path, got, want)
		}
	}
	want := []string{"delivery", "hb_ms", "interval_ms", "session_id", "since", "snapshot"}
	for _, c := range market.Channels() {
		want = append(want, c.String())
	}
	slices.Sort(want)
	for _, path := range []string{"/v1/stream", eventsPath} {
		if got := names(path); !slices.Equal(got, want) {
			t.Errorf("%s has the parameters %v in the document, want %v", path, got, want)
		}
	}
	var words []string
	for _, f := range market.Timeframes() {
		words = append(words, f.String())
	}
	enum, _ := d.At("components", "parameters", "timeframe", "schema", "enum").([]any)
	for _, e := range enum {
		if _, err := market.ParseTimeframe(e.(string)); err != nil {
			t.Error(err)
		}
		words = slices.DeleteFunc(words, func(w string) bool { return w == e })
	}
	if len(words) > 0 {
		t.Errorf("timeframes %v are not in the document", words)
	}
}

// documented holds an answer to what the document says of its path, method and status.
func documented(t *testing.T, d *schemas.Document, path, method string, resp *http.Response, text string) {
	t.Helper()
	status := strconv.Itoa(resp.StatusCode)
	if d.At("paths", path, method, "responses", status) == nil {
		status = "default"
	}
	content, _ := d.At("paths", path, method, "responses", status, "content").(map[string]any)
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if len(content) == 0 && text == "" {
		return
	}
	if content[kind] == nil {
		t.Errorf("%s %s: %d comes as %s, the document has %v", method, path, resp.StatusCode, kind, slices.Collect(maps.Keys(content)))
		return
	}
	if !strings.HasSuffix(kind, "json") {
		return
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace
	place := "paths/" + escape(path) + "/" + method + "/responses/" + status + "/content/" + escape(kind) + "/schema"
	if status == "default" {
		place = "components/schemas/Problem"
	}
	if err := d.Check(place, []byte(text)); err != nil {
		t.Errorf("%s %s: %d %s\n%v", method, path, resp.StatusCode, text, err)
	}
}

// TestAnswersAreAsDocumented holds real answers to the document's schemas.
func TestAnswersAreAsDocumented(t *testing.T) {
	d := openAPI(t)
	priced(t, Config{Symbols: 10}, func(ho *house, desk *desk, _ *shelf) {
		synctest.Wait()
		desk.key("a", session.Grant{Symbols: []session.Pattern{"A*"}, Limits: session.Limits{Symbols: 5}})
		id := ho.session("alice", `{"trades":["AAPL"],"delivery":"latest","interval_ms":500}`)
		seen := map[string]bool{}
		for _, c := range []struct{ method, path, query, body, user string }{
			{"get", "/v2/stocks/snapshots", "?symbols=AAPL,NONE", "", "alice"},
			{"get", "/v2/stocks/snapshots", "", "", "alice"},
			{"get", "/v2/stocks/snapshots", "?symbols=B", "", "a"},
			{"get", "/v2/stocks/snapshots", "?symbols=AAPL", "", "eve"},
			{"get", "/v2/stocks/trades/latest", "?symbols=AAPL,NONE", "", "alice"},
			{"get", "/v2/stocks/quotes/latest", "?symbols=AAPL", "", "alice"},
			{"get", "/v2/stocks/bars/latest", "?symbols=AAPL", "", "alice"},
			{"get", "/v2/stocks/bars", "?symbols=AAPL,MSFT&timeframe=1Day", "", "alice"},
			{"get", "/v2/stocks/bars", "?symbols=AAPL,MSFT&timeframe=1Week", "", "alice"},
			{"get", "/v2/stocks/{symbol}/snapshot", "", "", "alice"},
			{"get", "/v2/stocks/{symbol}/trades/latest", "", "", "alice"},
			{"get", "/v2/stocks/{symbol}/quotes/latest", "", "", "alice"},
			{"get", "/v2/stocks/{symbol}/bars/latest", "", "", "alice"},
			{"get", "/v2/stocks/{symbol}/bars", "?timeframe=1T", "", "alice"},
			{"get", "/v1/symbols", "", "", "alice"},
			{"get", "/v1/symbols", "?limit=2", "", "a"},
			{"post", "/v1/sessions", "", `{"trades":["AAPL","MSFT"],"interval_ms":500,"delivery":"latest"}`, "a"},
			{"post", "/v1/sessions", "", `[]`, "a"},
			{"get", "/v1/sessions/{id}", "", "", "alice"},
			{"get", "/v1/sessions/{id}", "", "", "a"},
			{"delete", "/v1/sessions/{id}", "", "", "alice"},
			{"get", "/v1/stream", "", "", "alice"},
			{"get", "/v2/{feed}", "", "", "alice"},
			{"get", "/v1beta3/crypto/{loc}", "", "", "alice"},
			{"get", "/docs", "", "", ""},
			{"get", "/docs/openapi.yaml", "", "", ""},
			{"get", "/docs/asyncapi.yaml", "", "", ""},
		} {
			path := strings.NewReplacer("{symbol}", "AAPL", "{id}", id, "{feed}", "iex", "{loc}", "us").Replace(c.path) + c.query
			h := http.Header{}
			if c.user != "" {
				h = withKey(c.user)
			}
			resp, text := ho.ask(strings.ToUpper(c.method), path, h, c.body)
			documented(t, d, c.path, c.method, resp, text)
			if resp.StatusCode < 300 {
				seen[c.method+" "+c.path] = true
			}
		}
		// All calls that do not upgrade have answered well once.
		paths, _ := d.At("paths").(map[string]any)
		for path, item := range paths {
			for method, op := range item.(map[string]any) {
				if method == "parameters" || d.At("paths", path, method, "responses", "101") != nil || d.At("paths", path, method, "responses", "200", "content", "text/event-stream") != nil {
					continue
				}
				if !seen[method+" "+path] {
					t.Errorf("%s %s (%v) was not seen to answer well", method, path, op.(map[string]any)["operationId"])
				}
			}
		}
	})
}

// TestDocumentsAreServed to anybody, with headers that let a browser show the page
// and nothing more.
func TestDocumentsAreServed(t *testing.T) {
	one(t, Config{Opens: 3}, func(ho *house, _ *desk) {
		resp, text := ho.ask("GET", "/docs", nil, "")
		policy := resp.Header.Get("Content-Security-Policy")
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") ||
			resp.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(text, "<!doctype html>") {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
		for path, want := range map[string][]byte{"/docs/openapi.yaml": docs.OpenAPI, "/docs/asyncapi.yaml": docs.AsyncAPI} {
			if _, text := ho.ask("GET", path, nil, ""); text != string(want) {
				t.Errorf("%s is not the document", path)
			}
		}
		limited := 0
		for range 10 {
			if resp, _ := ho.ask("GET", "/docs", nil, ""); resp.StatusCode == http.StatusTooManyRequests {
				limited++
			}
		}
		if limited == 0 {
			t.Error("an address may ask as often as it likes")
		}
		time.Sleep(time.Minute)
		if resp, _ := ho.ask("POST", "/docs", nil, ""); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET" {
			t.Errorf("POST: %d, allow %q", resp.StatusCode, resp.Header.Get("Allow"))
		}
	})
}
