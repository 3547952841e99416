// Command empty is what barback is compared with: a program that answers each request with the same two bytes,
// through the doors that barback has, and does nothing else.
package main

import (
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/fcgi"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "2")
		_, _ = w.Write([]byte("{}"))
	})
	if err := serve(h); err != nil {
		_, _ = os.Stderr.WriteString("empty: " + err.Error() + "\n")
		os.Exit(1)
	}
}

// serve knows the door as barback does, only with less care.
func serve(h http.Handler) error {
	switch {
	case os.Getenv("GATEWAY_INTERFACE") != "":
		return cgi.Serve(h)
	case os.Getenv("LISTEN_FDS") == "":
		return fcgi.Serve(nil, h)
	}
	unix.CloseOnExec(3)
	ln, err := net.FileListener(os.NewFile(3, "socket"))
	if err != nil {
		return err
	}
	if strings.Contains(os.Getenv("LISTEN_FDNAMES"), "fcgi") {
		return fcgi.Serve(ln, h)
	}
	return http.Serve(ln, h)
}
