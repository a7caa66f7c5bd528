package gitconfig

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bottle/internal/bottle"
	"bottle/test/require"
)

// TestEverySpellingLeadsToTheGate: real git rewrites each spelling of a repository's URL.
func TestEverySpellingLeadsToTheGate(t *testing.T) {
	git := require.Tool(t, "git")
	file := filepath.Join(t.TempDir(), "config")
	text := Text(bottle.GitUser{}, []bottle.Repo{{Name: "app", Upstream: "ssh://git@git.example.com/team/app.git"}, {Name: "lib", Upstream: "https://code.example.org/team/lib"}})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"ssh://git@git.example.com/team/app.git":    "http://git.bottle/app.git",
		"ssh://git.example.com/team/app":            "http://git.bottle/app.git",
		"ssh://git@git.example.com:22/team/app.git": "http://git.bottle/app.git",
		"git@git.example.com:team/app.git":          "http://git.bottle/app.git",
		"git.example.com:team/app":                  "http://git.bottle/app.git",
		"https://git.example.com/team/app":          "http://git.bottle/app.git",
		"https://code.example.org/team/lib.git":     "http://git.bottle/lib.git",
		"https://code.example.org:443/team/lib":     "http://git.bottle/lib.git",
		"git@code.example.org:team/lib.git":         "http://git.bottle/lib.git",
		"https://code.example.org/team/other.git":   "https://code.example.org/team/other.git",
	} {
		cmd := exec.Command(git, "ls-remote", "--get-url", url)
		cmd.Dir = t.TempDir()
		cmd.Env = []string{"GIT_CONFIG_GLOBAL=" + file, "GIT_CONFIG_NOSYSTEM=1", "HOME=/nonexistent"}
		out, err := cmd.Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s leads to %s (%v), want %s", url, got, err, want)
		}
	}
}

// TestGitSaysThatThereIsNoSSH: an ssh address that is none of the bottle's ends in one line
// that says so, with a port, without, and in scp's form, and real git reads the
// configuration. A bottle without repositories has none of it.
func TestGitSaysThatThereIsNoSSH(t *testing.T) {
	git := require.Tool(t, "git")
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, Text(bottle.GitUser{}, []bottle.Repo{{Name: "app", Upstream: "ssh://git@git.example.com/team/app.git"}}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"ssh://git@other.example.com:2222/x.git", "ssh://other.example.com/x.git", "git@other.example.com:x.git", "ssh://git@git.example.com:2222/team/app.git"} {
		cmd := exec.Command(git, "ls-remote", url)
		cmd.Dir = t.TempDir()
		cmd.Env = []string{"GIT_CONFIG_GLOBAL=" + file, "GIT_CONFIG_NOSYSTEM=1", "HOME=/nonexistent", "PATH=/usr/bin:/bin", "LC_ALL=C"}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "bottle: there is no ssh in here, and this address is none of the repositories of this bottle: curl http://git.bottle/\n") || strings.Contains(string(out), "variant") {
			t.Errorf("%s: %v: %s", url, err, out)
		}
	}
	if got := string(Text(bottle.GitUser{Name: "a", Email: "a@b"}, nil)); strings.Contains(got, "ssh") {
		t.Errorf("without repositories: %s", got)
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
		if err := os.WriteFile(file, Text(bottle.GitUser{Name: name, Email: name}, nil), 0o600); err != nil {
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
		q := quote(name)
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
	if got := string(Text(bottle.GitUser{Email: "a@example.com"}, nil)); got != "[user]\n\temail = \"a@example.com\"\n" {
		t.Errorf("%q", got)
	}
}
