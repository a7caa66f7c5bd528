package clients

import (
	"os"
	"path/filepath"
	"testing"

	"bottle/test/npm"
	"bottle/test/require"
)

// undici is the library behind Node's own fetch, in a version that Node 18 takes.
// A later 6.x can stand here; 7 wants Node 20.
const undici = "undici@6.29.1"

// TestNode: fetch, the https and http2 modules, and undici with its proxy agent.
func TestNode(t *testing.T) {
	require.Tool(t, "node", "npm")
	prefix := npm.Install(t, undici)
	b := newBox(t, []*site{apiSite(t), socketSite(t)}, "client.mjs")
	if err := os.CopyFS(filepath.Join(b.base, "work", "node_modules", "undici"), os.DirFS(filepath.Join(prefix, "lib/node_modules/undici"))); err != nil {
		t.Fatal(err)
	}
	r := b.run(`
u=https://api.example.com/v1
n() { as $1 node client.mjs "${@:2}"; }
d() { as $1 direct node client.mjs "${@:2}"; }
n fetch fetch $u/fetch
d fetch-direct fetch $u/fetch-direct some=body
n no-fetch fetch https://no-fetch.example.net/
d https https $u/https some=body
d http2 http2 $u/http2 some=body
d no-http2 http2 https://no-http2.example.net/
n undici undici $u/undici some=body
d undici-direct undici $u/undici-direct
n undici-h2 undici-h2 $u/undici-h2
n socket undici-socket wss://socket.example.com/socket
d socket-direct undici-socket wss://socket.example.com/socket-direct
n no-undici undici https://no-undici.example.net/
d no-undici-direct undici https://no-undici-direct.example.net/
`)
	says := func(over, rest string) []string { return []string{"200 over " + over + "\n", "the API got " + rest} }
	const h1, h2 = "HTTP/1.1", "HTTP/2"
	r.allowed(
		call{name: "fetch", says: says(h1, "GET /v1/fetch and 0 bytes")},
		call{name: "fetch-direct", method: "POST", body: 9, says: says(h1, "POST /v1/fetch-direct and 9 bytes")},
		call{name: "https", method: "POST", body: 9, says: says(h1, "POST /v1/https and 9 bytes")},
		call{name: "http2", method: "POST", body: 9, says: says(h2, "POST /v1/http2 and 9 bytes"), proto: "HTTP/2.0"},
		call{name: "undici", method: "POST", body: 9, says: says(h1, "POST /v1/undici and 9 bytes")},
		call{name: "undici-direct", says: says(h1, "GET /v1/undici-direct and 0 bytes")},
		call{name: "undici-h2", says: says(h2, "GET /v1/undici-h2 and 0 bytes"), proto: "HTTP/2.0"},
		call{name: "socket", host: sockets, path: "/socket", status: 101, says: []string{"three came back, closed with 1000"}},
		call{name: "socket-direct", host: sockets, path: "/socket-direct", status: 101, says: []string{"three came back, closed with 1000"}},
	)
	r.refused(eitherWay, "no-fetch") // fetch obeys NODE_USE_ENV_PROXY from Node 22.21 on
	r.refused(byProxy, "no-undici")
	r.refused(direct, "no-undici-direct", "no-http2")
}
