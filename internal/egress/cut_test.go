package egress

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bottle/internal/policy"
	"bottle/test/require"
)

// TestRevokedMeansCutAtOnce. The weakness: an exchange in which nothing moves is looked at by
// nobody. The attack: under a grant the agent opens a stream of events, or an upload, lets it
// rest, and has a way to the host for as long as it likes, whatever the operator takes back.
// This proves that each way of resting ends with the policy that no longer allows it, without
// a byte from either side, over HTTP/1.1 and HTTP/2; that the upstream is told; and that the
// record says why.
func TestRevokedMeansCutAtOnce(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2"} {
		for name, c := range map[string]struct {
			path   string
			length int64 // of a body that never comes to its end; 0: there is none
			begun  bool  // the answer has
			unseen bool  // by the upstream: it is still being read ahead
		}{
			"events":           {path: "/events", begun: true},
			"a long answer":    {path: "/long", begun: true},
			"a long poll":      {path: "/silent"},
			"an upload":        {path: "/upload", length: -1},
			"a short upload":   {path: "/upload", length: 20, unseen: protocol == "http/1.1"},
			"events, uploaded": {path: "/events", length: -1, begun: true},
		} {
			t.Run(protocol+" "+name, func(t *testing.T) {
				began, ended := make(chan bool, 9), make(chan bool, 9)
				addr, ca, _ := upstreamOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					began <- true
					defer func() { ended <- true }()
					_ = http.NewResponseController(w).EnableFullDuplex()
					if r.URL.Path == "/long" {
						w.Header().Set("Content-Length", "1000")
					}
					if c.begun {
						_, _ = io.WriteString(w, "event\n")
						_ = http.NewResponseController(w).Flush()
					}
					if r.ContentLength != 0 {
						_, _ = io.Copy(io.Discard, r.Body)
						return
					}
					<-r.Context().Done()
				}), []string{protocol}, apiHost)
				w := newWorld(t, nil, route(apiHost, addr, ca))
				begun, over := make(chan bool, 1), make(chan string, 1)
				body, feed := io.Pipe()
				defer feed.Close()
				go func() {
					req, _ := http.NewRequest("POST", "https://"+apiHost+c.path, body)
					if req.ContentLength = c.length; c.length == 0 {
						req.Method, req.Body = "GET", nil
					}
					res, err := agentOf(t, w, protocol).RoundTrip(req)
					if err != nil {
						over <- "broken"
						return
					}
					defer res.Body.Close()
					if !c.begun {
						b, _ := io.ReadAll(res.Body)
						over <- res.Status + string(b)
						return
					}
					in := bufio.NewReader(res.Body)
					_, _ = in.ReadString('\n')
					begun <- true
					_, err = io.ReadAll(in)
					over <- map[bool]string{true: "whole", false: "broken"}[err == nil]
				}()
				if c.length != 0 {
					go func() { _, _ = io.WriteString(feed, "piece") }()
				}
				switch {
				case c.unseen:
					require.Eventually(t, 10*time.Second, "a request", func() bool { return w.p.running.Load() > 0 })
				default:
					<-began
				}
				if c.begun {
					<-begun
				}
				cut, err := w.p.SetPolicy(compile(t, route("elsewhere.example.com", addr, ca)))
				if err != nil || cut != 1 && !c.unseen {
					t.Errorf("%d are cut, %v", cut, err)
				}
				select {
				case how := <-over:
					if c.begun && how != "broken" || !c.begun && !strings.Contains(how, string(policy.Revoked)) && !strings.Contains(how, "not_listed") {
						t.Errorf("the agent sees %s", how)
					}
				case <-time.After(10 * time.Second):
					t.Fatal("it stays open")
				}
				if !c.unseen {
					<-ended
				}
				require.Eventually(t, 10*time.Second, "a record", func() bool { return len(w.all()) > 0 })
				if r := w.one(1); r.Verdict != "deny" || r.Reason != string(policy.Revoked) && !c.unseen {
					t.Errorf("%+v", r)
				}
			})
		}
	}
}

// agentOf is an agent that speaks one protocol, by way of the gateway.
func agentOf(t *testing.T, w *world, protocol string) *http.Transport {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.ca.PEM())
	tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: w.addr}), TLSClientConfig: &tls.Config{RootCAs: roots}, Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(protocol != "h2")
	tr.Protocols.SetHTTP2(protocol == "h2")
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// TestRevokedAnswerThatNobodyReads. The weakness: a write to an agent that takes nothing waits,
// and what waits is not looked at. The attack: under a grant the agent begins a download and
// reads none of it, so that it is on no record as long as it likes. This proves that it ends
// with the grant, and is recorded, while the agent still reads nothing.
func TestRevokedAnswerThatNobodyReads(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			ended := make(chan bool, 1)
			var sent atomic.Int64
			addr, ca, _ := upstreamOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { ended <- true }()
				b := make([]byte, 64<<10)
				for {
					n, err := w.Write(b)
					if sent.Add(int64(n)); err != nil {
						return
					}
				}
			}), []string{protocol}, apiHost)
			w := newWorld(t, nil, route(apiHost, addr, ca))
			res, err := agentOf(t, w, protocol).RoundTrip(httptest.NewRequest("GET", "https://"+apiHost+"/", nil))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			last, since := int64(-1), time.Now()
			require.Eventually(t, 30*time.Second, "a pipe that is full", func() bool {
				if n := sent.Load(); n != last {
					last, since = n, time.Now()
				}
				return last > 0 && time.Since(since) > 300*time.Millisecond
			})
			if cut, err := w.p.SetPolicy(compile(t, route("elsewhere.example.com", addr, ca))); err != nil || cut != 1 {
				t.Errorf("%d are cut, %v", cut, err)
			}
			<-ended
			require.Eventually(t, 10*time.Second, "a record", func() bool { return len(w.all()) > 0 })
			if r := w.one(1); r.Verdict != "deny" || r.Reason != string(policy.Revoked) {
				t.Errorf("%+v", r)
			}
		})
	}
}
