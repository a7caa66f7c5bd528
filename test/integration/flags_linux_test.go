package integration

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"bottle/test/require"
)

// What the agent changed may be the only copy: cleanup keeps it until it was
// taken, or somebody says that it may go.
func TestCleanupKeepsWorkThatNobodyTook(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		if s := h.start("echo work >new"); s.code != 0 {
			t.Fatalf("%+v", s)
		}
		first := string(h.identity())
		folder := h.home() + "/state/" + first
		there := func() bool {
			_, err := os.Lstat(folder)
			return err == nil
		}
		if s := finish(t, h.command("cleanup", "--yes")); s.code != 0 || !strings.Contains(s.err, "kept: 1 ended bottle") || !there() {
			t.Fatalf("untaken work: %+v, there %v", s, there())
		}
		h.tool("changes", first, "--apply", "--yes")
		if out := h.tool("cleanup", "--yes"); !strings.Contains(out, first) || there() {
			t.Errorf("taken work: %s, there %v", out, there())
		}
		if s := h.start("echo again >other"); s.code != 0 {
			t.Fatalf("%+v", s)
		}
		folder = h.home() + "/state/" + string(h.identity())
		if h.tool("cleanup", "--discard", "--yes"); there() {
			t.Error("discarded work is still there")
		}
	})
}

// --no-tty gives pipes even on a terminal; -v shows each step and each attempt.
func TestNoTTYAndVerbose(t *testing.T) {
	h := newHouse(t, -1, "")
	b, _ := h.onTerminal("start", h.agent, "--yes", "--no-tty", "--", "-c", "if test -t 1; then echo on-a-terminal; else echo on-pipes; fi")
	b.says("on-pipes\r\n")
	s := finish(t, h.command("start", h.agent, "--yes", "--verbose", "--", "-c", "exit 0"))
	for _, want := range []string{"· check the walls from inside", "tried from inside", "tcp-direct", "init-ptrace"} {
		if !strings.Contains(s.err, want) {
			t.Errorf("%q is not in\n%s", want, s.err)
		}
	}
	if s := h.start("exit 0"); strings.Contains(s.err, "tried from inside") {
		t.Errorf("without --verbose:\n%s", s.err)
	}
}

// The address of `bottle proxy` has a password; --no-auth is what takes it away.
func TestProxyAsksForAPassword(t *testing.T) {
	h := newHouse(t, -1, "")
	for _, open := range []bool{false, true} {
		args := []string{"proxy", "box", "--listen", "127.0.0.1:0"}
		if open {
			args = append(args, "--no-auth")
		}
		b := h.launch(h.command(args...))
		b.says("Ctrl-C")
		var address *url.URL
		for _, word := range strings.Fields(b.out.String()) {
			if strings.HasPrefix(word, "http://") {
				u, err := url.Parse(word)
				if err != nil {
					t.Fatal(err)
				}
				address = u
			}
		}
		if address == nil || (address.User == nil) != open {
			t.Fatalf("--no-auth %v prints %s", open, b.out.String())
		}
		ask := func(u *url.URL) int {
			c := http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(u), DisableKeepAlives: true}, Timeout: limit}
			res, err := c.Get("http://unlisted.example/")
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			return res.StatusCode
		}
		stranger := *address
		stranger.User = nil
		want := http.StatusProxyAuthRequired
		if open {
			want = http.StatusForbidden
		}
		if got := ask(&stranger); got != want {
			t.Errorf("--no-auth %v: a stranger gets %d", open, got)
		}
		if got := ask(address); got != http.StatusForbidden {
			t.Errorf("--no-auth %v: the operator gets %d for an unlisted host", open, got)
		}
		if err := b.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		require.Eventually(t, limit, "the proxy ends", func() bool {
			select {
			case <-b.done:
				return true
			default:
				return false
			}
		})
		if code := b.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("--no-auth %v: Ctrl-C ends it with %d: %s", open, code, b.errs.String())
		}
	}
}
