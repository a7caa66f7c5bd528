package gateway

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bottle/internal/plan"
	"bottle/test/require"
)

// TestRevokeCutsWhatStandsUnderTheGrant. The weakness: a grant is taken back, and what was
// opened under it lives on. The attack: the agent opens a WebSocket and an upload without
// an end under a grant, each in its own CONNECT tunnel, and goes on after `bottle revoke`.
// This proves, through the control socket of a whole gateway, that the WebSocket is cut at
// once, that the upload's next piece does not arrive, that a request in a tunnel that is
// still open is refused, and that what the manifest itself allows goes on.
func TestRevokeCutsWhatStandsUnderTheGrant(t *testing.T) {
	var arrived atomic.Int64
	r := inProcess(t)
	u := newUpstream(t, t.TempDir())
	plainly := u.Config.Handler
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Upgrade") != "":
			c, buf, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
			_, _ = io.Copy(io.Discard, buf)
		case r.Method == http.MethodPost:
			for b := make([]byte, 64<<10); ; {
				n, err := r.Body.Read(b)
				arrived.Add(int64(n))
				if err != nil {
					return
				}
			}
		default:
			plainly.ServeHTTP(w, r)
		}
	})
	what := r.what(u)
	what.Asked, what.Supervise = r.dir+"/proposals", true
	what.Routes[0].Methods, what.Routes[0].Paths = []string{"GET"}, []string{"/v1"}
	_, _, _, client := r.startAs(t, what)
	s := asker(t, client)
	go callTool(t, s, "egress-block", map[string]any{"host": "example.com", "path_allowlist": []string{"/live"}, "justification": "a test", "wait_seconds": 30})
	p := pending(t, what, "example.com")
	var out plan.Decided
	if ctl(t, what.Control, plan.Control{Op: plan.OpDecide, Proposal: p.ID, Verdict: "approve", Seen: p.Seen}, &out); out.Lease == nil {
		t.Fatalf("%+v", out)
	}
	socket, in := tunnel(t, client)
	fmt.Fprint(socket, "GET /live/a HTTP/1.1\r\nHost: example.com\r\nAuthorization: Bearer "+fakeKey+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, " 101 ") {
		t.Fatalf("%q, %v", line, err)
	}
	upload, _ := tunnel(t, client)
	fmt.Fprint(upload, "POST /live/b HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n")
	text := strings.Repeat("the quick brown fox jumps over the lazy dog\n", 1500) // more than a scanner holds back
	piece := fmt.Sprintf("%x\r\n%s\r\n", len(text), text)
	goes := func(limit time.Duration) bool {
		was := arrived.Load()
		for end := time.Now().Add(limit); arrived.Load() == was && time.Now().Before(end); time.Sleep(time.Millisecond) {
			if _, err := io.WriteString(upload, piece); err != nil {
				return false
			}
		}
		return arrived.Load() > was
	}
	for range 2 {
		if !goes(10 * time.Second) {
			t.Fatal("the upload does not go on")
		}
	}
	idle, answers := tunnel(t, client)
	asks := func(path string) int {
		fmt.Fprint(idle, "GET "+path+" HTTP/1.1\r\nHost: example.com\r\nAuthorization: Bearer "+fakeKey+"\r\n\r\n")
		res, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode
	}
	if got := asks("/live/c"); got != http.StatusOK {
		t.Fatalf("under the grant: %d", got)
	}
	var gone plan.Revoked
	if ctl(t, what.Control, plan.Control{Op: plan.OpRevoke, Grant: out.Grant, By: "ann"}, &gone); !gone.Recorded || gone.Cut != 2 {
		t.Errorf("%+v", gone)
	}
	_ = socket.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, in); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Error("the WebSocket lives on")
	}
	was := arrived.Load()
	// Nobody feeds the upload: that it is cut is seen all the same.
	require.Eventually(t, 10*time.Second, "both are on record as revoked", func() bool { return len(logged(t, what.Audit, "revoked")) >= 2 })
	_, _ = io.WriteString(upload, piece)
	if n := arrived.Load(); n > was+int64(4*len(text)) { // what was on its way
		t.Errorf("%d bytes more arrived", n-was)
	}
	if l := logged(t, what.Audit, "revoked"); len(l) != 2 {
		t.Errorf("%+v", l)
	}
	if got := asks("/live/c"); got != http.StatusForbidden {
		t.Errorf("in the tunnel that is open: %d", got)
	}
	idle, answers = tunnel(t, client) // a refusal closes the other
	if got := asks("/v1/a"); got != http.StatusOK {
		t.Errorf("what the manifest allows: %d", got)
	}
}

// tunnel is a CONNECT tunnel to example.com where the agent stands, with TLS inside.
func tunnel(t *testing.T, client *http.Client) (net.Conn, *bufio.Reader) {
	t.Helper()
	tr := client.Transport.(*http.Transport)
	proxy, err := tr.Proxy(httptest.NewRequest("GET", "https://example.com/", nil))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := net.Dial("tcp", (*url.URL)(proxy).Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	fmt.Fprint(raw, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
	if res, err := http.ReadResponse(bufio.NewReader(raw), nil); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%+v, %v", res, err)
	}
	c := tls.Client(raw, &tls.Config{ServerName: "example.com", RootCAs: tr.TLSClientConfig.RootCAs})
	return c, bufio.NewReader(c)
}
