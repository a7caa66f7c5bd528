package egress

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bottle/internal/policy"
	"bottle/test/require"
)

// TestRevokedRequestGoesNoFurther. The weakness: a request is decided once, and its body,
// or an answer, may go on for hours. The attack: under a grant the agent begins an upload
// inside its tunnel, and feeds it after the grant was taken back; or it listens to a stream
// of events. This proves that neither goes on with its next piece, that the record says
// why, and that the tunnel's next request is refused; and that a new policy which still
// lets it through leaves it alone, also while nothing can be recorded.
func TestRevokedRequestGoesNoFurther(t *testing.T) {
	var arrived atomic.Int64
	more := make(chan struct{})
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			b := make([]byte, 64)
			for {
				n, err := r.Body.Read(b)
				arrived.Add(int64(n))
				if err != nil {
					return
				}
			}
		}
		for range more {
			_, _ = fmt.Fprintln(w, "event")
			_ = http.NewResponseController(w).Flush()
		}
	}), apiHost)
	open, elsewhere := route(apiHost, addr, ca), route(apiHost, addr, ca)
	elsewhere.Paths = []string{"/elsewhere"}
	for _, kind := range []string{"upload", "events"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, nil, open)
			c := w.tunnel(apiHost+":443", apiHost)
			in := bufio.NewReader(c)
			say := func(text string) { _, _ = io.WriteString(c, text) }
			goes := func() bool { // one piece more
				if kind == "upload" {
					was := arrived.Load()
					say("5\r\npiece\r\n")
					end := time.Now().Add(10 * time.Second)
					for arrived.Load() == was && time.Now().Before(end) && len(w.all()) == 0 {
						time.Sleep(time.Millisecond)
					}
					return arrived.Load() > was
				}
				more <- struct{}{}
				for {
					line, err := in.ReadString('\n')
					if err != nil || strings.Contains(line, "event") {
						return err == nil
					}
				}
			}
			if kind == "upload" {
				say("POST /a HTTP/1.1\r\nHost: " + apiHost + "\r\nTransfer-Encoding: chunked\r\n\r\n")
			} else {
				say("GET /a HTTP/1.1\r\nHost: " + apiHost + "\r\n\r\n")
			}
			for range 3 {
				if !goes() {
					t.Fatal("it does not go on")
				}
			}
			moved := route(apiHost, addr, ca)
			moved.Rule = "bottle.md:9"
			if _, err := w.p.SetPolicy(compile(t, moved)); err != nil || !goes() {
				t.Fatal("a route that only moved cuts it", err)
			}
			w.p.Suspend(true)
			if !goes() {
				t.Error("nothing can be recorded, and what is on record is cut")
			}
			w.p.Suspend(false)
			if _, err := w.p.SetPolicy(compile(t, elsewhere)); err != nil {
				t.Fatal(err)
			}
			if goes() {
				t.Error("it goes on")
			}
			require.Eventually(t, 10*time.Second, "a record", func() bool { return len(w.all()) > 0 })
			if r := w.one(1); r.Verdict != "deny" || r.Reason != string(policy.Revoked) || r.Rule == "" {
				t.Errorf("%+v", r)
			}
		})
	}
	close(more)
}
