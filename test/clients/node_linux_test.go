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
node client.mjs fetch fetch $u/fetch '' undici undici $u/undici some=body socket socket wss://socket.example.com/socket '' \
  fetch no-fetch https://no-fetch.example.net/ '' undici no-undici https://no-undici.example.net/ ''
direct node client.mjs fetch fetch-direct $u/fetch-direct some=body https https $u/https some=body http2 http2 $u/http2 some=body \
  undici undici-direct $u/undici-direct '' undici-h2 undici-h2 $u/undici-h2 some=body socket socket-direct wss://socket.example.com/socket-direct '' \
  fetch no-fetch-direct https://no-fetch-direct.example.net/ '' http2 no-http2 https://no-http2.example.net/ '' undici no-undici-direct https://no-undici-direct.example.net/ ''
`)
	says := func(over, rest string) []string { return []string{"200 over " + over + "\n", "the API got " + rest} }
	r.allowed(
		call{name: "fetch", says: says("fetch", "GET /v1/fetch and 0 bytes")},
		call{name: "fetch-direct", method: "POST", body: 9, says: says("fetch", "POST /v1/fetch-direct and 9 bytes")},
		call{name: "https", method: "POST", body: 9, says: says("HTTP/1.1", "POST /v1/https and 9 bytes")},
		call{name: "http2", method: "POST", body: 9, says: says("HTTP/2", "POST /v1/http2 and 9 bytes"), proto: "HTTP/2.0"},
		call{name: "undici", method: "POST", body: 9, says: says("undici", "POST /v1/undici and 9 bytes")},
		call{name: "undici-direct", says: says("undici", "GET /v1/undici-direct and 0 bytes")},
		call{name: "undici-h2", method: "POST", body: 9, says: says("undici", "POST /v1/undici-h2 and 9 bytes"), proto: "HTTP/2.0"},
		call{name: "socket", host: sockets, path: "/socket", status: 101, says: []string{"3 came back, closed with 1000"}},
		call{name: "socket-direct", host: sockets, path: "/socket-direct", status: 101, says: []string{"3 came back, closed with 1000"}},
	)
	r.refused(eitherWay, "no-fetch") // fetch obeys NODE_USE_ENV_PROXY from Node 22.21 on
	r.refused(byProxy, "no-undici")
	r.refused(direct, "no-undici-direct", "no-http2", "no-fetch-direct")
}
