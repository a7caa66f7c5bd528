package clients

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/test/programs"
)

// goClientWord makes the test's own program a client of net/http.
const goClientWord = "go-client"

// goClient gets or posts to a URL with an ordinary net/http client.
func goClient(args []string) int {
	method, url, body := args[0], args[1], args[2]
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if req.URL.Host == api {
		req.Header.Set("Authorization", "Bearer "+os.Getenv("GH_TOKEN"))
	}
	res, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer res.Body.Close()
	fmt.Println(res.StatusCode, "over", res.Proto)
	if _, err := io.Copy(os.Stdout, res.Body); err != nil || res.StatusCode != http.StatusOK {
		fmt.Println(err)
		return 1
	}
	return 0
}

// TestGoProgram: net/http, which asks for HTTP/2 and for the proxy by itself.
func TestGoProgram(t *testing.T) {
	b := newBox(t, []*site{apiSite(t)})
	programs.CopyOnce(t, filepath.Join(b.bin, "inside"), filepath.Join(b.base, "work", "inside"))
	r := b.run(`
u=https://api.example.com/v1
as get-proxy ./inside go-client GET $u/get-proxy ''
as get-direct direct ./inside go-client GET $u/get-direct ''
as post-proxy ./inside go-client POST $u/post-proxy some=body
as no-proxy ./inside go-client GET https://no-proxy.example.net/ ''
as no-direct direct ./inside go-client GET https://no-direct.example.net/ ''
`)
	says := func(line string) []string { return []string{"200 over HTTP/2.0", line} }
	r.allowed(
		call{name: "get-proxy", says: says("the API got GET /v1/get-proxy and 0 bytes"), proto: "HTTP/2.0"},
		call{name: "get-direct", says: says("the API got GET /v1/get-direct and 0 bytes"), proto: "HTTP/2.0"},
		call{name: "post-proxy", method: "POST", body: 9, says: says("the API got POST /v1/post-proxy and 9 bytes"), proto: "HTTP/2.0"},
	)
	r.refused(byProxy, "no-proxy")
	r.refused(direct, "no-direct")
}
