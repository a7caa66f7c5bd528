package egress

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Every event of an SSE stream, and every line of a chunked answer, arrives before
// the upstream sends the next: here it does not send it until the agent has the one
// before. So also when answers are held against a credential and an event ends in
// what the credential begins with: only the bytes that could be it wait, and no
// byte of the credential comes.
func TestEachEventArrivesBeforeTheNextIsSent(t *testing.T) {
	begin, stars := realKey[:len(realKey)-1], strings.Repeat("*", len(realKey))
	sent := []struct{ said, arrives string }{
		{"data: one\n\n", "data: one\n\n"},
		{": \n\n", ": \n\n"},
		{"data: " + begin + "\n\n", "data: " + begin + "\n\n"}, // the line's end shows that it is not
		{"data: " + realKey[:1] + "\r\n\r\n", "data: " + realKey[:1] + "\r\n\r\n"},
		{"id: 4\ndata: see " + realKey + "\n\n", "id: 4\ndata: see " + stars + "\n\n"},
		{"data: five\n\ndata: " + begin, "data: five\n\ndata: "}, // an event, and another one that is not whole
		{realKey[len(begin):] + "\n\n", stars + "\n\n"},
		{"data: six\n\n" + begin, "data: six\n\n"},
		{"\n\n", begin + "\n\n"},
		{begin, ""}, // nothing but a beginning: the one thing that waits
		{realKey, begin + stars},
		{"data: last\n\n", "data: last\n\n"},
	}
	for _, kind := range []string{"text/event-stream", "application/x-ndjson"} {
		for _, h2 := range []bool{false, true} {
			t.Run(kind+map[bool]string{false: "/HTTP1", true: "/HTTP2"}[h2], func(t *testing.T) {
				got := make(chan struct{})
				addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", kind)
					for _, e := range sent {
						_, _ = io.WriteString(w, e.said)
						_ = http.NewResponseController(w).Flush()
						select {
						case <-got:
						case <-r.Context().Done():
							return
						}
					}
				}), apiHost)
				w := newWorld(t, nil, withAuth(route(apiHost, addr, ca), "Bearer", ""))
				client := w.client()
				client.Transport.(*http.Transport).ForceAttemptHTTP2 = h2
				client.Timeout = 20 * time.Second
				res, err := client.Get("https://" + apiHost + "/")
				if err != nil || (res.ProtoMajor == 2) != h2 {
					t.Fatal(res, err)
				}
				defer res.Body.Close()
				for _, e := range sent {
					b := make([]byte, len(e.arrives))
					if n, err := io.ReadFull(res.Body, b); err != nil || string(b) != e.arrives {
						t.Fatalf("after %q: %q, %v; want %q", e.said, b[:n], err, e.arrives)
					}
					got <- struct{}{}
				}
				if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
					t.Errorf("%q, %v at the end", rest, err)
				}
			})
		}
	}
}
