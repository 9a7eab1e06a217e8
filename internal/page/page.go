package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/lzstock/lzstock/internal/edge"
)

// Index is the file that a page begins with.
const Index = "index.html"

// Policy is what browsers allow the page: it shows and asks for what comes from its own
// origin, and images that it has made itself. 'self' holds WebSockets, too.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Page is a page's files. It is safe for concurrent use.
type Page struct {
	files map[string]*file // by path in the URL, with its slash
}

type file struct {
	kind   string
	text   []byte
	packed []byte // compressed; nil where that does not help
	tag    string // without quotes
	hashed bool   // the name changes with what is in it
}

// New reads a page's files; index.html, which must be among them, is at prefix
// itself. prefix begins and ends with a slash.
func New(files fs.FS, prefix string) (*Page, error) {
	p := &Page{files: map[string]*file{}}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		f, err := newFile(name, text)
		if err != nil {
			return err
		}
		if name == Index {
			name = ""
		}
		p.files[prefix+name] = f
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	if p.files[prefix] == nil {
		return nil, errors.New("the page has no " + Index)
	}
	return p, nil
}

// kinds are the types of files that a build makes. The system's table of types is
// not asked: it differs from machine to machine.
func kinds() map[string]string {
	return map[string]string{
		".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
		".svg": "image/svg+xml", ".json": "application/json", ".png": "image/png", ".ico": "image/x-icon", ".woff2": "font/woff2",
		".txt": "text/plain; charset=utf-8", ".webmanifest": "application/manifest+json",
	}
}

func newFile(name string, text []byte) (*file, error) {
	kind, ok := kinds()[path.Ext(name)]
	if !ok {
		return nil, fmt.Errorf("%s: no type is known for %q", name, path.Ext(name))
	}
	sum := sha256.Sum256(text)
	f := &file{kind: kind, text: text, tag: hex.EncodeToString(sum[:12]), hashed: strings.HasPrefix(name, "assets/")}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err = z.Write(text); err == nil {
		err = z.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("compress %s: %w", name, err)
	}
	if packed.Len() < len(text)*9/10 {
		f.packed = packed.Bytes()
	}
	return f, nil
}

// Patterns lists the page's files as http.ServeMux has them, without a method.
func (p *Page) Patterns() []string {
	out := make([]string, 0, len(p.files))
	for at := range p.files {
		if strings.HasSuffix(at, "/") {
			at += "{$}"
		}
		out = append(out, at)
	}
	return out
}

// Serve answers a GET or HEAD of a path that Patterns lists, and reports whether it
// did. secure is whether the client came by TLS.
func (p *Page) Serve(w http.ResponseWriter, r *http.Request, secure bool) bool {
	f := p.files[r.URL.Path]
	if f == nil {
		return false
	}
	h := w.Header()
	edge.SecurityHeaders(h, secure)
	h.Set("Content-Security-Policy", Policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
	if f.hashed {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Set("Content-Type", f.kind)
	text, tag := f.text, f.tag
	if f.packed != nil {
		h.Add("Vary", "Accept-Encoding")
		if takesGzip(r) {
			h.Set("Content-Encoding", "gzip")
			text, tag = f.packed, f.tag+"-gzip"
		}
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
	return true
}

// takesGzip reports whether a client names gzip without refusing it.
func takesGzip(r *http.Request) bool {
	for _, line := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(line, ",") {
			coding, weight, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				q, given := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
				return !given || strings.Trim(q, "0.") != ""
			}
		}
	}
	return false
}
