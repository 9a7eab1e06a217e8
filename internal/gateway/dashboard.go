package gateway

import (
	"net/http"

	"github.com/lzstock/lzstock/internal/page"
)

// dashboard has the page's files answered at their paths. They need no
// credentials: the page asks for them, and sends them like any other client.
func (g *Gateway) dashboard() error {
	if g.cfg.Dashboard == nil {
		return nil
	}
	p, err := page.New(g.cfg.Dashboard, "/")
	if err != nil {
		return err
	}
	serve := func(w http.ResponseWriter, r *http.Request) {
		p.Serve(w, r, g.cfg.Addresses.Secure(r))
	}
	for _, pattern := range p.Patterns() {
		g.mux.HandleFunc("GET "+pattern, serve)
		g.mux.HandleFunc(pattern, g.wrongMethod("GET, HEAD"))
	}
	return nil
}

// pageHint says to who is lost where the page is.
func (g *Gateway) pageHint() string {
	if g.cfg.Dashboard == nil {
		return ""
	}
	return ", a page to look at is at /"
}
