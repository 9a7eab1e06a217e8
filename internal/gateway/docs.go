package gateway

import (
	"log/slog"
	"net/http"
	"sync"

	"github.com/lzstock/lzstock/docs"
	"github.com/lzstock/lzstock/internal/apidocs"
)

// routeDocs adds the page that says what may be asked for and heard here, and the
// documents that it is made of. They are the same for everybody, who they are or not.
func (g *Gateway) routeDocs() {
	page := sync.OnceValues(func() (*apidocs.Page, error) { return apidocs.New(docs.OpenAPI, docs.AsyncAPI) })
	g.document("/docs", func(w http.ResponseWriter, r *http.Request) {
		p, err := page()
		if err != nil { // our own documents are tested
			g.log.LogAttrs(r.Context(), slog.LevelError, "the page of documents cannot be made", slog.Any("error", err))
			g.unknown(w, r)
			return
		}
		w.Header().Set("Content-Security-Policy", p.Policy)
		text(w, "text/html; charset=utf-8", p.HTML)
	})
	g.document("/docs/openapi.yaml", func(w http.ResponseWriter, _ *http.Request) { text(w, "application/yaml", docs.OpenAPI) })
	g.document("/docs/asyncapi.yaml", func(w http.ResponseWriter, _ *http.Request) { text(w, "application/yaml", docs.AsyncAPI) })
}

// document adds the path of a document.
func (g *Gateway) document(path string, f http.HandlerFunc) {
	g.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		if g.cfg.Origins.CORS(w, r) {
			return
		}
		g.headers(w, r)
		f(w, r)
	})
	g.mux.HandleFunc("OPTIONS "+path, g.preflight("GET"))
	g.mux.HandleFunc(path, g.wrongMethod("GET"))
}

func text(w http.ResponseWriter, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(body) // the client that left does not need it
}
