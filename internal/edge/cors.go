package edge

import "net/http"

// What pages of other origins may do: no more than the REST calls need. Cookies
// are not among it, since nothing here reads any, and Allow-Credentials is never
// sent.
const (
	corsMethods = "GET, POST, DELETE"
	corsHeaders = "Authorization, Content-Type, Last-Event-ID, APCA-API-KEY-ID, APCA-API-SECRET-KEY"
	corsExposed = "Location, Retry-After"
	corsMaxAge  = "600" // seconds; a flag that is taken back is forgotten so soon
)

// CORS tells browsers whether the page that a request comes from may read the
// answer, in the answer's headers. It answers preflights, and reports whether it
// has: then the request is done. It refuses nothing else; Check does.
func (o Origins) CORS(w http.ResponseWriter, r *http.Request) (handled bool) {
	h := w.Header()
	h.Add("Vary", "Origin") // also without one: caches must not give this answer to others
	from := r.Header.Get("Origin")
	if from == "" {
		return false
	}
	err := o.Check(r)
	if err == nil {
		h.Set("Access-Control-Allow-Origin", from)
	}
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		if err == nil {
			h.Set("Access-Control-Expose-Headers", corsExposed)
		}
		return false
	}
	h.Add("Vary", "Access-Control-Request-Method")
	h.Add("Vary", "Access-Control-Request-Headers")
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return true
	}
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Allow-Headers", corsHeaders)
	h.Set("Access-Control-Max-Age", corsMaxAge)
	w.WriteHeader(http.StatusNoContent)
	return true
}
