package lifecycle

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"bottle/internal/bottle"
	"bottle/internal/plan"
	"bottle/test/require"
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

// hostileNames try to begin a section, a key, an include or a comment.
func hostileNames() []string {
	return []string{
		"Plain Name", "x\n[core]\n\tfsmonitor = touch /tmp/evil", "x\"\n[alias]\n\tst = !id", "x\\", "x\\\"", "\"", "x\r\n[core]", "x # comment", "x ; comment",
		"a\tb", "nul\x00byte", "\x1b[2J", "\\n[core]", " spaces ", "ünï \xff", "x\u2028[core]", "$(id)", "=",
	}
}

// TestGitIdentityCannotInject asks git itself what it reads.
func TestGitIdentityCannotInject(t *testing.T) {
	git := require.Tool(t, "git")
	for _, name := range hostileNames() {
		file := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(file, gitConfig(bottle.GitUser{Name: name, Email: name}, nil), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(git, "config", "--file", file, "--null", "--list").CombinedOutput()
		if err != nil {
			t.Errorf("%q: git cannot read it: %v: %s", name, err, out)
			continue
		}
		want := strings.Map(func(r rune) rune {
			if r < 0x20 && r != '\n' && r != '\t' {
				return -1
			}
			return r
		}, strings.ToValidUTF8(name, "\x01"))
		want = strings.Join([]string{"user.name\n" + want, "user.email\n" + want, ""}, "\x00")
		if got := strings.ReplaceAll(string(out), "\xff", ""); got != want {
			t.Errorf("%q: git reads %q, want %q", name, got, want)
		}
	}
}

// TestGitQuoteIsOneLine: whatever the name, no line begins with anything of it.
func TestGitQuoteIsOneLine(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		name := string(rapid.SliceOf(rapid.Byte()).Draw(r, "name"))
		q := gitQuote(name)
		if strings.ContainsAny(q, "\n\r\x00") || len(q) < 2 || q[0] != '"' || q[len(q)-1] != '"' {
			r.Fatalf("%q becomes %q", name, q)
		}
		open := false // inside, a quote or backslash stands only behind a backslash
		for i := 1; i < len(q)-1; i++ {
			switch {
			case open:
				open = false
				if !strings.ContainsRune(`"\nt`, rune(q[i])) {
					r.Fatalf("%q: git knows no \\%c", q, q[i])
				}
			case q[i] == '\\':
				open = true
			case q[i] == '"':
				r.Fatalf("%q ends early", q)
			}
		}
		if open {
			r.Fatalf("%q does not end", q)
		}
	})
}

func TestEmptyGitIdentityWritesNoKey(t *testing.T) {
	if got := string(gitConfig(bottle.GitUser{Email: "a@example.com"}, nil)); got != "[user]\n\temail = \"a@example.com\"\n" {
		t.Errorf("%q", got)
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
