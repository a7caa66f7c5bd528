package gateway

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"bottle/internal/plan"
)

// TestNothingIsSmuggledToTheServer. The weakness: who counts bytes otherwise than the one
// before him reads a request that nobody sent. The attack: to supervise.bottle, requests
// whose length can be read in two ways, with a second ask where one of the readings ends;
// an authority that is another in the Host; and the server's name in a tunnel to another
// host, or on a port that is not its own. This proves that none of it is answered by the
// server, and that nothing is queued by it.
func TestNothingIsSmuggledToTheServer(t *testing.T) {
	r := inProcess(t)
	what := r.what(newUpstream(t, t.TempDir()))
	what.Asked, what.Supervise = r.dir+"/proposals", true
	in, _, _, _ := r.startAs(t, what)
	body := func(host string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"egress-block","arguments":{"host":"` + host + `","justification":"a test","wait_seconds":0}}}`
	}
	kinds := "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
	inner := body("smuggled.example.net")
	hidden := "POST http://supervise.bottle/mcp HTTP/1.1\r\nHost: supervise.bottle\r\n" + kinds + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(inner), inner)
	outer := `{"jsonrpc":"2.0","id":2,"method":"ping"}`
	post := func(target, host, headers, rest string) string {
		return "POST " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + kinds + headers + "\r\n" + rest
	}
	const own = "http://supervise.bottle/mcp"
	for name, text := range map[string]string{
		"a length and chunks":      post(own, "supervise.bottle", fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n", len(outer)), "0\r\n\r\n"+hidden),
		"two lengths":              post(own, "supervise.bottle", fmt.Sprintf("Content-Length: %d\r\nContent-Length: 0\r\n", len(outer)), outer+hidden),
		"a length with a sign":     post(own, "supervise.bottle", fmt.Sprintf("Content-Length: +%d\r\n", len(outer)), outer+hidden),
		"a coding that is none":    post(own, "supervise.bottle", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"+hidden),
		"chunks spelt by a tab":    post(own, "supervise.bottle", "Transfer-Encoding:\tchunked , identity\r\n", "0\r\n\r\n"+hidden),
		"a space before the colon": post(own, "supervise.bottle", fmt.Sprintf("Content-Length : %d\r\n", len(outer)), outer+hidden),
		"a folded line":            post(own, "supervise.bottle", fmt.Sprintf("X: y\r\n Content-Length: %d\r\n", len(outer)), hidden),
		"a bare line feed":         post(own, "supervise.bottle", fmt.Sprintf("X: y\nContent-Length: %d\r\n", len(outer)), outer+hidden),
		"another host in Host":     post(own, "example.com", fmt.Sprintf("Content-Length: %d\r\n", len(inner)), inner),
		"another host in the line": post("http://example.com/mcp", "supervise.bottle", fmt.Sprintf("Content-Length: %d\r\n", len(inner)), inner),
		"a user before the host":   post("http://example.com@supervise.bottle/mcp", "supervise.bottle", fmt.Sprintf("Content-Length: %d\r\n", len(inner)), inner),
		"another port":             post("http://supervise.bottle:8080/mcp", "supervise.bottle:8080", fmt.Sprintf("Content-Length: %d\r\n", len(inner)), inner),
		"a name below it":          post("http://x.supervise.bottle/mcp", "x.supervise.bottle", fmt.Sprintf("Content-Length: %d\r\n", len(inner)), inner),
		"a size of chunk too long": post(own, "supervise.bottle", "Transfer-Encoding: chunked\r\n", "ffffffffffffffff1\r\n"+inner),
		"a chunk's extension":      post(own, "supervise.bottle", "Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x;a=\"\n\"\r\n%s\r\n0\r\n\r\n", len(inner), inner)),
		"in another's tunnel":      "CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n" + hidden,
		"in its own tunnel":        "CONNECT supervise.bottle:443 HTTP/1.1\r\nHost: supervise.bottle:443\r\n\r\n" + hidden,
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", in.egress.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			go func() {
				_, _ = io.WriteString(c, text)
				_ = c.(*net.TCPConn).CloseWrite()
			}()
			answer, _ := io.ReadAll(c) // it may be reset
			var all plan.Proposals
			if ctl(t, what.Control, plan.Control{Op: plan.OpProposals}, &all); len(all.List) != 0 || strings.Contains(string(answer), `"jsonrpc"`) {
				t.Errorf("%d proposals; %.300q", len(all.List), answer)
			}
		})
	}
	c, err := net.Dial("tcp", in.egress.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, hidden) // and this is how one is taken
	_ = c.(*net.TCPConn).CloseWrite()
	var all plan.Proposals
	_, _ = io.ReadAll(c)
	if ctl(t, what.Control, plan.Control{Op: plan.OpProposals}, &all); len(all.List) != 1 {
		t.Errorf("%+v", all)
	}
}
