package clients

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"bottle/test/fake/loopback"
	"bottle/test/require"
)

const pageHost = "app.example.com"

// pageSite serves testdata/page.html and what it asks for. The page's load event
// comes after its report, so that --dump-dom shows the whole story.
func pageSite(t *testing.T) *site {
	t.Helper()
	page, err := os.ReadFile("testdata/page.html")
	if err != nil {
		t.Fatal(err)
	}
	var once [2]sync.Once
	heard, reported := make(chan struct{}), make(chan struct{})
	wait := func(r *http.Request, c chan struct{}) {
		select {
		case <-c:
		case <-r.Context().Done():
		case <-time.After(limit / 2):
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page) // the page's report tells
	})
	mux.HandleFunc("POST /data", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // recorded already
		fmt.Fprintf(w, "got %q", body)
	})
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: first\n\n")
		_ = http.NewResponseController(w).Flush()
		wait(r, heard)
		_, _ = io.WriteString(w, "data: last\n\n")
	})
	mux.HandleFunc("POST /heard", func(http.ResponseWriter, *http.Request) { once[0].Do(func() { close(heard) }) })
	mux.HandleFunc("POST /report", func(http.ResponseWriter, *http.Request) { once[1].Do(func() { close(reported) }) })
	mux.HandleFunc("GET /hold", func(_ http.ResponseWriter, r *http.Request) { wait(r, reported) })
	srv, err := loopback.Serve(mux, pageHost)
	return serve(t, srv, err, pageHost)
}

// TestChromium loads an intercepted page that uses fetch, a stream and a WebSocket,
// through the proxy and past it.
func TestChromium(t *testing.T) {
	require.Tool(t, "chromium")
	for way, flag := range map[string]string{"proxy": "", "direct": "--no-proxy-server", "socks": "--proxy-server=socks5://127.0.0.1:9099"} {
		t.Run(way, func(t *testing.T) {
			b := newBox(t, []*site{pageSite(t), socketSite(t)})
			r := b.run(`
dump() { timeout -k 1 40 chromium --headless=new --no-sandbox --disable-gpu --no-first-run --user-data-dir=/tmp/profile --dump-dom "$@" 2>/tmp/log || tail -n 20 /tmp/log; }
as page dump ` + flag + ` https://app.example.com/page
`)
			text := r.said["page"].text
			for _, want := range []string{
				"page over h2\n", "secure: true\n", "fetch: 200 got \"some=body\"\n", "event: data: first\n", "socket: echo hello\n", "closed with 1000\n", "refused: TypeError<",
			} {
				if !strings.Contains(text, want) {
					t.Errorf("the page says no %q: %s", want, text)
				}
			}
			for _, c := range []call{
				{name: "GET /page"}, {name: "POST /data", body: 9}, {name: "GET /events"}, {name: "POST /heard"}, {name: "POST /report"}, {name: "GET /hold"},
			} {
				c.method, c.path, _ = strings.Cut(c.name, " ")
				c.host, c.proto = pageHost, "HTTP/2.0"
				r.received(t, c.full())
				r.recorded(t, c.full())
			}
			socket := call{name: "socket", host: sockets, path: "/page", status: 101, proto: "HTTP/1.1"}.full()
			r.received(t, socket)
			r.recorded(t, socket)
			kind := map[string]string{"proxy": byProxy, "direct": direct, "socks": byProxy}[way]
			n := 0
			for _, rec := range r.records {
				if rec.Host == "refused.example.net" && rec.Kind == kind && rec.Verdict == "deny" {
					n++
				}
			}
			if n == 0 {
				t.Errorf("no refusal by %q: %+v", kind, r.about("refused.example.net"))
			}
		})
	}
}
