package mask

import (
	"io"
	"net/http"
)

// Writer stars every header that goes to the agent: of the answer, and of the
// informational ones before it.
type Writer struct {
	http.ResponseWriter
	Set func() *Set
}

// WriteHeader stars, then writes.
func (w Writer) WriteHeader(status int) {
	w.Set().Header(w.Header())
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach what stands behind.
func (w Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Body is a body, starred.
func Body(latest func() *Set, body io.ReadCloser) io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{Reader(latest, body), body}
}
