package docker

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"bottle/internal/backend"
	"bottle/internal/plan"
)

// engineOf is an engine that answers each path, without its version, by a JSON text.
func engineOf(t *testing.T, answers map[string]string) *Docker {
	t.Helper()
	path := t.TempDir() + "/engine.sock"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Api-Version", "1.47")
		w.Header().Set("Content-Type", "application/json")
		at := q.URL.Path
		if strings.HasPrefix(at, "/v1.") {
			at = at[strings.Index(at[1:], "/")+1:]
		}
		body, ok := answers[at]
		if !ok && at != "/_ping" {
			t.Errorf("asked for %s %s", q.Method, at)
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = w.Write([]byte(body))
	})}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return &Docker{Host: "unix://" + path, Bundle: "gw"}
}

func quoted(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// An engine elsewhere would be told secrets over the network, and its ports are not here.
func TestEngineIsOfThisMachine(t *testing.T) {
	for _, host := range []string{"", "unix:///run/x.sock", "tcp://127.0.0.1:2375", "tcp://localhost:2375", "tcp://[::1]:2375", "npipe:////./pipe/docker_engine"} {
		if err := near(host); err != nil {
			t.Error(err)
		}
	}
	for _, host := range []string{"tcp://192.0.2.1:2375", "http://192.0.2.1:2375", "ssh://me@192.0.2.1", "tcp://", "tcp://localhost.example:2375", "nonsense"} {
		d := &Docker{Host: host, Bundle: "gw", JailPath: "/x", Filter: func() ([]byte, error) { return nil, nil }}
		if _, err := d.Create(t.Context(), plan.Bottle{Identity: "dev-aaaaa", State: t.TempDir()}, plan.Gateway{}, []byte("secret")); err == nil || !strings.Contains(err.Error(), "this machine alone") {
			t.Errorf("%s: %v", host, err)
		}
		// Whoever uses other walls is not kept from anything.
		if f, err := d.Facts(t.Context()); err != nil || len(f.Checks) != 1 || f.Checks[0].OK {
			t.Errorf("%s: %+v, %v", host, f.Checks, err)
		}
		if _, err := d.Find(t.Context()); !errors.Is(err, backend.ErrUnreachable) {
			t.Errorf("%s: %v", host, err)
		}
		if held, err := d.Published(t.Context()); len(held) > 0 || err != nil {
			t.Errorf("%s: %v, %v", host, held, err)
		}
	}
}
