package lifecycle

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bottle/internal/bottle"
	"bottle/test/require"
)

// TestEverySpellingLeadsToTheGate: real git rewrites each spelling of a repository's URL.
func TestEverySpellingLeadsToTheGate(t *testing.T) {
	git := require.Tool(t, "git")
	file := filepath.Join(t.TempDir(), "config")
	text := gitConfig(bottle.GitUser{}, []bottle.Repo{{Name: "app", Upstream: "ssh://git@git.example.com/team/app.git"}, {Name: "lib", Upstream: "https://code.example.org/team/lib"}})
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
	if err := os.WriteFile(file, gitConfig(bottle.GitUser{}, []bottle.Repo{{Name: "app", Upstream: "ssh://git@git.example.com/team/app.git"}}), 0o600); err != nil {
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
	if got := string(gitConfig(bottle.GitUser{Name: "a", Email: "a@b"}, nil)); strings.Contains(got, "ssh") {
		t.Errorf("without repositories: %s", got)
	}
}
