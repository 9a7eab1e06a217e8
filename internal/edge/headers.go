package edge

import "net/http"

// SecurityHeaders sets what an answer that is no page should say to browsers:
// that it is what its type says and nothing else, is shown in no frame, runs
// nothing, is kept by nobody, and tells no one where its reader came from. secure
// is whether the client came by TLS, as Addresses.Secure knows: then the browser
// is told to always come by TLS to this host, for two years, which cannot be
// taken back.
func SecurityHeaders(h http.Header, secure bool) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if secure {
		h.Set("Strict-Transport-Security", "max-age=63072000")
	}
}
