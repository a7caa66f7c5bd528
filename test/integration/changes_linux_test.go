package integration

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"bottle/test/require"
)

// changed is what `bottle changes --format json` says of one path.
type changed struct {
	Path, Op, Kind, Was, Target, Runs, Refused, Conflict, Failed string
	Taken                                                        bool
}

func (h *house) changes(args ...string) (map[string]changed, said) {
	h.t.Helper()
	s := finish(h.t, h.command(append([]string{"changes", string(h.identity()), "--format", "json"}, args...)...))
	var r struct{ Changes []changed }
	if err := json.Unmarshal([]byte(s.out), &r); err != nil {
		h.t.Fatalf("%v: %+v", err, s)
	}
	out := map[string]changed{}
	for _, c := range r.Changes {
		out[c.Path] = c
	}
	return out, s
}

// shown is a folder as somebody sees it: names, kinds, modes, contents.
const shown = `find . -mindepth 1 ! -name 'refused-*' ! -path './.git*' -printf '%P %y %m %l\n' | sort; find . -type f ! -path './.git*' -print0 | sort -z | xargs -0 cat`

// agentsWork is what the agent does in these tests; README, gone, tree/ and
// swap/ are the folder's.
const agentsWork = `set -e
echo more >>README; rm gone; rm -r tree; mkdir -p tree/again; echo t >tree/again/t
rm -r swap; echo was a folder >swap; mv moved moved-away; chmod 750 mode; : >>touched
mkdir -p new/a/b; echo deep >new/a/b/c; ln -s a/b new/link; mkdir new/empty; chmod 500 new/a
mkdir -p .git/hooks; echo '#!/bin/sh' >.git/hooks/pre-commit; chmod 755 .git/hooks/pre-commit
printf 'x' >"$(printf 'odd\033[2J\nname')"
` + shown + `
ln -s /etc/passwd refused-abs; ln -s ../../x refused-up; mkfifo refused-pipe
`

// TestChangesAreWhatTheAgentSaw: after --apply the folder is what the agent saw
// when it ended, but for what leads out of it.
func TestChangesAreWhatTheAgentSaw(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		for _, d := range []string{"tree/deep", "swap", "moved"} {
			if err := os.MkdirAll(filepath.Join(h.work(), d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range []string{"gone", "tree/one", "tree/deep/two", "swap/three", "moved/four", "mode", "touched"} {
			h.write("work/"+f, f+"\n")
		}
		h.own()
		s := h.start(agentsWork)
		id := string(h.identity())
		if s.code != 0 || !strings.Contains(s.err, "files changed: bottle changes "+id+"\n") {
			t.Fatalf("%+v", s)
		}
		list, _ := h.changes()
		for path, want := range map[string]changed{
			"README": {Op: "modified"}, "gone": {Op: "deleted"}, "tree/deep/two": {Op: "deleted"}, "tree/again/t": {Op: "added"},
			"swap": {Op: "modified", Was: "folder"}, "moved-away/four": {Op: "added"}, "moved/four": {Op: "deleted"}, "mode": {Op: "modified"},
		} {
			if got := list[path]; got.Op != want.Op || want.Was != "" && got.Was != want.Was || got.Refused != "" || got.Conflict != "" {
				t.Errorf("%s: %+v", path, got)
			}
		}
		if _, there := list["touched"]; there || list[".git/hooks/pre-commit"].Runs == "" {
			t.Errorf("touched %v, the hook %+v", there, list[".git/hooks/pre-commit"])
		}
		text := h.tool("changes", id, "--diff")
		if !strings.Contains(text, "\n+more\n") || !strings.Contains(text, `odd\x1b[2J\nname`) || strings.ContainsRune(text, 0x1b) {
			t.Errorf("the diff is\n%s", text)
		}
		before := h.look()
		if s := finish(t, h.command("changes", id, "--apply")); s.code != 2 || !strings.Contains(s.err, "--yes") || h.look() != before {
			t.Errorf("nobody was asked: %+v", s)
		}
		after, end := h.changes("--apply", "--yes")
		for path, c := range after {
			if refused := strings.HasPrefix(path, "refused-"); refused != (c.Refused != "") || refused == c.Taken || c.Failed != "" {
				t.Errorf("%s: %+v", path, c)
			}
		}
		if want, got := s.out, h.look(); got != want {
			t.Errorf("the folder is\n%s\nthe agent saw\n%s", got, want)
		}
		h.belongs()
		if end.code != 1 { // what is refused is left
			t.Errorf("exit %d", end.code)
		}
		if list, _ := h.changes(); len(list) != 3 {
			t.Errorf("left: %v", list)
		}
		h.cleanedUp("changes")
	})
}

// look is what the operator sees of the folder.
func (h *house) look() string {
	h.t.Helper()
	cmd := h.program(h.t.Context(), "/bin/sh", "-c", shown)
	return finish(h.t, cmd).out
}

// belongs checks that all of the folder is the operator's, and no bottle's.
func (h *house) belongs() {
	h.t.Helper()
	err := filepath.Walk(h.work(), func(path string, fi os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if st := fi.Sys().(*syscall.Stat_t); int(st.Uid) != max(h.uid, 0) && h.uid >= 0 || h.uid < 0 && int(st.Uid) != os.Geteuid() {
			return fmt.Errorf("%s belongs to %d", path, st.Uid)
		}
		return nil
	})
	if err != nil {
		h.t.Error(err)
	}
}

// TestChangesOfALiveBottleAreRefused: its agent could swap a file for a link
// between two looks.
func TestChangesOfALiveBottleAreRefused(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		b := h.begin("echo new >new; echo ready; read x")
		for _, args := range [][]string{{}, {"--apply", "--yes"}, {"--apply", "--yes", "--force"}} {
			s := finish(t, h.command(append([]string{"changes", string(h.identity())}, args...)...))
			if s.code != 125 || !strings.Contains(s.err, "bottle stop "+string(h.identity())) {
				t.Errorf("%q: %+v", args, s)
			}
		}
		b.types("end")
		if code := b.ends(); code != 0 {
			t.Fatalf("exit %d: %s", code, b.errs)
		}
		if s := finish(t, h.command("changes", string(h.identity()), "--apply", "--yes")); s.code != 0 || !strings.Contains(s.out, "took 1 of 1 change into") {
			t.Errorf("%+v", s)
		}
		if _, err := os.Stat(filepath.Join(h.work(), "new")); err != nil {
			t.Error(err)
		}
	})
}

// TestChangesKeepTheOperatorsWork: what was edited while the bottle ran stays.
func TestChangesKeepTheOperatorsWork(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		h.write("work/other", "old\n")
		h.own()
		b := h.begin("echo agent >README; echo agent >other; echo agent >third; echo ready; read x")
		h.write("work/README", "the operator\n")
		h.write("work/third", "the operator\n")
		h.own()
		b.types("end")
		b.ends()
		id := string(h.identity())
		reads := func(when string, want map[string]string) {
			for name, text := range want {
				if body, err := os.ReadFile(filepath.Join(h.work(), name)); err != nil || string(body) != text+"\n" {
					t.Errorf("%s: %s is %q, %v", when, name, body, err)
				}
			}
		}
		s := finish(t, h.command("changes", id, "--apply", "--yes"))
		if s.code != 1 || strings.Count(s.out, "conflict") < 2 || !strings.Contains(s.out, "--force") {
			t.Errorf("%+v", s)
		}
		reads("plain", map[string]string{"README": "the operator", "third": "the operator"})
		h.tool("changes", id, "--apply", "--yes", "--force")
		reads("by force", map[string]string{"README": "agent", "third": "agent", "other": "agent"})
	})
}

// TestChangesOfAKilledStart: the lock is free, but what the start left may live.
func TestChangesOfAKilledStart(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		h := newHouse(t, uid, "")
		b := h.begin("echo new >new; echo ready; sleep 600")
		if err := b.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		b.ends()
		h.nothingLeft("a kill")
		h.tool("cleanup", "--keep-state", "--yes")
		s := finish(t, h.command("changes", string(h.identity()), "--apply", "--yes"))
		if s.code != 0 {
			t.Errorf("%+v", s)
		}
		if body, err := os.ReadFile(filepath.Join(h.work(), "new")); err != nil || string(body) != "new\n" {
			t.Errorf("%q, %v", body, err)
		}
	})
}

// TestChangesReadOnlyRootsMarks: where root mounted the overlay, an agent may set
// user.overlay.* itself; it must not make the list lie.
func TestChangesReadOnlyRootsMarks(t *testing.T) {
	require.Root(t)
	h := newHouse(t, -1, "")
	h.write("work/keep", "k\n")
	if s := h.start("mkdir d; : >d/empty; : >other"); s.code != 0 {
		t.Fatalf("%+v", s)
	}
	upper := filepath.Join(h.home(), "state", string(h.identity()), "overlay/upper")
	for path, attr := range map[string]string{"d": "user.overlay.opaque", "d/empty": "user.overlay.whiteout", ".": "user.overlay.opaque"} {
		if err := unix.Setxattr(filepath.Join(upper, path), attr, []byte("y"), 0); err != nil {
			t.Fatal(err)
		}
	}
	list, _ := h.changes()
	if len(list) != 3 || list["d/empty"].Op != "added" || list["keep"].Op != "" {
		t.Errorf("%v", list)
	}
}

// TestChangesOfAWildAgent: any mix of making, moving, replacing and removing, over
// a folder of the same names, ends as the agent saw it.
func TestChangesOfAWildAgent(t *testing.T) {
	everybody(t, func(t *testing.T, uid int) {
		for seed := range uint64(8) {
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, uid, "")
				draw := rand.New(rand.NewPCG(seed, 1))
				if out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "cd "+h.work()+"; "+wild(draw, 150)).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				h.own()
				s := h.start(wild(draw, 150) + shown)
				if s.code != 0 {
					t.Fatalf("%+v", s)
				}
				if end := finish(t, h.command("changes", string(h.identity()), "--apply", "--yes")); end.code != 0 {
					t.Errorf("%+v", end)
				}
				if got := h.look(); got != s.out {
					t.Errorf("the folder is\n%s\nthe agent saw\n%s", got, s.out)
				}
				if list, _ := h.changes(); len(list) != 0 {
					t.Errorf("left: %v", list)
				}
			})
		}
	})
}

// wild is a script of n drawn operations on a few names, three folders deep.
func wild(draw *rand.Rand, n int) string {
	path := func() string {
		p := ""
		for range 1 + draw.IntN(3) {
			p += "/" + string("abcd"[draw.IntN(4)])
		}
		return p[1:]
	}
	var s strings.Builder
	s.WriteString("exec 2>/dev/null\n")
	for i := range n {
		p, q := path(), path()
		fmt.Fprintf(&s, []string{
			"mkdir -p %[1]s", "mkdir %[1]s", "echo %[3]d >%[1]s", "echo more >>%[1]s", "rm -rf %[1]s", "rm -f %[1]s", "mv %[1]s %[2]s", "mv -T %[1]s %[2]s",
			"ln -s a %[1]s", "ln -sfn b/c %[1]s", "chmod 7%[4]d%[4]d %[1]s", "ln %[1]s %[2]s", "cp -r %[1]s %[2]s", "rmdir %[1]s",
		}[draw.IntN(14)]+"\n", p, q, i, draw.IntN(8))
	}
	s.WriteString("true\n")
	return s.String()
}
