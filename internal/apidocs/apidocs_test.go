package apidocs_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/lzstock/lzstock/docs"
	"github.com/lzstock/lzstock/internal/apidocs"
	"github.com/lzstock/lzstock/internal/apidocs/schemas"
)

// TestOpenAPIIsValid holds the document to the schema of OpenAPI 3.1.
func TestOpenAPIIsValid(t *testing.T) {
	document, err := libopenapi.NewDocument(docs.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(document)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	defer v.Release()
	if ok, errs := v.ValidateDocument(); !ok {
		for _, e := range errs {
			t.Errorf("%s: %s", e.Message, e.Reason)
			for _, s := range e.SchemaValidationErrors {
				t.Errorf("  line %d: %s", s.Line, s.Reason)
			}
		}
	}
	if _, errs := document.BuildV3Model(); errs != nil {
		t.Error(errs)
	}
}

// TestAsyncAPIIsValid holds the document to the schema that AsyncAPI publishes, which
// npm brings.
func TestAsyncAPIIsValid(t *testing.T) {
	const file = "../../node_modules/@asyncapi/specs/schemas/3.0.0.json"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Skipf("%v: npm ci brings it", err)
	}
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	const address = "http://asyncapi.com/definitions/3.0.0/asyncapi.json"
	if err := c.AddResource(address, schema); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(address)
	if err != nil {
		t.Fatal(err)
	}
	d, err := schemas.New(docs.AsyncAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(d.Tree); err != nil {
		t.Errorf("%#v", err)
	}
	broken := maps.Clone(d.Tree)
	broken["channels"] = []any{}
	if s.Validate(broken) == nil {
		t.Error("a document with a list of channels passes: the schema is not used")
	}
}

// TestPage has all links within the page lead somewhere, and nothing that its policy
// forbids.
func TestPage(t *testing.T) {
	p, err := apidocs.New(docs.OpenAPI, docs.AsyncAPI)
	if err != nil {
		t.Fatal(err)
	}
	page := string(p.HTML)
	ids := map[string]int{}
	for _, m := range regexp.MustCompile(`\bid="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if ids[m[1]]++; ids[m[1]] > 1 || strings.HasSuffix(m[1], "-") {
			t.Errorf("id %q occurs %d times", m[1], ids[m[1]])
		}
	}
	links := 0
	for _, m := range regexp.MustCompile(`href="#([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if links++; ids[m[1]] == 0 {
			t.Errorf("link to %q leads nowhere", m[1])
		}
	}
	if links < 100 || len(ids) < 80 {
		t.Errorf("%d links, %d ids", links, len(ids))
	}
	for _, bad := range []string{"<script", " style=", "src=", "http-equiv", "onclick", "ZgotmplZ", "&lt;a ", "&lt;code"} {
		if strings.Contains(page, bad) {
			t.Errorf("%q is in the page", bad)
		}
	}
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)
	if style == nil {
		t.Fatal("no style sheet")
	}
	hash := sha256.Sum256([]byte(style[1]))
	if want := "'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"; !strings.Contains(p.Policy, want) {
		t.Errorf("policy %q, want %s in it", p.Policy, want)
	}
	for _, want := range []string{"/v2/stocks/{symbol}/bars", "page_token", "4102", "slow_consumer", "by name: ", "subscribe"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in the page", want)
		}
	}
}

func TestBadDocuments(t *testing.T) {
	for text, want := range map[string]string{"": "want a mapping", "- a": "want a mapping", "a: b": "no title", "a: [": "yaml"} {
		if _, err := apidocs.New([]byte(text), docs.AsyncAPI); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("OpenAPI %q: %v, want %q", text, err, want)
		}
		if _, err := apidocs.New(docs.OpenAPI, []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("AsyncAPI %q: %v, want %q", text, err, want)
		}
	}
	text := strings.Replace(string(docs.OpenAPI), "summary: Make a session", "summary: <b>&", 1)
	p, err := apidocs.New([]byte(text), docs.AsyncAPI)
	if err != nil || bytes.Contains(p.HTML, []byte("<b>")) {
		t.Error(fmt.Sprint("markup in a document comes through, or: ", err))
	}
}
