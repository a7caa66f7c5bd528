package gitgate

import (
	"strings"
	"testing"

	"bottle/internal/bottle"
)

func TestSpellingsOfDeclaredRepositories(t *testing.T) {
	g := &Gate{}
	of := func(name, upstream string) *repo {
		at, err := bottle.ParseRemote(upstream)
		if err != nil {
			t.Fatal(err)
		}
		return &repo{Repo: bottle.Repo{Name: name, Upstream: upstream}, gate: g, at: at}
	}
	app := of("app", "ssh://git@git.example.com/team/app.git")
	g.repos = []*repo{app, of("odd", "https://git.example.com:8443/odd")}
	for written, want := range map[string]bool{
		"ssh://git@git.example.com/team/app.git":        true,
		"ssh://git@git.example.com:22/team/app":         true,
		"ssh://git@git.example.com:2222/team/app":       false,
		"git@git.example.com:team/app.git":              true,
		"git@git.example.com:/team/app":                 true,
		"https://git.example.com/team/app.git":          true,
		"https://GIT.example.com:443/team/app.git/":     true,
		"https://git.example.com:444/team/app.git":      false,
		"http://git.example.com/team/app.git":           false,
		"https://git.example.com/team/app2":             false,
		"https://git.example.com.evil.example/team/app": false,
		"https://evil.example/git.example.com/team/app": false,
		"https://git.example.com/team/app?x=y":          false,
		"../app.git":                                    true,
		"./../../team/app":                              true,
		"../other.git":                                  false,
		"https://git.example.com:8443/odd.git":          true,
		"https://git.example.com/odd":                   false,
		"ssh://git.example.com/odd":                     true, // another scheme, at its usual port
		"":                                              false, "x": false, ":": false,
	} {
		if got := g.known(app.resolved(written)); got != want {
			t.Errorf("%q: %v", written, got)
		}
	}
}

// TestSubmoduleByTheGatesOwnName: nobody else can clone by it, and the repository is there:
// the refusal says by which URL.
func TestSubmoduleByTheGatesOwnName(t *testing.T) {
	w := newWorld(t, "https")
	for written, want := range map[string]string{
		"http://git.bottle/app.git":   "git.bottle exists only inside a bottle: write the repository's own URL, https://example.com/app.git",
		"http://git.bottle/other.git": "leads to a repository that the bottle does not have",
	} {
		w.write(w.work, ".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = "+written+"\n")
		if out, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/agent"); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v %s", written, err, out)
		}
		w.git(w.work, "reset", "-q", "--hard", "origin/trunk")
	}
	for written, want := range map[string]string{"http://GIT.bottle/App": "https://example.com/app.git", "http://git.bottle/app/policy": "", "http://git.bottle": "", "https://example.com/app": "", "%": "", "": ""} {
		if got := w.gate.own(written); got != want {
			t.Errorf("%q is %q", written, got)
		}
	}
}
