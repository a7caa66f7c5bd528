package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"bottle/test/fake/loopback"
	"bottle/test/require"
)

// tokenAPI is an API that keeps the credentials it was sent. /long answers with
// whatever is the newest one, until it has seen two more.
type tokenAPI struct {
	mu   sync.Mutex
	seen []string
	news chan struct{}
}

func (a *tokenAPI) saw(token string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if token != "" && !slices.Contains(a.seen, token) {
		a.seen = append(a.seen, token)
		close(a.news)
		a.news = make(chan struct{})
	}
	return slices.Clone(a.seen)
}

func (a *tokenAPI) next() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.news
}

func (a *tokenAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	first := a.saw(token)
	if !strings.HasPrefix(r.URL.Path, "/v1/long") {
		fmt.Fprintf(w, "you are %s\n", token)
		return
	}
	rc := http.NewResponseController(w)
	fmt.Fprintf(w, "began as %s\n", token)
	_ = rc.Flush()
	for {
		wake := a.next()
		now := a.saw("")
		newest := now[len(now)-1]
		_, _ = io.WriteString(w, "newest "+newest[:5]) // in two pieces
		_ = rc.Flush()
		_, _ = io.WriteString(w, newest[5:]+"\n")
		_ = rc.Flush()
		if len(now) >= len(first)+2 {
			break
		}
		select {
		case <-wake:
		case <-r.Context().Done():
			return
		}
	}
	fmt.Fprintf(w, "ended as %s\n", token)
}

// TestInvariant2HelperRenewsWhileARequestRuns: a helper's token lives for four
// seconds. In a real bottle one request streams while the token is renewed twice, and
// others come and go beside it. Each request is whole and has the value of its
// moment; no value, old or new, is ever seen inside.
func TestInvariant2HelperRenewsWhileARequestRuns(t *testing.T) {
	require.Tool(t, "curl")
	everybody(t, func(t *testing.T, uid int) {
		api := &tokenAPI{news: make(chan struct{})}
		srv, err := loopback.Serve(api, "api.example.com")
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		h := newHouse(t, uid, "")
		h.write("ca.pem", string(srv.CA()))
		h.write("user/token.sh", "#!/bin/sh\n# Each run is another token.\nn=$(cat n 2>/dev/null || echo 100); n=$((n+1)); echo $n >n\n"+
			"echo this-is-said-to-nobody >&2\nprintf '{\"token\": \"R0TATED-%s-of-the-operator\", \"expires_in\": 4}' $n\n")
		if err := os.Chmod(filepath.Join(h.base, "user/token.sh"), 0o755); err != nil {
			t.Fatal(err)
		}
		h.write("home/bottles/box.md", fmt.Sprintf("---\nsupervise: false\nagent_provider: {template: command}\negress:\n  routes:\n    - host: api.example.com\n"+
			"      auth: {scheme: Bearer, token_ref: \"cmd:~/token.sh\"}\n      upstream: {address: %q, ca_file: %q}\n---\nOne way out.\n", srv.Addr(), filepath.Join(h.base, "ca.pem")))
		h.own()
		s := h.start(`curl -sSN -m 20 https://api.example.com/v1/long >long & long=$!
			while kill -0 $long 2>/dev/null; do curl -sS -m 10 https://api.example.com/v1/x || exit 9; sleep 0.2; done
			wait $long || exit 8
			cat long; env`)
		if s.code != 0 || strings.Contains(s.out+s.err, "R0TATED") || strings.Contains(s.out+s.err, "said-to-nobody") {
			t.Fatalf("%+v", s)
		}
		seen := api.saw("")
		stars := strings.Repeat("*", len("R0TATED-101-of-the-operator"))
		if len(seen) < 3 || seen[0] != "R0TATED-101-of-the-operator" || seen[1] != "R0TATED-102-of-the-operator" {
			t.Errorf("the API saw %q", seen)
		}
		for _, want := range []string{"began as " + stars, "ended as " + stars, "you are " + stars} {
			if !strings.Contains(s.out, want) {
				t.Errorf("%q is not in\n%s", want, s.out)
			}
		}
		if n := strings.Count(s.out, "newest "+stars+"\n"); n < 3 {
			t.Errorf("%d parts of the long answer in\n%s", n, s.out)
		}
		renewed := 0
		for _, r := range h.records() {
			if r["verdict"] == "deny" && r["host"] == "api.example.com" {
				t.Errorf("denied: %v", r)
			}
			if r["reason"] == "credential_renewed" && r["kind"] == "log" && r["credential"] == "cmd:~/token.sh" {
				renewed++
			}
		}
		if renewed < 2 {
			t.Errorf("%d renewals are recorded", renewed)
		}
		h.nothingLeft("secrets")
	})
}

// TestScriptSecrets tells what an operator does with secrets, in a real bottle:
// testdata/script/secret-*.txtar. $API is the address of a server that
// says whether it was asked with their token; its CA is in ~/ca.pem.
func TestScriptSecrets(t *testing.T) {
	require.Tool(t, "curl")
	bin := binaries(t)
	files, err := filepath.Glob("../../testdata/script/secret-*.txtar")
	if err != nil || len(files) < 1 {
		t.Fatalf("found the scripts %q: %v", files, err)
	}
	srv, err := loopback.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		with := "without a token"
		if strings.HasPrefix(r.Header.Get("Authorization"), "Bearer github_pat_R34L") {
			with = "with the token"
		}
		fmt.Fprintf(w, "asked %s, told %d\n", with, len(body))
	}), "api.example.com", "notes.example.com")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() }) // not before: the scripts run beside each other
	testscript.Run(t, testscript.Params{
		Files: files, RequireExplicitExec: true, RequireUniqueNames: true, Deadline: time.Now().Add(4 * limit),
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", filepath.Join(e.WorkDir, "user"))
			e.Setenv("BOTTLE_HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("TERM", "dumb")
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("API", srv.Addr())
			return os.WriteFile(filepath.Join(e.WorkDir, "user", "ca.pem"), srv.CA(), 0o644)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// fill FILE…: writes the API's address in place of ADDRESS.
			"fill": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, f := range args {
					text := strings.ReplaceAll(ts.ReadFile(f), "ADDRESS", ts.Getenv("API"))
					ts.Check(os.WriteFile(ts.MkAbs(f), []byte(text), 0o600))
				}
			},
		},
	})
}
