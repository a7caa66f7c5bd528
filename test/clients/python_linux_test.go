package clients

import (
	"testing"

	"bottle/test/require"
)

// TestPython: each HTTP library, through the proxy and past it.
func TestPython(t *testing.T) {
	require.Python(t, "requests", "httpx", "h2", "aiohttp", "websockets")
	b := newBox(t, []*site{apiSite(t), socketSite(t)}, "client.py")
	r := b.run(`
u=https://api.example.com/v1
set --
for l in urllib requests httpx httpx2 aiohttp; do
  set -- "$@" $l proxy $l-proxy $u/$l-proxy '' $l direct $l-direct $u/$l-direct some=body
  set -- "$@" $l proxy no-$l-proxy https://no-$l-proxy.example.net/ '' $l direct no-$l-direct https://no-$l-direct.example.net/ ''
done
/usr/bin/python3 client.py "$@" websockets direct socket wss://socket.example.com/socket '' websockets direct no-socket wss://no-socket.example.net/ ''
`)
	for lib, over := range map[string][2]string{
		"urllib": {"HTTP/1.1", ""}, "requests": {"HTTP/1.1", ""}, "httpx": {"HTTP/1.1", ""}, "aiohttp": {"HTTP/1.1", ""}, "httpx2": {"HTTP/2", "HTTP/2.0"},
	} {
		says := func(rest string) []string { return []string{"200 over " + over[0] + "\n", "the API got " + rest} }
		r.allowed(
			call{name: lib + "-proxy", says: says("GET /v1/" + lib + "-proxy and 0 bytes"), proto: over[1]},
			call{name: lib + "-direct", method: "POST", body: 9, says: says("POST /v1/" + lib + "-direct and 9 bytes"), proto: over[1]},
		)
		r.refused(byProxy, "no-"+lib+"-proxy")
		r.refused(direct, "no-"+lib+"-direct")
	}
	r.allowed(call{name: "socket", host: sockets, path: "/socket", status: 101, says: []string{"three came back, closed with 1000"}, proto: "HTTP/1.1"})
	r.refused(direct, "no-socket")
}
