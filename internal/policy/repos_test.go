package policy

import (
	"slices"
	"strings"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/plan"
)

// TestWhatARunningGitGateTakesOver: the weaknesses: rules that are meant for another
// upstream open the one that is served; a repository that is taken out is served on; a
// change is ignored in silence.
func TestWhatARunningGitGateTakesOver(t *testing.T) {
	app := bottle.Repo{Name: "app", Upstream: "ssh://git@h.example.com/app.git", KeyFile: "/k", HostKey: "ssh-ed25519 A", Push: bottle.Push{Branches: []string{"agent/*"}, Force: "never", MaxFile: bottle.DefaultMaxFile, Rule: "box.md:9"}}
	web := bottle.Repo{Name: "web", Upstream: "https://h.example.com/web.git", Auth: &bottle.Auth{Scheme: "Basic", TokenRef: "A"}}
	with := func(r bottle.Repo, change func(*bottle.Repo)) bottle.Repo { change(&r); return r }
	start := []bottle.Repo{app, web}
	for name, c := range map[string]struct {
		now, want []bottle.Repo
		next      string // names and branches
		changes   []string
	}{
		"nothing":        {start, start, "app agent/*, web ", nil},
		"the place only": {start, []bottle.Repo{web, with(app, func(r *bottle.Repo) { r.Rule, r.Push.Rule = "box.md:20", "box.md:22" })}, "app agent/*, web ", nil},
		"rules": {start, []bottle.Repo{with(app, func(r *bottle.Repo) {
			r.Push = bottle.Push{Force: "own", Tags: true, Protected: []string{"go.mod"}, MaxFile: 1 << 20}
		}), web}, "app , web ", []string{"~ git app  push.branches: agent/* → any", "~ git app  push.force: never → own", "~ git app  push.tags: false → true",
			"~ git app  push.protected: none → go.mod", "~ git app  push.max_file: 100MiB → 1MiB"}},
		"another key": {start, []bottle.Repo{with(app, func(r *bottle.Repo) { r.KeyFile = "/k2" }), web}, "app agent/*, web ", []string{"~ git app  key_file: /k → /k2"}},
		"another upstream, and rules for that": {start, []bottle.Repo{with(app, func(r *bottle.Repo) {
			r.Upstream, r.Push.Branches, r.Push.Force = "ssh://git@h.example.com/scratch.git", nil, "any"
		}), web}, "app agent/*, web ", []string{"waits: ~ git app  upstream: ssh://git@h.example.com/app.git → ssh://git@h.example.com/scratch.git"}},
		"whom it trusts": {start, []bottle.Repo{with(app, func(r *bottle.Repo) { r.HostKey = "ssh-ed25519 B" }),
			with(web, func(r *bottle.Repo) {
				r.CAFile, r.ExtraHosts, r.Auth = "/ca", map[string]string{"h.example.com": "10.0.0.1"}, nil
			})}, "app agent/*, web ",
			[]string{"waits: ~ git app  host_key: ssh-ed25519 A → ssh-ed25519 B", "waits: ~ git web  auth: Basic A → none", "waits: ~ git web  ca_file: none → /ca", "waits: ~ git web  extra_hosts: none → h.example.com=10.0.0.1"}},
		"taken out": {start, []bottle.Repo{web}, "web ", []string{"- git app  ssh://git@h.example.com/app.git"}},
		"still out": {[]bottle.Repo{web}, []bottle.Repo{web}, "web ", nil},
		"out, and written anew for another": {[]bottle.Repo{web}, []bottle.Repo{web, with(app, func(r *bottle.Repo) { r.Upstream = "https://x.example.com/app" })}, "web ",
			[]string{"waits: ~ git app  upstream: ssh://git@h.example.com/app.git → https://x.example.com/app"}},
		"back again": {[]bottle.Repo{web}, []bottle.Repo{web, with(app, func(r *bottle.Repo) { r.Push.Branches = []string{"x"} })}, "app x, web ",
			[]string{"+ git app  ssh://git@h.example.com/app.git", "~ git app  push.branches: agent/* → x"}},
		"new": {start, append(slices.Clone(start), bottle.Repo{Name: "new", Upstream: "https://n.example.com/n"}), "app agent/*, web ", []string{"waits: + git new  https://n.example.com/n"}},
	} {
		next, changes := ChangeRepos(start, c.now, c.want)
		var names, said []string
		for _, r := range next {
			names = append(names, r.Name+" "+strings.Join(r.Push.Branches, " "))
			if s := start[slices.IndexFunc(start, func(s bottle.Repo) bool { return s.Name == r.Name })]; r.Upstream != s.Upstream || r.HostKey != s.HostKey || r.Auth != s.Auth {
				t.Errorf("%s: %s is another one", name, r.Name)
			}
		}
		for _, g := range changes {
			said = append(said, map[bool]string{true: "waits: "}[g.Waits]+g.String())
		}
		if got := strings.Join(names, ", "); got != c.next || !slices.Equal(said, c.changes) {
			t.Errorf("%s: %q\n%s", name, got, strings.Join(said, "\n"))
		}
	}
	if next, changes := ChangeRepos(nil, nil, []bottle.Repo{app}); next != nil || len(changes) != 1 || changes[0].Key != plan.GitRepository || !changes[0].Waits {
		t.Errorf("without a gate: %v %v", next, changes)
	}
}

// A policy's hash tells apart what may be pushed, and not where or in which order it was
// written. Without repositories it is that of the routes.
func TestHashOfGit(t *testing.T) {
	p, err := Compile(nil)
	if err != nil {
		t.Fatal(err)
	}
	app := bottle.Repo{Name: "app", Upstream: "ssh://git@git.example.com/a.git", Push: bottle.Push{Force: "never"}, Rule: "b.md:3"}
	lib := bottle.Repo{Name: "lib", Upstream: "https://git.example.com/l.git"}
	who := bottle.GitUser{Name: "a", Email: "a@example.com"}
	base := p.WithGit([]bottle.Repo{app, lib}, who).Hash()
	moved := app
	moved.Rule, moved.Push.Rule, moved.Push.MaxFile = "b.md:9", "b.md:12", bottle.DefaultMaxFile
	if got := p.WithGit([]bottle.Repo{lib, moved}, who).Hash(); got != base {
		t.Error("the same elsewhere has another hash")
	}
	if p.WithGit(nil, who).Hash() != p.Hash() || (*Policy)(nil).WithGit([]bottle.Repo{app}, who).Hash() != (*Policy)(nil).Hash() {
		t.Error("nothing is something")
	}
	seen := map[string]string{base: "as it is", p.Hash(): "without git"}
	for name, change := range map[string]func(r *bottle.Repo, u *bottle.GitUser){
		"branches":  func(r *bottle.Repo, _ *bottle.GitUser) { r.Push.Branches = []string{"x"} },
		"force":     func(r *bottle.Repo, _ *bottle.GitUser) { r.Push.Force = "any" },
		"tags":      func(r *bottle.Repo, _ *bottle.GitUser) { r.Push.Tags = true },
		"protected": func(r *bottle.Repo, _ *bottle.GitUser) { r.Push.Protected = []string{"x"} },
		"max_file":  func(r *bottle.Repo, _ *bottle.GitUser) { r.Push.MaxFile = 1 << 20 },
		"upstream":  func(r *bottle.Repo, _ *bottle.GitUser) { r.Upstream += "x" },
		"host_key":  func(r *bottle.Repo, _ *bottle.GitUser) { r.HostKey = "x" },
		"extra_hosts": func(r *bottle.Repo, _ *bottle.GitUser) {
			r.ExtraHosts = map[string]string{"git.example.com": "192.0.2.1"}
		},
		"committer": func(_ *bottle.Repo, u *bottle.GitUser) { u.Name = "b" },
	} {
		r, u := app, who
		change(&r, &u)
		got := p.WithGit([]bottle.Repo{r, lib}, u).Hash()
		if before, ok := seen[got]; ok {
			t.Errorf("%s has the hash of %s", name, before)
		}
		seen[got] = name
	}
}
