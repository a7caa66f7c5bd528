package gitgate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bottle/internal/bottle"
)

// operator is asked by a gate, and takes note of what he is shown.
type operator struct {
	mu   sync.Mutex
	last *bottle.PushAsk
}

func (o *operator) ask(_ context.Context, p bottle.Proposal) (bool, string, string, error) {
	p.Kind = bottle.ProposalPush
	p, err := p.Canonical() // as the desk does
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = p.Push
	return false, "p234567", "the operator was asked (p234567)", err
}

// shown is what he was shown last; empty: he was not asked since.
func (o *operator) shown() (diff string, failures []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last == nil {
		return "", nil
	}
	diff, failures, o.last = o.last.Diff, o.last.Failures, nil
	return diff, failures
}

// before makes a world whose upstream's trunk has a guarded file, and an operator.
func before(t *testing.T) (w *world, o *operator, first string) {
	w, person := behind(t, "https", bottle.Push{Force: "any", Protected: []string{"guarded", ".github/**", "go.mod"}})
	o = &operator{}
	w.gate.cfg.Ask = o.ask
	first = w.ref("refs/heads/trunk")
	w.write(person, "guarded", "checks everything\n")
	w.git(person, "push", "-q", w.bare, "HEAD:refs/heads/trunk")
	w.git(w.work, "fetch", "-q")
	w.git(w.work, "reset", "-q", "--hard", "origin/trunk")
	return w, o, first
}

// TestWhatAnOperatorWaivesIsShown. The weakness: an operator approves what he is shown, and
// git has many ways to show less. The attacks: history that a walk along a path leaves out,
// attributes and settings in the repository, and changes that have no lines. This proves
// that each is shown, and that nothing was sent.
func TestWhatAnOperatorWaivesIsShown(t *testing.T) {
	w, o, first := before(t)
	sub := strings.Repeat("5", 40)
	put := func(name, text string) {
		path := filepath.Join(w.work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	commit := func(words string) { w.git(w.work, "add", "-A"); w.git(w.work, "commit", "-q", "-m", words) }
	for name, c := range map[string]struct {
		make  func()
		refs  string
		shows []string
	}{
		"a merge that gives up what upstream changed": {func() {
			w.git(w.work, "reset", "-q", "--hard", first)
			w.write(w.work, "free", "x")
			w.git(w.work, "merge", "-q", "-s", "ours", "-m", "m", "origin/trunk")
		}, "HEAD:agent", []string{"-checks everything"}},
		"a side branch that the merge gives up, and that can be pushed later": {func() {
			w.git(w.work, "reset", "-q", "--hard", first)
			put(".github/ci.yml", "run: evil\n")
			commit("side")
			w.git(w.work, "checkout", "-q", "-B", "other", "origin/trunk")
			put(".github/ci.yml", "run: fine\n")
			commit("fine")
			w.git(w.work, "merge", "-q", "-s", "ours", "-m", "m", "HEAD@{2}")
		}, "HEAD:agent", []string{"+run: evil", "+run: fine"}},
		"a merge that is evil by itself": {func() {
			w.git(w.work, "reset", "-q", "--hard", first)
			w.write(w.work, "free", "x")
			w.git(w.work, "merge", "-q", "--no-commit", "--no-ff", "origin/trunk")
			put("guarded", "checks nothing\n")
			commit("m")
		}, "HEAD:agent", []string{"+checks nothing"}},
		"dates long ago": {func() {
			put("guarded", "checks nothing\n")
			w.git(w.work, "add", "-A")
			w.git(w.work, "commit", "-q", "-m", "old", "--date", "1990-01-01T00:00:00Z")
		}, "HEAD:agent", []string{"+checks nothing"}},
		"a rewind":   {func() { w.git(w.work, "reset", "-q", "--hard", first) }, "+HEAD:trunk", []string{"set back on refs/heads/trunk", "-checks everything"}},
		"a deletion": {func() {}, ":trunk", []string{"given up with refs/heads/trunk", "+checks everything"}},
		"attributes that make it binary, or another's": {func() {
			put(".gitattributes", "* -diff -text binary diff=hidden filter=hidden\n")
			put("guarded", "checks nothing\n")
			commit("a")
		}, "HEAD:agent", []string{"+checks nothing"}},
		"bytes that are no text": {func() { put("guarded", "\x00\x1b[2J\x9b\xff checks nothing"); commit("b") }, "HEAD:agent", []string{`\u{0}\u{1b}[2J\x9b\xff checks nothing`}},
		"its mode alone": {func() {
			w.git(w.work, "update-index", "--chmod=+x", "guarded")
			w.git(w.work, "commit", "-q", "-m", "m")
		}, "HEAD:agent", []string{"new mode 100755"}},
		"a symlink in its place": {func() {
			_ = os.Remove(filepath.Join(w.work, "guarded"))
			_ = os.Symlink("free", filepath.Join(w.work, "guarded"))
			commit("s")
		}, "HEAD:agent", []string{"new file mode 120000", "+free"}},
		"a symlink in the place of what holds it": {func() {
			_ = os.Symlink("free", filepath.Join(w.work, ".github"))
			commit("s")
		}, "HEAD:agent", []string{"b/.github", "new file mode 120000", "+free"}},
		"a submodule that the list of them hides": {func() {
			w.git(w.work, "rm", "-q", "--cached", "guarded")
			w.git(w.work, "update-index", "--add", "--cacheinfo", "160000,"+sub+",guarded")
			w.git(w.work, "commit", "-q", "-m", "s")
		}, "HEAD:agent", []string{"+Subproject commit " + sub}},
		"a rename":          {func() { w.git(w.work, "mv", "guarded", "free"); w.git(w.work, "commit", "-q", "-m", "r") }, "HEAD:agent", []string{"deleted file mode", "-checks everything"}},
		"letter case":       {func() { put(".GitHub/CI.yml", "run: evil\n"); commit("c") }, "HEAD:agent", []string{"+run: evil"}},
		"what HFS+ ignores": {func() { put(".git\u200chub/ci.yml", "run: evil\n"); commit("h") }, "HEAD:agent", []string{"+run: evil"}},
		"dots and streams":  {func() { put(".github./ci.yml", "run: evil\n"); put("go.mod::$DATA", "module evil\n"); commit("d") }, "HEAD:agent", []string{"+run: evil", "+module evil"}},
		"a short name":      {func() { put("GITHUB~1/ci.yml", "run: evil\n"); put("GI0A1B~1/x", "run: evil too\n"); commit("8") }, "HEAD:agent", []string{"+run: evil", "+run: evil too"}},
		"a name of git's own signs": {func() {
			put(".github/:(exclude)*", "run: evil\n")
			put(".github/a\nb*", "run: evil too\n")
			commit("p")
		},
			"HEAD:agent", []string{"+run: evil", "+run: evil too"}},
		"more than 200 commits": {func() {
			put("guarded", "checks nothing\n")
			commit("it")
			for i := range 205 {
				w.git(w.work, "commit", "-q", "--allow-empty", "-m", fmt.Sprint(i))
			}
		}, "HEAD:agent", []string{"+checks nothing"}},
		"more paths than are told": {func() {
			for i := range 80 {
				put(fmt.Sprintf(".github/%02d", i), fmt.Sprintf("run: %d\n", i))
			}
			commit("many")
		}, "HEAD:agent", []string{"+run: 0", "+run: 79"}},
		"what escapes make too long": {func() { put("guarded", strings.Repeat("\x01", 30<<10)+"\nchecks nothing\n"); commit("l") }, "HEAD:agent", []string{"NOT WHOLE: "}},
	} {
		t.Run(name, func(t *testing.T) {
			w.git(w.work, "checkout", "-q", "-B", "work", "origin/trunk")
			w.git(w.work, "clean", "-q", "-ffdx")
			c.make()
			upstream, sent := w.git(w.bare, "for-each-ref"), w.posted.Load()
			out, err := w.try(w.work, "push", "origin", c.refs)
			diff, failures := o.shown()
			for _, want := range c.shows {
				if !strings.Contains(diff, want) {
					t.Errorf("the operator does not see %q\nfailures: %.600q\ndiff: %.1500s\nthe agent sees: %.600s", want, failures, diff, out)
				}
			}
			if err == nil || w.posted.Load() != sent || w.git(w.bare, "for-each-ref") != upstream || strings.ContainsAny(diff, "\x1b\x00") {
				t.Errorf("it was sent, or writes on his terminal: %v %s", err, out)
			}
			if len(diff) > bottle.MaxDiff || len(diff) > bottle.MaxDiff-8 && !strings.HasPrefix(diff, "NOT WHOLE") {
				t.Errorf("%d bytes: %.80s", len(diff), diff)
			}
			w.git(w.work, "reset", "-q", "--hard")
		})
	}
	w.rests()
}
