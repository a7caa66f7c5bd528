package egress

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The weakness: one record ends the answer and begins another that nobody asked for.
// The attack: what an upstream is made to say to one program of the agent is the answer
// to another's next request. This proves, through the whole gateway, that each gets the
// answer to what it asked.
func TestAnUnaskedAnswerReachesNobody(t *testing.T) {
	ca, err := NewCA("upstream")
	if err != nil {
		t.Fatal(err)
	}
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf(apiHost)
	if err != nil {
		t.Fatal(err)
	}
	l := tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{*leaf}})
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				in := bufio.NewReader(c)
				for {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					body := strings.Repeat(r.URL.Path, 4500)
					_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%sHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged", len(body), body)
				}
			}()
		}
	}()
	w := newWorld(t, nil, route(apiHost, l.Addr().String(), caFile))
	for i := range 6 {
		path := fmt.Sprintf("/%d", i)
		res, err := w.client().Get("https://" + apiHost + path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || string(got) != strings.Repeat(path, 4500) {
			t.Fatalf("%s got %.60q (%d bytes), %v", path, got, len(got), err)
		}
	}
}
