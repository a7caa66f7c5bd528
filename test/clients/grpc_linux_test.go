package clients

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"bottle/test/fake/loopback"
	"bottle/test/require"
)

const grpcHost = "grpc.example.com"

// grpcSite is a real gRPC server, a program of its own.
func grpcSite(t *testing.T) *site {
	t.Helper()
	ca, cert, key, err := loopback.Identity(grpcHost)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, body := range map[string][]byte{"cert": cert, "key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(require.SystemPython, "testdata/grpc_server.py", filepath.Join(dir, "cert"), filepath.Join(dir, "key"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the server did not start")
	}
	port := lines.Text()
	var mu sync.Mutex
	var got []loopback.Request
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines.Scan() {
			var q loopback.Request
			if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
				q.Path = lines.Text()
			}
			for name, values := range q.Header {
				delete(q.Header, name)
				q.Header[http.CanonicalHeaderKey(name)] = values
			}
			mu.Lock()
			got = append(got, q)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		in.Close() // which ends it
		<-done
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return &site{host: grpcHost, addr: "127.0.0.1:" + port, ca: ca, scheme: "Bearer", requests: func() []loopback.Request {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}}
}

// TestGRPC: every kind of call, with its trailers, through the proxy and past it.
func TestGRPC(t *testing.T) {
	require.Python(t, "grpc")
	b := newBox(t, []*site{grpcSite(t)}, "grpc_client.py")
	r := b.run(`
set --
for k in Unary Fail Many Gather Talk; do
  set -- "$@" $k proxy grpc.example.com:443 $k-proxy $k direct grpc.example.com:443 $k-direct
done
/usr/bin/python3 grpc_client.py "$@" Unary proxy no-proxy.example.net:443 no-proxy Unary direct no-direct.example.net:443 no-direct 2>/dev/null
`)
	ok := "OK - kept"
	for kind, says := range map[string][]string{
		"Unary": {"the same", ok}, "Fail": {"NOT_FOUND there is no unicorn kept"}, "Many": {"500 parts", ok},
		"Gather": {"500000 bytes", ok}, "Talk": {"20 answers, 0 more", ok},
	} {
		body := map[string]int{"Unary": 1000000, "Gather": 500000, "Talk": 200}[kind]
		for _, way := range []string{"proxy", "direct"} {
			r.allowed(call{name: kind + "-" + way, host: grpcHost, method: "POST", path: "/" + kind + "/" + kind + "-" + way, says: says, proto: "HTTP/2.0", body: body})
		}
	}
	r.refused(byProxy, "no-proxy")
	r.refused(direct, "no-direct")
	if s := r.said["no-proxy"].text; strings.Contains(s, "DEADLINE_EXCEEDED") {
		t.Errorf("a refused name is waited for: %s", s)
	}
}
