package gateway

import (
	"net/http"
	"net/http/cgi" // #nosec G504 -- only Go before 1.6.3 passed HTTP_PROXY on
	"os"
)

// serveCGI answers the one request of this process. Standard output is the answer.
func serveCGI(h http.Handler) error {
	user := map[string]string{"REMOTE_USER": os.Getenv("REMOTE_USER")}
	return cgi.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(vouched(r.Context(), user)))
	}))
}
