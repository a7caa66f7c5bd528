package judge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/internal/bottle"
	"bottle/internal/dlp"
	"bottle/internal/gitgate/object"
	"bottle/internal/policy"
)

const token = "ghp_" + "x9K2mQ7rT4vW8yB1nD5fG3hJ6kL0pS2zA4cE"

func TestCleanPushPasses(t *testing.T) {
	p := newPush(t)
	p.write("src/main.go", "package main\n")
	p.write(".github/workflows/ci.yml", "on: push\n")
	p.write(".gitmodules", "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n[submodule \"x\"]\n\tpath = x\n\turl = git@example.com:x/y.git # ours\n")
	if err := os.Symlink("../README", p.work+"/src/link"); err != nil {
		t.Fatal(err)
	}
	p.git("update-index", "--add", "--cacheinfo", "160000,"+p.git("rev-parse", "HEAD")+",lib")
	p.commit("second")
	p.git("checkout", "-q", "-b", "side", "HEAD~1")
	p.write("side", "side\n")
	p.commit("side")
	p.git("checkout", "-q", "main")
	p.git("merge", "-q", "-m", "merge", "side")
	p.git("tag", "-a", "v1", "-m", "a tag")
	if got := p.judge(Policy{}, nil, p.git("rev-parse", "main"), p.git("rev-parse", "v1")); len(got) > 0 {
		t.Fatalf("a clean push was refused: %v", got)
	}
}

func TestSecretsAreFound(t *testing.T) {
	const body = "one\ntwo\ntoken = \"" + token + "\" # gitleaks:allow\n"
	cases := []struct {
		name        string
		make        func(p *push) []string
		file, words string
		line        int
	}{
		{"in a file, gitleaks:allow beside it", func(p *push) []string {
			p.write("a/b.env", body)
			return []string{p.commit("x")}
		}, "a/b.env", "", 3},
		{"in a file that a later commit deletes", func(p *push) []string {
			p.write("b.env", body)
			p.commit("x")
			p.git("rm", "-q", "b.env")
			return []string{p.commit("y")}
		}, "b.env", "", 3},
		{"in a delta of a large file", func(p *push) []string {
			lines := strings.Repeat("nothing to see in this line\n", 20_000)
			p.write("large", lines)
			p.commit("x")
			p.write("large", lines+"key "+kept+"\n")
			return []string{p.commit("y")}
		}, "large", "DEPLOY_TOKEN", 20_001},
		{"in a commit's message", func(p *push) []string {
			return []string{p.commit("subject\n\nthe token is " + token)}
		}, "", "the message", 3},
		{"in an author's name", func(p *push) []string {
			p.git("commit", "-q", "--allow-empty", "-m", "x", "--author="+kept+" <a@example.com>")
			return []string{p.git("rev-parse", "HEAD")}
		}, "", "the author's name", 0},
		{"in an unknown header", func(p *push) []string {
			raw := p.git("cat-file", "commit", "HEAD")
			head, message, _ := strings.Cut(raw, "\n\n")
			return []string{p.object("commit", head+"\ngpgsig "+kept+"\n\n"+message+"\n")}
		}, "", "the headers", 0},
		{"in a tag's message", func(p *push) []string {
			p.git("tag", "-a", "v1", "-m", "see "+token)
			return []string{p.git("rev-parse", "v1")}
		}, "", "the message", 1},
		{"in a tag's name", func(p *push) []string {
			p.git("tag", "-a", kept, "-m", "x")
			return []string{p.git("rev-parse", kept)}
		}, "", "the headers", 0},
		{"in a note", func(p *push) []string {
			p.git("notes", "add", "-m", "see "+kept, "HEAD")
			return []string{p.git("rev-parse", "refs/notes/commits")}
		}, "*", "DEPLOY_TOKEN", 1},
		{"in a file's name", func(p *push) []string {
			p.write("d/"+kept+".txt", "x\n")
			return []string{p.commit("x")}
		}, "d/********************.txt", "the file's name", 0},
		{"in a folder's name", func(p *push) []string {
			p.write(kept+"/x", "x\n")
			return []string{p.commit("x")}
		}, "********************/x", "the file's name", 0},
		{"in a symlink's target", func(p *push) []string {
			if err := os.Symlink(kept, p.work+"/l"); err != nil {
				t.Fatal(err)
			}
			return []string{p.commit("x")}
		}, "l", "DEPLOY_TOKEN", 1},
		{"in a submodule's URL", func(p *push) []string {
			p.write(".gitmodules", "[submodule \"a\"]\n\tpath = a\n\turl = https://example.com/"+kept+"\n")
			return []string{p.commit("x")}
		}, ".gitmodules", "DEPLOY_TOKEN", 3},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := newPush(t)
			ids := c.make(p)
			f := only(t, p.judge(Policy{}, nil, ids...), policy.SecretFound)
			if f.File != c.file && c.file != "*" || f.Line != c.line || !strings.Contains(f.Words, c.words) || f.Commit == "" {
				t.Errorf("told as %+v", f)
			}
			if s := f.String(); strings.Contains(s, kept) || strings.Contains(s, token) {
				t.Errorf("the secret is told: %s", s)
			}
		})
	}
}

func TestFailuresAreToldOnceWhereTheyFirstAppear(t *testing.T) {
	p := newPush(t)
	p.write("a.env", "TOKEN="+token+"\n")
	first := p.commit("x")
	for i := range 5 {
		p.write("a.env", "TOKEN="+token+"\n"+strings.Repeat("more\n", i+1))
		p.commit("again")
	}
	p.write("b.txt", "and "+kept+"\n")
	got := p.judge(Policy{}, nil, p.commit("b"))
	if len(got) != 2 || got[0].Commit != first || got[0].File != "a.env" || got[1].File != "b.txt" {
		t.Fatalf("got %v", got)
	}
}

func TestOnlyAnApprovalLetsASecretPass(t *testing.T) {
	p := newPush(t)
	p.write("a.env", "TOKEN="+token+"\n")
	id := p.commit("x")
	print := only(t, p.judge(Policy{}, nil, id), policy.SecretFound).Finding.Print
	j := New(Policy{}, engine(t), func(f dlp.Finding) dlp.Passing {
		if f.Print == print {
			return dlp.Passes
		}
		return dlp.Stops
	})
	if err := p.quarantine(id).Run(context.Background(), j); err != nil {
		t.Fatal(err)
	}
	if got := j.Done(); len(got) > 0 || len(j.Passed()) != 1 {
		t.Fatalf("refused %v, passed %v", got, j.Passed())
	}
}

func TestOldHistoryDoesNotBlock(t *testing.T) {
	p := newPush(t)
	p.write("old.env", "TOKEN="+token+"\n")
	p.write("git~1x/"+kept, "x\n")
	p.commit("old")
	p.git("push", "-q", p.up, "main")
	p.write("new", "new\n")
	p.git("checkout", "-q", "-b", "topic")
	if got := p.judge(Policy{}, nil, p.commit("new")); len(got) > 0 {
		t.Fatalf("got %v", got)
	}
}

func TestHiddenObjects(t *testing.T) {
	p := newPush(t)
	secret := p.object("blob", "nothing reaches me\n")
	old := p.git("rev-parse", "HEAD:README")
	p.extra = []string{secret, old} // the second is no secret to upstream
	p.write("x", "x\n")
	f := only(t, p.judge(Policy{}, nil, p.commit("x")), policy.HiddenObject)
	if f.Commit != secret {
		t.Errorf("told of %s", f.Commit)
	}
}

func TestCommitter(t *testing.T) {
	p := newPush(t)
	id := p.commit("x")
	only(t, p.judge(Policy{Committer: &bottle.GitUser{Email: "bot@example.com"}}, nil, id), policy.WrongCommitter)
	if got := p.judge(Policy{Committer: &bottle.GitUser{Name: "A", Email: "a@example.com"}}, nil, id); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

func TestLargeFile(t *testing.T) {
	p := newPush(t)
	p.write("x", strings.Repeat("x", 101))
	only(t, p.judge(Policy{MaxFile: 100}, nil, p.commit("x")), policy.LargeFile)
}

func TestProtectedPaths(t *testing.T) {
	pol := Policy{Protected: []string{".github/**", "*.lock"}}
	for _, name := range []string{".github/workflows/x.yml", ".GitHub/CODEOWNERS", "go.lock"} {
		p := newPush(t)
		p.write(name, "x\n")
		if f := only(t, p.judge(pol, nil, p.commit("x")), policy.ProtectedPath); !f.Ask {
			t.Errorf("%s: nobody is asked", name)
		}
	}
	p := newPush(t)
	p.write(".github/x", "x\n")
	p.commit("x")
	p.git("push", "-q", p.up, "main")
	p.write("free/go.lock", "x\n")
	if got := p.judge(pol, nil, p.commit("y")); len(got) > 0 {
		t.Errorf("what was not changed is refused: %v", got)
	}
	p.git("rm", "-q", "-r", ".github")
	only(t, p.judge(pol, nil, p.commit("z")), policy.ProtectedPath)
	p.git("reset", "-q", "--hard", "HEAD~1") // the same tree under a protected name
	p.git("mv", "free", ".github/free")
	only(t, p.judge(pol, nil, p.commit("w")), policy.ProtectedPath)
}

// TestMergeThatUndoesAProtectedPath: the weakness: a merge that takes one side whole
// changes nothing against that side. The attack: the maintainers tighten a workflow, and
// the agent merges that away. This proves that it is judged as a change, that an honest
// merge is none, and that a ref that is rewound is one.
func TestMergeThatUndoesAProtectedPath(t *testing.T) {
	pol := Policy{Protected: []string{".github/**"}}
	for name, c := range map[string]struct {
		theirs string // what upstream's main does to the file
		merge  []string
		undone bool
	}{
		"ours":           {"strict\n", []string{"merge", "-q", "-s", "ours", "--no-edit", "theirs"}, true},
		"ours, reversed": {"strict\n", nil, true},
		"honest":         {"strict\n", []string{"merge", "-q", "--no-edit", "theirs"}, false},
		"ours, deleted":  {"", []string{"merge", "-q", "-s", "ours", "--no-edit", "theirs"}, true},
		"honest delete":  {"", []string{"merge", "-q", "--no-edit", "theirs"}, false},
	} {
		p := newPush(t)
		p.write(".github/x", "lax\n")
		p.commit("x")
		p.git("push", "-q", p.up, "main")
		p.git("checkout", "-q", "-b", "theirs")
		if c.theirs == "" {
			p.git("rm", "-q", ".github/x")
		} else {
			p.write(".github/x", c.theirs)
		}
		old := p.commit("strict")
		p.git("push", "-q", p.up, "theirs")
		p.git("checkout", "-q", "main")
		p.write("work", "work\n")
		p.commit("work")
		if c.merge != nil {
			p.git(c.merge...)
		} else { // theirs is the first parent, and the tree is ours
			id := p.git("commit-tree", "-p", "theirs", "-p", "main", "-m", "merge", "main^{tree}")
			p.git("reset", "-q", "--hard", id)
		}
		got := p.judge(pol, nil, p.git("rev-parse", "HEAD"))
		if c.undone {
			if f := only(t, got, policy.ProtectedPath); !f.Ask || f.File != ".github/x" {
				t.Errorf("%s: %+v", name, f)
			}
		} else if len(got) > 0 {
			t.Errorf("%s: %v", name, got)
		}
		j := New(pol, engine(t), nil)
		for to, want := range map[string]int{old + "~1": 1, old: 0} {
			back, err := object.Undone(context.Background(), runner(p.work), old, p.git("rev-parse", to), j.Guarded())
			if err != nil || len(back) != want {
				t.Errorf("%s: from %s to %s: %v %v", name, old, to, back, err)
			}
		}
	}
}

// A merge base that differs from another, and histories without one, are for a person.
func TestUnrelatedHistoriesMayNotDropProtectedPaths(t *testing.T) {
	p := newPush(t)
	p.write(".github/x", "strict\n")
	p.commit("x")
	p.git("push", "-q", p.up, "main")
	p.git("checkout", "-q", "--orphan", "other")
	p.git("rm", "-q", "-rf", ".")
	p.commit("root")
	p.git("merge", "-q", "-s", "ours", "--no-edit", "--allow-unrelated-histories", "main")
	only(t, p.judge(Policy{Protected: []string{".github/**"}}, nil, p.git("rev-parse", "HEAD")), policy.ProtectedPath)
}

func TestSubmoduleThatLeadsElsewhere(t *testing.T) {
	pol := Policy{Declared: func(url string) bool { return url == "https://git.example.com/team/lib.git" }}
	p := newPush(t)
	p.write(".gitmodules", "[submodule \"lib\"]\n\tpath = lib\n\turl = https://git.example.com/team/lib.git\n")
	if got := p.judge(pol, nil, p.commit("x")); len(got) > 0 {
		t.Errorf("a declared submodule is refused: %v", got)
	}
	p.write(".gitmodules", "[submodule \"lib\"]\n\tpath = lib\n\turl = https://git.example.com/team/lib.git\n[submodule \"x\"]\n\tpath = x\n\turl = https://evil.example/lib.git\n")
	if f := only(t, p.judge(pol, nil, p.commit("y")), policy.RepoNotListed); f.File != ".gitmodules" || f.Line != 6 {
		t.Errorf("%+v", f)
	}
}

// One blob in 120 files is one object, so it is told once.
func TestOneBlobIsToldOnce(t *testing.T) {
	p := newPush(t)
	for i := range MaxFailures + 20 {
		p.write(fmt.Sprintf("f%03d", i), token+"\n")
	}
	only(t, p.judge(Policy{}, nil, p.commit("x")), policy.SecretFound)
}

// What was approved, however often it stands there, hides nothing that was not.
func TestApprovedValuesHideNothing(t *testing.T) {
	s := scanner{engine: engine(t), pass: func(f dlp.Finding) dlp.Passing {
		if f.Name == "DEPLOY_TOKEN" {
			return dlp.Passes
		}
		return dlp.Stops
	}}
	many := strings.Repeat("x "+kept+"\n", 20_000)
	start := time.Now()
	hits, err := s.read(strings.NewReader(many))
	if err != nil || stopped(hits) != 0 || len(hits) == 0 {
		t.Fatalf("approved: %d stop of %d, %v", stopped(hits), len(hits), err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	hits, _ = s.read(strings.NewReader(many + "and " + token + "\n"))
	if i := slices.IndexFunc(hits, func(h hit) bool { return !h.passes }); stopped(hits) != 1 || hits[i].line != 20_001 {
		t.Fatalf("%d stop: %+v", stopped(hits), hits)
	}
}

func TestManyDifferentFailures(t *testing.T) {
	p := newPush(t)
	for i := range MaxFailures + 20 {
		p.write(fmt.Sprintf("f%03d", i), fmt.Sprintf("%d %s\n", i, token))
	}
	got := p.judge(Policy{}, nil, p.commit("x"))
	if len(got) != MaxFailures+1 || got[MaxFailures].Reason != policy.TooManyFailures {
		t.Fatalf("%d failures, the last %v", len(got), got[len(got)-1])
	}
}

func TestLFSPointerIsToldOf(t *testing.T) {
	p := newPush(t)
	p.write("big.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:"+strings.Repeat("4d7a2146", 8)+"\nsize 12345\n")
	j := New(Policy{}, engine(t), nil)
	if err := p.quarantine(p.commit("x")).Run(context.Background(), j); err != nil {
		t.Fatal(err)
	}
	if len(j.Done()) > 0 || !strings.Contains(j.Hint(), "big.bin") {
		t.Errorf("got %v, hint %q", j.Done(), j.Hint())
	}
}

func TestAttacksByHand(t *testing.T) {
	blob := func(p *push, s string) string { return p.object("blob", s) }
	cases := []struct {
		name string
		tree func(p *push) string
		want policy.Reason
	}{
		{"an empty folder of git's name", func(p *push) string {
			return entry("40000", ".git", emptyTree(20))
		}, policy.BadObject},
		{"git's folder", func(p *push) string {
			return entry("100644", ".Git\u200c", blob(p, "x"))
		}, policy.UnsafePath},
		{"a backslash", func(p *push) string {
			return entry("100644", `a\.git\config`, blob(p, "x"))
		}, policy.UnsafePath},
		{"a symlink named .gitmodules", func(p *push) string {
			return entry("120000", ".GitModules", blob(p, "x"))
		}, policy.UnsafeLink},
		{"a symlink beside a folder of its name", func(p *push) string {
			return entry("120000", "A", blob(p, "x")) + entry("40000", "a", p.object("tree", entry("100644", "f", blob(p, "y"))))
		}, policy.UnsafeLink},
		{"a symlink whose target upstream has as a file", func(p *push) string {
			p.write("evil", "../../etc/passwd")
			p.commit("evil")
			p.git("push", "-q", p.up, "main")
			return entry("120000", "link", p.git("rev-parse", "HEAD:evil"))
		}, policy.UnsafeLink},
		{"a .gitmodules that upstream has under another name", func(p *push) string {
			p.write("evil", "[submodule \"a\"]\n path = a\n url = --upload-pack=x\n")
			p.commit("evil")
			p.git("push", "-q", p.up, "main")
			return entry("100644", ".gitmodules", p.git("rev-parse", "HEAD:evil"))
		}, policy.UnsafeSubmodule},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := newPush(t)
			only(t, p.judge(Policy{}, nil, p.snapshot(p.object("tree", c.tree(p)))), c.want)
		})
	}
	p := newPush(t)
	p.git("tag", "-a", "t", "-m", "x", blob(p, "a file of no commit"))
	only(t, p.judge(Policy{}, nil, p.git("rev-parse", "t")), policy.BadObject)
	p.git("tag", "-a", "u", "-m", "x", p.object("tree", entry("100644", "f", blob(p, "a"))))
	if got := p.judge(Policy{}, nil, p.git("rev-parse", "u")); len(got) == 0 || got[0].Reason != policy.BadObject {
		t.Errorf("a tag on a folder: %v", got)
	}
}

func TestBrokenCommit(t *testing.T) {
	j := New(Policy{}, engine(t), nil)
	j.Commit(strings.Repeat("a", 40), []byte("tree x\n\n"+kept))
	got := j.Done()
	if len(got) != 2 || got[0].Reason != policy.BadObject || got[1].Reason != policy.SecretFound {
		t.Errorf("got %v", got)
	}
}

func TestLost(t *testing.T) {
	p := newPush(t)
	base := p.git("rev-parse", "HEAD")
	a := p.commit("a")
	b := p.commit("b")
	p.git("reset", "-q", "--hard", base)
	c := p.commit("c")
	run := runner(p.work)
	for _, q := range []struct {
		name     string
		old, new string
		keep     []string
		most     int
		want     string
		more     bool
	}{
		{"forward", base, b, nil, 10, "", false},
		{"to a side", b, c, nil, 10, b + " " + a, false},
		{"more than are listed", b, c, nil, 1, b, true},
		{"deleted, and held by another ref", b, "", []string{a}, 10, b, false},
	} {
		lost, more, err := object.Lost(context.Background(), run, q.old, q.new, q.keep, q.most)
		if err != nil || strings.Join(lost, " ") != q.want || more != q.more {
			t.Errorf("%s: %v, %v, %v", q.name, lost, more, err)
		}
	}
	if _, _, err := object.Lost(context.Background(), run, strings.Repeat("1", 40), c, nil, 10); err == nil {
		t.Error("what is not there is no loss")
	}
}

// A walk whose git fails must not read as an empty push.
func TestGitThatFailsIsAnError(t *testing.T) {
	p := newPush(t)
	w := p.quarantine(p.commit("x"))
	w.New = []string{strings.Repeat("1", 40)}
	if err := w.Run(context.Background(), New(Policy{}, engine(t), nil)); err == nil {
		t.Error("a missing object is judged")
	}
}

// Each bound of a push ends the walk.
func TestTooMuchIsNotLookedAt(t *testing.T) {
	p := newPush(t)
	p.write("x", "x\n")
	p.write("y", "y\n")
	id := p.commit("y")
	for name, l := range map[string]object.Limits{"objects": {Objects: 1}, "bytes": {Total: 100}, "changes": {Changes: 1}} {
		w := p.quarantine(id)
		w.Limits = l
		if err := w.Run(context.Background(), New(Policy{}, engine(t), nil)); !errors.Is(err, object.ErrTooMany) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := p.quarantine(id).Run(context.Background(), New(Policy{}, engine(t), nil)); err != nil {
		t.Errorf("within all of them: %v", err)
	}
}

// However many values were approved, what stands behind them is looked at.
func TestManyApprovedValuesHideNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	value := func() string {
		const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
		b := []byte("ghp_")
		for range 36 {
			b = append(b, digits[r.IntN(len(digits))])
		}
		return string(b)
	}
	var text strings.Builder
	for range mostHits + 14 {
		text.WriteString("x " + value() + "\n")
	}
	e := engine(t)
	approved := map[string]bool{}
	s := scanner{engine: e, pass: func(f dlp.Finding) dlp.Passing { approved[f.Print] = true; return dlp.Passes }}
	if _, err := s.read(strings.NewReader(text.String())); err != nil || len(approved) <= mostHits {
		t.Fatalf("%d values were approved: %v", len(approved), err)
	}
	s.pass = func(f dlp.Finding) dlp.Passing {
		if approved[f.Print] {
			return dlp.Passes
		}
		return dlp.Stops
	}
	hits, _ := s.read(strings.NewReader(text.String() + strings.Repeat("in a later window\n", 40_000) + "x " + value() + "\n"))
	if stopped(hits) != 1 {
		t.Errorf("%d of %d stop", stopped(hits), len(hits))
	}
}
