package lifecycle

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

func TestUndoRunsLastFirstAndAll(t *testing.T) {
	var order []string
	var u undoStack
	bad := errors.New("bad")
	for _, name := range []string{"first", "second", "third"} {
		u.push(name, func() error {
			order = append(order, name)
			if name == "second" {
				return bad
			}
			return nil
		})
	}
	err := u.run()
	if !errors.Is(err, bad) || !strings.Contains(err.Error(), "second: bad") {
		t.Errorf("run: %v", err)
	}
	if err := u.run(); err != nil {
		t.Errorf("a second run: %v", err)
	}
	if diff := cmp.Diff([]string{"third", "second", "first"}, order); diff != "" {
		t.Error(diff)
	}
}

// TestUndoSeesWhatUndoPushes: an undo that makes something has its own undo run.
func TestUndoSeesWhatUndoPushes(t *testing.T) {
	var u undoStack
	ran := false
	u.push("outer", func() error {
		u.push("inner", func() error { ran = true; return nil })
		return nil
	})
	if err := u.run(); err != nil || !ran {
		t.Errorf("inner ran: %v, %v", ran, err)
	}
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

func asMap(t *testing.T, env []string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, e := range env {
		name, value, ok := strings.Cut(e, "=")
		if _, twice := out[name]; twice || !ok || name == "" {
			t.Errorf("environment has %q", e)
		}
		out[name] = value
	}
	return out
}

// TestInvariant2EnvironmentIsFromNothing: of the host's variables only four get in,
// and only when they are plain words.
func TestInvariant2EnvironmentIsFromNothing(t *testing.T) {
	host := lookup(map[string]string{
		"TERM": "xterm-256color", "LANG": "de_DE.UTF-8", "TZ": "/etc/shadow", "COLORTERM": "truecolor\n",
		"PATH": "/evil", "HOME": "/root", "SSH_AUTH_SOCK": "/tmp/agent", "AWS_SECRET_ACCESS_KEY": "s3cret", "LD_PRELOAD": "/evil.so", "HTTPS_PROXY": "http://evil",
	})
	got := asMap(t, environment(host, []string{"/opt/tool/bin", systemPath}, []string{"KEY=placeholder"}, map[string]string{"MINE": "a=b"}, ""))
	for name, want := range map[string]string{
		"TERM": "xterm-256color", "LANG": "de_DE.UTF-8", "HOME": plan.Home, "PATH": "/opt/tool/bin:" + systemPath,
		"HTTPS_PROXY": "http://127.0.0.1:9099", "https_proxy": "http://127.0.0.1:9099", "KEY": "placeholder", "MINE": "a=b",
		"SSL_CERT_FILE": plan.BundlePath, "NODE_EXTRA_CA_CERTS": plan.CAPath,
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	for _, name := range []string{"TZ", "COLORTERM", "SSH_AUTH_SOCK", "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "JAVA_TOOL_OPTIONS"} {
		if v, ok := got[name]; ok {
			t.Errorf("%s got in as %q", name, v)
		}
	}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"} {
		if got[name] == "" || got[name] != got[strings.ToLower(name)] {
			t.Errorf("%s is %q, in small letters %q", name, got[name], got[strings.ToLower(name)])
		}
	}
}

func TestManifestsValuesWin(t *testing.T) {
	got := asMap(t, environment(lookup(nil), nil, []string{"HOME=/provider", "A=provider"}, map[string]string{"A": "manifest", "TERM": "vt100"}, "/trust"))
	if got["A"] != "manifest" || got["TERM"] != "vt100" || got["HOME"] != "/provider" || !strings.Contains(got["JAVA_TOOL_OPTIONS"], "/trust") {
		t.Errorf("%v", got)
	}
	if env := environment(lookup(nil), nil, nil, nil, ""); !slices.IsSorted(env) {
		t.Error("not sorted: two starts of one bottle would differ")
	}
}

func TestPlain(t *testing.T) {
	for v, want := range map[string]bool{
		"xterm-256color": true, "C.UTF-8": true, "Europe/Berlin": true, "de_DE@euro": true, "UTC": true, "EST5EDT,M3.2.0,M11.1.0": true,
		"": false, "/etc/shadow": false, ":/etc/shadow": false, "../../etc/shadow": false, "a/../../x": false, "a b": false, "a\nb": false,
		"a\x1b[2J": false, "$(id)": false, "a;b": false, "ünï": false, "\x00": false, strings.Repeat("x", 65): false, strings.Repeat("x", 64): true,
	} {
		if got := plain(v); got != want {
			t.Errorf("plain(%q) is %v", v, got)
		}
	}
}

// The operator's tools are on the agent's PATH where they exist inside, and
// nothing else of his PATH is.
func TestShownPath(t *testing.T) {
	mounts := []plan.Mount{{Source: "/home/me/.nvm", Target: "/home/me/.nvm"}}
	got := shownPath([]string{"/home/me/.nvm/v24/bin", "/home/me/bin", "/usr/local/go/bin", "/usr/bin", "/opt/x/bin/", "/usr/local/go/bin", "/home/me/.nvmevil", "/usr/a:b"}, mounts)
	want := []string{"/home/me/.nvm/v24/bin", "/usr/local/go/bin", "/opt/x/bin"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The preflight tells of a missing identity where git will want one, and only there.
func TestPreflightTellsThatGitHasNoName(t *testing.T) {
	h := &House{Root: fstest.MapFS{"w/.git/HEAD": {Data: []byte("ref: refs/heads/main\n")}}}
	named := bottle.GitUser{Name: "bot", Email: "bot@example.com"}
	for _, c := range []struct {
		workspace string
		spec      bottle.Spec
		want      int
	}{
		{"/w", bottle.Spec{Workspace: "overlay"}, 1},
		{"/w", bottle.Spec{Workspace: "overlay", GitUser: bottle.GitUser{Name: "half"}}, 1},
		{"/w", bottle.Spec{Workspace: "overlay", GitUser: named}, 0},
		{"/w", bottle.Spec{Workspace: "none"}, 0},
		{"/elsewhere", bottle.Spec{Workspace: "none", Repos: []bottle.Repo{{Name: "app"}}}, 1},
		{"/w", bottle.Spec{Workspace: "overlay", Repos: []bottle.Repo{{Name: "app"}}}, 1},
		{"/elsewhere", bottle.Spec{Workspace: "none", Repos: []bottle.Repo{{Name: "app"}}, GitUser: named}, 0},
		{"/elsewhere", bottle.Spec{Workspace: "overlay"}, 0},
	} {
		if got := h.nameless(Request{Workspace: c.workspace, Spec: c.spec}); len(got) != c.want {
			t.Errorf("%s %+v: %q", c.workspace, c.spec, got)
		}
	}
}
