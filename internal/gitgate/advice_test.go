package gitgate

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bottle/internal/bottle"
	"bottle/internal/policy"
)

// lineAfter is the line of an answer that begins so, behind that.
func lineAfter(t *testing.T, out, begin string) string {
	t.Helper()
	_, rest, ok := strings.Cut(out, begin)
	if !ok {
		t.Fatalf("no line has %q: %s", begin, out)
	}
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}

// TestCommandForAnotherCommitterWorks: what the refusal prints is run as it stands, and then
// the push goes through.
func TestCommandForAnotherCommitterWorks(t *testing.T) {
	for name, make := range map[string]func(w *world){
		"commits": func(w *world) { w.write(w.work, "b", "b") },
		"a merge of upstream's": func(w *world) {
			seed := filepath.Join(w.root, "seed")
			w.write(seed, "theirs", "theirs")
			w.git(seed, "push", "-q", w.bare, "HEAD:trunk")
			w.git(w.work, "fetch", "-q")
			w.git(w.work, "merge", "-q", "--no-ff", "-m", "merge", "origin/trunk")
			w.write(w.work, "b", "b")
		},
		"a history of its own": func(w *world) {
			w.git(w.work, "checkout", "-q", "--orphan", "new")
			w.git(w.work, "commit", "-q", "-m", "root")
			w.write(w.work, "b", "b")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "https")
			w.gate.cfg.Committer = bottle.GitUser{Name: "It's a bot", Email: "bot@example.com"}
			w.write(w.work, "a", "a")
			make(w)
			out, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/agent")
			if err == nil || !strings.Contains(out, string(policy.WrongCommitter)) {
				t.Fatalf("%v %s", err, out)
			}
			cmd := exec.Command("sh", "-c", strings.ReplaceAll(lineAfter(t, out, "bottle:   unset "), "GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL", "unset GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL"))
			cmd.Dir, cmd.Env = w.work, append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b.example")
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%q: %v %s", cmd.Args, err, said)
			}
			if out, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/agent"); err != nil || w.ref("refs/heads/agent") == "" {
				t.Errorf("%v %s", err, out)
			}
			w.rests()
		})
	}
}

// TestCommandToApprove: one command, whole, for all that was found in a push.
func TestCommandToApprove(t *testing.T) {
	w := newWorld(t, "https")
	w.write(w.work, "one", kept)
	w.write(w.work, "two", "id = "+kept2+"\n"+kept+"\n")
	out, err := w.try(w.work, "push", "origin", "HEAD:refs/heads/agent")
	got := strings.Fields(lineAfter(t, out, "bottle approve "))
	prints := map[string]bool{}
	for _, f := range w.last().Findings {
		prints[f.Print] = true
	}
	if err == nil || len(prints) != 2 || len(got) != 5 || got[0] != "box-agent" || !prints[got[1]] || !prints[got[2]] || got[1] == got[2] || got[3] != "--host" || got[4] != "example.com" {
		t.Errorf("%v %q, found %v: %s", err, got, prints, out)
	}
}

// TestPolicyPageNamesTheCommitter: the name is judged, too.
func TestPolicyPageNamesTheCommitter(t *testing.T) {
	w := newWorld(t, "https")
	w.gate.cfg.Committer = bottle.GitUser{Name: "Bot", Email: "bot@example.com"}
	for query, want := range map[string]string{"": "committer of every commit: Bot <bot@example.com>\n", "?format=json": `"committer":"Bot \u003cbot@example.com\u003e"`} {
		if page := w.get("/policy" + query); !strings.Contains(page, want) {
			t.Errorf("%q lacks %q: %s", query, want, page)
		}
	}
}

// get is what the gate answers below the repository's URL.
func (w *world) get(path string) string {
	w.t.Helper()
	to := httptest.NewRecorder()
	w.gate.Serve(to, httptest.NewRequest("GET", "http://"+policy.GitHost+"/app"+path, nil), policy.GitHost, 80)
	return to.Body.String()
}

// TestNotesAreNamed: notes go whatever the branches, so the page and the refusal of another ref
// say it.
func TestNotesAreNamed(t *testing.T) {
	w := newWorld(t, "https", func(_ *limits, r *bottle.Repo) { r.Push.Branches = []string{"agent/*"} })
	for query, want := range map[string]string{"": "notes (refs/notes/…): yes", "?format=json": `"notes":true`} {
		if page := w.get("/policy" + query); !strings.Contains(page, want) {
			t.Errorf("%q lacks %q: %s", query, want, page)
		}
	}
	if out, err := w.try(w.work, "push", "origin", "HEAD:refs/for/main"); err == nil || !strings.Contains(out, "refs/notes/") {
		t.Errorf("%v %s", err, out)
	}
	w.git(w.work, "notes", "add", "-m", "a note")
	if out, err := w.try(w.work, "push", "origin", "refs/notes/commits"); err != nil {
		t.Errorf("%v %s", err, out)
	}
}
