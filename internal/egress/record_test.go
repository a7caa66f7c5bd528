package egress

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// The weakness: the first request that can't be recorded is found out only when
// its answer is there. The attack: fill the disk, and ask once more. This proves
// that without a record the end of the answer is withheld, however it is framed,
// and that no stream opens.
func TestInvariant4AnAnswerWithoutARecordBreaksOff(t *testing.T) {
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/length":
			w.Header().Set("Content-Length", "4")
			fmt.Fprint(w, "done")
		case "/chunked":
			_ = http.NewResponseController(w).Flush()
			fmt.Fprint(w, "done")
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		case "/no":
			http.Error(w, "done", http.StatusTeapot)
		case "/ws":
			c, _, _ := http.NewResponseController(w).Hijack()
			defer c.Close()
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+wsAccept+"\r\n\x81\x04done")
		}
	}), apiHost, "pass.example.com")
	var tried atomic.Int64
	w := newWorld(t, func(c *Config) {
		c.Record = func(Record) error { tried.Add(1); return errors.New("no room") }
	}, route(apiHost, addr, ca), passRoute(addr))
	for path, whole := range map[string]string{"/length": "done", "/chunked": "0\r\n\r\n", "/empty": " 204 ", "/no": "done", "/ws": " 101 "} {
		req := "GET " + path + " HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n"
		if path == "/ws" || path == "/no" {
			req = strings.Replace(strings.Replace(wsAsk, "/ws", path, 1), "keep-alive", "close", 1)
		}
		before := tried.Load()
		c := w.tunnel(apiHost+":443", apiHost)
		_, _ = io.WriteString(c, req)
		got, _ := io.ReadAll(c)
		if strings.Contains(string(got), whole) {
			t.Errorf("%s: the agent got the whole answer: %q", path, got)
		}
		if tried.Load() == before {
			t.Errorf("%s: nothing was recorded", path)
		}
	}
	c := w.connect("pass.example.com:443")
	_, _ = c.Write(clientHello(t, "pass.example.com"))
	if got, _ := io.ReadAll(c); len(got) != 0 {
		t.Errorf("a passed stream opened: %d bytes", len(got))
	}
}

// The weakness: the explicit and the transparent port wrote a record for each
// refusal, 16 MB in a second. The attack: that flood, from several connections.
// This proves that the log stays small and that every refusal is in its counts
// when the gateway ends.
func TestInvariant5AFloodOfRefusalsIsCounted(t *testing.T) {
	w := newWorld(t, nil, route(apiHost, "", ""))
	const workers, each = 4, 250
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for j := range each {
				host := fmt.Sprintf("x%d.example.net", i)
				if j%2 == 0 {
					host = fmt.Sprintf("y%d-%d.example.net", i, j)
				}
				c := w.raw(w.addr, "GET http://"+host+strings.Repeat("/%01", 500)+" HTTP/1.1\r\nHost: x\r\n\r\n")
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}
		})
	}
	wg.Wait()
	w.stop()
	sum, size := 0, 0
	for _, r := range w.all() {
		sum += max(r.Count, 1)
		size += len(r.Host) + len(r.Path)
	}
	if n := len(w.all()); sum != workers*each || n > 400 || size > n*1400 {
		t.Errorf("%d records of %d bytes stand for %d refusals, want %d", n, size, sum, workers*each)
	}
}

// TestHangUpAtAnyMomentIsNoDenial: a request that went out is recorded as allowed, whatever
// the agent did in the meantime; "denied" would be what an attacker wants the operator to read.
func TestHangUpAtAnyMomentIsNoDenial(t *testing.T) {
	came := make(chan struct{}, 1)
	addr, ca, _ := upstream(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		came <- struct{}{}
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write([]byte("words"))
	}), apiHost)
	w := newWorld(t, nil, route(apiHost, addr, ca))
	r := w.raw2()
	r.t = t
	go func() { _, _ = io.Copy(io.Discard, r.c) }()
	const streams = 300
	for i := range uint32(streams) {
		id := 2*i + 1
		if err := r.headers(id, true, ":method", "GET", ":scheme", "https", ":authority", apiHost, ":path", "/"); err != nil {
			t.Fatal(err)
		}
		<-came
		time.Sleep(time.Duration(i%100) * 10 * time.Microsecond)
		if err := r.fr.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
			t.Fatal(err)
		}
	}
	w.one(streams)
	for _, rec := range w.all() {
		if rec.Verdict != "allow" {
			t.Errorf("%+v", rec)
		}
	}
}
